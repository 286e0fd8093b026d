"""FLUXNET-CH4 CSVs: measured columns (LE) beside filled ones (LE_F), without flags [Delwiche2021]."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from .csv import read_header
from .fluxnet import Fluxnet, has_raw_beside_filled, is_filled


class FluxnetCh4(Fluxnet):
    """Half-hourly files of the FLUXNET-CH4 community product. A flux counts as measured where its column without `_F` has it."""

    name = "fluxnet-ch4"
    expects = "TIMESTAMP_START and TIMESTAMP_END, LE beside LE_F and no LE_F_MDS"
    driver_columns: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "air_temperature": ("TA_F", "TA"),
        "shortwave_in": ("SW_IN_F", "SW_IN"),
        "longwave_in": ("LW_IN_F", "LW_IN"),
        "vapour_pressure": ("VPD_F", "VPD"),
        "wind_speed": ("WS_F", "WS"),
        "co2": ("CO2_F", "CO2"),
        "pressure": ("PA_F", "PA"),
        "friction_velocity": ("USTAR",),
        "soil_temperature": ("TS_F", "TS_F_#", "TS", "TS_#", "TS_#_F"),
        "soil_water_content": ("SWC_F", "SWC", "SWC_#", "SWC_#_F"),
    }
    target_columns: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "latent_heat": ("LE_F", "LE"),
        "sensible_heat": ("H_F", "H"),
        "ground_heat": ("G_F", "G"),
        "net_radiation": ("NETRAD_F", "NETRAD"),
        "nee": ("NEE_F", "NEE"),
        "soil_respiration": (),
        "shortwave_out": ("SW_OUT",),
        "longwave_out": ("LW_OUT",),
    }

    def recognises(self, path: Path) -> bool:
        """Both stamps, filled fluxes of this kind, and none of ONEFlux."""
        header = read_header(path)
        return header is not None and header.both_stamps and is_filled(header) and has_raw_beside_filled(header)
