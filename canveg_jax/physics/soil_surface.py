"""Energy balance of the soil surface: one scalar equation for its temperature (spec 4 section 3; decisions 18-20)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .constants import AIR_SPECIFIC_HEAT, GRAVITY, STEFAN_BOLTZMANN, VAPOUR_MASS_RATIO, VON_KARMAN
from .elementary import inverse, logarithm, newton_or_midpoint, power, ratio
from .thermodynamics import latent_heat_of_vaporisation, saturation_vapour_pressure

STEPS = 14
"""Safeguarded Newton steps from the guess."""


class SoilSurface(NamedTuple):
    """Temperature K; fluxes W m-2: sensible and latent heat up, ground heat down."""

    temperature: Any
    sensible_heat: Any
    latent_heat: Any
    ground_heat: Any


class SoilInputs(NamedTuple):
    """Everything the surface balance reads: absorbed radiation W m-2; air of the soil's level; soil properties."""

    absorbed: Any
    emissivity: Any
    air_temperature: Any
    vapour_pressure: Any
    wind: Any
    height: Any
    pressure: Any
    density: Any
    vapour_resistance: Any
    conductance: Any
    deep_temperature: Any
    roughness: Any
    resistance_min: Any
    resistance_max: Any


def stability_factor(delta):
    """Factor on the aerodynamic resistance over the soil, after Daamen & Simmonds (1996).

    Unstable `(1+delta)^-0.75 >= 0.1`; stable, `s = -delta`: `(1-s)^-2` to `s = 1/3`, then its tangent `6.75 s` to 5.
    """
    unstable = jnp.maximum(power(1.0 + jnp.maximum(delta, 0.0), -0.75), 0.1)
    s = jnp.maximum(-delta, 0.0)
    curved = inverse(1.0 - jnp.minimum(s, 1.0 / 3.0)) ** 2
    stable = jnp.where(s < 1.0 / 3.0, curved, jnp.minimum(6.75 * s, 5.0))
    return jnp.where(delta > 0, unstable, stable)


def surface_fluxes(temperature, x: SoilInputs) -> SoilSurface:
    """Fluxes of the surface at a given temperature (K)."""
    aerodynamic = ratio(logarithm(ratio(x.height, x.roughness)) ** 2, VON_KARMAN**2 * x.wind)
    delta = ratio(5.0 * GRAVITY * x.height * (temperature - x.air_temperature), x.air_temperature * x.wind**2)
    resistance = jnp.clip(aerodynamic * stability_factor(delta), x.resistance_min, x.resistance_max)
    latent = ratio(VAPOUR_MASS_RATIO / 1000.0 * x.density * latent_heat_of_vaporisation(x.air_temperature), x.pressure)
    return SoilSurface(
        temperature,
        ratio(x.density * AIR_SPECIFIC_HEAT, resistance) * (temperature - x.air_temperature),
        ratio(latent, resistance + x.vapour_resistance) * (saturation_vapour_pressure(temperature) - x.vapour_pressure),
        x.conductance * (temperature - x.deep_temperature),
    )


def _excess(temperature, x: SoilInputs):
    """Absorbed radiation not accounted for at `temperature`, W m-2; falls with temperature. And its slope."""

    def f(t):
        fluxes = surface_fluxes(t, x)
        emitted = x.emissivity * STEFAN_BOLTZMANN * t**4
        return x.absorbed - emitted - fluxes.sensible_heat - fluxes.latent_heat - fluxes.ground_heat

    return jax.jvp(f, (temperature,), (jnp.ones_like(temperature),))


def soil_surface_balance(guess, x: SoilInputs) -> SoilSurface:
    """Surface temperature at which absorbed radiation = emission + sensible + latent + ground heat.

    The balance is monotone in temperature, so the root is unique; safeguarded Newton in `air temperature - 80 .. + 120`,
    then one differentiable step (implicit derivative).
    """
    frozen = jax.lax.stop_gradient(x)
    low, high = frozen.air_temperature - 80.0, frozen.air_temperature + 120.0

    def step(_, carry):
        t, low, high = carry
        return newton_or_midpoint(t, *_excess(t, frozen), low, high)

    start = jnp.clip(jax.lax.stop_gradient(guess), low, high)
    t = jax.lax.stop_gradient(jax.lax.fori_loop(0, STEPS, step, (start, low, high))[0])
    f, slope = _excess(t, x)
    return surface_fluxes(t - f * inverse(jax.lax.stop_gradient(slope)), x)
