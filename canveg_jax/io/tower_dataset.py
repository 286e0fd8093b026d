"""The one dataset that every tower file becomes: canonical names, units in `attrs`, masks of measured samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from ..forcing import FORCING_TABLE, rows_within_range
from ..site import Site
from .arrays import Mask, Series
from .timestamps import middle_of_interval


class TowerFileError(ValueError):
    """A tower file cannot be read as it is; the message says what was expected, what came and what to do."""


class TowerDataWarning(UserWarning):
    """A tower file was read, but something in it limits what may be concluded from it."""


class TargetInfo(NamedTuple):
    """Unit, meaning, sign and CF standard name of an observed flux; `flux` is its name among the model's outputs."""

    unit: str
    long_name: str
    sign: str
    cf_standard_name: str | None
    flux: str


TARGET_TABLE: dict[str, TargetInfo] = {
    "latent_heat": TargetInfo(
        "W m-2", "latent heat flux", "positive up", "surface_upward_latent_heat_flux", "LE"
    ),
    "sensible_heat": TargetInfo(
        "W m-2", "sensible heat flux", "positive up", "surface_upward_sensible_heat_flux", "H"
    ),
    "ground_heat": TargetInfo(
        "W m-2", "ground heat flux", "positive down", "downward_heat_flux_at_ground_level_in_soil", "G"
    ),
    "net_radiation": TargetInfo(
        "W m-2", "net radiation", "positive down", "surface_net_downward_radiative_flux", "Rnet"
    ),
    "nee": TargetInfo(
        "umol m-2 s-1", "net ecosystem exchange of CO2", "positive = release to the air",
        "surface_upward_mole_flux_of_carbon_dioxide", "NEE",
    ),
    "soil_respiration": TargetInfo(
        "umol m-2 s-1", "soil respiration", "positive = release to the air", None, "soil_respiration"
    ),
    "gpp": TargetInfo(
        "umol m-2 s-1", "gross primary production (a partition of NEE, itself the result of a model)", "positive = uptake",
        None, "GPP",
    ),
    "shortwave_out": TargetInfo(
        "W m-2", "outgoing short-wave radiation", "positive up", "surface_upwelling_shortwave_flux_in_air",
        "shortwave_out",
    ),
    "longwave_out": TargetInfo(
        "W m-2", "outgoing long-wave radiation, from which surface temperature is known", "positive up",
        "surface_upwelling_longwave_flux_in_air", "longwave_out",
    ),
}  # fmt: skip
"""Observed fluxes, by canonical name."""

FORCING_CF_NAMES = {
    "air_temperature": "air_temperature",
    "shortwave_in": "surface_downwelling_shortwave_flux_in_air",
    "longwave_in": "surface_downwelling_longwave_flux_in_air",
    "vapour_pressure": "water_vapor_partial_pressure_in_air",
    "wind_speed": "wind_speed",
    "co2": "mole_fraction_of_carbon_dioxide_in_air",
    "pressure": "surface_air_pressure",
    "friction_velocity": "magnitude_of_surface_friction_velocity_in_air",
    "soil_temperature": "soil_temperature",
    "soil_water_content": "volume_fraction_of_condensed_water_in_soil",
    "lai": "leaf_area_index",
    "observed_canopy_height": "canopy_height",
}
"""CF standard names of the forcing (day of year and hour have none)."""


class Column(NamedTuple):
    """Values `[time]` in the canonical unit, the file column(s) they came from, and further attributes."""

    values: Series
    source: str
    attributes: Mapping[str, Any] = {}


class Target(NamedTuple):
    """An observed flux `[time]`, which of its samples were measured, and the file column(s) it came from.

    `outside` counts the samples out of the plausible range, `flagged` those that the file's own quality flags discard.
    """

    values: Series
    measured: Mask
    source: str
    sigma: Series | None = None
    outside: int = 0
    flagged: int = 0


class TowerTable(NamedTuple):
    """What a reader of one format hands over.

    Args:
        start: `[time]`, start of every interval, local standard time.
        step: length of the intervals.
        forcing: by name of `FORCING_TABLE`, in its units, without `day_of_year` and `hour`.
        targets: by name of `TARGET_TABLE`, in its units and signs; those that the file does not hold are left out. Empty
            where there are no fluxes at all.
        precipitation: mm per step.
        forcing_good: every driver was measured or filled with good quality.
        warnings: what limits the use of the data, one text each; `read_tower` emits them.
        attributes: further attributes of the dataset.
        looked_for: required drivers that the file lacks, and the columns that were looked for.
        place: latitude, longitude (degrees) and hours east of UTC, where the file itself says them.
    """

    start: pd.DatetimeIndex
    step: pd.Timedelta
    forcing: Mapping[str, Column]
    targets: Mapping[str, Target]
    precipitation: Column | None = None
    forcing_good: Mask | None = None
    warnings: Sequence[str] = ()
    attributes: Mapping[str, Any] = {}
    looked_for: Mapping[str, str] = {}
    place: tuple[float, float, float] | None = None


def build_dataset(table: TowerTable, attributes: Mapping[str, Any], site: Site | None = None) -> xr.Dataset:
    """Assemble the dataset (see `read_tower` for its content).

    Targets that the file does not hold become all-missing variables with an all-false mask, so that every dataset has
    the same variables; without any target (no flux file) they are left out.
    """
    day, hour = middle_of_interval(table.start, table.step)
    forcing = {"day_of_year": Column(day, "time"), "hour": Column(hour, "time"), **table.forcing}
    if "soil_temperature" in forcing and "soil_temperature_tendency" not in forcing:
        forcing["soil_temperature_tendency"] = _tendency(forcing["soil_temperature"], table.step)
    variables: dict[str, Any] = {}
    for name, info in FORCING_TABLE.items():
        if name in forcing:
            column = forcing[name]
            attrs = {"units": info.unit, "long_name": info.meaning, "source_column": column.source, **column.attributes}
            if name in FORCING_CF_NAMES:
                attrs["standard_name"] = FORCING_CF_NAMES[name]
            variables[name] = ("time", np.asarray(column.values, dtype=np.float64), attrs)
    if table.targets:
        for name in TARGET_TABLE:
            variables |= target_variables(name, table.targets.get(name), len(table.start))
    if table.precipitation is not None:
        attrs = {
            "units": "mm", "long_name": "precipitation, sum over the step", "source_column": table.precipitation.source,
            "standard_name": "lwe_thickness_of_precipitation_amount",
        }  # fmt: skip
        variables["precipitation"] = ("time", np.asarray(table.precipitation.values, dtype=np.float64), attrs)
    if table.forcing_good is not None:
        attrs = {"units": "1", "long_name": "every driver measured or filled with good quality (flag 0 or 1)"}
        variables["forcing_good"] = ("time", table.forcing_good, attrs)

    time = ("time", table.start.to_numpy(), {"long_name": "start of the averaging interval, local standard time"})
    end = ("time", (table.start + table.step).to_numpy(), {"long_name": "end of the averaging interval"})
    attrs = {"step_minutes": int(table.step.total_seconds() / 60.0), **attributes}
    if site is not None:
        attrs |= {
            "site": site.name, "latitude": site.latitude, "longitude": site.longitude, "utc_offset": site.utc_offset,
        }  # fmt: skip
    elif table.place is not None:
        attrs |= dict(zip(("latitude", "longitude", "utc_offset"), table.place, strict=True))
    dataset = xr.Dataset(variables, coords={"time": time, "time_end": end}, attrs=attrs)
    dataset["forcing_complete"] = forcing_complete(dataset)
    return dataset


HOURS_OF_TENDENCY = 2.0


def _tendency(temperature: Column, step: pd.Timedelta) -> Column:
    """Change of a temperature over the two hours about the middle of each interval, K h-1; missing at gaps and at the ends."""
    steps = max(1, round(HOURS_OF_TENDENCY / 2.0 / (step.total_seconds() / 3600.0)))
    values = np.asarray(temperature.values, dtype=np.float64)
    change = np.full(values.shape, np.nan)
    if len(values) > 2 * steps:
        change[steps:-steps] = values[2 * steps :] - values[: -2 * steps]
    rate = change / (2 * steps * step.total_seconds() / 3600.0)
    info = FORCING_TABLE["soil_temperature_tendency"]
    within = (rate >= info.lower) & (rate <= info.upper)
    return Column(np.where(within, rate, np.nan), f"change of {temperature.source}")


def target_variables(name: str, target: Target | None, size: int) -> dict[str, Any]:
    """Dataset variables of one observed flux: values, mask, and the standard deviation of its error if known.

    Without a target (no such column) the values are missing and nothing is measured.
    """
    info = TARGET_TABLE[name]
    if target is None:
        target = Target(np.full(size, np.nan), np.zeros(size, dtype=bool), "none")
    attrs: dict[str, Any] = {
        "units": info.unit, "long_name": info.long_name, "sign": info.sign, "source_column": target.source
    }  # fmt: skip
    if info.cf_standard_name:
        attrs["standard_name"] = info.cf_standard_name
    mask_attrs = {"units": "1", "long_name": f"{info.long_name}: measured, not filled"}
    measured = np.asarray(target.measured, dtype=bool) & np.isfinite(target.values)
    for count, meaning in ((target.outside, "samples_out_of_range"), (target.flagged, "samples_discarded_by_flag")):
        if count:
            attrs[meaning] = count
    variables: dict[str, Any] = {
        name: ("time", np.asarray(target.values, dtype=np.float64), attrs),
        f"{name}_measured": ("time", measured, {**mask_attrs, "share": float(measured.mean())}),
    }
    if target.sigma is not None:
        sigma_attrs = {"units": info.unit, "long_name": f"{info.long_name}: standard deviation of the random error"}
        variables[f"{name}_sigma"] = ("time", np.asarray(target.sigma, dtype=np.float64), sigma_attrs)
    return variables


def forcing_complete(dataset: xr.Dataset) -> xr.DataArray:
    """Half-hours that the canopy can be run for: every required forcing variable finite and within its range."""
    columns = {name: dataset[name].values for name in FORCING_TABLE if name in dataset}
    missing = any(name not in columns and not info.optional for name, info in FORCING_TABLE.items())
    complete = np.full(dataset.sizes["time"], not missing) & rows_within_range(columns)
    attrs = {"units": "1", "long_name": "every required forcing variable is finite and within its range"}
    return xr.DataArray(complete, dims="time", coords={"time": dataset["time"]}, attrs=attrs)
