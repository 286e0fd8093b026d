"""The converged state of a batch of half-hours, with its exact implicit derivative.

Forward: Anderson-accelerated passes until each half-hour's residual is small; the outputs are those of its best pass. Backward
(`jax.custom_vjp`): with `u = F(u, x)` and outputs `y(u, x)`, solve `v = (dF/du)^T v + (dy/du)^T g` per half-hour over the
whole state, accelerated the same way, and pull `v` and `g` back through `F` and `y` once. The leaves, where most of a
pass is spent, enter the adjoint passes by their tangent. Memory does not grow with the number of passes.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..fluxes import Fluxes
from ..forcing import Forcing
from ..parameters import Parameters
from ..physics.column import (
    Conditions,
    Prepared,
    Profiles,
    SiteArrays,
    State,
    conditions,
    initial_state,
    leaf_drivers,
    one_pass,
    prepare,
    profiles,
)
from ..physics.leaf_exchange import LeafExchange, linearised, tangent_response
from . import anderson
from .stored_programs import stored


class SolverOptions(NamedTuple):
    """When to stop. `tolerance` is in W m-2 (see `residual_scale`); `None` chooses 1e-3 in float64, 0.05 in float32.

    `adjoint_tolerance` is relative to the cotangent; `None` chooses 1e-6 in float64, 1e-5 in float32. A half-hour whose adjoint
    is still above 1e-2 after `adjoint_max_passes` gets NaN for its derivatives. `rows_at_once`:
    half-hours in hand together, the parts of a batch one after the other; `None` chooses `FORWARD_LAYERS / n_layers` and
    `BACKWARD_LAYERS / n_layers` on a CPU, and the whole batch on an accelerator.
    """

    tolerance: float | None = None
    max_passes: int = 100
    depth: int = 5
    adjoint_tolerance: float | None = None
    adjoint_max_passes: int = 120
    adjoint_depth: int = 8
    rows_at_once: int | None = None


FORWARD_LAYERS, BACKWARD_LAYERS = 12_800, 6_400
"""Layers in hand together on a CPU, 256 half-hours of 50 layers forward, 128 backward: what a pass reads and writes stays in
the caches, and memory stays small (docs/performance.md)."""


ADJOINT_FAILED = 1e-2
"""An adjoint whose relative residual stays above this is no derivative."""


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
    *parts, surface = jax.lax.split(vector, (*[n_layers] * 5, 1))
    return State(parts[0], parts[1], parts[2], jnp.stack(parts[3:]), surface[0])


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
    """Weight of the new value in a plain pass; any value has the same fixed point."""
    return _per_component(n_layers, 0.5, 0.5, 0.5, 1.0, 1.0, dtype)


def _largest_change(n_layers: int, dtype):
    return _per_component(n_layers, 15.0, 1500.0, 200.0, 20.0, 30.0, dtype)


class Point(NamedTuple):
    """A solved batch: fluxes, profiles, and how the solver fared."""

    fluxes: Fluxes
    profiles: Profiles
    point: anderson.FixedPoint


class _Batch(NamedTuple):
    """What the passes read besides the unknowns; before `_prepared`, `x` is a pair, of forcing (later conditions) and stress."""

    x: Any
    p: Parameters
    site: SiteArrays


def _conditions(static, batch: _Batch) -> tuple[Conditions, Any]:
    scheme, axes, _ = static
    in_axes = ((0, 0), axes.parameters, axes.site)
    return jax.vmap(lambda x, p, site: (conditions(x[0], p, site, scheme), x[1]), in_axes=in_axes)(*batch)


def _prepared(static, batch: _Batch) -> Prepared:
    scheme, axes, _ = static
    in_axes = ((0, 0), axes.parameters, axes.site)
    return jax.vmap(lambda x, p, site: prepare(x[0], p, site, x[1], scheme), in_axes=in_axes)(*batch)


def _over_batch(function: Callable, axes: Axes) -> Callable:
    """`function(vector, x, p, site, *more)` of one half-hour, for a batch."""

    def batched(vector, batch: _Batch, *more):
        in_axes = (0, 0, axes.parameters, axes.site, *(0 for _ in more))
        return jax.vmap(function, in_axes=in_axes)(vector, *batch, *more)

    return batched


def _per_row(axes: Axes, function: Callable, batch: _Batch, otherwise: Callable = lambda leaf: leaf) -> _Batch:
    """`function` of all arrays that have a value per half-hour, `otherwise` of those that are shared."""

    def choose(axis, leaf):
        return otherwise(leaf) if axis is None else function(leaf)

    none = lambda a: a is None  # noqa: E731
    return _Batch(
        jax.tree.map(function, batch.x),
        jax.tree.map(choose, axes.parameters, batch.p, is_leaf=none),
        jax.tree.map(choose, axes.site, batch.site, is_leaf=none),
    )


def _rows(batch: _Batch) -> int:
    """Number of half-hours."""
    return jax.tree.leaves(batch.x)[0].shape[0]


def _in_turn(run: Callable, axes: Axes, size: int, batch: _Batch, rows: Any = (), cotangents: Any = ()):
    """`run(batch, rows, cotangents)` for about `size` half-hours after the other; results have the parts in front.

    The last part is filled up with copies of the last half-hour, their cotangents zero.
    """
    total = _rows(batch)
    count = max(1, -(-total // size))
    size = -(-total // count)
    if count == 1:
        return jax.tree.map(lambda y: y[None], run(batch, rows, cotangents))
    if extra := count * size - total:

        def fill(y):
            return jnp.concatenate([y, jnp.repeat(y[-1:], extra, axis=0)])

        def fill_with_zeros(y):
            return jnp.concatenate([y, jnp.zeros((extra, *y.shape[1:]), y.dtype)])

        batch, rows = _per_row(axes, fill, batch), jax.tree.map(fill, rows)
        cotangents = jax.tree.map(fill_with_zeros, cotangents)

    def part(k):
        def cut(y):
            return jax.lax.dynamic_slice_in_dim(y, k * size, size)

        return (_per_row(axes, cut, batch), *jax.tree.map(cut, (rows, cotangents)))

    # A part is cut out in the turn before its own: what a loop carries lies in memory, else every kernel would cut for itself.
    return jax.lax.scan(lambda now, k: (part(k + 1), run(*now)), part(0), jnp.arange(count))[1]


def _for_platform(static, layers: int, function: Callable, batch: _Batch, *more):
    """`function(size, batch, *more)` with the number of half-hours in hand together: `layers` of them on a CPU.

    Decided while tracing, by JAX's default device: a wrong guess costs time, never accuracy.
    """
    scheme, _, options = static
    size = options.rows_at_once
    if size is None:
        size = max(1, layers // scheme.n_layers) if jax.default_backend() == "cpu" else _rows(batch)
    return function(size, batch, *more)


def _solve(static, batch: _Batch, start: Any = None) -> anderson.FixedPoint:
    scheme, axes, options = static
    n = scheme.n_layers
    dtype = batch.x.air_temperature.dtype
    tolerance = options.tolerance
    if tolerance is None:
        tolerance = 1e-3 if dtype == jnp.float64 else 0.05

    def step_of(batch: _Batch) -> Callable:
        def step(u):
            following, *outputs = _full_pass(static)(u, batch)
            return following, outputs

        return step

    first = jax.vmap(lambda x: pack(initial_state(x)))(batch.x)
    if start is not None:
        first = jnp.where(jnp.all(jnp.isfinite(start), axis=1, keepdims=True), start, first)
    return anderson.solve(
        step_of(batch),
        first,
        residual_scale(n, dtype),
        _mixing(n, dtype),
        tolerance=tolerance,
        max_passes=options.max_passes,
        depth=options.depth,
        max_change=_largest_change(n, dtype),
        has_aux=True,
        rest=lambda rows: step_of(_per_row(axes, lambda leaf: leaf[rows], batch)),
    )


def _full_pass(static) -> Callable:
    """One pass of a batch: `(next state, fluxes, leaves)`, differentiable in everything."""
    scheme, axes, _ = static

    def run(vector, x, p, site):
        following, fluxes, leaves = one_pass(unpack(vector, scheme.n_layers), x, p, site, scheme)
        return pack(following), fluxes, leaves

    return _over_batch(run, axes)


def _profiles(static, fluxes: Fluxes, leaves: LeafExchange, batch: _Batch) -> Profiles:
    axes = static[1]
    return jax.vmap(profiles, in_axes=(0, 0, 0, axes.parameters, axes.site))(fluxes, leaves, *batch)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def solve_canopy(static, x: tuple[Forcing, Any], p: Parameters, site: SiteArrays, start: Any = None) -> Point:
    """Converged half-hours of a batch.

    Args:
        static: `(Scheme, Axes, SolverOptions)`, hashable.
        x: forcing (floating point, without `site`) and stress factor, leading axis = batch.
        p, site: parameters and site arrays, with a leading axis where `Axes` says so.
        start: states `[B, 5 N + 1]` (`pack`) to start from, ordinary starts where they are not finite. It decides the passes, not
            the solution or its derivatives beyond the tolerance.

    Returns:
        `Point`; its fluxes and profiles are differentiable.
    """
    return stored(_solved_in_parts, static, _POINT)(x, p, site, start)


_POINT = jax.tree.structure(
    Point(Fluxes(*dataclasses.fields(Fluxes)), Profiles(*Profiles._fields), anderson.FixedPoint(0, None, 0, 0, 0))
)


def _solved_in_parts(static, x, p, site, start=None) -> Point:
    axes = static[1]

    def solved(inputs: _Batch, start: Any, _) -> Point:
        batch = inputs._replace(x=_prepared(static, inputs))
        point = _solve(static, batch, start)
        fluxes, leaves = point.aux
        return Point(fluxes, _profiles(static, fluxes, leaves, batch), point._replace(aux=None))

    def all_parts(size: int, inputs: _Batch) -> Point:
        total = _rows(inputs)
        return jax.tree.map(partial(_joined, total), _in_turn(solved, axes, size, inputs, start))

    inputs = _Batch(x, p, site)
    return _for_platform(static, FORWARD_LAYERS, all_parts, inputs._replace(x=_conditions(static, inputs)))


def _joined(total: int, y):
    """`[part, row, ...]` -> `[half-hour, ...]`."""
    return y.reshape(-1, *y.shape[2:])[:total]


def _forward(static, x, p, site, start):
    solved = solve_canopy(static, x, p, site, start)
    return solved, (solved.point.value, _Batch(x, p, site))


def _backward(static, saved, cotangent: Point):
    u, inputs = saved
    pull_back = stored(_pulled_back_in_parts, static, jax.tree.structure(tuple(inputs)))
    return *pull_back(u, *inputs, cotangent.fluxes, cotangent.profiles), None


def _pulled_back_in_parts(static, u, x, p, site, *direct):
    """Cotangents of forcing and stress, parameters and site, a part of the batch after the other."""
    axes = static[1]

    def one_part(inputs: _Batch, u, direct) -> _Batch:
        x, pull = jax.vjp(partial(_prepared, static), inputs)
        by_passes = _pullback(static, inputs._replace(x=x), u, direct)
        by_preparation = pull(by_passes.x)[0]
        both = jax.tree.map(jnp.add, by_passes[1:], by_preparation[1:])
        return _Batch(by_preparation.x, *both)

    def all_parts(size: int, inputs: _Batch, u, direct) -> _Batch:
        parts = _in_turn(one_part, axes, size, inputs, u, direct)
        return _per_row(axes, partial(_joined, _rows(inputs)), parts, otherwise=lambda y: y.sum(axis=0))

    inputs = _Batch(x, p, site)
    x, pull = jax.vjp(partial(_conditions, static), inputs)
    by_parts = _for_platform(static, BACKWARD_LAYERS, all_parts, inputs._replace(x=x), u, direct)
    by_conditions = pull(by_parts.x)[0]
    return by_conditions.x, *jax.tree.map(jnp.add, by_parts[1:], by_conditions[1:])


def _pullback(static, batch: _Batch, u, direct) -> _Batch:
    """`v = (dF/du)^T v + (dy/du)^T g` on the tangent of the leaves, then one exact pullback of `v` and `g` together.

    Cotangents are scaled to the size 1 in each half-hour, so that none is too small to be squared.
    """
    scheme, axes, options = static
    n = scheme.n_layers
    dtype = u.dtype

    def tangent(vector, x, p, site):
        at = leaf_drivers(unpack(vector, n), x, p)[0]
        return linearised(at, x, p, site.stomatal_sides, scheme.smooth_colimitation)

    def linear_pass(vector, x, p, site, leaves):
        respond = partial(tangent_response, leaves)
        following, fluxes, leaves = one_pass(unpack(vector, n), x, p, site, scheme, respond)
        return pack(following), fluxes, leaves

    at_solution = _over_batch(tangent, axes)(u, batch)
    (_, *outputs), transpose = jax.vjp(lambda u: _over_batch(linear_pass, axes)(u, batch, at_solution), u)
    _, pull_profiles = jax.vjp(partial(_profiles, static), *outputs, batch)
    of_fluxes, of_leaves, by_profiles = pull_profiles(direct[1])
    cotangents = jax.tree.map(jnp.add, direct[0], of_fluxes), of_leaves
    size = jnp.max(
        jnp.stack([jnp.max(jnp.abs(g.reshape(len(g), -1)), axis=1) for g in jax.tree.leaves(cotangents)]), axis=0
    )
    size = jnp.where(size > 0, size, 1.0)
    scaled = jax.tree.map(lambda g: g / _column(size, g), cotangents)

    tolerance = options.adjoint_tolerance
    if tolerance is None:
        tolerance = 1e-6 if dtype == jnp.float64 else 1e-5
    adjoint = anderson.solve(
        lambda v: transpose((v, *scaled))[0],
        jnp.zeros_like(u),
        1.0 / residual_scale(n, dtype),
        _mixing(n, dtype),
        tolerance=tolerance,
        relative=True,
        max_passes=options.adjoint_max_passes,
        depth=options.adjoint_depth,
    )
    v = jnp.where(_column(adjoint.residual <= ADJOINT_FAILED, u), adjoint.value, jnp.nan)
    _, pull = jax.vjp(lambda batch: _full_pass(static)(u, batch), batch)
    by_pass = pull((v * _column(size, u), *cotangents))[0]
    return jax.tree.map(jnp.add, by_pass, by_profiles)


def _column(per_row, like):
    """`[B]` as an array that broadcasts over the rows of `like`."""
    return per_row.reshape(-1, *[1] * (like.ndim - 1))


solve_canopy.defvjp(_forward, _backward)
