"""Where the sun is for the half-hours of a record (NumPy); the canopy has its own equation in `canveg_jax.physics.sun`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from ..site import Site
from .arrays import Series


class Place(NamedTuple):
    """Where a file says, or a user says, that a tower is: degrees north and east, and hours east of UTC of its clock."""

    latitude: float
    longitude: float
    utc_offset: float


def place_of(dataset: xr.Dataset, site: Site | None = None) -> Place | Site | None:
    """Where the tower of a dataset of `read_tower` is: the site, or what the file itself says; None if neither does."""
    if site is not None or not {"latitude", "longitude", "utc_offset"} <= dataset.attrs.keys():
        return site
    return Place(*(float(dataset.attrs[name]) for name in ("latitude", "longitude", "utc_offset")))


def sine_of_elevation(day_of_year: Series, hour: Series, place: Place | Site) -> Series:
    """Sine of the elevation of the sun, `[time]`, negative at night, by the Fourier series of [Spencer1971].

    Within 0.01 of an almanac (0.005 in leap years, in which the calendar lies about the mean).

    Args:
        day_of_year: `[time]`, of the middle of each interval.
        hour: `[time]`, local standard time; outside of 0..24 it counts on from the day that is given.
        place: latitude, longitude and offset.
    """
    hour = np.asarray(hour, dtype=np.float64) - place.utc_offset
    day = 2.0 * np.pi * (np.asarray(day_of_year, dtype=np.float64) - 1.0 + (hour - 12.0) / 24.0) / 365.0
    declination = (
        0.006918 - 0.399912 * np.cos(day) + 0.070257 * np.sin(day) - 0.006758 * np.cos(2 * day) + 0.000907 * np.sin(2 * day)
        - 0.002697 * np.cos(3 * day) + 0.00148 * np.sin(3 * day)
    )  # fmt: skip
    equation_of_time = 3.81972 * (
        0.000075
        + 0.001868 * np.cos(day)
        - 0.032077 * np.sin(day)
        - 0.014615 * np.cos(2 * day)
        - 0.040849 * np.sin(2 * day)
    )  # hours
    angle = np.pi * (hour + place.longitude / 15.0 + equation_of_time - 12.0) / 12.0
    latitude = np.radians(place.latitude)
    return np.sin(latitude) * np.sin(declination) + np.cos(latitude) * np.cos(declination) * np.cos(angle)
