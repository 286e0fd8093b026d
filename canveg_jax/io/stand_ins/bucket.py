"""Soil water from a bucket: the weather of a tower, day by day, through the water balance of its root zone."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from ..arrays import Mask, Numbers, Series
from .base import Made, Record, StandIn, StandInError
from .elevation import SEA_LEVEL
from .potential_evaporation import extraterrestrial_radiation, net_radiation, potential_evaporation
from .root_zone import CAPACITY, DAYS_OF_A_YEAR, DRAINAGE, RootZone, at_half_hours, soil_water_content

HALF_A_DAY = 0.5
"""Share of a day's intervals with a value that its mean or sum must rest on; otherwise the day counts as missing."""

NEARLY_A_DAY = 0.9
"""The same share for measured net radiation, whose night and day differ in sign."""

STEADY = 1.0
"""mm; a larger change of the water over the last cycle of the first year is remarked."""


class DailyWeather(NamedTuple):
    """What drives the bucket, `[day]`: mm a day, mm a day, degC; which days rest on too few values; the day of each
    half-hour `[time]`, and how much of it has passed."""

    precipitation: Series
    potential_evaporation: Series
    air_temperature: Series
    incomplete: Mask
    day: np.ndarray
    share: Series


def daily_weather(record: Record, *, measured_net_radiation: bool = False) -> DailyWeather:
    """Daily sums and means of a record.

    Rain of a day with missing intervals is scaled up from those that are there. So that the balance can go on, a day with too few
    values takes the mean of the record (of the rain as well); it is `incomplete`.

    Args:
        record: with shortwave_in, air_temperature, vapour_pressure and precipitation.
        measured_net_radiation: use it on days that have it. By default it is computed from short-wave, temperature and humidity,
            so that no observed flux enters the forcing.

    Raises:
        StandInError: something is not there.
    """
    what = "soil_water_content by bucket"
    site = record.place(what)
    columns = {name: record.series(name, what) for name in ("shortwave_in", "air_temperature", "vapour_pressure")}
    rain = record.precipitation
    if rain is None or not np.isfinite(rain).any():
        raise StandInError(f"{what} needs precipitation, which the file does not hold")
    columns["rain"] = np.where(rain >= 0.0, rain, np.nan)

    middle = record.start + record.step / 2
    dates = middle.normalize()
    days = pd.date_range(dates[0], dates[-1], freq="D")
    day = np.asarray((dates - days[0]) // pd.Timedelta(days=1), dtype=int)
    in_a_day = pd.Timedelta(days=1) / record.step
    means = {name: daily_mean(values, day, HALF_A_DAY * in_a_day) for name, values in columns.items()}
    incomplete = np.any([~np.isfinite(mean) for mean in means.values()], axis=0)
    if incomplete.all():
        raise StandInError(f"{what} needs at least one whole day of weather")
    means = {name: np.where(known := np.isfinite(mean), mean, mean[known].mean()) for name, mean in means.items()}

    sky = extraterrestrial_radiation(np.asarray(days.day_of_year, dtype=float), site.latitude)
    temperature, shortwave = means["air_temperature"], np.maximum(means["shortwave_in"], 0.0)
    available = net_radiation(shortwave, temperature, means["vapour_pressure"], sky, site.elevation or 0.0)
    if measured_net_radiation and record.net_radiation is not None:
        own = daily_mean(record.net_radiation, day, NEARLY_A_DAY * in_a_day)
        available = np.where(np.isfinite(own), own, available)
    pressure = record.forcing.get("pressure")
    typical = SEA_LEVEL if pressure is None or not np.isfinite(pressure).any() else float(np.nanmedian(pressure))
    return DailyWeather(
        precipitation=means["rain"] * in_a_day,
        potential_evaporation=potential_evaporation(available, temperature, typical),
        air_temperature=temperature,
        incomplete=incomplete,
        day=day,
        share=np.asarray((middle - dates) / pd.Timedelta(days=1), dtype=float),
    )


def daily_mean(values: Series, day: np.ndarray, fewest: float) -> Numbers:
    """Mean of each day `[day]` over the half-hours `[time]` that have a value; missing where they are fewer than `fewest`.

    Args:
        values: `[time]`.
        day: index of the day of each half-hour, `[time]`, the last day last.
        fewest: half-hours.
    """
    known, size = np.isfinite(values), int(day[-1]) + 1
    count = np.bincount(day[known], minlength=size)
    total = np.bincount(day[known], values[known], minlength=size)
    return np.where(count >= max(fewest, 1.0), total / np.maximum(count, 1), np.nan)


def make(
    record: Record, *, capacity: float, drainage: float, dry: float, wet: float, measured_net_radiation: bool
) -> Made:
    """Of rain, short-wave, temperature and humidity; see `RootZone`, `daily_weather` and `soil_water_content`.

    Missing on days that are incomplete, but the first and the last one, which are often cut.

    Raises:
        StandInError: something that it needs is not there.
    """
    if not (capacity > 0.0 and drainage >= 0.0 and 0.0 <= dry < wet <= 0.8):
        raise StandInError(
            "soil_water_content by bucket needs capacity > 0 mm, drainage >= 0 mm a day and 0 <= dry < wet <= 0.8 m3 m-3; got "
            f"{capacity:g}, {drainage:g}, {dry:g} and {wet:g}"
        )
    weather = daily_weather(record, measured_net_radiation=measured_net_radiation)
    with jax.enable_x64(True):
        balance = RootZone(capacity, drainage)(*(jnp.asarray(column) for column in weather[:3]))
        daily = np.asarray(soil_water_content(balance.water, capacity, dry, wet))
        start = float(soil_water_content(balance.start[:1], capacity, dry, wet)[0])
    remarks = ["irrigation, ground water and run-on are not in it"]
    if len(daily) < DAYS_OF_A_YEAR:
        remarks.append(f"the record has {len(daily)} days, so its start is no steady state of a year")
    else:
        rest = float(balance.water[DAYS_OF_A_YEAR - 1] - balance.start[0])
        if abs(rest) > STEADY:
            remarks.append(f"the first year is not steady ({rest:+.1f} mm of water over it)")
    missing = weather.incomplete.copy()
    missing[[0, -1]] = False
    if count := int(missing.sum()):
        remarks.append(
            f"{count} of {len(daily)} days have too little weather: they have no soil water, and the balance takes the mean of "
            "the record for them"
        )
    attributes = {
        "capacity": capacity, "drainage": drainage, "dry": dry, "wet": wet,
        "precipitation_mm_per_day": float(weather.precipitation.mean()),
        "potential_evaporation_mm_per_day": float(weather.potential_evaporation.mean()),
        "evaporation_mm_per_day": float(balance.evaporation.mean()),
        "drainage_mm_per_day": float(balance.drainage.mean()),
    }  # fmt: skip
    values = np.asarray(at_half_hours(daily, start, weather.day, weather.share), float)
    return Made(np.where(missing[weather.day], np.nan, values), attributes, tuple(remarks))


BUCKET = StandIn(
    variable="soil_water_content",
    method="bucket",
    meaning="daily water balance of the root zone",
    make=make,
    parameters={
        "capacity": CAPACITY, "drainage": DRAINAGE, "dry": 0.12, "wet": 0.32, "measured_net_radiation": False,
    },
    extent="absent",
)  # fmt: skip
