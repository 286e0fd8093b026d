"""Multiplicative stress of Jarvis: soil water, air humidity and temperature each close the stomata [Jarvis1976]."""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..forcing import Forcing
from ..parameters import Parameters
from ..physics.constants import ZERO_CELSIUS
from ..physics.state import LeafEnvironment
from ..physics.thermodynamics import saturation_vapour_pressure
from .base import LOWEST_FACTOR, AbstractStress
from .soil_moisture import soil_moisture_stress


class Jarvis(AbstractStress):
    """The product `f_theta f_D f_T`, not below 0.001.

    `f_theta`: `soil_moisture_stress`. `f_D = 1 / (1 + D / D_half)` with the vapour pressure deficit `D` of the air, kPa, and
    `D_half` `jarvis_deficit`. `f_T = 1 - ((T - T_opt) / T_range)^2` with the air temperature `T`, degC,
    `jarvis_optimum_temperature` and `jarvis_temperature_range`. Light, which [Jarvis1976] has as a fourth factor, acts
    through photosynthesis here.
    """

    in_loop: ClassVar[bool] = False
    reads: ClassVar[tuple[str, ...]] = (
        "wilting_point",
        "field_capacity",
        "jarvis_deficit",
        "jarvis_optimum_temperature",
        "jarvis_temperature_range",
    )
    references: ClassVar[tuple[str, ...]] = ("Jarvis1976", "Wang1998")

    def __call__(self, forcing: Forcing, leaf: LeafEnvironment | None, parameters: Parameters) -> Float[Array, ""]:
        del leaf
        p = parameters
        saturation = saturation_vapour_pressure(forcing.air_temperature + ZERO_CELSIUS) / 1000.0
        deficit = jnp.maximum(saturation - forcing.vapour_pressure, 0.0)
        humidity = 1.0 / (1.0 + deficit / p.jarvis_deficit)
        distance = (forcing.air_temperature - p.jarvis_optimum_temperature) / p.jarvis_temperature_range
        temperature = jnp.maximum(1.0 - distance**2, 0.0)
        return jnp.maximum(soil_moisture_stress(forcing, p) * humidity * temperature, LOWEST_FACTOR)
