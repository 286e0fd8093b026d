"""Stomatal conductance as a function of assimilation: Ball-Berry, Medlyn, Leuning.

All three have the form

    g_sw = g0 + m max(A, 0) / (c_s - Gamma)

with the net assimilation `A`, the CO2 at the leaf surface `c_s` and an intercept `g0` (`bprime`). An equation of this file gives
`g0`, `m` and `Gamma`; `gas_exchange` solves them together with photosynthesis. They differ in how `m` falls in dry air, and in
`Gamma`, which only Leuning has. The stress factor multiplies the part of the slope that answers to water (docs/decisions.md, 16).
"""

from typing import NamedTuple, Protocol

import jax.numpy as jnp

from ..parameters import Parameters
from ..types import Values
from .elementary import inverse, ratio, root

LOWEST_DEFICIT = 0.05
"""kPa; Medlyn's conductance is that of this deficit in more humid air, where its formula grows without bound."""
DIFFUSIVITY_RATIO = 1.6
"""Diffusivity of water vapour over that of CO2 in air."""


class Stomata(NamedTuple):
    """Stomatal conductance to water vapour, `g_sw = intercept + slope max(A, 0) / (c_s - compensation)`.

    `intercept` mol m-2 s-1; `slope` dimensionless; `compensation` umol mol-1, None for 0.
    """

    intercept: Values
    slope: Values
    compensation: Values | None = None


class ConductanceEquation(Protocol):
    """What a stomatal equation reads of a leaf.

    Args:
        humidity: vapour pressure of the air over saturation at leaf temperature, (0, 1].
        deficit: saturation vapour pressure at leaf temperature minus vapour pressure of the air, kPa; may be below 0.
        stress: factor in (0, 1].
        compensation: CO2 compensation point without dark respiration (`Kinetics.gamma`), umol mol-1.
        p: parameters.
    """

    def __call__(
        self, *, humidity: Values, deficit: Values, stress: Values, compensation: Values, p: Parameters
    ) -> Stomata: ...


def ball_berry(*, humidity: Values, deficit: Values, stress: Values, compensation: Values, p: Parameters) -> Stomata:
    """`g_sw = g0 + kball (stress h) A / c_s`, `h` relative humidity at the leaf [Ball1987], [Collatz1991]."""
    return Stomata(intercept=p.bprime, slope=p.kball * (humidity * stress))


def medlyn(*, humidity: Values, deficit: Values, stress: Values, compensation: Values, p: Parameters) -> Stomata:
    """`g_sw = g0 + 1.6 (1 + stress g1 / sqrt(D)) A / c_s`, `g1` = `medlyn_slope` [Medlyn2011].

    `D` is the deficit, not below `LOWEST_DEFICIT`. With `stress -> 0` the ratio of internal to surface CO2 goes to 0 (for
    `g0 = 0` it is `stress g1 / (stress g1 + sqrt(D))`), and so do assimilation and conductance.
    """
    openness = ratio(p.medlyn_slope * stress, root(jnp.maximum(deficit, LOWEST_DEFICIT)))
    return Stomata(intercept=p.bprime, slope=DIFFUSIVITY_RATIO * (1.0 + openness))


def leuning(*, humidity: Values, deficit: Values, stress: Values, compensation: Values, p: Parameters) -> Stomata:
    """`g_sw = g0 + stress a1 A / ((c_s - Gamma) (1 + D / D0))`, `a1` = `leuning_slope`, `D0` = `leuning_deficit` [Leuning1995].

    `a1` is that of the conductance to water vapour, 1.6 times the one of a conductance to CO2. `D` is the deficit, not below 0;
    `Gamma` the compensation point without dark respiration (docs/decisions.md, 16).
    """
    closing = inverse(1.0 + ratio(jnp.maximum(deficit, 0.0), p.leuning_deficit))
    return Stomata(intercept=p.bprime, slope=p.leuning_slope * stress * closing, compensation=compensation)


CONDUCTANCES: dict[str, ConductanceEquation] = {"ball_berry": ball_berry, "medlyn": medlyn, "leuning": leuning}
"""The equations by the name that `Canopy` takes."""
