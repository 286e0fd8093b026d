"""Photosynthesis coupled to Ball-Berry stomata [Ball1987]: one equation, one root (docs/decisions.md, 16).

For a trial net rate `A`: `c_s = c_a - A/g`, `g_sc = b + kappa max(A, 0)/c_s`, `c_i = c_s - A/g_sc`; the root of
`f(A) = W(max(c_i, 0)) - R_d - A` is unique because `f' <= -1`. With the hard minimum of the two limits the answer is
the smaller of the two solutions.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .elementary import inverse, newton_or_midpoint, ratio, root
from .photosynthesis import Kinetics

CUBIC_STEPS = 8
"""Safeguarded Newton steps on the cubic; 7 reach rounding (3e-14 umol m-2 s-1) for bprime >= 1e-3 and any light, CO2,
humidity and boundary layer (tests/physics/test_gas_exchange.py)."""
SMOOTH_NEWTON_STEPS = 14
CURVATURE = 0.98
"""Curvature of the smooth co-limitation option [Collatz1991]."""


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
        near = _bracketed_newton(_smooth_capacity, (rubisco, light), start, rates, supply)
        net = _implicit_step(_smooth_capacity, (rubisco, light), near, rates, supply)
    else:
        limited = (_implicit_step(_capacity, x, _cubic_root(x, rates, supply), rates, supply) for x in (rubisco, light))
        net = jnp.minimum(*limited)
    cs = ca - ratio(net, boundary_conductance)
    conductance = intercept + ratio(slope * humidity * jnp.maximum(net, 0.0), cs)
    return LeafGasExchange(net, conductance, cs - ratio(1.6 * net, conductance), cs)


def _capacity(ci, limit):
    a, e, b = limit
    return ratio(a, e * ci + b)


def _smooth_capacity(ci, limits):
    x, y = (_capacity(ci, limit) for limit in limits)
    spread = root((x - y) ** 2 + 4.0 * (1.0 - CURVATURE) * x * y + 1e-30)
    return ratio(2.0 * x * y, x + y + spread)


def _residual(a, capacity: Callable, limits, rates: Kinetics, s: _Supply):
    """`f(A)` and its derivative with respect to `A`."""

    def f(a):
        cs = s.ca - ratio(a, s.g)
        ci = jnp.maximum(cs - ratio(a, s.intercept + ratio(s.kappa * jnp.maximum(a, 0.0), cs)), 0.0)
        return (ci - rates.gamma) * capacity(ci, limits) - rates.dark_respiration - a

    return jax.jvp(f, (a,), (jnp.ones_like(a),))


def _implicit_step(capacity: Callable, limits, at, rates: Kinetics, supply: _Supply):
    """One Newton step on the leaf equations: polishes the value to rounding and carries the exact derivative."""
    at = jax.lax.stop_gradient(at)
    f, slope = _residual(at, capacity, limits, rates, supply)
    return at - f * inverse(jax.lax.stop_gradient(slope))


def _bracket(at_ca, s: _Supply):
    """Where the root lies: between 0 and the rate at the CO2 of the air, below what the boundary layer supplies."""
    margin = 1e-9 if at_ca.dtype == jnp.float64 else 1e-5
    return jnp.minimum(at_ca, 0.0), jnp.maximum(jnp.minimum(at_ca, s.g * s.ca * (1.0 - margin)), 0.0)


def _rate_at(ci, capacity: Callable, limits, rates: Kinetics):
    return (ci - rates.gamma) * capacity(ci, limits) - rates.dark_respiration


def _bracketed_newton(capacity: Callable, limits, start, rates: Kinetics, supply: _Supply):
    limits, rates, supply = jax.lax.stop_gradient((limits, rates, supply))
    low, high = _bracket(_rate_at(supply.ca, capacity, limits, rates), supply)

    def step(_, carry):
        a, low, high = carry
        return newton_or_midpoint(a, *_residual(a, capacity, limits, rates, supply), low, high)

    return jax.lax.fori_loop(0, SMOOTH_NEWTON_STEPS, step, (jnp.clip(start, low, high), low, high))[0]


def _cubic_root(limit, rates: Kinetics, supply: _Supply):
    """Root of the leaf equations with one limit, up to the rounding of a cubic.

    With `c_s = c_a - A/g` and, for `A > 0`, `D = b c_s + kappa A`, `c_i = N/D`, `N = c_s (D - A)`, the equation
    `(A + R_d)(e N + B D) - a (N - gamma D) = 0` is a cubic in `A` [Baldocchi1994], negative below its only root in the bracket.
    For `A <= 0` the equation is quadratic and the start is its root.
    """
    (a, e, b), rates, s = jax.lax.stop_gradient((limit, rates, supply))
    gamma, dark = rates.gamma, rates.dark_respiration
    resistance = 1.0 / s.g
    d0, d1 = s.intercept * s.ca, s.kappa - s.intercept * resistance
    n0, n1, n2 = s.ca * d0, s.ca * (d1 - 1.0) - resistance * d0, -resistance * (d1 - 1.0)
    q0, q1, q2 = e * n0 + b * d0, e * n1 + b * d1, e * n2
    p0 = dark * q0 - a * (n0 - gamma * d0)
    p1 = q0 + dark * q1 - a * (n1 - gamma * d1)
    p2 = q1 + dark * q2 - a * n2
    p3 = q2

    start = _quadratic_start((a, e, b), rates, s)
    at_ca = _rate_at(s.ca, _capacity, (a, e, b), rates)
    _, high = _bracket(at_ca, s)
    x, low = jnp.clip(start, 0.0, high), jnp.zeros_like(high)
    for _ in range(CUBIC_STEPS):
        value = ((p3 * x + p2) * x + p1) * x + p0
        slope = (3.0 * p3 * x + 2.0 * p2) * x + p1
        x, low, high = newton_or_midpoint(x, -value, -slope, low, high)
    return jnp.where(at_ca > 0, x, start)


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
        sum_ = qb + jnp.sqrt(jnp.maximum(qb**2 - 4.0 * qa * qc, 1e-30))
        return jnp.maximum(-2.0 * qc / jnp.where(sum_ == 0, 1.0, sum_), 0.0)

    first = jnp.minimum(with_surface(s.ca), 0.9 * s.ca * s.g)
    positive = with_surface(s.ca - first / s.g)
    resistance = 1.0 / s.g + 1.0 / s.intercept
    linear = e * s.ca + b - e * resistance * dark + a * resistance
    shortage = jnp.minimum(surplus, 0.0)
    negative = 2.0 * shortage / (linear + jnp.sqrt(linear**2 - 4.0 * e * resistance * shortage))
    return jnp.where(surplus > 0, positive, negative)
