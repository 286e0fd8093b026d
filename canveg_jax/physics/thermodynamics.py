"""Saturation vapour pressure, latent heat, air density (spec 3 section 2; decision 17)."""

import jax.numpy as jnp

from .constants import AIR_MOLAR_MASS, GAS_CONSTANT
from .elementary import inverse, logarithm, ratio
from .saturation import LOGARITHMIC, PER_KELVIN, saturation_vapour_pressure_hpa


def saturation_vapour_pressure(temperature):
    """Saturation vapour pressure over water, Pa, of a temperature in K: `100 exp(54.878 - 6790.5/T - 5.028 ln T)`."""
    return 100.0 * saturation_vapour_pressure_hpa(temperature, exp=jnp.exp, log=logarithm, divide=ratio)


def saturation_vapour_pressure_derivative(temperature, saturation):
    """Exact derivative of `saturation_vapour_pressure`, Pa K-1; `saturation` is its value at `temperature`."""
    per_kelvin = inverse(temperature)
    return saturation * (PER_KELVIN * per_kelvin - LOGARITHMIC) * per_kelvin


def latent_heat_of_vaporisation(temperature):
    """Latent heat of vaporisation, J kg-1, of a temperature in K (no jump at freezing: spec 3 D23)."""
    return 3149000.0 - 2370.0 * temperature


def clausius_clapeyron_slope(temperature):
    """Slope of saturation vapour pressure after Clausius and Clapeyron, Pa K-1 (spec 3 section 2, with M = 18)."""
    saturation = saturation_vapour_pressure(temperature)
    return ratio(18.0 * latent_heat_of_vaporisation(temperature) * saturation, 1000.0 * GAS_CONSTANT * temperature**2)


def air_density(pressure, temperature):
    """Air density, kg m-3, from pressure in kPa and temperature in K."""
    return ratio(pressure * AIR_MOLAR_MASS, GAS_CONSTANT * temperature)


def molar_air_density(pressure, temperature):
    """Air density, mol m-3, from pressure in kPa and temperature in K."""
    return 1000.0 * air_density(pressure, temperature) / AIR_MOLAR_MASS


def molar_conversion(pressure):
    """Factor `phi`, mol-1 m3 K-1: conductance in m s-1 = conductance in mol m-2 s-1 * temperature * phi.

    Published constants (0.9 % larger than R/P, spec 3 D17); pressure in kPa.
    """
    return ratio(101.3 * 0.022624, 273.15 * pressure)
