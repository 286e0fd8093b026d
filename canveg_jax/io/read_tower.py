"""`read_tower`: the front door for tower files of every known format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import xarray as xr

from ..forcing import FORCING_TABLE
from ..site import Site
from .formats.ameriflux import read_ameriflux
from .formats.csv import TowerCsv
from .formats.fluxnet import read_fluxnet
from .formats.prepared import read_prepared
from .lai import Lai
from .tower_dataset import TARGET_TABLE, TowerFileError, build_dataset
from .units import check_units

DERIVED = ("day_of_year", "hour")


def read_tower(
    forcings: str | Path,
    fluxes: str | Path | None = None,
    *,
    site: Site | None = None,
    time_stamp: Literal["start", "end"] | None = None,
    lai: Lai | None = None,
    co2: float | None = None,
    columns: Mapping[str, str] | None = None,
    mask_interpolated: bool = True,
) -> xr.Dataset:
    """Read half-hourly or hourly tower data into one dataset with canonical names.

    The format is detected from the header: FLUXNET / ONEFlux (SUBSET or FULLSET, HH or HR), AmeriFlux BASE, or the
    prepared pair of files of JAX-CanVeg. Columns are selected by name. Missing values stay NaN; nothing is
    interpolated, clipped or scaled (a site's `lai_scale` and the model's floors act inside the model).

    Args:
        forcings: the CSV with the weather (FLUXNET and AmeriFlux files hold the fluxes as well).
        fluxes: the CSV with the fluxes of a prepared pair; its rows must be those of `forcings`.
        site: adds name, coordinates and UTC offset to the attributes.
        time_stamp: for files with a single time stamp, which end of the interval it marks. Default: what its name says
            (TIMESTAMP_END, TIMESTAMP_START). Files with both stamps need no choice.
        lai: leaf area index: a number, a `pandas.Series` with dates, or a column name. Needed for FLUXNET and
            AmeriFlux; for prepared files it replaces the column LAI.
        co2: umol mol-1, used if the file has no CO2 column.
        columns: canonical name -> file column, where the default choice is not wanted, for example
            `{"latent_heat": "LE_CORR", "soil_temperature": "TS_F_MDS_4"}`. A column given for `vapour_pressure` of
            FLUXNET files is a deficit (hPa); for AmeriFlux files it is an RH, VPD or H2O column.
        mask_interpolated: for prepared files, count samples on straight lines as filled (`interpolated_samples`).

    Returns:
        Dataset on dimension `time` (start of the interval, local standard time; `time_end` its end), with

        * the variables of `FORCING_TABLE`, `day_of_year` and `hour` being those of the middle of the interval;
        * `latent_heat`, `sensible_heat` (W m-2, positive up), `ground_heat`, `net_radiation` (W m-2, positive
          down), `nee`, `soil_respiration` (umol m-2 s-1, positive = release), each with a boolean
          `<name>_measured` and, where the file has it, the standard deviation of its random error `<name>_sigma`;
        * `precipitation` (mm per step) where the file has it;
        * `forcing_complete`: every required forcing variable is finite and within its range;
        * `forcing_good` (FLUXNET): no driver has a flag above 1.

        Units, meaning and source column are in each variable's `attrs`; format, step, file names and their SHA-256 in
        the dataset's.

    Raises:
        TowerFileError: unknown format, missing column, unit that cannot be right, no LAI.
        ValueError: time stamps unreadable, twice, unsorted or unequally spaced.

    Example:
        >>> tower = read_tower("FLX_XX-Abc_FLUXNET2015_SUBSET_HH_2012-2014_1-3.csv", lai=2.5)  # doctest: +SKIP
    """
    if time_stamp not in (None, "start", "end"):
        raise TowerFileError(f"time_stamp must be 'start', 'end' or None (as the file says); got {time_stamp!r}.")
    file = TowerCsv(forcings)
    own = dict(columns or {})
    file.check_columns(own, [n for n in (*FORCING_TABLE, *TARGET_TABLE) if n not in DERIVED])
    flux_file = None if fluxes is None else TowerCsv(fluxes)
    if file.format == "prepared":
        table = read_prepared(
            file, flux_file, time_stamp=time_stamp, lai=lai, co2=co2, columns=own, mask_interpolated=mask_interpolated
        )
    else:
        if flux_file is not None and flux_file.path.resolve() != file.path.resolve():
            raise TowerFileError(
                f"{file.path.name} is a {file.format} file and holds weather and fluxes together; a second file "
                f"({flux_file.path.name}) is only for prepared pairs. Leave out `fluxes`."
            )
        reader = read_fluxnet if file.format == "fluxnet" else read_ameriflux
        table = reader(file, lai=lai, co2=co2, columns=own)
    check_units(table.forcing, file.path.name)
    attributes = {
        "format": file.format,
        "time_stamp": (time_stamp or "as in file") if file.format == "prepared" else "start and end in file",
        "source_files": [f.path.name for f in (file, flux_file) if f is not None],
        "source_sha256": [f.sha256 for f in (file, flux_file) if f is not None],
    }
    return build_dataset(table, attributes, site)
