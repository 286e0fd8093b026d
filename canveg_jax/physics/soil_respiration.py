"""Soil respiration: the two schemes of the published model [Jiang2025] (docs/decisions.md, 22)."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..parameters import Parameters
from ..types import Values
from .constants import ZERO_CELSIUS
from .elementary import power

_BETA1 = (-1.51316616076344, 0.673139978230031, -59.2947930385706, -3.33294857624960)
_BETA2 = (1.38034307225825, 3.73823712105636, 59.9066980644239, 1.36701108005293)
_BETA3 = (2.14475255616910, 19.9136298988773, 0.000987230986585085, 0.0569682453563841)


def soil_temperature_at(fraction: Values, surface_temperature: Values, deep_temperature: Values) -> Values:
    """Steady soil temperature, K, at the given fraction of the soil depth (0 = surface)."""
    return deep_temperature + (surface_temperature - deep_temperature) * (1.0 - fraction)


def q10_respiration(soil_temperature: Values, water_content: Values, p: Parameters) -> Values:
    """`q10a q10b^((T - 283.15)/10) theta^q10c`, umol m-2 s-1; zero in fully dry soil [Jiang2025].

    Args:
        soil_temperature: `T`, K.
        water_content: `theta`, m3 m-3.
        p: reads `q10a`, `q10b`, `q10c`.
    """
    return p.q10a * p.q10b ** ((soil_temperature - ZERO_CELSIUS - 10.0) / 10.0) * power(water_content, p.q10c)


def alfalfa_respiration(
    gross_assimilation: Values,
    leaf_respiration: Values,
    soil_temperature: Values,
    water_content: Values,
    canopy_height: Values,
) -> Float[Array, "..."]:
    """Regression on alfalfa by alternating conditional expectations, umol m-2 s-1, as in the published model [Jiang2025].

    Args:
        gross_assimilation: canopy assimilation plus leaf respiration, umol m-2 s-1.
        leaf_respiration: canopy leaf respiration, umol m-2 s-1, subtracted.
        soil_temperature: K, as published.
        water_content: m3 m-3.
        canopy_height: observed, m.
    """
    drivers = (gross_assimilation, soil_temperature, water_content, canopy_height)
    total = sum(a + b * x / (c + x) for a, b, c, x in zip(_BETA1, _BETA2, _BETA3, drivers, strict=True))
    total = jnp.asarray(total)
    return 4.846927939437475 + 2.22166756601498 * total - 0.0281417120818586 * total**2 - leaf_respiration
