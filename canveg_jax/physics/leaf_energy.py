"""Energy balance of a leaf, exact (docs/decisions.md, 17); the fluxes are those of [Baldocchi1998].

`Q = 2 chi eps sigma T^4 + h2 (T - T_a) + k_E [e_s(T) - e_a]`: absorbed = emitted + sensible + latent.
"""

from typing import NamedTuple

import jax

from ..types import Values
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
    """Per one-sided leaf area: temperature K; sensible, latent and emitted heat W m-2, away from the leaf positive."""

    temperature: Values
    sensible_heat: Values
    latent_heat: Values
    emitted: Values


def vapour_conductance(stomatal: Values, vapour_resistance: Values, sides: Values) -> Values:
    """Leaf to air conductance to vapour, m s-1, of stomata on `sides` faces: `1/(r_v/sides + 1/g_s)`.

    Args:
        stomatal: `g_s` of all faces together, m s-1.
        vapour_resistance: `r_v` of the boundary layer of one face, s m-1.
        sides: faces with stomata, 1 or 2.
    """
    return inverse(ratio(vapour_resistance, sides) + inverse(stomatal))


def leaf_energy_balance(
    guess: Values,
    absorbed: Values,
    emissivity: Values,
    *,
    air_temperature: Values,
    vapour_pressure: Values,
    pressure: Values,
    heat_resistance: Values,
    conductance: Values,
    steps: int = NEWTON_STEPS,
) -> LeafEnergy:
    """Newton steps from `guess` on the leaf's energy balance.

    The last step carries the exact implicit derivative. A guess that is the solution is returned unchanged, so a column
    that iterates on leaf temperature closes each leaf's energy budget when it converges.

    Args:
        guess: leaf temperature to start from, K.
        absorbed: short- and long-wave radiation absorbed by both faces `Q`, W m-2.
        emissivity: `chi eps`, effective emissivity of one face.
        air_temperature: K.
        vapour_pressure: of the air, Pa.
        pressure: kPa.
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

    # All steps but the last, and the slope of the last, are constants to the derivative: what remains of it is the derivative of
    # the balance over its slope, which at the solution is the implicit derivative.
    inputs = (absorbed, black, h2, k_e, air_temperature, vapour_pressure)
    frozen = jax.lax.stop_gradient(inputs)
    t = jax.lax.stop_gradient(guess)
    for _ in range(steps - 1):
        t = newton(t, frozen)
    t = newton(t, inputs)
    return LeafEnergy(
        temperature=t,
        sensible_heat=h2 * (t - air_temperature),
        latent_heat=k_e * (saturation_vapour_pressure(t) - vapour_pressure),
        emitted=black * t**4,
    )
