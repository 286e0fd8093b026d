"""Atmospheric stability and its effect on dispersion, after the published model [Jiang2025] (docs/decisions.md, 23 and 24)."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..types import Values
from .constants import AIR_SPECIFIC_HEAT, GRAVITY, VON_KARMAN
from .elementary import ratio

ZETA_MIN, ZETA_MAX = -3.0, 0.25
"""Range of the stability parameter."""


def stability_parameter(
    sensible_heat: Values,
    height_above_displacement: Values,
    density: Values,
    air_temperature: Values,
    friction_velocity: Values,
) -> Float[Array, "..."]:
    """`zeta = (z_m - d)/L = -k g (z_m - d) H / (rho c_p T u*^3)`, within [-3, 0.25]; negative in unstable air [Jiang2025].

    Args:
        sensible_heat: `H` of canopy and soil, W m-2, up.
        height_above_displacement: `z_m - d`, m.
        density: `rho`, kg m-3.
        air_temperature: `T`, K.
        friction_velocity: `u*`, m s-1.
    """
    buoyancy = VON_KARMAN * GRAVITY * height_above_displacement * sensible_heat
    inertia = density * AIR_SPECIFIC_HEAT * air_temperature * friction_velocity**3
    return jnp.clip(ratio(-buoyancy, inertia), ZETA_MIN, ZETA_MAX)


def dispersion_factor(zeta: Values, unstable: Values, stable: Values) -> Float[Array, "..."]:
    """Factor `psi` on the neutral dispersion matrix: `a/(a - zeta)` in unstable, `1 - b zeta` in stable air.

    Args:
        zeta: stability parameter.
        unstable, stable: `a`, `b`; the form is that of [Jiang2025] without its jump at neutral.
    """
    # The branch for unstable air must be finite in stable air too, hence the minimum.
    return jnp.where(zeta < 0, ratio(unstable, unstable - jnp.minimum(zeta, 0.0)), 1.0 - stable * zeta)
