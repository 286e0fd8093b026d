"""Long-wave from the sky: a clear sky of its humidity, and clouds as the short-wave of the day shows them, at night as well."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ...physics.constants import SOLAR_CONSTANT, STEFAN_BOLTZMANN, ZERO_CELSIUS
from ..arrays import Numbers, Series
from ..sun import sine_of_elevation
from ..timestamps import middle_of_interval
from .base import Made, Record, StandIn

CLEAR_TRANSMISSION = 0.75
"""Share of the radiation above the atmosphere that a clear sky lets through at sea level [Allen1998]."""

LOWEST_SUN = 0.1
"""Sine of the elevation below which the short-wave says little of clouds."""

LEAST_CLEARNESS = 0.05


def clear_sky_emissivity(air_temperature: Series, vapour_pressure: Series) -> Numbers:
    """Emissivity of a clear sky, `1 - (1 + w) exp(-sqrt(1.2 + 3 w))`, `w = 46.5 e / T` cm of water above [Prata1996].

    Args:
        air_temperature: `T`, K.
        vapour_pressure: `e`, hPa.
    """
    water = 46.5 * vapour_pressure / air_temperature
    return 1.0 - (1.0 + water) * np.exp(-np.sqrt(1.2 + 3.0 * water))


def clearness_of_the_day(start: pd.DatetimeIndex, shortwave_in: Series, sine: Series, hours: float = 24.0) -> Numbers:
    """Short-wave over that of a clear sky, sums over so many hours about each half-hour, within 0.05 and 1; missing where no
    half-hour with the sun up was measured.

    Args:
        start: `[time]`.
        shortwave_in: `[time]`, W m-2.
        sine: `[time]`, of the sun's elevation.
        hours: width of the window.
    """
    used = (sine > LOWEST_SUN) & np.isfinite(shortwave_in)
    clear = CLEAR_TRANSMISSION * SOLAR_CONSTANT * sine
    measured, possible = (
        np.asarray(pd.Series(np.where(used, column, 0.0), index=start).rolling(f"{hours}h", center=True).sum(), float)
        for column in (shortwave_in, clear)
    )
    known = possible > 1.0
    ratio = measured / np.where(known, possible, 1.0)
    return np.where(known, np.clip(ratio, LEAST_CLEARNESS, 1.0), np.nan)


def longwave(air_temperature: Series, vapour_pressure: Series, clearness: Series) -> Numbers:
    """`sigma T**4 ((1 - s) + s e0)`: clouds shine like a black body at air temperature [Crawford1999].

    Args:
        air_temperature: `T`, degC.
        vapour_pressure: kPa.
        clearness: `s`, 0 .. 1; `e0` is `clear_sky_emissivity`.
    """
    kelvin = np.asarray(air_temperature) + ZERO_CELSIUS
    emissivity = clear_sky_emissivity(kelvin, 10.0 * np.asarray(vapour_pressure))
    return STEFAN_BOLTZMANN * kelvin**4 * (1.0 - clearness + clearness * emissivity)


def make(record: Record, hours: float) -> Made:
    """See `longwave`. Half-hours of days without light (a polar night) have none.

    Raises:
        StandInError: no site, air temperature, vapour pressure or short-wave.
    """
    what = "longwave_in by the cloud of the day"
    temperature, vapour = record.series("air_temperature", what), record.series("vapour_pressure", what)
    shortwave, site = record.series("shortwave_in", what), record.place(what)
    day, hour = middle_of_interval(record.start, record.step)
    clearness = clearness_of_the_day(record.start, shortwave, sine_of_elevation(day, hour, site), hours)
    return Made(longwave(temperature, vapour, clearness))


CLOUD_OF_THE_DAY = StandIn(
    variable="longwave_in",
    method="cloud_of_the_day",
    meaning="a clear sky of its humidity, clouds by the short-wave of the day",
    make=make,
    parameters={"hours": 24.0},
    by_default=False,
)
