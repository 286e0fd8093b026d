"""Soil water from a bucket: the weather of a tower, day by day, through the water balance of its root zone."""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np
import pandas as pd

from ..arrays import Mask, Series
from .base import Made, Record, StandIn, StandInError
from .elevation import SEA_LEVEL
from .potential_evaporation import extraterrestrial_radiation, net_radiation, potential_evaporation
from .root_zone import CAPACITY, DAYS_OF_A_YEAR, DRAINAGE, RootZone, at_half_hours, soil_water_content

HALF_A_DAY = 0.5
"""Share of a day's intervals with a value that its mean or sum must rest on; otherwise the day counts as missing."""

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

    Rain of a day with missing intervals is scaled up from those that are there; other days with too few values take the mean
    of the record (of the rain as well).

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
    if measured_net_radiation and record.net_radiation is not None:
        columns["net_radiation"] = record.net_radiation

    middle = record.start + record.step / 2
    dates = middle.normalize()
    days = pd.date_range(dates[0], dates[-1], freq="D")
    frame = pd.DataFrame(columns, index=dates).astype(float)
    in_a_day = pd.Timedelta(days=1) / record.step
    grouped = frame.groupby(level=0)
    mean = grouped.mean().where(grouped.count() >= HALF_A_DAY * in_a_day).reindex(days)
    incomplete = mean[["shortwave_in", "air_temperature", "vapour_pressure", "rain"]].isna().any(axis=1).to_numpy()
    if incomplete.all():
        raise StandInError(f"{what} needs at least one whole day of weather")
    mean = mean.fillna(mean.mean())

    elevation = site.elevation or 0.0
    sky = extraterrestrial_radiation(days.day_of_year.to_numpy(float), site.latitude)
    temperature, shortwave = mean["air_temperature"].to_numpy(), np.maximum(mean["shortwave_in"].to_numpy(), 0.0)
    available = net_radiation(shortwave, temperature, mean["vapour_pressure"].to_numpy(), sky, elevation)
    if "net_radiation" in mean:
        own = grouped["net_radiation"].mean().where(grouped["net_radiation"].count() >= 0.9 * in_a_day)
        own = own.reindex(days).to_numpy()
        available = np.where(np.isfinite(own), own, available)
    measured = record.forcing.get("pressure")
    known = measured is not None and np.isfinite(measured).any()
    pressure = float(np.nanmedian(measured)) if measured is not None and known else SEA_LEVEL
    return DailyWeather(
        precipitation=mean["rain"].to_numpy() * in_a_day,
        potential_evaporation=potential_evaporation(available, temperature, pressure),
        air_temperature=temperature,
        incomplete=incomplete,
        day=((dates - days[0]) // pd.Timedelta(days=1)).to_numpy(),
        share=((middle - dates) / pd.Timedelta(days=1)).to_numpy(float),
    )


def make(
    record: Record, *, capacity: float, drainage: float, dry: float, wet: float, measured_net_radiation: bool
) -> Made:
    """Of rain, short-wave, temperature and humidity; see `RootZone`, `daily_weather` and `soil_water_content`.

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
        balance = RootZone(capacity, drainage)(*weather[:3])
        daily = np.asarray(soil_water_content(balance.water, capacity, dry, wet))
        start = float(soil_water_content(balance.start[:1], capacity, dry, wet)[0])
    remarks = ["irrigation, ground water and run-on are not in it"]
    if len(daily) < DAYS_OF_A_YEAR:
        remarks.append(f"the record has {len(daily)} days, so its start is no steady state of a year")
    else:
        rest = float(balance.water[DAYS_OF_A_YEAR - 1] - balance.start[0])
        if abs(rest) > STEADY:
            remarks.append(f"the first year is not steady ({rest:+.1f} mm of water over it)")
    if count := int(weather.incomplete.sum()):
        remarks.append(f"{count} of {len(daily)} days have too little weather and take the mean of the record")
    attributes = {
        "capacity": capacity, "drainage": drainage, "dry": dry, "wet": wet,
        "precipitation_mm_per_day": float(weather.precipitation.mean()),
        "potential_evaporation_mm_per_day": float(weather.potential_evaporation.mean()),
        "evaporation_mm_per_day": float(balance.evaporation.mean()),
        "drainage_mm_per_day": float(balance.drainage.mean()),
    }  # fmt: skip
    return Made(at_half_hours(daily, start, weather.day, weather.share), attributes, tuple(remarks))


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
