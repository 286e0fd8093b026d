"""Photosynthesis and stomatal conductance solved together: one equation, one root (docs/decisions.md, 16).

Of a leaf with boundary-layer conductance `g` in air with CO2 `c_a`, for a trial net rate `A`:

    c_s = c_a - A/g,   g_sc = g_sw / 1.6 = b + kappa max(A, 0) / (c_s - Gamma),   c_i = c_s - A/g_sc,
    f(A) = W(max(c_i, 0)) - R_d - A,

with `W(c_i) = a (c_i - gamma) / (e c_i + B)` for one limit of photosynthesis (`Kinetics`), `b` the intercept and `kappa` the
slope of the conductance over 1.6. `Gamma` is 0 (Ball-Berry [Ball1987], Medlyn) or `gamma` itself (Leuning).

**The root is unique, and the sign of `f` says on which side of it `A` is.** Write `u = c_s - Gamma`.

* If `W(c_a) <= R_d` there is no uptake. For `A <= 0` both `c_s` and `c_i = c_a - A/g - A/b` fall with `A`, hence `f' <= -1`;
  `f(W(c_a) - R_d) >= 0` and `f(0) <= 0`. Darkness, and a `c_a` below `gamma`, belong here; `u` is not read.
* If `W(c_a) > R_d`: `f(0) > 0`, so the root is positive, and `c_a > gamma >= Gamma`. It lies below `W(c_a) - R_d` because
  `c_i < c_a`, and below `g (c_a - Gamma)`, where `u` reaches 0 and `c_i` reaches `Gamma`, so that `f < 0`. In that bracket
  `u > 0` and `g_sc > 0`. The drawdown is `s = c_s - c_i = A u / (b u + kappa A)`, and

      dc_i/dA = -[1 + b g (s/A)^2 - kappa (s/u)^2] / g.

  At a root `W(c_i) = A + R_d > 0`, so `c_i > gamma >= Gamma`, which is `s < u`. If `kappa <= 1`, then `kappa (s/u)^2 < 1`. If
  `kappa > 1`, `s/u < 1/kappa` gives the same. So `c_i` falls with `A` at every root, `f' <= -1` there, and `f` changes its
  sign once.

With the hard minimum of two limits `f` is the smaller of two such functions, and its root the smaller of their roots; the smooth
co-limitation is a `W` of the same kind (positive and rising above `gamma`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..types import Values
from .conductance import DIFFUSIVITY_RATIO, Stomata
from .elementary import inverse, newton_or_midpoint, ratio, root
from .photosynthesis import Kinetics

CUBIC_STEPS = 8
"""Safeguarded Newton steps on the cubic; they reach rounding (3e-14 umol m-2 s-1) for bprime >= 1e-3, any light, humidity and
boundary layer, and CO2 of 50 umol mol-1 (`column.LOWEST_CO2`) or more (tests/physics/test_conductance.py). Below that, single
leaves near the compensation point are 2e-9 off; ten steps would reach them too."""
SMOOTH_NEWTON_STEPS = 14
CURVATURE = 0.98
"""Curvature of the smooth co-limitation option [Collatz1991]."""

Result = Float[Array, "..."]
Limit = tuple[Values, Values | float, Values]
"""`a, e, B` of one limit, `W(c_i) = a (c_i - gamma) / (e c_i + B)`."""
Capacity = Callable[[Values, Any], Result]
"""`W(c_i) / (c_i - gamma)` of a limit, or of several."""


class LeafGasExchange(NamedTuple):
    """Gas exchange per one-sided leaf area.

    `net`: net assimilation, umol m-2 s-1, uptake positive; `conductance`: stomatal conductance to water vapour,
    mol m-2 s-1; `ci`, `cs`: CO2 inside the leaf and at its surface, umol mol-1.
    """

    net: Result
    conductance: Result
    ci: Result
    cs: Result


class _Supply(NamedTuple):
    """Supply of CO2: `ca`; `g` of the boundary layer; `intercept` and `kappa` of the stomata, for CO2; `compensation`."""

    ca: Values
    g: Values
    intercept: Values
    kappa: Values
    compensation: Values | None


def gas_exchange(
    rates: Kinetics, ca: Values, boundary_conductance: Values, stomata: Stomata, smooth: bool = False
) -> LeafGasExchange:
    """Solve assimilation and stomatal conductance together.

    Args:
        rates: from `kinetics`.
        ca: CO2 of the leaf's air, umol mol-1.
        boundary_conductance: to CO2, both faces that carry stomata together, mol m-2 s-1.
        stomata: from an equation of `conductance`; its `compensation`, if any, is `rates.gamma`.
        smooth: quadratic co-limitation [Collatz1991] instead of the hard minimum.
    """
    supply = _Supply(
        ca=ca,
        g=boundary_conductance,
        intercept=stomata.intercept / DIFFUSIVITY_RATIO,
        kappa=stomata.slope / DIFFUSIVITY_RATIO,
        compensation=stomata.compensation,
    )
    rubisco: Limit = (rates.vm, 1.0, rates.kco)
    light: Limit = (rates.j, 4.0, 8.0 * rates.gamma)
    if smooth:
        start = jnp.minimum(_quadratic_start(rubisco, rates, supply), _quadratic_start(light, rates, supply))
        near = _bracketed_newton(_smooth_capacity, (rubisco, light), start, rates, supply)
        net = _implicit_step(_smooth_capacity, (rubisco, light), near, rates, supply)
    else:
        limited = (_implicit_step(_capacity, x, _cubic_root(x, rates, supply), rates, supply) for x in (rubisco, light))
        net = jnp.minimum(*limited)
    cs = ca - ratio(net, boundary_conductance)
    rise = ratio(stomata.slope * jnp.maximum(net, 0.0), _excess(cs, net, stomata.compensation))
    conductance = stomata.intercept + rise
    return LeafGasExchange(net=net, conductance=conductance, ci=cs - ratio(DIFFUSIVITY_RATIO * net, conductance), cs=cs)


def _excess(cs: Values, net: Values, compensation: Values | None) -> Values:
    """`c_s - Gamma`, what the conductance divides by; 1 where there is no uptake to divide, so that nothing divides by 0."""
    return cs if compensation is None else jnp.where(net > 0, cs - compensation, 1.0)


def _above_compensation(cs: Values, s: _Supply) -> Values:
    """`c_s - Gamma`."""
    return cs if s.compensation is None else cs - s.compensation


def _capacity(ci: Values, limit: Limit) -> Result:
    a, e, b = limit
    return ratio(a, e * ci + b)


def _smooth_capacity(ci: Values, limits: tuple[Limit, Limit]) -> Result:
    x, y = (_capacity(ci, limit) for limit in limits)
    spread = root((x - y) ** 2 + 4.0 * (1.0 - CURVATURE) * x * y + 1e-30)
    return ratio(2.0 * x * y, x + y + spread)


def _residual(net: Values, capacity: Capacity, limits: Any, rates: Kinetics, s: _Supply) -> tuple[Result, Result]:
    """`f(A)` and its derivative with respect to `A`."""

    def f(a):
        cs = s.ca - ratio(a, s.g)
        rise = ratio(s.kappa * jnp.maximum(a, 0.0), _excess(cs, a, s.compensation))
        ci = jnp.maximum(cs - ratio(a, s.intercept + rise), 0.0)
        return (ci - rates.gamma) * capacity(ci, limits) - rates.dark_respiration - a

    return jax.jvp(f, (net,), (jnp.ones_like(net),))


def _implicit_step(capacity: Capacity, limits: Any, at: Values, rates: Kinetics, supply: _Supply) -> Result:
    """One Newton step on the leaf equations: polishes the value to rounding and carries the exact derivative.

    `at` is a constant here, so the derivative of the step by an input `x` is `-(df/dx) / (df/dA)`, the implicit one.
    """
    at = jax.lax.stop_gradient(at)
    f, slope = _residual(at, capacity, limits, rates, supply)
    return at - f * inverse(jax.lax.stop_gradient(slope))


def _bracket(at_ca: Result, s: _Supply) -> tuple[Result, Result]:
    """Where the root lies: between 0 and the rate at the CO2 of the air, below what the boundary layer supplies."""
    margin = 1e-9 if at_ca.dtype == jnp.float64 else 1e-5
    supplied = s.g * _above_compensation(s.ca, s) * (1.0 - margin)
    return jnp.minimum(at_ca, 0.0), jnp.maximum(jnp.minimum(at_ca, supplied), 0.0)


def _rate_at(ci: Values, capacity: Capacity, limits: Any, rates: Kinetics) -> Result:
    return (ci - rates.gamma) * capacity(ci, limits) - rates.dark_respiration


def _bracketed_newton(capacity: Capacity, limits: Any, start: Values, rates: Kinetics, supply: _Supply) -> Result:
    """Root of `f` by Newton steps that the bracket of `_bracket` safeguards."""
    limits, rates, supply = jax.lax.stop_gradient((limits, rates, supply))
    low, high = _bracket(_rate_at(supply.ca, capacity, limits, rates), supply)

    def step(_, carry):
        a, low, high = carry
        return newton_or_midpoint(a, *_residual(a, capacity, limits, rates, supply), low, high)

    return jax.lax.fori_loop(0, SMOOTH_NEWTON_STEPS, step, (jnp.clip(start, low, high), low, high))[0]


def _cubic_root(limit: Limit, rates: Kinetics, supply: _Supply) -> Result:
    """Root of the leaf equations with one limit, up to the rounding of a cubic.

    With `u = c_s - Gamma` and, for `A > 0`, `D = b u + kappa A`, `c_i = N/D`, `N = c_s D - A u`, the equation
    `(A + R_d)(e N + B D) - a (N - gamma D) = 0` is a cubic in `A` [Baldocchi1994]. Its left side is
    `D (a - e (A + R_d)) (c - c_i)`, `c` being the CO2 at which `W` is `A + R_d`; both factors are positive in the bracket, so it
    is negative below the root and positive above it, as `-f`. For `A <= 0` the equation is quadratic and the start is its root.
    """
    (a, e, b), rates, s = jax.lax.stop_gradient((limit, rates, supply))
    gamma, dark = rates.gamma, rates.dark_respiration
    resistance = 1.0 / s.g
    # D = d0 + d1 A and N = n0 + n1 A + n2 A^2.
    d0, d1 = s.intercept * _above_compensation(s.ca, s), s.kappa - s.intercept * resistance
    n0, n1, n2 = s.ca * d0, s.ca * (d1 - 1.0) - resistance * d0, -resistance * (d1 - 1.0)
    if s.compensation is not None:
        n1 = n1 + s.compensation
    # e N + B D.
    q0, q1, q2 = e * n0 + b * d0, e * n1 + b * d1, e * n2
    # The cubic.
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


def _quadratic_start(limit: Limit, rates: Kinetics, s: _Supply) -> Result:
    """Root of the leaf equations with the surface CO2 held fixed, twice: a start for Newton, never the answer.

    For `A <= 0`, where the conductance is the intercept, the root of the quadratic is that of the equations.
    """
    (a, e, b), rates, s = jax.lax.stop_gradient((limit, rates, s))
    gamma, dark = rates.gamma, rates.dark_respiration
    surplus = a * (s.ca - gamma) - dark * (e * s.ca + b)

    def with_surface(cs):
        intercept = s.intercept * _above_compensation(cs, s)
        shift = 0.0 if s.compensation is None else s.compensation
        qa = e * cs * (s.kappa - 1.0) + b * s.kappa + e * shift
        qb = (e * cs + b) * intercept + dark * qa - a * (cs * (s.kappa - 1.0) - gamma * s.kappa + shift)
        qc = intercept * (dark * (e * cs + b) - a * (cs - gamma))
        sum_ = qb + jnp.sqrt(jnp.maximum(qb**2 - 4.0 * qa * qc, 1e-30))
        return jnp.maximum(-2.0 * qc / jnp.where(sum_ == 0, 1.0, sum_), 0.0)

    first = jnp.minimum(with_surface(s.ca), 0.9 * _above_compensation(s.ca, s) * s.g)
    positive = with_surface(s.ca - first / s.g)
    resistance = 1.0 / s.g + 1.0 / s.intercept
    linear = e * s.ca + b - e * resistance * dark + a * resistance
    shortage = jnp.minimum(surplus, 0.0)
    negative = 2.0 * shortage / (linear + jnp.sqrt(linear**2 - 4.0 * e * resistance * shortage))
    return jnp.where(surplus > 0, positive, negative)
