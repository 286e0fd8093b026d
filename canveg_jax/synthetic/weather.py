"""Invented weather, soil water and leaf area of one tower, shaped like the result of `read_tower`."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from ..io.arrays import Series
from ..io.humidity import saturation_vapour_pressure_kpa
from ..io.sun import sine_of_elevation
from ..io.timestamps import HALF_HOUR, middle_of_interval
from ..io.tower_dataset import Column, TowerTable, build_dataset
from ..physics.wind import DISPLACEMENT_RATIO, ROUGHNESS_RATIO
from ..site import Site
from .processes import autoregressive, damped_wave, rain_events, relax
from .sites import site_aridity
from .soil_water import evaporative_demand, soil_water_and_leaf_area
from .solar import clear_sky_shortwave, cloud_transmission, sky_longwave

PER_DAY = 48


def random_streams(seed: int) -> list[np.random.Generator]:
    """Independent generators for weather, noise and gaps: switching one off leaves the others as they are."""
    return [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(3)]


def synthetic_weather(
    site: Site, days: int, seed: int = 0, aridity: float | None = None, *, start: str = "2019-01-01"
) -> xr.Dataset:
    """Half-hourly forcing with diurnal and seasonal cycles, passing weather, rain, drying soil and leaf phenology.

    Everything is inside the ranges of `FORCING_TABLE`; vapour pressure stays below saturation, shortwave below its
    clear-sky value [Haurwitz1945]. The same seed gives the same numbers.

    Args:
        site: sets the sun, the hemisphere, wind and friction velocity (log law), depth of soil temperature.
        days: length of the record.
        seed: of `numpy.random`.
        aridity: 0 humid .. 1 arid; may be left out for `SYNTHETIC_SITES`.
        start: first day, local standard time.

    Returns:
        Dataset on `time` with all variables of `FORCING_TABLE`, `precipitation` and `forcing_complete`.

    Raises:
        ValueError: fewer than one day, or no valid aridity.
    """
    if days < 1:
        raise ValueError(f"synthetic_weather: days must be at least 1; got {days!r}.")
    dryness = site_aridity(site, aridity)
    begin = pd.date_range(start, periods=days * PER_DAY, freq=HALF_HOUR)
    forcing, rain = _forcing(site, begin, dryness, random_streams(seed)[0])
    columns = {name: Column(values, "synthetic") for name, values in forcing.items()}
    table = TowerTable(
        start=begin, step=HALF_HOUR, forcing=columns, targets={}, precipitation=Column(rain, "synthetic")
    )
    return build_dataset(table, {"format": "synthetic", "seed": seed, "aridity": dryness}, site)


def _forcing(
    site: Site, begin: pd.DatetimeIndex, aridity: float, rng: np.random.Generator
) -> tuple[dict[str, Series], Series]:
    """Forcing `[time]` by canonical name, and rain, mm per step."""
    size = len(begin)
    day, hour = middle_of_interval(begin, HALF_HOUR)
    sine = sine_of_elevation(day, hour, site)
    summer = np.cos(2 * np.pi * (day - 201.0) / 365.25) * (1.0 if site.latitude >= 0 else -1.0)

    front = autoregressive(rng, size, 2.5 * PER_DAY)
    rain = rain_events(rng, front > 0.3, PER_DAY, 0.4 * (1.0 - aridity) ** 1.5 + 0.06, 7.0)
    cover = 1.5 * front + 0.8 * autoregressive(rng, size, 6) + 0.4 - 2.4 * aridity
    cloud = np.where(rain > 0, 0.97, 1.0 / (1.0 + np.exp(-cover)))
    shortwave = clear_sky_shortwave(sine) * cloud_transmission(cloud)

    temperature = _air_temperature(site.latitude, summer, shortwave, aridity, rng)
    vapour = _vapour_pressure(temperature, summer, cloud, rain, aridity, rng)
    gust = 0.35 * autoregressive(rng, size, PER_DAY) + 0.25 * autoregressive(rng, size, 4)
    sunny = relax(np.maximum(sine, 0.0), 4.0)
    wind = np.clip(2.0 * np.exp(gust + 0.5 * sunny), 0.1, 30.0)
    friction = _friction_velocity(site, wind, sine, rng)
    warmth = relax(temperature, 5 * PER_DAY)
    demand = evaporative_demand(temperature, shortwave, 24.0 / PER_DAY)
    water, leaves = soil_water_and_leaf_area(demand, rain, warmth, PER_DAY, aridity)
    respired = relax(np.where(sine < 0, 8.0 / (friction + 0.1), 0.0), 6.0)
    return {
        "air_temperature": temperature,
        "shortwave_in": shortwave,
        "vapour_pressure": vapour,
        "wind_speed": wind,
        "co2": np.clip(410.0 - 4.0 * summer - 8.0 * sunny + respired, 330.0, 800.0),
        "pressure": 101.3 * np.exp(-1.4 * aridity / 8.4) * (1.0 - 0.005 * front),
        "friction_velocity": friction,
        "soil_temperature": np.clip(damped_wave(temperature, 1800.0, site.soil_depth), -39.0, 69.0),
        "soil_water_content": water,
        "lai": leaves,
        "longwave_in": sky_longwave(temperature, vapour, cloud),
        "observed_canopy_height": np.full(size, site.canopy_height),
    }, rain


def _air_temperature(
    latitude: float, summer: Series, shortwave: Series, aridity: float, rng: np.random.Generator
) -> Series:
    """Latitude and season, warm and cold air masses, and the day's sun with a lag of hours (degC)."""
    mean = 28.0 - 0.42 * abs(latitude) + 3.0 * aridity
    seasonal = (2.0 + 0.2 * abs(latitude)) * summer
    air_mass = 2.5 * autoregressive(rng, len(summer), 3 * PER_DAY)
    sun = relax(shortwave, 8.0) - relax(shortwave, 5 * PER_DAY)
    return np.clip(mean + seasonal + air_mass + 0.018 * (1.0 + 0.5 * aridity) * sun, -55.0, 55.0)


def _vapour_pressure(
    temperature: Series, summer: Series, cloud: Series, rain: Series, aridity: float, rng: np.random.Generator
) -> Series:
    """From a dew point below the last day's temperature, drier in arid summers, near saturation in rain (kPa)."""
    depression = 3.0 + 13.0 * aridity * (0.7 + 0.3 * summer) - 3.0 * relax(cloud, PER_DAY)
    dew = relax(temperature, PER_DAY) - depression + 1.5 * autoregressive(rng, len(temperature), 2 * PER_DAY)
    saturation = saturation_vapour_pressure_kpa(temperature)
    vapour = np.minimum(saturation_vapour_pressure_kpa(dew), 0.98 * saturation)
    return np.maximum(np.where(rain > 0, np.maximum(vapour, 0.93 * saturation), vapour), 0.0011)


def _friction_velocity(site: Site, wind: Series, sine: Series, rng: np.random.Generator) -> Series:
    """Neutral log law, raised by the sun and lowered in calm nights, with lognormal scatter (m s-1)."""
    height = site.measurement_height - DISPLACEMENT_RATIO * site.canopy_height
    neutral = 0.4 * wind / np.log(height / (ROUGHNESS_RATIO * site.canopy_height))
    unstable = 1.0 + 0.4 * np.maximum(sine, 0.0) / (1.0 + (wind / 3.0) ** 2)
    stable = 0.95 * wind**2 / (wind**2 + 1.0)
    daytime = np.clip(sine / 0.1, 0.0, 1.0)
    scatter = np.exp(0.12 * rng.standard_normal(len(wind)))
    return np.clip(neutral * (daytime * unstable + (1.0 - daytime) * stable) * scatter, 0.01, 5.0)
