"""The sun of a site for the half-hours of a record: the model's own equation, for NumPy."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from ..physics.sun import sine_of_solar_elevation
from ..site import Site
from .arrays import Series


def sine_of_elevation(day_of_year: Series, hour: Series, site: Site) -> Series:
    """Sine of the solar elevation `[time]`, negative at night.

    Args:
        day_of_year: `[time]`, of the middle of each interval.
        hour: `[time]`, local standard time; may leave 0..24, the day stays the one given.
        site: latitude, longitude and offset.
    """
    place = (jnp.asarray(number) for number in (site.latitude, site.longitude, site.utc_offset))
    return np.asarray(sine_of_solar_elevation(jnp.asarray(day_of_year), jnp.asarray(hour), *place), dtype=float)
