"""Position of the sun: declination by a single cosine, equation of time after [Campbell1998]."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..types import Values


def sine_of_solar_elevation(
    day_of_year: Values, hour: Values, latitude: Values, longitude: Values, utc_offset: Values
) -> Float[Array, "..."]:
    """Sine of the solar elevation, -1..1, negative at night; equation of time: eq. 11.4 of [Campbell1998].

    Args:
        day_of_year: 1..366; the whole day counts (docs/decisions.md, 1).
        hour: local standard time of the middle of the interval, decimal hours.
        latitude, longitude: degrees, north and east positive.
        utc_offset: hours east of UTC of the local standard time.
    """
    day = jnp.floor(day_of_year)
    declination = -23.45 * jnp.pi / 180 * jnp.cos(2 * jnp.pi * (day + 10.0) / 365)
    f = jnp.pi * (279.5 + 0.9856 * day) / 180
    equation_of_time = (
        -104.7 * jnp.sin(f) + 596.2 * jnp.sin(2 * f) + 4.3 * jnp.sin(3 * f) - 12.7 * jnp.sin(4 * f)
        - 429.3 * jnp.cos(f) - 2.0 * jnp.cos(2 * f) + 19.3 * jnp.cos(3 * f)
    ) / 3600  # fmt: skip
    solar_noon = 12.0 - 4.0 / 60.0 * (longitude - 15.0 * utc_offset) - equation_of_time
    hour_angle = jnp.pi * (hour - solar_noon) / 12.0
    phi = latitude * jnp.pi / 180
    return jnp.sin(phi) * jnp.sin(declination) + jnp.cos(phi) * jnp.cos(declination) * jnp.cos(hour_angle)
