"""Which rows of a batch can be solved, and what stands in for those that cannot.

A row with an unusable number must neither be computed (the result would be no solution) nor reach a derivative: zero times
a derivative that is not a number is not zero. So such rows are replaced by a harmless half-hour before any arithmetic.
Their outputs are not numbers; what the rows share, and all other rows, have exactly the values and derivatives of a batch
with any other row in their place that the loss does not use.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..forcing import FORCING_TABLE, STAND_IN, Forcing, rows_within_range
from ..parameters import Parameters
from .batches import by_row
from .options import Axes

SOLVED, FORCING, STRESS, PARAMETER, NOT_CONVERGED, NOT_PHYSICAL, SITE, CLOSURE, FACTOR = range(9)
REASONS: dict[int, str] = {
    SOLVED: "solved",
    FORCING: "a forcing value is missing or outside the range of FORCING_TABLE",
    STRESS: "the stress factor is outside (0, 1]",
    PARAMETER: "a parameter of the half-hour is not a finite number",
    NOT_CONVERGED: "the solver did not converge",
    NOT_PHYSICAL: "the air of the solution is not physical",
    SITE: "its site index is none of the canopy's sites",
    CLOSURE: "an input of the closure in the loop is not a finite number",
    FACTOR: "the factor of the closure in the loop is not positive",
}
"""What the numbers in `Diagnostics.reason` mean."""


def rows_to_solve(
    axes: Axes, forcing: Forcing, stress: Float[Array, "time ..."], parameters: Parameters, closure: Any = None
) -> Bool[Array, " time"]:
    """Whether each row can be solved: its forcing is within range, its stress within (0, 1], all else of it finite.

    Ranges are one reduction of a table, which XLA computes once. A chain of `&` it would compute again in each of the hundreds
    of loops that read what stands in for a row.
    """
    layers = tuple(range(1, stress.ndim))
    ranges = [(getattr(forcing, name), info.lower, info.upper, info.optional) for name, info in FORCING_TABLE.items()]
    smallest = float(jnp.finfo(stress.dtype).tiny)
    ranges += [(stress.min(axis=layers), smallest, 1.0, False), (stress.max(axis=layers), smallest, 1.0, False)]
    columns, *limits = zip(*ranges, strict=True)
    lower, upper, optional = (jnp.asarray(limit)[:, None] for limit in limits)
    table = jnp.stack(columns)
    within = jnp.all((table >= lower) & (table <= upper) | optional & jnp.isnan(table), axis=0)
    n_rows = stress.shape[0]
    return within & _finite_rows(n_rows, axes.closure, closure) & _finite_rows(n_rows, axes.parameters, parameters)


def reason_not_to_solve(
    axes: Axes, forcing: Forcing, stress: Float[Array, "time ..."], parameters: Parameters, closure: Any = None
) -> Int[Array, " time"]:
    """Code of `REASONS` for each row, 0 where `rows_to_solve` is true."""
    n_rows = stress.shape[0]
    within = jnp.all((stress >= jnp.finfo(stress.dtype).tiny) & (stress <= 1.0), axis=tuple(range(1, stress.ndim)))
    reason = jnp.where(within, SOLVED, STRESS)
    reason = jnp.where(_finite_rows(n_rows, axes.closure, closure), reason, CLOSURE)
    reason = jnp.where(_finite_rows(n_rows, axes.parameters, parameters), reason, PARAMETER)
    return jnp.where(rows_within_range(vars(forcing)), reason, FORCING).astype(jnp.int32)


def _finite_rows(n_rows: int, by_row: tuple[bool, ...], record: Any) -> Bool[Array, " time"]:
    """Rows whose own numbers in a record are all finite."""
    finite = jnp.ones(n_rows, bool)
    for differs, value in zip(by_row, jax.tree.leaves(record), strict=True):
        if differs:
            finite &= jnp.all(jnp.isfinite(value), axis=tuple(range(1, value.ndim)))
    return finite


def of_kept_rows(by_rows: tuple[bool, ...], keep: Bool[Array, " time"], record: Any) -> Any:
    """The record with the numbers of the first kept row in place of those of the rows that are not kept."""

    def kept(value: Any) -> Any:
        stand_in = value[jnp.argmax(keep)]
        stand_in = jnp.where(jnp.isfinite(stand_in), stand_in, 0.0)  # no row is kept
        return jnp.where(by_row(keep, value), value, stand_in)

    leaves, structure = jax.tree.flatten(record)
    chosen = [kept(value) if differs else value for differs, value in zip(by_rows, leaves, strict=True)]
    return jax.tree.unflatten(structure, chosen)


def with_stand_ins(
    axes: Axes, keep: Bool[Array, " time"], forcing: Forcing, stress: Any, parameters: Parameters
) -> tuple[Forcing, Any, Parameters]:
    """The inputs with a calm night in place of the rows that are not kept: forcing, stress, parameters."""
    columns = {name: jnp.where(keep, getattr(forcing, name), STAND_IN[name]) for name in FORCING_TABLE}
    calm = jax.tree.unflatten(jax.tree.structure(forcing), list(columns.values()))
    leaves = [
        jnp.where(keep, value, default) if differs else value
        for differs, value, default in zip(
            axes.parameters, jax.tree.leaves(parameters), jax.tree.leaves(Parameters()), strict=True
        )
    ]
    return (
        calm,
        jnp.where(by_row(keep, stress), stress, 1.0),
        jax.tree.unflatten(jax.tree.structure(parameters), leaves),
    )
