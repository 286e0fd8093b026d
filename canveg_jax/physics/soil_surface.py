"""Energy balance of the soil surface: one scalar equation for its temperature (docs/decisions.md, 18 to 20).

Fluxes by resistances, as in [Baldocchi1998]; stability of the air over the soil after [Daamen1996].
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..types import Values
from .constants import AIR_SPECIFIC_HEAT, GRAVITY, STEFAN_BOLTZMANN, VAPOUR_MASS_RATIO, VON_KARMAN
from .elementary import inverse, logarithm, newton_or_midpoint, power, ratio
from .thermodynamics import latent_heat_of_vaporisation, saturation_vapour_pressure

STEPS = 14
"""Safeguarded Newton steps from the guess."""


class SoilSurface(NamedTuple):
    """Temperature K; fluxes W m-2: sensible and latent heat up, ground heat down."""

    temperature: Values
    sensible_heat: Values
    latent_heat: Values
    ground_heat: Values


class SoilInputs(NamedTuple):
    """Everything the surface balance reads.

    `absorbed`: radiation, W m-2; `emissivity` of the soil. Air of the soil's level: `air_temperature` K, `vapour_pressure` Pa,
    `wind` m s-1, at `height` m; `pressure` kPa; `density` kg m-3. Soil: `vapour_resistance` of the surface, s m-1; `conductance`
    of heat down to `deep_temperature` (K), W m-2 K-1; `heat_storage` of the soil in between, W m-2;
    `roughness` m; bounds of the aerodynamic resistance, s m-1.
    """

    absorbed: Values
    emissivity: Values
    air_temperature: Values
    vapour_pressure: Values
    wind: Values
    height: Values
    pressure: Values
    density: Values
    vapour_resistance: Values
    conductance: Values
    heat_storage: Values
    deep_temperature: Values
    roughness: Values
    resistance_min: Values
    resistance_max: Values


def stability_factor(delta: Values) -> Float[Array, "..."]:
    """Factor on the aerodynamic resistance over the soil, after [Daamen1996], continued to very stable air.

    Unstable `(1+delta)^-0.75 >= 0.1`; stable, `s = -delta`: `(1-s)^-2` to `s = 1/3`, then its tangent `6.75 s` to 5.
    """
    unstable = jnp.maximum(power(1.0 + jnp.maximum(delta, 0.0), -0.75), 0.1)
    s = jnp.maximum(-delta, 0.0)
    curved = inverse(1.0 - jnp.minimum(s, 1.0 / 3.0)) ** 2
    stable = jnp.where(s < 1.0 / 3.0, curved, jnp.minimum(6.75 * s, 5.0))
    return jnp.where(delta > 0, unstable, stable)


def surface_fluxes(temperature: Values, x: SoilInputs) -> SoilSurface:
    """Fluxes of the surface at a given temperature (K)."""
    aerodynamic = ratio(logarithm(ratio(x.height, x.roughness)) ** 2, VON_KARMAN**2 * x.wind)
    delta = ratio(5.0 * GRAVITY * x.height * (temperature - x.air_temperature), x.air_temperature * x.wind**2)
    resistance = jnp.clip(aerodynamic * stability_factor(delta), x.resistance_min, x.resistance_max)
    latent = ratio(VAPOUR_MASS_RATIO / 1000.0 * x.density * latent_heat_of_vaporisation(x.air_temperature), x.pressure)
    return SoilSurface(
        temperature=temperature,
        sensible_heat=ratio(x.density * AIR_SPECIFIC_HEAT, resistance) * (temperature - x.air_temperature),
        latent_heat=ratio(latent, resistance + x.vapour_resistance)
        * (saturation_vapour_pressure(temperature) - x.vapour_pressure),
        ground_heat=x.conductance * (temperature - x.deep_temperature) + x.heat_storage,
    )


def _excess(temperature: Values, x: SoilInputs) -> tuple[Array, Array]:
    """Absorbed radiation not accounted for at `temperature`, W m-2; falls with temperature. And its slope."""

    def f(t):
        fluxes = surface_fluxes(t, x)
        emitted = x.emissivity * STEFAN_BOLTZMANN * t**4
        return x.absorbed - emitted - fluxes.sensible_heat - fluxes.latent_heat - fluxes.ground_heat

    return jax.jvp(f, (temperature,), (jnp.ones_like(temperature),))


def soil_surface_balance(guess: Values, x: SoilInputs) -> SoilSurface:
    """Surface temperature at which absorbed radiation = emission + sensible + latent + ground heat.

    The balance is monotone in temperature, so the root is unique; safeguarded Newton in `air temperature - 80 .. + 120`,
    then one differentiable step (implicit derivative).

    Args:
        guess: surface temperature to start from, K.
    """
    # The iteration itself is not differentiated: at the root, one Newton step with a frozen slope has the exact derivative.
    frozen = jax.lax.stop_gradient(x)
    low, high = frozen.air_temperature - 80.0, frozen.air_temperature + 120.0

    def step(_, carry):
        t, low, high = carry
        return newton_or_midpoint(t, *_excess(t, frozen), low, high)

    start = jnp.clip(jax.lax.stop_gradient(guess), low, high)
    t = jax.lax.stop_gradient(jax.lax.fori_loop(0, STEPS, step, (start, low, high))[0])
    f, slope = _excess(t, x)
    return surface_fluxes(t - f * inverse(jax.lax.stop_gradient(slope)), x)
