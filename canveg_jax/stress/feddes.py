"""Soil-moisture stress of Feddes: dry roots and roots without air [Feddes1978]."""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..forcing import Forcing
from ..parameters import Parameters
from ..physics.state import LeafEnvironment
from .base import LOWEST_FACTOR, AbstractStress


class Feddes(AbstractStress):
    """A trapezoid in soil water: 0 at the wilting point, 1 from the critical to the wet moisture, 0 at saturation.

    `min((theta - theta_w) / (theta_c - theta_w), (n - theta) / (n - theta_a), 1)`, not below 0.001, with `theta`
    `soil_water_content`, `theta_w` `wilting_point`, `theta_c` `feddes_critical_moisture`, `theta_a` `feddes_wet_moisture` and `n`
    `porosity`, m3 m-3. [Feddes1978] writes it in pressure head; here it is written in water content, which towers
    measure, so the corners are those of the soil at hand.
    """

    in_loop: ClassVar[bool] = False
    reads: ClassVar[tuple[str, ...]] = ("wilting_point", "feddes_critical_moisture", "feddes_wet_moisture")
    references: ClassVar[tuple[str, ...]] = ("Feddes1978",)

    def __call__(self, forcing: Forcing, leaf: LeafEnvironment | None, parameters: Parameters) -> Float[Array, ""]:
        del leaf
        p, theta = parameters, forcing.soil_water_content
        dry = (theta - p.wilting_point) / jnp.maximum(p.feddes_critical_moisture - p.wilting_point, SHORTEST_RAMP)
        wet = (p.porosity - theta) / jnp.maximum(p.porosity - p.feddes_wet_moisture, SHORTEST_RAMP)
        return jnp.clip(jnp.minimum(dry, wet), LOWEST_FACTOR, 1.0)


SHORTEST_RAMP = 0.01
"""m3 m-3; corners that training moves closer together, or past each other, make a steep ramp instead of a division by zero."""
