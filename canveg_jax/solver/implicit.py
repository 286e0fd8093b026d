"""The converged state of a batch of half-hours, with its exact implicit derivative.

Forward: Anderson-accelerated passes until each row's residual is small; the outputs are those of its best pass. Backward
(`jax.custom_vjp`): with `u = F(u, x)` and outputs `y(u, x)`, solve `v = (dF/du)^T v + (dy/du)^T g` per row over the
whole state, accelerated the same way, and pull `v` and `g` back through `F` and `y` once. The leaves, where most of a
pass is spent, enter the adjoint passes by their tangent. Memory does not grow with the number of passes.

The stages of the data: `Inputs` -> `Conditioned` (numbers of the half-hour computed for the whole batch) -> `Problem`
(profiles computed, a part of the batch at a time).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..fluxes import Fluxes
from ..forcing import Forcing
from ..parameters import Parameters
from ..physics.column import conditions, initial_state, leaf_drivers, one_pass, prepare, profiles
from ..physics.leaf_exchange import linearised, tangent_response
from ..physics.state import Conditions, LeafExchange, Prepared, Profiles, SiteArrays
from ..stress.base import LoopClosure
from . import anderson
from .acceptance import of_kept_rows, with_stand_ins
from .batches import (
    BACKWARD_LAYERS,
    FORWARD_LAYERS,
    by_row,
    in_parts,
    joined,
    map_rows,
    number_of_rows,
    on_rows,
    rows_together,
)
from .options import Static
from .state_vector import largest_change, mixing, pack, residual_scale, unpack
from .stored_programs import stored

ADJOINT_FAILED = 1e-2
"""An adjoint whose relative residual stays above this is no derivative."""

FARTHEST_START = 5.0
"""Starts farther from the air above than this many of the largest changes of a pass are not used, like those that are NaN."""

Vectors = Float[Array, "time unknown"]


class Inputs(NamedTuple):
    """Everything that the solution depends on and has derivatives to.

    `forcing`: floating point, without `site`; `stress`: factor `[time]` or `[time, layer]`; `parameters` and `site`: with the
    rows in front where `Axes` says so; `closure`: an `AbstractStress` that is evaluated in the loop, a pytree of arrays, or None.
    """

    forcing: Forcing
    stress: Float[Array, " time"] | Float[Array, "time layer"]
    parameters: Parameters
    site: SiteArrays
    closure: LoopClosure | None = None


class Conditioned(NamedTuple):
    """Inputs after `conditions`. `forcing` is there for a closure only."""

    conditions: Conditions
    stress: Float[Array, " time"] | Float[Array, "time layer"]
    forcing: Forcing | None
    parameters: Parameters
    site: SiteArrays
    closure: LoopClosure | None


class Problem(NamedTuple):
    """What the passes read besides the unknowns."""

    prepared: Prepared
    parameters: Parameters
    site: SiteArrays
    closure: LoopClosure | None


class Solved(NamedTuple):
    """A solved batch: fluxes, profiles, and what the solver tells of it."""

    fluxes: Fluxes
    profiles: Profiles
    solver: anderson.FixedPoint


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def solve_canopy(
    static: Static, inputs: Inputs, solvable: Bool[Array, " time"], start: Vectors | None = None
) -> Solved:
    """Converged half-hours of a batch.

    Args:
        solvable: rows that are solved. Fluxes and profiles of the others are NaN, and they have no part in any
            derivative; a cotangent of theirs that is not zero makes NaN of the derivatives that it reaches.
        start: states (`pack`) to start from, ordinary starts where they are not finite. It decides the passes, not the
            solution or its derivatives beyond the tolerance.

    Returns:
        `Solved`; its fluxes and profiles are differentiable.
    """
    return stored(_solved_in_parts, static, _structure_of_solved, unless=inputs.closure is not None)(
        inputs, solvable, start
    )


def _forward(static: Static, inputs: Inputs, solvable: Any, start: Vectors | None) -> tuple[Solved, tuple]:
    solved = cast(Solved, solve_canopy(static, inputs, solvable, start))
    return solved, (solved.solver.value, inputs, solvable)


def _backward(static: Static, saved: tuple, ct: Solved) -> tuple[Inputs, None, None]:
    u, inputs, solvable = saved
    pull_back = stored(
        _cotangents_in_parts, static, lambda: jax.tree.structure(inputs), unless=inputs.closure is not None
    )
    return pull_back(u, inputs, solvable, ct.fluxes, ct.profiles), None, None


solve_canopy.defvjp(_forward, _backward)


@cache
def _structure_of_solved() -> Any:
    """Tree structure of `Solved`."""
    number = jnp.zeros(())
    fluxes = Fluxes(**{field.name: number for field in dataclasses.fields(Fluxes)})
    profiles = Profiles(**dict.fromkeys(Profiles._fields, number))
    solver = anderson.FixedPoint(value=number, aux=None, residual=number, passes=number, converged=number)
    return jax.tree.structure(Solved(fluxes=fluxes, profiles=profiles, solver=solver))


# --- from inputs to what a pass reads


def _conditioned(static: Static, inputs: Inputs) -> Conditioned:
    def of_one(row: Inputs) -> Conditions:
        return conditions(row.forcing, row.parameters, row.site, static.scheme)

    return Conditioned(
        conditions=map_rows(static.axes, of_one, inputs),
        stress=inputs.stress,
        forcing=None if inputs.closure is None else inputs.forcing,
        parameters=inputs.parameters,
        site=inputs.site,
        closure=inputs.closure,
    )


def _problem(static: Static, batch: Conditioned) -> Problem:
    def of_one(row: Conditioned) -> Prepared:
        return prepare(row.conditions, row.parameters, row.site, row.stress, static.scheme, row.forcing)

    return Problem(
        prepared=map_rows(static.axes, of_one, batch),
        parameters=batch.parameters,
        site=batch.site,
        closure=batch.closure,
    )


def _full_pass(static: Static, problem: Problem, u: Vectors) -> tuple[Vectors, Fluxes, LeafExchange]:
    """One pass of a batch: next states, fluxes, leaves; differentiable in everything."""

    def of_one(row: Problem, u: Any) -> tuple[Any, Fluxes, LeafExchange]:
        state = unpack(u, static.scheme.n_layers)
        following, fluxes, leaves = one_pass(state, row.prepared, row.parameters, row.site, static.scheme, row.closure)
        return pack(following), fluxes, leaves

    return map_rows(static.axes, of_one, problem, u)


def _profiles(static: Static, fluxes: Fluxes, leaves: LeafExchange, problem: Problem) -> Profiles:
    def of_one(row: Problem, fluxes: Fluxes, leaves: LeafExchange) -> Profiles:
        return profiles(fluxes, leaves, row.prepared, row.parameters, row.site)

    return map_rows(static.axes, of_one, problem, fluxes, leaves)


# --- forward


def _solved_in_parts(static: Static, inputs: Inputs, solvable: Any, start: Vectors | None = None) -> Solved:
    def solved(part: Conditioned, start: Any, _: Any) -> Solved:
        problem = _problem(static, part)
        point = _fixed_point(static, problem, start)
        fluxes, leaves = point.aux
        return Solved(
            fluxes=fluxes,
            profiles=_profiles(static, fluxes, leaves, problem),
            solver=point._replace(aux=None),
        )

    batch = _conditioned(static, _with_stand_ins(static, inputs, solvable))
    parts = in_parts(solved, static.axes, rows_together(static, FORWARD_LAYERS, batch), batch, start)
    fluxes, profiles, point = jax.tree.map(partial(joined, number_of_rows(batch)), parts)
    or_nothing = partial(_where_row, solvable, otherwise=jnp.nan)
    point = point._replace(
        value=or_nothing(point.value),
        residual=or_nothing(point.residual),
        passes=jnp.where(solvable, point.passes, 0),
        converged=point.converged & solvable,
    )
    return Solved(fluxes=jax.tree.map(or_nothing, fluxes), profiles=jax.tree.map(or_nothing, profiles), solver=point)


def _with_stand_ins(static: Static, inputs: Inputs, keep: Any) -> Inputs:
    forcing, stress, parameters = with_stand_ins(static.axes, keep, inputs.forcing, inputs.stress, inputs.parameters)
    closure = of_kept_rows(static.axes.closure, keep, inputs.closure)
    return inputs._replace(forcing=forcing, stress=stress, parameters=parameters, closure=closure)


def _where_row(rows: Any, y: Any, otherwise: Any) -> Any:
    return jnp.where(by_row(rows, y), y, otherwise)


def _fixed_point(static: Static, problem: Problem, start: Vectors | None) -> anderson.FixedPoint:
    n = static.scheme.n_layers
    dtype = problem.prepared.wind.dtype
    tolerance = static.options.tolerance
    if tolerance is None:
        tolerance = 1e-3 if dtype == jnp.float64 else 0.05

    def step_of(problem: Problem) -> Callable:
        def step(u: Vectors) -> tuple[Vectors, list]:
            following, *outputs = _full_pass(static, problem, u)
            return following, outputs

        return step

    first = jax.vmap(lambda x: pack(initial_state(x)))(problem.prepared)
    if start is not None:
        near = jnp.abs(start) <= FARTHEST_START * largest_change(n, dtype)
        first = jnp.where(jnp.all(near, axis=1, keepdims=True), start, first)
    return anderson.solve(
        step_of(problem),
        first,
        residual_scale(n, dtype),
        mixing(n, dtype),
        tolerance=tolerance,
        max_passes=static.options.max_passes,
        depth=static.options.depth,
        max_change=largest_change(n, dtype),
        has_aux=True,
        rest=lambda rows: step_of(on_rows(static.axes, lambda leaf: leaf[rows], problem)),
    )


# --- backward: `vjp_*` are functions that pull cotangents back, `ct_*` are cotangents


def _cotangents_in_parts(
    static: Static, u: Vectors, inputs: Inputs, solvable: Any, ct_fluxes: Fluxes, ct_profiles: Profiles
) -> Inputs:
    """Cotangents of the inputs, one part of the batch after another.

    Only rows that were solved and that a cotangent reaches are pulled back; a calm night stands in for the others, so that
    exactly zero comes from them whatever they hold.
    """
    axes, ct = static.axes, (ct_fluxes, ct_profiles)
    reached = [jnp.any(g != 0, axis=tuple(range(1, g.ndim))) for g in jax.tree.leaves(ct)]
    used = functools.reduce(jnp.logical_or, reached)
    keep, spoiled = solvable & used, ~solvable & used
    usable = _with_stand_ins(static, inputs, keep)
    u = _where_row(keep, u, 0.0)

    def of_part(part: Conditioned, u: Vectors, ct: tuple[Fluxes, Profiles]) -> Conditioned:
        problem, vjp_problem = jax.vjp(partial(_problem, static), part)
        return vjp_problem(_cotangent_of_problem(static, problem, u, *ct))[0]

    batch, vjp_conditioned = jax.vjp(partial(_conditioned, static), usable)
    size = rows_together(static, BACKWARD_LAYERS, batch)
    parts = in_parts(of_part, axes, size, batch, u, ct)
    # What the rows share collects the cotangents of all parts.
    ct_batch = on_rows(axes, partial(joined, number_of_rows(batch)), parts, shared=lambda y: y.sum(axis=0))
    ct_inputs = vjp_conditioned(ct_batch)[0]
    without = jnp.where(spoiled, jnp.nan, 0.0).astype(u.dtype)
    return on_rows(
        axes,
        lambda y: _where_row(keep, y, by_row(without, y)),
        ct_inputs,
        shared=lambda y: jnp.where(spoiled.any(), jnp.nan, y),
    )


def _cotangent_of_problem(
    static: Static, problem: Problem, u: Vectors, ct_fluxes: Fluxes, ct_profiles: Profiles
) -> Problem:
    """`v = (dF/du)^T v + (dy/du)^T g` on the tangent of the leaves, then one exact pullback of `v` and `g` together."""
    scheme, axes, options = static
    n, dtype = scheme.n_layers, u.dtype

    def tangent_of_leaves(row: Problem, u: Any) -> Any:
        at = leaf_drivers(unpack(u, n), row.prepared, row.parameters)[0]
        return linearised(at, row.prepared, row.parameters, row.site.stomatal_sides, scheme, row.closure)

    def linear_pass(row: Problem, u: Any, leaves: Any) -> tuple[Any, Fluxes, LeafExchange]:
        respond = partial(tangent_response, leaves)
        state = unpack(u, n)
        following, fluxes, leaves = one_pass(state, row.prepared, row.parameters, row.site, scheme, respond=respond)
        return pack(following), fluxes, leaves

    # Profiles are computed from fluxes and leaves: their cotangents become cotangents of these.
    tangents = map_rows(axes, tangent_of_leaves, problem, u)
    (_, *outputs), vjp_pass = jax.vjp(lambda u: map_rows(axes, linear_pass, problem, u, tangents), u)
    _, vjp_profiles = jax.vjp(partial(_profiles, static), *outputs, problem)
    ct_fluxes_of_profiles, ct_leaves, ct_problem_of_profiles = vjp_profiles(ct_profiles)
    ct_outputs = jax.tree.map(jnp.add, ct_fluxes, ct_fluxes_of_profiles), ct_leaves

    # Cotangents are scaled to the size 1 in each row, so that none is too small to be squared.
    largest = [jnp.max(jnp.abs(g.reshape(g.shape[0], -1)), axis=1) for g in jax.tree.leaves(ct_outputs)]
    size = jnp.max(jnp.stack(largest), axis=0)
    size = jnp.where(size > 0, size, 1.0)
    scaled = jax.tree.map(lambda g: g / by_row(size, g), ct_outputs)

    tolerance = options.adjoint_tolerance
    if tolerance is None:
        tolerance = 1e-6 if dtype == jnp.float64 else 1e-5
    adjoint = anderson.solve(
        lambda v: vjp_pass((v, *scaled))[0],
        jnp.zeros_like(u),
        1.0 / residual_scale(n, dtype),
        mixing(n, dtype),
        tolerance=tolerance,
        relative=True,
        max_passes=options.adjoint_max_passes,
        depth=options.adjoint_depth,
    )
    v = jnp.where(by_row(adjoint.residual <= ADJOINT_FAILED, u), adjoint.value, jnp.nan)
    _, vjp_exact = jax.vjp(lambda problem: _full_pass(static, problem, u), problem)
    ct_problem = vjp_exact((v * by_row(size, u), *ct_outputs))[0]
    return jax.tree.map(jnp.add, ct_problem, ct_problem_of_profiles)
