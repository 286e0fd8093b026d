"""Wind profile in the canopy (Cionco 1965; spec 3 section 3.1)."""

import jax.numpy as jnp

DISPLACEMENT_RATIO = 0.6
ROUGHNESS_RATIO = 0.1


def wind_profile(wind_speed, heights, canopy_height, measurement_height, extinction):
    """Wind at canopy heights, m s-1, from the wind at measurement height.

    Neutral logarithmic profile above the canopy, `exp(extinction (z/h - 1))` inside.

    Args:
        wind_speed: m s-1 at `measurement_height` (floored by the caller).
        heights: `[N]`, m, not above `canopy_height`.
    """
    displacement = DISPLACEMENT_RATIO * canopy_height
    roughness = ROUGHNESS_RATIO * canopy_height
    at_top = (
        wind_speed
        * jnp.log((canopy_height - displacement) / roughness)
        / jnp.log((measurement_height - displacement) / roughness)
    )
    return at_top * jnp.exp(extinction * (heights / canopy_height - 1.0))
