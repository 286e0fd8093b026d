"""What looks wrong in a record: variables judged by their distribution, by each other and by the sun.

A check returns what it suspects and what to do, or nothing. Stand-ins are not judged. `read_tower` warns of what is found and
`canveg doctor` lists it, in the same words. The clock is judged in `canveg_jax.io.clock`, units in `canveg_jax.io.units`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from ..physics.constants import SOLAR_CONSTANT
from ..site import Site
from .arrays import Mask, Series
from .humidity import saturation_vapour_pressure_kpa
from .ranges import FLUX_RANGES, plausible_range
from .stand_ins.co2_table import annual_mean
from .stand_ins.elevation import pressure as pressure_at
from .sun import Place, sine_of_elevation

STUCK_HOURS = {
    "air_temperature": 12.0, "vapour_pressure": 12.0, "wind_speed": 12.0, "friction_velocity": 12.0, "shortwave_in": 12.0,
    "longwave_in": 24.0, "co2": 24.0, "soil_temperature": 240.0, "pressure": 240.0,
}  # fmt: skip
"""A measured value other than zero that does not change for so long is a sensor that hangs."""

LEAST_STUCK = 0.001
"""Share of the record from which stuck half-hours are worth a word."""

SUPERSATURATED = 1.05
LARGEST_SHARE_SUPERSATURATED = 0.05
"""Share of half-hours that may be beyond `SUPERSATURATED` times saturation; sensors drift by a few percent."""

NIGHT_OFFSET = 20.0
"""W m-2 by which the zero of a radiation sensor may be off."""

ENOUGH_TO_JUDGE = 480
"""Half-hours (ten days) that a judgement of turbulence needs."""

WEATHER = ("air_temperature", "vapour_pressure", "wind_speed")


class Suspicion(NamedTuple):
    """What looks wrong in a variable (words that follow its name), and what to do."""

    variable: str
    text: str
    remedy: str


Check = Callable[[xr.Dataset, Place | Site | None], list[Suspicion]]


def suspicions(dataset: xr.Dataset, place: Place | Site | None) -> list[Suspicion]:
    """All that looks wrong in a dataset of `read_tower`; some of it only with a place."""
    return [suspicion for check in CHECKS for suspicion in check(dataset, place)]


def sentence(suspicion: Suspicion, dataset: xr.Dataset) -> str:
    """A suspicion in words, with the column that the variable was read from."""
    source = dataset[suspicion.variable].attrs.get("source_column", "")
    return f"{suspicion.variable} (column {source}) {suspicion.text}. {suspicion.remedy}."


def measured(dataset: xr.Dataset, name: str) -> Series:
    """Values `[time]` without stand-ins; all missing if there is no such variable."""
    if name not in dataset:
        return np.full(dataset.sizes["time"], np.nan)
    values = dataset[name].values
    flag = f"{name}_stand_in"
    return np.where(dataset[flag].values, np.nan, values) if flag in dataset else values


def supersaturated(dataset: xr.Dataset, place: Place | Site | None) -> list[Suspicion]:
    """Vapour pressure beyond saturation."""
    del place
    saturation = saturation_vapour_pressure_kpa(measured(dataset, "air_temperature"))
    vapour = measured(dataset, "vapour_pressure")
    share = _share(vapour > SUPERSATURATED * saturation, np.isfinite(saturation) & np.isfinite(vapour))
    if share <= LARGEST_SHARE_SUPERSATURATED:
        return []
    text = f"exceeds saturation at the air temperature by more than 5 % in {_percent(share)} of the half-hours"
    return [
        Suspicion("vapour_pressure", text, "Check the units and the columns of humidity and temperature")
    ]  # fmt: skip


def sunny(dataset: xr.Dataset, place: Place | Site | None) -> list[Suspicion]:
    """Short-wave against the top of the atmosphere by day and zero by night."""
    if place is None:
        return []
    shortwave, found = measured(dataset, "shortwave_in"), []
    sine = sine_of_elevation(dataset["day_of_year"].values, dataset["hour"].values, place)
    night, day = (sine < -0.1) & np.isfinite(shortwave), (sine > 0.2) & np.isfinite(shortwave)
    if night.any():
        low, high = np.quantile(shortwave[night], [0.1, 0.9])  # a wrong clock would have dark hours among them
        if (offset := low if low > NIGHT_OFFSET else min(high, 0.0)) > NIGHT_OFFSET or offset < -NIGHT_OFFSET:
            found.append(Suspicion("shortwave_in", f"is {offset:.0f} W m-2 at night", "Correct its zero"))
    if day.sum() > 100:
        clearness = shortwave[day] / (SOLAR_CONSTANT * sine[day])
        above, clear = float(np.mean(clearness > 1.05)), float(np.quantile(clearness, 0.98))
        if above > 0.01:
            remedy = "Check the clock first, then its unit (photon flux?)"
            found.append(Suspicion("shortwave_in", f"is above the sun's own in {_percent(above)} of the day", remedy))
        elif clear < 0.45:
            text = f"is at most {_percent(clear)} of the sun's own (a clear sky passes 70 to 80 %)"
            found.append(Suspicion("shortwave_in", text, "Check its unit and calibration"))
    return found


def stuck(dataset: xr.Dataset, place: Place | Site | None) -> list[Suspicion]:
    """Sensors that repeat one value. Zero is natural: darkness, calm."""
    del place
    found = []
    for name, limit in STUCK_HOURS.items():
        values = measured(dataset, name)
        there = values[np.isfinite(values)]
        if there.size < 2 or np.ptp(there) == 0.0:
            continue  # one number for the whole record is a constant that somebody gave
        first, lengths = _runs(np.where(values == 0.0, np.nan, values))
        long = lengths * dataset.attrs["step_minutes"] / 60.0 >= limit
        rows = int(lengths[long].sum())
        if rows > LEAST_STUCK * len(values):
            row = int(first[long][0])
            text = (
                f"keeps one value for {limit:g} h or more: {rows} half-hours in {int(long.sum())} run(s), first "
                f"{values[row]:g} from {pd.Timestamp(dataset['time'].values[row])}"
            )
            found.append(Suspicion(name, text, "Is the sensor stuck? Set these to missing (-9999)"))
    return found


def repeated_days(dataset: xr.Dataset, place: Place | Site | None) -> list[Suspicion]:
    """Days whose weather, or whose shortwave, is that of another day to the last digit."""
    del place
    start = pd.DatetimeIndex(dataset["time"].values)
    in_a_day = round(1440 / dataset.attrs["step_minutes"])
    first = int(np.argmax(start.normalize() == start)) if len(start) else 0
    days = (len(start) - first) // in_a_day

    def by_day(name: str) -> np.ndarray:
        return measured(dataset, name)[first : first + days * in_a_day].reshape(days, in_a_day)

    def repeated(names: tuple[str, ...], telling: Mask) -> Mask:
        table = np.concatenate([by_day(name) for name in names], axis=1)
        index = np.flatnonzero(np.isfinite(table).all(axis=1) & telling)
        again = np.zeros(days, dtype=bool)
        again[index] = pd.Series([row.tobytes() for row in table[index]], dtype=object).duplicated().to_numpy()
        return again

    if days < 2:
        return []
    names = tuple(name for name in WEATHER if np.isfinite(measured(dataset, name)).any())
    weather = np.zeros(days, dtype=bool)
    if "air_temperature" in names:
        weather = repeated(names, np.ptp(by_day("air_temperature"), axis=1) > 0.0)
    light = repeated(("shortwave_in",), by_day("shortwave_in").max(axis=1) > 100.0) & ~weather
    found = []
    for variable, again, what in (("air_temperature", weather, ", ".join(names[1:])), ("shortwave_in", light, "")):
        if again.any():
            day = start[first + int(np.flatnonzero(again)[0]) * in_a_day]
            together = f" (so does {what})" if what else ""
            text = f"repeats another day to the last digit on {int(again.sum())} day(s), first {day:%Y-%m-%d}{together}"
            remedy = "Was a piece of the file copied, or a gap filled? Set such days to missing"
            found.append(Suspicion(variable, text, remedy))
    return found


def windy(dataset: xr.Dataset, place: Place | Site | None) -> list[Suspicion]:
    """Friction velocity against the wind."""
    del place
    wind, friction = measured(dataset, "wind_speed"), measured(dataset, "friction_velocity")
    both = np.isfinite(wind) & np.isfinite(friction)
    if both.sum() < 48:
        return []
    found = []
    share = _share(friction > 0.6 * wind, both & (wind > 1.0))
    if share > 0.05 and both.sum() >= ENOUGH_TO_JUDGE:
        text = f"is above 0.6 of the wind speed in {_percent(share)} of the half-hours"
        remedy = "Check that both are of the same sensor and in m s-1"
        found.append(Suspicion("friction_velocity", text, remedy))
    if (zero := _share(friction == 0.0, both)) > 0.02:
        text = f"is exactly 0 in {_percent(zero)} of the half-hours"
        found.append(Suspicion("friction_velocity", text, "Zeros may be a missing code: set them to missing"))
    return found


def airy(dataset: xr.Dataset, place: Place | Site | None) -> list[Suspicion]:
    """CO2 against the mean of the year, pressure against the elevation."""
    found = []
    carbon = measured(dataset, "co2")
    if np.isfinite(carbon).any():
        expected = float(np.nanmedian(annual_mean(dataset["time"].dt.year.values)))
        if abs(float(np.nanmedian(carbon)) - expected) > 60.0:
            text = f"has the median {np.nanmedian(carbon):.0f}; the air of these years held {expected:.0f} umol mol-1"
            remedy = "Check its unit (mg m-3?) and calibration, or let the table of years stand in"
            found.append(Suspicion("co2", text, remedy))
    air = measured(dataset, "pressure")
    if isinstance(place, Site) and place.elevation is not None and np.isfinite(air).any():
        expected = pressure_at(place.elevation)
        if abs(float(np.nanmedian(air)) - expected) > 3.0:
            text = f"has the median {np.nanmedian(air):.1f} kPa; at {place.elevation:g} m one expects {expected:.1f}"
            found.append(Suspicion("pressure", text, "Check the elevation, and whether it is reduced to sea level"))
    return found


def watery(dataset: xr.Dataset, place: Place | Site | None) -> list[Suspicion]:
    """Soil water that does not vary."""
    del place
    water = measured(dataset, "soil_water_content")
    known = water[np.isfinite(water)]
    if len(known) < 48 * 30 or np.ptp(known) == 0.0:
        return []
    low, high = np.quantile(known, [0.01, 0.99])
    if high - low >= 0.005:
        return []
    return [
        Suspicion("soil_water_content", f"hardly varies ({low:.3f} to {high:.3f})", "Choose another depth in columns")
    ]


def summed_up(dataset: xr.Dataset, place: Place | Site | None) -> list[Suspicion]:
    """Precipitation that only grows: the reading of a gauge, not the sum over each step."""
    del place
    rain = measured(dataset, "precipitation")
    there = rain[np.isfinite(rain)]
    rises, falls = (np.diff(there) > 0.0).sum(), (np.diff(there) < 0.0).sum()
    # A gauge that is emptied falls now and then; sums over the step fall after every rain.
    if there.size < 48 or falls > 0.001 * there.size or rises <= 10 * falls:
        return []
    text = f"never falls, from {there[0]:g} to {there[-1]:g} mm; expected the sum over the step"
    return [Suspicion("precipitation", text, "Give the differences from row to row")]


def improbable_fluxes(dataset: xr.Dataset, place: Place | Site | None) -> list[Suspicion]:
    """Fluxes that no canopy has (`only_plausible` has taken them from the measured ones)."""
    del place
    found = []
    for name in FLUX_RANGES:
        if not dataset[name].attrs.get("samples_out_of_range") if name in dataset else True:
            continue
        low, high = plausible_range(name)
        values = dataset[name].values
        rows = np.flatnonzero((values < low) | (values > high))
        text = (
            f"has {rows.size} sample(s) outside the plausible range {low:g} to {high:g}, first {values[rows[0]]:g} in row "
            f"{rows[0]}; they do not count as measured"
        )
        found.append(Suspicion(name, text, "Spikes, or a missing code: set them to -9999"))
    return found


CHECKS: tuple[Check, ...] = (
    improbable_fluxes, supersaturated, sunny, stuck, repeated_days, windy, airy, watery, summed_up,
)  # fmt: skip


def _runs(values: Series) -> tuple[np.ndarray, np.ndarray]:
    """First row and length of every run of equal values; NaN differs from itself."""
    edges = np.flatnonzero(np.concatenate(([True], ~(values[1:] == values[:-1]), [True])))
    return edges[:-1], np.diff(edges)


def _share(mask: np.ndarray, of: np.ndarray) -> float:
    return float((mask & of).sum() / max(int(of.sum()), 1))


def _percent(share: float) -> str:
    return f"{100.0 * share:.1f} %"
