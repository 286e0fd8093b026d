"""Leaf biochemistry: temperature responses and the two limits of photosynthesis.

[Farquhar1980]; light response and peaked temperature function after [Harley1995];
specificity after [Roupsard1996]. See docs/decisions.md, 15.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..parameters import Parameters
from ..types import Values
from .constants import GAS_CONSTANT, ZERO_CELSIUS
from .elementary import ratio, root

KINETICS_RANGE = (255.0, 330.0)
"""K; leaf temperature is clipped to this range in the kinetics (the specificity polynomials fail beyond 340 K)."""


class Kinetics(NamedTuple):
    """Rates of a leaf at its temperature and light, umol m-2 s-1 (leaf area) or umol mol-1.

    Both limits have the form `W(ci) = a (ci - gamma) / (e ci + b)`:
    Rubisco `a = vm, e = 1, b = kco`; light `a = j, e = 4, b = 8 gamma`.
    """

    vm: Values
    kco: Values
    j: Values
    gamma: Values
    dark_respiration: Values


def arrhenius(rate: Values, energy: Values, temperature: Values, reference: Values) -> Values:
    """`rate exp[(T - T_ref) E / (T_ref R T)]`."""
    return rate * jnp.exp(ratio((temperature - reference) * energy, reference * GAS_CONSTANT * temperature))


def peaked_response(rate: Values, energy: Values, optimum: Values, deactivation: Values, temperature: Values) -> Values:
    """Boltzmann-type response with value `rate` at `optimum` (K); `energy`, `deactivation` in J mol-1."""
    xi = ratio(temperature - optimum, GAS_CONSTANT * optimum * temperature)
    return ratio(rate * deactivation * jnp.exp(energy * xi), deactivation - energy * (1.0 - jnp.exp(deactivation * xi)))


def co2_compensation_point(temperature: Values, oxygen: Values) -> Values:
    """Photorespiratory compensation point, umol mol-1, from the CO2/O2 specificity of Rubisco."""
    x = temperature - ZERO_CELSIUS
    co2_solubility = 78.5e-3 + x * (-2.89e-3 + x * (54.7e-6 - x * 0.417e-6))
    o2_solubility = 2.1e-3 + x * (-57.1e-6 + x * (1.024e-6 - x * 7.503e-9))
    return ratio(500.0 / 102.0 * oxygen * o2_solubility, co2_solubility)


def light_inhibited_respiration(dark_respiration: Values, absorbed_par: Values, p: Parameters) -> Values:
    """Respiration in light: a logistic suppression by the share `light_inhibition` around `light_inhibition_par`."""
    lit = jax.nn.sigmoid(ratio(absorbed_par - p.light_inhibition_par, p.light_inhibition_width))
    return dark_respiration * (1.0 - p.light_inhibition * lit)


def kinetics(leaf_temperature: Values, absorbed_par: Values, p: Parameters) -> Kinetics:
    """Rates of a leaf at `leaf_temperature` (K) that absorbs `absorbed_par` (umol m-2 s-1)."""
    t = jnp.clip(leaf_temperature, *KINETICS_RANGE)
    kc = arrhenius(p.kc25, p.ekc, t, p.tk_25)
    jm = peaked_response(p.jmopt, p.ejm, p.toptjm, p.hkin, t)
    vm = peaked_response(p.vcopt, p.evc, p.toptvc, p.hkin, t)
    dark = arrhenius(p.dark_respiration_ratio * p.vcopt, p.erd, t, p.tk_25)
    electrons = p.qalpha * absorbed_par
    return Kinetics(
        vm=vm,
        kco=kc * (1.0 + ratio(101.3 * p.o2, 100.0 * p.ko25)),
        j=ratio(electrons, root(1.0 + ratio(electrons, jm) ** 2)),
        gamma=co2_compensation_point(t, p.o2),
        dark_respiration=light_inhibited_respiration(dark, absorbed_par, p),
    )
