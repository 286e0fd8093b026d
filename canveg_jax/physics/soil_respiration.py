"""Soil respiration: the two published schemes (spec 4 section 4; decision 22)."""

import jax.numpy as jnp

from .constants import ZERO_CELSIUS
from .elementary import power

_BETA1 = (-1.51316616076344, 0.673139978230031, -59.2947930385706, -3.33294857624960)
_BETA2 = (1.38034307225825, 3.73823712105636, 59.9066980644239, 1.36701108005293)
_BETA3 = (2.14475255616910, 19.9136298988773, 0.000987230986585085, 0.0569682453563841)


def soil_temperature_at(fraction, surface_temperature, deep_temperature):
    """Steady soil temperature, K, at the given fraction of the soil depth."""
    return deep_temperature + (surface_temperature - deep_temperature) * (1.0 - fraction)


def q10_respiration(soil_temperature, water_content, p):
    """`q10a q10b^((T - 283.15)/10) theta^q10c`, umol m-2 s-1; soil temperature in K. Zero in fully dry soil."""
    return p.q10a * p.q10b ** ((soil_temperature - ZERO_CELSIUS - 10.0) / 10.0) * power(water_content, p.q10c)


def alfalfa_respiration(gross_assimilation, leaf_respiration, soil_temperature, water_content, canopy_height):
    """Regression on alfalfa by alternating conditional expectations (Baldocchi), umol m-2 s-1.

    Args:
        gross_assimilation: canopy assimilation plus leaf respiration, umol m-2 s-1.
        leaf_respiration: canopy leaf respiration, umol m-2 s-1, subtracted.
        soil_temperature: K, as published. canopy_height: observed, m.
    """
    drivers = (gross_assimilation, soil_temperature, water_content, canopy_height)
    total = sum(a + b * x / (c + x) for a, b, c, x in zip(_BETA1, _BETA2, _BETA3, drivers, strict=True))
    total = jnp.asarray(total)
    return 4.846927939437475 + 2.22166756601498 * total - 0.0281417120818586 * total**2 - leaf_respiration
