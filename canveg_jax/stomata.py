"""Photosynthesis coupled to Ball-Berry stomata: one equation, one root (spec 3 section 8; decision 16).

For a trial net rate `A`: `c_s = c_a - A/g`, `g_sc = b + kappa max(A, 0)/c_s`, `c_i = c_s - A/g_sc`; the root of
`f(A) = W(max(c_i, 0)) - R_d - A` is unique because `f' <= -1`. With the hard minimum of the two limits the answer is
the smaller of the two solutions.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .photosynthesis import Kinetics

NEWTON_STEPS = 9
"""Safeguarded steps from a quadratic start: error below 1e-13 umol m-2 s-1 for bprime >= 1e-3 (docs/numerics.md)."""
SMOOTH_NEWTON_STEPS = 14
CURVATURE = 0.98
"""Curvature of the smooth co-limitation option (Collatz et al. 1991)."""


class LeafGasExchange(NamedTuple):
    """Gas exchange per one-sided leaf area.

    `net`: net assimilation, umol m-2 s-1, uptake positive; `conductance`: stomatal conductance to water vapour,
    mol m-2 s-1; `ci`, `cs`: CO2 inside the leaf and at its surface, umol mol-1.
    """

    net: Any
    conductance: Any
    ci: Any
    cs: Any


class _Supply(NamedTuple):
    ca: Any
    g: Any
    intercept: Any
    kappa: Any


def gas_exchange(
    rates: Kinetics, ca, boundary_conductance, humidity, slope, intercept, smooth: bool = False
) -> LeafGasExchange:
    """Solve assimilation and stomatal conductance together.

    Args:
        rates: from `kinetics`.
        ca: CO2 of the leaf's air, umol mol-1.
        boundary_conductance: to CO2, both faces that carry stomata together, mol m-2 s-1.
        humidity: humidity term of the Ball-Berry equation, stress included, (0, 1].
        slope, intercept: `kball`, and `bprime` in mol m-2 s-1 (water vapour).
        smooth: quadratic co-limitation instead of the hard minimum.
    """
    supply = _Supply(ca, boundary_conductance, intercept / 1.6, slope * humidity / 1.6)
    rubisco = (rates.vm, 1.0, rates.kco)
    light = (rates.j, 4.0, 8.0 * rates.gamma)
    if smooth:
        start = jnp.minimum(_quadratic_start(rubisco, rates, supply), _quadratic_start(light, rates, supply))
        net = _solve(_smooth_capacity, (rubisco, light), start, rates, supply, SMOOTH_NEWTON_STEPS)
    else:
        a, b = jnp.stack([rates.vm, rates.j]), jnp.stack([rates.kco, 8.0 * rates.gamma])
        e = jnp.asarray([1.0, 4.0], a.dtype).reshape((2,) + (1,) * (a.ndim - 1))
        start = _quadratic_start((a, e, b), rates, supply)
        both = _solve(_capacity, (a, e, b), start, rates, supply, NEWTON_STEPS)
        net = jnp.minimum(both[0], both[1])
    cs = ca - net / boundary_conductance
    conductance = intercept + slope * humidity * jnp.maximum(net, 0.0) / cs
    return LeafGasExchange(net, conductance, cs - 1.6 * net / conductance, cs)


def _capacity(ci, limit):
    a, e, b = limit
    return a / (e * ci + b)


def _smooth_capacity(ci, limits):
    x, y = (_capacity(ci, limit) for limit in limits)
    root = jnp.sqrt((x - y) ** 2 + 4.0 * (1.0 - CURVATURE) * x * y + 1e-30)
    return 2.0 * x * y / (x + y + root)


def _residual(a, capacity: Callable, limits, rates: Kinetics, s: _Supply):
    """`f(A)` and its derivative with respect to `A`."""

    def f(a):
        cs = s.ca - a / s.g
        ci = jnp.maximum(cs - a / (s.intercept + s.kappa * jnp.maximum(a, 0.0) / cs), 0.0)
        return (ci - rates.gamma) * capacity(ci, limits) - rates.dark_respiration - a

    return jax.jvp(f, (a,), (jnp.ones_like(a),))


def _solve(capacity: Callable, limits, start, rates: Kinetics, supply: _Supply, steps: int):
    """Safeguarded Newton on frozen inputs, then one differentiable step: value unchanged, derivative exact."""
    frozen_limits, frozen_rates, frozen = jax.lax.stop_gradient((limits, rates, supply))
    margin = 1e-9 if start.dtype == jnp.float64 else 1e-5
    at_ca = (frozen.ca - frozen_rates.gamma) * capacity(frozen.ca, frozen_limits) - frozen_rates.dark_respiration
    low = jnp.minimum(at_ca, 0.0)
    high = jnp.maximum(jnp.minimum(at_ca, frozen.g * frozen.ca * (1.0 - margin)), 0.0)

    def step(_, carry):
        a, low, high = carry
        f, slope = _residual(a, capacity, frozen_limits, frozen_rates, frozen)
        low, high = jnp.where(f > 0, a, low), jnp.where(f > 0, high, a)
        newton = a - f / slope
        inside = (newton >= low) & (newton <= high)
        return jnp.where(inside, newton, 0.5 * (low + high)), low, high

    start = jnp.clip(start, low, high)
    a = jax.lax.stop_gradient(jax.lax.fori_loop(0, steps, step, (start, low, high))[0])
    f, slope = _residual(a, capacity, limits, rates, supply)
    return a - f / jax.lax.stop_gradient(slope)


def _quadratic_start(limit, rates: Kinetics, s: _Supply):
    """Root of the leaf equations with the surface CO2 held fixed, twice: a start for Newton, never the answer."""
    (a, e, b), rates, s = jax.lax.stop_gradient((limit, rates, s))
    gamma, dark = rates.gamma, rates.dark_respiration
    surplus = a * (s.ca - gamma) - dark * (e * s.ca + b)

    def with_surface(cs):
        intercept = s.intercept * cs
        qa = e * cs * (s.kappa - 1.0) + b * s.kappa
        qb = (e * cs + b) * intercept + dark * qa - a * (cs * (s.kappa - 1.0) - gamma * s.kappa)
        qc = intercept * (dark * (e * cs + b) - a * (cs - gamma))
        root = qb + jnp.sqrt(jnp.maximum(qb**2 - 4.0 * qa * qc, 1e-30))
        return jnp.maximum(-2.0 * qc / jnp.where(root == 0, 1.0, root), 0.0)

    first = jnp.minimum(with_surface(s.ca), 0.9 * s.ca * s.g)
    positive = with_surface(s.ca - first / s.g)
    resistance = 1.0 / s.g + 1.0 / s.intercept
    linear = e * s.ca + b - e * resistance * dark + a * resistance
    shortage = jnp.minimum(surplus, 0.0)
    negative = 2.0 * shortage / (linear + jnp.sqrt(linear**2 - 4.0 * e * resistance * shortage))
    return jnp.where(surplus > 0, positive, negative)
