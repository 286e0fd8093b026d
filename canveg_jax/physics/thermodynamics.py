"""Saturation vapour pressure, latent heat, air density, as in the published model [Jiang2025] (docs/decisions.md, 17)."""

import jax.numpy as jnp

from ..types import Values
from .constants import AIR_MOLAR_MASS, GAS_CONSTANT
from .elementary import inverse, logarithm, ratio
from .saturation import LOGARITHMIC, PER_KELVIN, saturation_vapour_pressure_hpa


def saturation_vapour_pressure(temperature: Values) -> Values:
    """Saturation vapour pressure over water, Pa, of a temperature in K: `100 exp(54.878 - 6790.5/T - 5.028 ln T)` [Jiang2025]."""
    return 100.0 * saturation_vapour_pressure_hpa(temperature, exp=jnp.exp, log=logarithm, divide=ratio)


def saturation_vapour_pressure_derivative(temperature: Values, saturation: Values) -> Values:
    """Exact derivative of `saturation_vapour_pressure`, Pa K-1; `saturation` is its value at `temperature` (K)."""
    per_kelvin = inverse(temperature)
    return saturation * (PER_KELVIN * per_kelvin - LOGARITHMIC) * per_kelvin


def latent_heat_of_vaporisation(temperature: Values) -> Values:
    """Latent heat of vaporisation, J kg-1, of a temperature in K. Over water at all temperatures: no jump at freezing."""
    return 3149000.0 - 2370.0 * temperature


def clausius_clapeyron_slope(temperature: Values) -> Values:
    """Slope of saturation vapour pressure after Clausius and Clapeyron, `M lambda e_s / (R T^2)`, Pa K-1, `M` = 18 g mol-1.

    Args:
        temperature: `T`, K.
    """
    saturation = saturation_vapour_pressure(temperature)
    return ratio(18.0 * latent_heat_of_vaporisation(temperature) * saturation, 1000.0 * GAS_CONSTANT * temperature**2)


def air_density(pressure: Values, temperature: Values) -> Values:
    """Density of dry air, kg m-3, from pressure in kPa and temperature in K: `P M / (R T)`."""
    return ratio(pressure * AIR_MOLAR_MASS, GAS_CONSTANT * temperature)


def molar_air_density(pressure: Values, temperature: Values) -> Values:
    """Density of air, mol m-3, from pressure in kPa and temperature in K."""
    return 1000.0 * air_density(pressure, temperature) / AIR_MOLAR_MASS


def molar_conversion(pressure: Values) -> Values:
    """Factor `phi`, mol-1 m3 K-1: conductance in m s-1 = conductance in mol m-2 s-1 * temperature * phi; pressure in kPa.

    With the constants of the published model [Jiang2025], which make it 0.9 % larger than `R/P`.
    """
    return ratio(101.3 * 0.022624, 273.15 * pressure)
