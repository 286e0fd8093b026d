"""Atmospheric stability and its effect on dispersion (spec 4 sections 7.2, 8.1; decisions 23, 24)."""

import jax.numpy as jnp

from .constants import AIR_SPECIFIC_HEAT, GRAVITY, VON_KARMAN
from .elementary import ratio

ZETA_MIN, ZETA_MAX = -3.0, 0.25


def stability_parameter(sensible_heat, height_above_displacement, density, air_temperature, friction_velocity):
    """`zeta = (z_m - d)/L` of the total sensible heat (W m-2, up), within [-3, 0.25]."""
    buoyancy = VON_KARMAN * GRAVITY * height_above_displacement * sensible_heat
    inertia = density * AIR_SPECIFIC_HEAT * air_temperature * friction_velocity**3
    return jnp.clip(ratio(-buoyancy, inertia), ZETA_MIN, ZETA_MAX)


def dispersion_factor(zeta, unstable, stable):
    """Factor `psi` on the neutral dispersion matrix: `a/(a - zeta)` in unstable, `1 - b zeta` in stable air."""
    return jnp.where(zeta < 0, ratio(unstable, unstable - jnp.minimum(zeta, 0.0)), 1.0 - stable * zeta)
