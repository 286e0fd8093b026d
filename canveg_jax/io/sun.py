"""Where the sun is, for the checks of clocks and places (NumPy); the canopy has its own in `canveg_jax.physics.sun`."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .arrays import Series


def sine_of_elevation(middle: pd.DatetimeIndex, latitude: float, longitude: float, utc_offset: float) -> Series:
    """Sine of the elevation of the sun, `[time]`, by the Fourier series of [Spencer1971] (within 0.5 degrees).

    Args:
        middle: local standard time of the middle of each interval.
        latitude: degrees north.
        longitude: degrees east.
        utc_offset: hours east of UTC of the local standard time.
    """
    hour = np.asarray(middle.hour + middle.minute / 60.0 + middle.second / 3600.0, dtype=np.float64)
    day = 2.0 * np.pi * (middle.day_of_year.to_numpy(dtype=np.float64) - 1.0 + (hour - 12.0) / 24.0) / 365.25
    declination = (
        0.006918 - 0.399912 * np.cos(day) + 0.070257 * np.sin(day) - 0.006758 * np.cos(2 * day) + 0.000907 * np.sin(2 * day)
        - 0.002697 * np.cos(3 * day) + 0.00148 * np.sin(3 * day)
    )  # fmt: skip
    equation_of_time = (24.0 / (2.0 * np.pi)) * (
        0.000075
        + 0.001868 * np.cos(day)
        - 0.032077 * np.sin(day)
        - 0.014615 * np.cos(2 * day)
        - 0.040849 * np.sin(2 * day)
    )  # hours
    solar_hour = hour - utc_offset + longitude / 15.0 + equation_of_time
    angle = np.pi * (solar_hour - 12.0) / 12.0
    place = np.radians(latitude)
    return np.sin(place) * np.sin(declination) + np.cos(place) * np.cos(declination) * np.cos(angle)
