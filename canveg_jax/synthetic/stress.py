"""The KNOWN stomatal stress behind synthetic towers, in JAX, so that the canopy can use it as it stands."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ..forcing import Forcing
from ..parameters import Parameters
from ..physics.constants import ZERO_CELSIUS
from ..physics.state import LeafEnvironment, Leaves
from ..physics.thermodynamics import saturation_vapour_pressure
from ..stress import AbstractStress
from ..types import Scalar

HALF_STRESS_WATER = 0.12
"""m3 m-3; soil water at which the water factor is 1/2."""

WATER_WIDTH = 0.02
"""m3 m-3; from 0.27 to 0.73 of the water factor is two widths."""

HALF_STRESS_DEFICIT = 8.0
"""kPa; vapour pressure deficit at which the deficit factor is 1/2."""


def known_stress(
    soil_water_content: Float[ArrayLike, "*shape"], vapour_pressure_deficit: Float[ArrayLike, "*shape"]
) -> Float[Array, "*shape"]:
    """Stress factor in (0, 1]: logistic in soil water times a mild hyperbola in vapour pressure deficit.

    `f = 1 / (1 + exp(-(theta - 0.12) / 0.02)) * 1 / (1 + max(D, 0) / 8)`: smooth in both, increasing in soil water,
    decreasing in the deficit. Accepts NumPy and JAX arrays; differentiable.

    Args:
        soil_water_content: m3 m-3, any shape.
        vapour_pressure_deficit: kPa (negative counts as 0), of the same shape.
    """
    water = jax.nn.sigmoid((jnp.asarray(soil_water_content) - HALF_STRESS_WATER) / WATER_WIDTH)
    return water / (1.0 + jnp.maximum(jnp.asarray(vapour_pressure_deficit), 0.0) / HALF_STRESS_DEFICIT)


def known_canopy_stress(forcing: Forcing, parameters: Parameters) -> Scalar:
    """`known_stress` with the signature of a canopy's stress: `stress(forcing, parameters)` of one half-hour."""
    del parameters
    saturation = saturation_vapour_pressure(forcing.air_temperature + ZERO_CELSIUS) / 1000.0
    return known_stress(forcing.soil_water_content, saturation - forcing.vapour_pressure)


class KnownLeafStress(AbstractStress):
    """A known stress in the loop: each leaf closes its stomata with dry soil, and with the deficit that it feels itself.

    `f = (0.1 + 0.9 / (1 + exp(-(theta - 0.1) / 0.025))) / (1 + D / 6)`, with the vapour pressure deficit `D` at the leaf, kPa. It
    stays above what the driest of the synthetic towers needs to have a latent heat that can be seen.
    """

    in_loop: ClassVar[bool] = True

    def __call__(self, forcing: Forcing, leaf: LeafEnvironment | None, parameters: Parameters) -> Leaves:
        del parameters
        assert leaf is not None  # the solver calls it with the state of the leaves
        water = 0.1 + 0.9 * jax.nn.sigmoid((forcing.soil_water_content - 0.1) / 0.025)
        return water / (1.0 + leaf.vapour_pressure_deficit / 6.0)
