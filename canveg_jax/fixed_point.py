"""The converged state of a batch of half-hours, with its exact implicit derivative.

Forward: Anderson-accelerated passes until each half-hour's residual is small. Backward (`jax.custom_vjp`): with
`u = F(u, x)` and a cotangent `w` of `u`, solve `v = w + (dF/du)^T v` per half-hour over the whole state, matrix-free and
accelerated the same way, and pull `v` back through `dF/dx`. Memory does not grow with the number of passes.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from . import anderson
from .half_hour import Prepared, Scheme, SiteArrays, State, initial_state, one_pass
from .parameters import Parameters


class SolverOptions(NamedTuple):
    """When to stop. `tolerance` is in W m-2 (see `residual_scale`); `None` chooses 1e-3 in float64, 0.05 in float32.

    `adjoint_tolerance` is relative to the cotangent; `None` chooses 1e-9 in float64, 1e-5 in float32.
    """

    tolerance: float | None = None
    max_passes: int = 100
    depth: int = 5
    adjoint_tolerance: float | None = None
    adjoint_max_passes: int = 120
    adjoint_depth: int = 8


class Axes(NamedTuple):
    """`vmap` axes of the parameters and of the site: 0 where they differ between half-hours, None where shared."""

    parameters: Any
    site: Any


def pack(state: State):
    """The state as one vector `[5 N + 1]`."""
    return jnp.concatenate(
        [
            state.air_temperature,
            state.vapour_pressure,
            state.co2,
            state.leaf_temperature[0],
            state.leaf_temperature[1],
            state.surface_temperature[None],
        ]
    )


def unpack(vector, n_layers: int) -> State:
    """Inverse of `pack`."""
    parts = [vector[i * n_layers : (i + 1) * n_layers] for i in range(5)]
    return State(parts[0], parts[1], parts[2], jnp.stack(parts[3:]), vector[5 * n_layers])


def _per_component(n_layers: int, air, vapour, co2, leaf, surface, dtype):
    return jnp.concatenate([jnp.full((n_layers,), x, dtype) for x in (air, vapour, co2, leaf, leaf)] + [
        jnp.full((1,), surface, dtype)
    ])  # fmt: skip


def residual_scale(n_layers: int, dtype):
    """Weights that turn a change of the state into W m-2: 50 per K, 0.75 per Pa, 0.5 per umol mol-1.

    50 W m-2 K-1 is the heat that a well coupled leaf or soil exchanges per kelvin; 0.75 per Pa is the same through
    the psychrometric constant; 0.5 per umol mol-1 equates 1e-3 W m-2 with 1e-4 umol m-2 s-1 of CO2.
    """
    return _per_component(n_layers, 50.0, 0.75, 0.5, 50.0, 50.0, dtype)


def _mixing(n_layers: int, dtype):
    """Weight of the new value in a plain pass; any value has the same fixed point (spec 4 section 9.4)."""
    return _per_component(n_layers, 0.5, 0.5, 0.5, 1.0, 1.0, dtype)


def _largest_change(n_layers: int, dtype):
    return _per_component(n_layers, 15.0, 1500.0, 200.0, 20.0, 30.0, dtype)


def _step(vector, x: Prepared, p: Parameters, site: SiteArrays, scheme: Scheme):
    following, _, _ = one_pass(unpack(vector, scheme.n_layers), x, p, site, scheme)
    return pack(following)


def _batched_step(scheme: Scheme, axes: Axes):
    return jax.vmap(partial(_step, scheme=scheme), in_axes=(0, 0, axes.parameters, axes.site))


def _solve(static, x: Prepared, p: Parameters, site: SiteArrays) -> anderson.FixedPoint:
    scheme, axes, options = static
    dtype = x.air_temperature.dtype
    tolerance = options.tolerance
    if tolerance is None:
        tolerance = 1e-3 if dtype == jnp.float64 else 0.05
    step = _batched_step(scheme, axes)
    start = jax.vmap(lambda x: pack(initial_state(x)))(x)
    return anderson.solve(
        lambda u: step(u, x, p, site),
        start,
        residual_scale(scheme.n_layers, dtype),
        _mixing(scheme.n_layers, dtype),
        tolerance=tolerance,
        max_passes=options.max_passes,
        depth=options.depth,
        max_change=_largest_change(scheme.n_layers, dtype),
    )


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def solve_state(static, x: Prepared, p: Parameters, site: SiteArrays) -> anderson.FixedPoint:
    """Converged state of a batch.

    Args:
        static: `(Scheme, Axes, SolverOptions)`, hashable.
        x: prepared half-hours, leading axis = batch.
        p, site: parameters and site arrays, with a leading axis where `Axes` says so.

    Returns:
        `FixedPoint`; only `value` is differentiable.
    """
    return _solve(static, x, p, site)


def _forward(static, x, p, site):
    solution = _solve(static, x, p, site)
    return solution, (solution.value, x, p, site)


def _backward(static, saved, cotangent):
    scheme, axes, options = static
    u, x, p, site = saved
    w = cotangent.value
    dtype = u.dtype
    tolerance = options.adjoint_tolerance
    if tolerance is None:
        tolerance = 1e-9 if dtype == jnp.float64 else 1e-5
    step = _batched_step(scheme, axes)
    _, transpose = jax.vjp(step, u, x, p, site)
    dual = 1.0 / residual_scale(scheme.n_layers, dtype)
    size = jnp.max(jnp.abs(w * dual), axis=-1, keepdims=True)
    size = jnp.where(size > 0, size, 1.0)
    unit = w / size
    adjoint = anderson.solve(
        lambda v: unit + transpose(v)[0],
        unit,
        dual,
        _mixing(scheme.n_layers, dtype),
        tolerance=tolerance,
        max_passes=options.adjoint_max_passes,
        depth=options.adjoint_depth,
    )
    return transpose(adjoint.value * size)[1:]


solve_state.defvjp(_forward, _backward)
