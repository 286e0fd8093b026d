"""Daily values for the model intercomparison CalLMIP, from half-hourly fluxes of one site.

Dimensions `(time, lat, lon)`, names and units of CMIP, `_FillValue` 1e38. A day counts only if every one of its intervals is
there and solved. What the canopy does not compute (soil water and carbon pools) is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pydantic
import xarray as xr

from ..files import replacing
from ..physics.constants import STEFAN_BOLTZMANN
from ..physics.thermodynamics import latent_heat_of_vaporisation
from ..records import Record
from .netcdf import NO_LEAP_SECONDS, provenance
from .tower_dataset import TowerFileError

KG_CARBON = 12.011e-9
"""kg C in a micromole of CO2."""

FILL = 1e38

LONGEST_STEP = np.timedelta64(1, "h")
"""A sample of a longer interval says too little about its day."""


class Daily(NamedTuple):
    """A daily variable: unit, meaning, and the CF standard name where there is one."""

    unit: str
    long_name: str
    standard_name: str | None


VARIABLES: dict[str, Daily] = {
    "nep": Daily(
        "kgC m-2 s-1", "net ecosystem productivity, positive into the land",
        "surface_net_downward_mass_flux_of_carbon_dioxide_expressed_as_carbon_due_to_all_land_processes_excluding_anthropogenic_"
        "land_use_change",
    ),
    "hfls": Daily("W m-2", "surface upward latent heat flux", "surface_upward_latent_heat_flux"),
    "hfss": Daily("W m-2", "surface upward sensible heat flux", "surface_upward_sensible_heat_flux"),
    "gpp": Daily("kgC m-2 s-1", "gross primary production", "gross_primary_productivity_of_biomass_expressed_as_carbon"),
    "reco": Daily("kgC m-2 s-1", "ecosystem respiration, of soil and leaves", None),
    "tran": Daily("kg m-2 s-1", "transpiration: evaporation of all leaves", "transpiration_flux"),
    "evspsblsoi": Daily("kg m-2 s-1", "evaporation of the soil surface", "water_evaporation_flux_from_soil"),
    "hfg": Daily("W m-2", "ground heat flux, positive down", "downward_heat_flux_at_ground_level_in_soil"),
    "ts": Daily("K", "surface temperature, from outgoing long-wave radiation (emissivity 1)", "surface_temperature"),
    "lai": Daily("m2 m-2", "leaf area index", "leaf_area_index"),
}  # fmt: skip


class Protocol(Record):
    """What the name and the global attributes of a file say.

    Args:
        model: with its version, such as `canveg.v1`.
        phase: 1a is DK-Sor alone, 1b has 21 sites and scenarios.
        scenario: number of the calibration scenario, for phase 1b.
        period: of calibration or of validation.
        stage: before or after the calibration.
    """

    model: str = pydantic.Field(default="canveg.v1", pattern=r"^[A-Za-z0-9-]+\.[A-Za-z0-9.-]+$")
    phase: Literal["1a", "1b"] = "1b"
    scenario: int = pydantic.Field(default=1, ge=1)
    period: Literal["Cal", "Val"] = "Cal"
    stage: Literal["Prior", "Posterior"] = "Prior"

    def file_name(self, site: str) -> str:
        """Such as `canveg.v1_Phase1b_Scen1_DK-Sor_Cal_Prior.nc`; phase 1a has no scenario."""
        scenario = f"_Scen{self.scenario}" if self.phase == "1b" else ""
        return f"{self.model}_Phase{self.phase}{scenario}_{site}_{self.period}_{self.stage}.nc"

    def attributes(self) -> dict[str, str]:
        """Global attributes."""
        return {
            "Conventions": "COARDS", "Model": self.model, "CalLMIP_Phase": f"Phase{self.phase}",
            "Calibration_Scenario": f"Scen{self.scenario}" if self.phase == "1b" else "none",
            "Calibration_stage": self.stage, "Cal_Val": {"Cal": "Calibration", "Val": "Validation"}[self.period],
        }  # fmt: skip


class Export(NamedTuple):
    """The daily dataset, how many of its days are complete, and the variables that could not be made."""

    dataset: xr.Dataset
    days: int
    complete: int
    left_out: tuple[str, ...]


def daily(
    fluxes: xr.Dataset,
    latitude: float,
    longitude: float,
    protocol: Protocol,
    attributes: Mapping[str, str] | None = None,
) -> Export:
    """Daily means of complete days.

    Args:
        fluxes: half-hours of one site on `time`, with names and units of `FLUX_TABLE`, `converged` and perhaps `lai`.
        latitude, longitude: degrees north and east.
        protocol: what the file is.
        attributes: further global attributes.

    Raises:
        TowerFileError: no fluxes, intervals that no day is made of, or no complete day.
    """
    made = _half_hours(fluxes)
    if not {"nep", "hfls", "hfss"} <= made.keys():
        raise TowerFileError(
            "callmip: expected fluxes of the canopy (LE, H, NEE); give what simulate, fit or predict wrote."
        )
    time = pd.DatetimeIndex(fluxes["time"].values)
    steps = np.diff(time.to_numpy())
    if not len(steps) or (steps <= np.timedelta64(0, "ns")).any():
        raise TowerFileError("callmip: expected half-hours of one site in time order, each once.")
    step, a_day = steps.min(), np.timedelta64(1, "D")
    within = (time.to_numpy() - time.to_numpy().astype("datetime64[D]")) % step
    if step > LONGEST_STEP or a_day % step or within.any():
        raise TowerFileError(
            f"callmip: expected intervals of at most one hour that divide the day and begin with it; those of the file are "
            f"{pd.Timedelta(step)} apart, the first at {time[0]}. Predict or simulate whole days (data.train_stride: 1)."
        )
    in_a_day = int(a_day / step)
    solved = fluxes["converged"].values.astype(bool) if "converged" in fluxes else np.ones(len(time), dtype=bool)
    first = time.to_numpy().astype("datetime64[D]")[0]
    day = (time.to_numpy().astype("datetime64[D]") - first).astype(int)
    means = {name: _daily_means(np.where(solved, values, np.nan), day, in_a_day) for name, values in made.items()}
    complete = int(np.isfinite(means["hfls"]).sum())
    if not complete:
        raise TowerFileError(
            f"callmip: none of {day[-1] + 1} days has all of its {in_a_day} half-hours solved. Simulate whole days, and let "
            "stand-ins fill the gaps of the forcing (docs/stand-ins.md)."
        )
    days = pd.date_range(first, periods=day[-1] + 1)
    origin = f"{days[0].year}-01-01 00:00:00"
    elapsed = np.asarray((days - pd.Timestamp(origin)) / pd.Timedelta(days=1), dtype=np.float64)
    variables = {}
    for name in made:
        info = VARIABLES[name]
        attrs = {"units": info.unit, "long_name": info.long_name, "cell_methods": "time: mean"}
        if info.standard_name:
            attrs["standard_name"] = info.standard_name
        if info.unit == "K":
            attrs["units_metadata"] = "temperature: on_scale"
        variables[name] = (("time", "lat", "lon"), means[name][:, None, None], attrs)
    place = {"lat": (latitude, "north", "latitude", "Y"), "lon": (longitude, "east", "longitude", "X")}
    coordinates = {
        name: (
            name,
            [value],
            {"units": f"degrees_{way}", "standard_name": standard, "long_name": standard, "axis": axis},
        )
        for name, (value, way, standard, axis) in place.items()
    }
    stamp = {
        "units": f"days since {origin}", "calendar": "standard", "standard_name": "time", "axis": "T",
        "long_name": "start of the day, local standard time", **NO_LEAP_SECONDS,
    }  # fmt: skip
    said = {**provenance(None), "title": "Daily fluxes for CalLMIP", **protocol.attributes(), **(attributes or {})}
    said |= {"days": len(days), "complete_days": complete}
    dataset = xr.Dataset(variables, {"time": ("time", elapsed, stamp), **coordinates}, said)
    return Export(dataset, len(days), complete, tuple(name for name in VARIABLES if name not in made))


def _daily_means(values: np.ndarray, day: np.ndarray, in_a_day: int) -> np.ndarray:
    """Means `[day]` of values `[time]`; missing where one of the day's values is."""
    present = np.isfinite(values)
    count = np.bincount(day, weights=present)
    total = np.bincount(day, weights=np.where(present, values, 0.0))
    return np.where(count == in_a_day, total / in_a_day, np.nan)


def _half_hours(fluxes: xr.Dataset) -> dict[str, np.ndarray]:
    """The variables of the protocol for each half-hour, as far as they can be made."""

    def has(*names: str) -> bool:
        return all(name in fluxes for name in names)

    def of(name: str) -> np.ndarray:
        return np.asarray(fluxes[name].values, dtype=np.float64)

    made: dict[str, np.ndarray] = {}
    for name, source in {"hfls": "LE", "hfss": "H", "hfg": "G", "lai": "lai"}.items():
        if has(source):
            made[name] = of(source)
    if has("NEE"):
        made["nep"] = -KG_CARBON * of("NEE")
    if has("GPP"):
        made["gpp"] = KG_CARBON * of("GPP")
    if has("NEE", "GPP"):
        made["reco"] = KG_CARBON * (of("NEE") + of("GPP"))
    for name, heat, temperature in (
        ("tran", "canopy_LE", "canopy_temperature"),
        ("evspsblsoi", "soil_LE", "soil_surface_temperature"),
    ):
        if has(heat, temperature):
            made[name] = of(heat) / np.asarray(latent_heat_of_vaporisation(jnp.asarray(of(temperature))))
    if has("longwave_out"):
        made["ts"] = (of("longwave_out") / STEFAN_BOLTZMANN) ** 0.25
    return {name: made[name] for name in VARIABLES if name in made}


def write_callmip(folder: str | Path, export: Export, file_name: str) -> Path:
    """Write the file under its name of the protocol; an earlier one is replaced whole.

    Raises:
        OSError: the folder cannot be written.
    """
    path = Path(folder) / file_name
    encoding = {str(name): {"_FillValue": FILL, "dtype": "float64", "zlib": True} for name in export.dataset.data_vars}
    encoding |= {name: {"_FillValue": None} for name in ("time", "lat", "lon")}
    with replacing(path) as temporary:
        export.dataset.to_netcdf(temporary, engine="h5netcdf", encoding=encoding)
    return path
