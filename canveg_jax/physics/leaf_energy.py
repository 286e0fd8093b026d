"""Energy balance of a leaf, exact (spec 3 sections 4.2, 8.6 option N; decision 17).

`Q = 2 chi eps sigma T^4 + h2 (T - T_a) + k_E [e_s(T) - e_a]`: absorbed = emitted + sensible + latent.
"""

from typing import Any, NamedTuple

import jax

from .constants import AIR_SPECIFIC_HEAT, STEFAN_BOLTZMANN, VAPOUR_MASS_RATIO
from .elementary import inverse, ratio
from .thermodynamics import (
    air_density,
    latent_heat_of_vaporisation,
    saturation_vapour_pressure,
    saturation_vapour_pressure_derivative,
)

NEWTON_STEPS = 3
"""From a guess within 5 K of the solution: below 1e-9 K. A column that iterates needs 1 (its guess improves with it)."""


class LeafEnergy(NamedTuple):
    """Per one-sided leaf area: temperature K; sensible and latent heat W m-2, away from the leaf positive."""

    temperature: Any
    sensible_heat: Any
    latent_heat: Any
    emitted: Any


def vapour_conductance(stomatal, vapour_resistance, sides):
    """Leaf to air conductance to vapour, m s-1, of stomata on `sides` faces: `1/(r_v/sides + 1/g_s)`."""
    return inverse(ratio(vapour_resistance, sides) + inverse(stomatal))


def leaf_energy_balance(
    guess,
    absorbed,
    emissivity,
    air_temperature,
    vapour_pressure,
    pressure,
    heat_resistance,
    conductance,
    steps: int = NEWTON_STEPS,
) -> LeafEnergy:
    """Newton steps from `guess` on the leaf's energy balance.

    The last step carries the exact implicit derivative. A guess that is the solution is returned unchanged, so a column
    that iterates on leaf temperature closes each leaf's energy budget when it converges.

    Args:
        guess: leaf temperature to start from, K.
        absorbed: short- and long-wave radiation absorbed by both faces `Q`, W m-2.
        emissivity: `chi eps`, effective emissivity of one face.
        air_temperature: K. vapour_pressure: Pa. pressure: kPa.
        heat_resistance: of one face, s m-1; heat leaves through both.
        conductance: to vapour, m s-1, all faces together.
        steps: Newton steps, at least 1.
    """
    density = air_density(pressure, air_temperature)
    h2 = ratio(2.0 * AIR_SPECIFIC_HEAT * density, heat_resistance)
    k_e = (
        VAPOUR_MASS_RATIO / 1000.0
        * density * latent_heat_of_vaporisation(air_temperature) * conductance * inverse(pressure)
    )  # fmt: skip
    black = 2.0 * emissivity * STEFAN_BOLTZMANN

    def newton(t, frozen):
        a, b, h, k, ta, ea = frozen
        saturation = saturation_vapour_pressure(t)
        excess = a - b * t**4 - h * (t - ta) - k * (saturation - ea)
        slope = 4.0 * b * t**3 + h + k * saturation_vapour_pressure_derivative(t, saturation)
        return t + excess * inverse(jax.lax.stop_gradient(slope))

    inputs = (absorbed, black, h2, k_e, air_temperature, vapour_pressure)
    frozen = jax.lax.stop_gradient(inputs)
    t = jax.lax.stop_gradient(guess)
    for _ in range(steps - 1):
        t = newton(t, frozen)
    t = newton(t, inputs)
    return LeafEnergy(
        t, h2 * (t - air_temperature), k_e * (saturation_vapour_pressure(t) - vapour_pressure), black * t**4
    )
