"""What looks wrong in a record: variables judged by their distribution, by each other and by the sun.

A check returns what it suspects and what to do, or nothing. Judged are measured values, not stand-ins.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import xarray as xr

from ...physics.constants import SOLAR_CONSTANT
from ...site import Site
from ..arrays import Series
from ..humidity import saturation_vapour_pressure_kpa
from ..stand_ins.co2_table import annual_mean
from ..stand_ins.elevation import pressure as pressure_at
from ..sun import sine_of_elevation

PLAUSIBLE_FLUXES = {
    "latent_heat": (-472.5, 945.0), "sensible_heat": (-472.5, 945.0), "ground_heat": (-262.5, 420.0),
    "net_radiation": (-210.0, 1155.0), "nee": (-105.0, 105.0), "soil_respiration": (-1.0, 60.0),
}  # fmt: skip
"""What a tower may measure, in the units of `TARGET_TABLE`: the physical limits of AmeriFlux, 5 % wider."""

STUCK_HOURS = {
    "air_temperature": 12.0, "vapour_pressure": 12.0, "wind_speed": 12.0, "friction_velocity": 12.0, "longwave_in": 24.0,
    "co2": 24.0, "soil_temperature": 240.0, "pressure": 240.0,
}  # fmt: skip
"""A measured value that does not change for so long is a sensor that hangs."""


class Doubt(NamedTuple):
    """What looks wrong in a variable, and what to do."""

    variable: str
    text: str
    remedy: str


Check = Callable[[xr.Dataset, Site | None], list[Doubt]]


def measured(dataset: xr.Dataset, name: str) -> Series:
    """Values `[time]` without stand-ins; all missing if there is no such variable."""
    if name not in dataset:
        return np.full(dataset.sizes["time"], np.nan)
    values = dataset[name].values
    flag = f"{name}_stand_in"
    return np.where(dataset[flag].values, np.nan, values) if flag in dataset else values


def humid(dataset: xr.Dataset, site: Site | None) -> list[Doubt]:
    """Vapour pressure beyond saturation."""
    del site
    saturation = saturation_vapour_pressure_kpa(measured(dataset, "air_temperature"))
    share = _share(measured(dataset, "vapour_pressure") > 1.05 * saturation, np.isfinite(saturation))
    if share <= 0.02:
        return []
    return [
        Doubt(
            "vapour_pressure",
            f"beyond saturation in {_percent(share)}",
            "check its unit and the air temperature's sensor",
        )
    ]


def sunny(dataset: xr.Dataset, site: Site | None) -> list[Doubt]:
    """Short-wave against the top of the atmosphere by day and zero by night, and days that are there twice."""
    shortwave, found = measured(dataset, "shortwave_in"), []
    if site is not None:
        sine = sine_of_elevation(dataset["day_of_year"].values, dataset["hour"].values, site)
        night, day = (sine < -0.1) & np.isfinite(shortwave), (sine > 0.2) & np.isfinite(shortwave)
        if night.any() and abs(float(np.median(shortwave[night]))) > 20.0:
            found.append(Doubt("shortwave_in", f"{np.median(shortwave[night]):.0f} W m-2 at night", "correct its zero"))
        if day.sum() > 100:
            clearness = shortwave[day] / (SOLAR_CONSTANT * sine[day])
            above, clear = float(np.mean(clearness > 1.05)), float(np.quantile(clearness, 0.98))
            if above > 0.01:
                remedy = "check the clock first, then its unit (photon flux?)"
                found.append(Doubt("shortwave_in", f"above the sun's own in {_percent(above)} of the day", remedy))
            elif clear < 0.45:
                text = f"at most {_percent(clear)} of the sun's own (a clear sky passes 70 to 80 %)"
                found.append(Doubt("shortwave_in", text, "check its unit and calibration"))
    in_a_day = round(1440 / dataset.attrs["step_minutes"])
    days = shortwave[: len(shortwave) // in_a_day * in_a_day].reshape(-1, in_a_day)
    twice = int(((days[1:] == days[:-1]).all(axis=1) & (days[1:] > 0.0).any(axis=1)).sum()) if len(days) > 1 else 0
    if twice:
        found.append(
            Doubt("shortwave_in", f"{twice} days are copies of the day before", "they are filled: leave them out")
        )
    return found


def stuck(dataset: xr.Dataset, site: Site | None) -> list[Doubt]:
    """Sensors that repeat one value."""
    del site
    found = []
    for name, limit in STUCK_HOURS.items():
        values = measured(dataset, name)
        if np.isfinite(values).sum() < 2 or np.ptp(values[np.isfinite(values)]) == 0.0:
            continue  # one number for the whole record is a constant that somebody gave
        hours = longest_run(values) * dataset.attrs["step_minutes"] / 60.0
        if hours >= limit:
            found.append(
                Doubt(name, f"one value for {hours:.0f} h", "a sensor that hangs, or a filled gap: look at it")
            )
    return found


def windy(dataset: xr.Dataset, site: Site | None) -> list[Doubt]:
    """Friction velocity against the wind."""
    del site
    wind, friction = measured(dataset, "wind_speed"), measured(dataset, "friction_velocity")
    both = np.isfinite(wind) & np.isfinite(friction)
    if both.sum() < 48:
        return []
    found = []
    share = _share(friction > 0.6 * wind, both & (wind > 1.0))
    if share > 0.05:
        text = f"above 0.6 of the wind speed in {_percent(share)}"
        found.append(Doubt("friction_velocity", text, "check that both are of the same sensor and in m s-1"))
    if (zero := _share(friction == 0.0, both)) > 0.02:
        remedy = "zeros may be a missing code"
        found.append(Doubt("friction_velocity", f"exactly 0 in {_percent(zero)}", remedy))
    return found


def airy(dataset: xr.Dataset, site: Site | None) -> list[Doubt]:
    """CO2 against the mean of the year, pressure against the elevation."""
    found = []
    carbon = measured(dataset, "co2")
    if np.isfinite(carbon).any():
        expected = float(np.nanmedian(annual_mean(dataset["time"].dt.year.values)))
        if abs(float(np.nanmedian(carbon)) - expected) > 60.0:
            text = f"median {np.nanmedian(carbon):.0f}, the air of these years held {expected:.0f} umol mol-1"
            found.append(Doubt("co2", text, "check its unit (mg m-3?) and calibration; `co2: none` with a constant"))
    air = measured(dataset, "pressure")
    if site is not None and site.elevation is not None and np.isfinite(air).any():
        expected = pressure_at(site.elevation)
        if abs(float(np.nanmedian(air)) - expected) > 3.0:
            text = f"median {np.nanmedian(air):.1f} kPa, at {site.elevation:g} m one expects {expected:.1f}"
            found.append(Doubt("pressure", text, "check the elevation, and whether it is reduced to sea level"))
    return found


def watery(dataset: xr.Dataset, site: Site | None) -> list[Doubt]:
    """Soil water that does not vary."""
    del site
    water = measured(dataset, "soil_water_content")
    known = water[np.isfinite(water)]
    if len(known) < 48 * 30:
        return []
    low, high = np.quantile(known, [0.01, 0.99])
    if high - low >= 0.005:
        return []
    return [Doubt("soil_water_content", f"hardly varies ({low:.3f} to {high:.3f})", "choose another depth in columns")]


def extreme_fluxes(dataset: xr.Dataset, site: Site | None) -> list[Doubt]:
    """Fluxes that no canopy has: one of them sets the scale of a loss."""
    del site
    found = []
    for name, (low, high) in PLAUSIBLE_FLUXES.items():
        if name not in dataset:
            continue
        values, seen = dataset[name].values, dataset[f"{name}_measured"].values
        count = int((seen & ((values < low) | (values > high))).sum())
        if count:
            worst = values[seen][np.argmax(np.abs(values[seen]))]
            text = f"{count} measured half-hours outside {low:g} .. {high:g} (worst {worst:.4g})"
            found.append(Doubt(name, text, "spikes or a missing code: remove them"))
    return found


CHECKS: tuple[Check, ...] = (humid, sunny, stuck, windy, airy, watery, extreme_fluxes)


def doubts(dataset: xr.Dataset, site: Site | None) -> list[Doubt]:
    """All that looks wrong in a dataset of `read_tower`; some of it only with a site."""
    return [doubt for check in CHECKS for doubt in check(dataset, site)]


def longest_run(values: Series) -> int:
    """The largest number of equal finite values in a row."""
    if len(values) < 2:
        return len(values)
    edges = np.flatnonzero(np.concatenate(([True], ~(values[1:] == values[:-1]), [True])))  # NaN differs from itself
    return int(np.diff(edges).max())


def _share(mask: np.ndarray, of: np.ndarray) -> float:
    return float((mask & of).sum() / max(int(of.sum()), 1))


def _percent(share: float) -> str:
    return f"{100.0 * share:.1f} %"
