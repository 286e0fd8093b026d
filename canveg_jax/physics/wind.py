"""Wind profile in the canopy, exponential below its top [Cionco1965]."""

import jax.numpy as jnp

from ..types import Layers, Values

DISPLACEMENT_RATIO = 0.6
"""Displacement height over canopy height."""
ROUGHNESS_RATIO = 0.1
"""Roughness length over canopy height."""


def wind_profile(
    wind_speed: Values, heights: Layers, canopy_height: Values, measurement_height: Values, extinction: Values
) -> Layers:
    """Wind at canopy heights, m s-1, from the wind at measurement height.

    Neutral logarithmic profile above the canopy of height `h`, `exp(extinction (z/h - 1))` inside [Cionco1965].

    Args:
        wind_speed: m s-1 at `measurement_height` (floored by the caller).
        heights: `z`, m, not above `canopy_height`.
        canopy_height, measurement_height: m above the ground.
        extinction: of the wind in the canopy, dimensionless.
    """
    displacement = DISPLACEMENT_RATIO * canopy_height
    roughness = ROUGHNESS_RATIO * canopy_height
    at_top = (
        wind_speed
        * jnp.log((canopy_height - displacement) / roughness)
        / jnp.log((measurement_height - displacement) / roughness)
    )
    return at_top * jnp.exp(extinction * (heights / canopy_height - 1.0))
