"""Thermal conductivity and heat capacity of the soil, and its surface resistance to vapour (docs/decisions.md, 21).

Weighted conductivities of the parts of the soil [deVries1963] [Campbell1994]; resistance after [Kondo1990].
"""

import jax.numpy as jnp

from ..parameters import Parameters
from ..types import Values
from .elementary import inverse, power, ratio
from .thermodynamics import clausius_clapeyron_slope, molar_air_density


def thermal_conductivity(water_content: Values, air_temperature: Values, pressure: Values, p: Parameters) -> Values:
    """Thermal conductivity of the soil, W m-1 K-1: the weighting of [deVries1963] in the form of [Campbell1994].

    `sum_i w_i f_i lambda_i / sum_i w_i f_i` over mineral, air, water and organic parts of volume fractions `f_i`; the pores
    conduct more by the vapour that distils through them, the wetter the soil.

    Args:
        water_content: m3 m-3.
        air_temperature: K.
        pressure: kPa.
        p: reads `porosity`, `organic_fraction`, `mineral_conductivity`, `water_conductivity`,
            `organic_conductivity` (in the weight), `organic_conductivity_sum` (in the sum; published: the mineral one).
    """
    fourth = water_content**4
    wetness = ratio(fourth, fourth + 0.15**4)
    vapour = 44100.0 * 2.42e-5 * wetness * molar_air_density(pressure, air_temperature)
    air = 0.024 + ratio(vapour * clausius_clapeyron_slope(air_temperature), 1000.0 * pressure)
    fluid = air + wetness * (p.water_conductivity - air)

    def weight(conductivity: Values) -> Values:
        excess = ratio(conductivity, fluid) - 1.0
        return inverse(1.5 + 0.3 * excess) + inverse(3.0 + 1.8 * excess)

    mineral = (1.0 - p.porosity - p.organic_fraction) * weight(p.mineral_conductivity)
    pores = jnp.maximum(p.porosity - water_content, 0.0) * weight(air)
    water = water_content * weight(p.water_conductivity)
    organic = p.organic_fraction * weight(p.organic_conductivity)
    total = (
        mineral * p.mineral_conductivity
        + pores * air
        + water * p.water_conductivity
        + organic * p.organic_conductivity_sum
    )
    return ratio(total, mineral + pores + water + organic)


def volumetric_heat_capacity(water_content: Values, p: Parameters) -> Values:
    """Heat capacity of the soil, J m-3 K-1: that of its parts by volume, `1.94e6 f_m + 2.50e6 f_o + 4.19e6 theta` [deVries1963].

    Args:
        water_content: `theta`, m3 m-3.
        p: reads `porosity` and `organic_fraction` (`f_o`); the mineral part `f_m` is the rest.
    """
    mineral = 1.0 - p.porosity - p.organic_fraction
    return 1.94e6 * mineral + 2.50e6 * p.organic_fraction + 4.19e6 * water_content


def surface_vapour_resistance(water_content: Values, p: Parameters) -> Values:
    """Resistance of the soil surface to vapour, s m-1: `3e10 (0.395 - r theta)^16.6` [Kondo1990].

    Args:
        water_content: `theta`, m3 m-3.
        p: reads `surface_moisture_ratio`, the share `r` of that water that is at the surface.
    """
    dryness = jnp.maximum(0.395 - p.surface_moisture_ratio * water_content, 0.0)
    return 3e10 * power(dryness, 16.6)
