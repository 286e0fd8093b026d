"""Anderson acceleration of a batch of independent fixed-point problems, each with its own stopping test.

Type II [Walker2011]: the next iterate combines the last `depth` differences so that the linearised residual is
smallest in the scaled norm.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

COMPACTION = 8
"""The solver goes on with the unconverged rows alone once at most one in this many is left."""

SMALLEST_BATCH = 4096
"""Smaller batches are not compacted: it would save less than the second copy of the loop costs to compile."""


LANES = 16
"""Partial sums of a scalar product that are kept side by side."""


Vectors = Float[Array, "row unknown"]
History = Float[Array, "difference row unknown"]
Numbers = Float[Array, " row"]
Flags = Bool[Array, " row"]


class FixedPoint(NamedTuple):
    """Result of `solve`: `value` `[B, n]`; what the step returned besides there, `aux` (NaN where no residual was finite);
    per problem `residual` (scaled, or relative to that of the first pass if the tolerance is), `passes` used and `converged`."""

    value: Vectors
    aux: Any
    residual: Numbers
    passes: Int[Array, " row"]
    converged: Flags


class _Carry(NamedTuple):
    """`moved`: last change of `u`; `d_f`, `d_g` `[m, B, n]`: differences of the residual and of the mixed iterate."""

    k: Int[Array, ""]
    u: Vectors
    f: Vectors
    moved: Vectors
    d_f: History
    d_g: History
    gram: Float[Array, "row difference difference"]
    best: Vectors
    best_aux: Any
    best_residual: Numbers
    limit: Numbers
    passes: Int[Array, " row"]
    done: Flags


def solve(
    step: Callable,
    start,
    scale,
    mixing,
    *,
    tolerance,
    max_passes: int,
    depth: int = 5,
    max_change=None,
    relative: bool = False,
    has_aux: bool = False,
    rest: Callable | None = None,
) -> FixedPoint:
    """Find `u = step(u)` for every row of a batch. The passes go on until the slowest row is done.

    Args:
        step: `[B, n] -> [B, n]`, row by row; with `has_aux`, `-> ([B, n], aux)`, floating-point arrays `[B, ...]`.
        start: `[B, n]`.
        scale: `[n]`; the residual of a row is `max |scale (step(u) - u)|`.
        mixing: `[n]`, weight of the new value in a plain pass.
        tolerance: a row stops when its residual is at or below it.
        max_passes: evaluations of `step` at the most.
        depth: number of differences kept.
        max_change: `[n]` or None; largest change of a component in one pass.
        relative: `tolerance` is relative to the residual of the first pass.
        rest: `rest(rows)` is the step of these rows alone. With it, the last rows to converge leave the batch: once at
            most one in `COMPACTION` is left, the passes go on with these (batches of `SMALLEST_BATCH` or more).

    Returns:
        The iterate of smallest residual of each row (at which `step` was evaluated).
    """
    batch, size = start.shape
    dtype = start.dtype
    rows = jnp.arange(depth)
    with_aux: Callable = (lambda step: step) if has_aux else lambda step: lambda u: (step(u), ())
    evaluate = with_aux(step)
    weight = scale * scale
    tiny, eps = jnp.finfo(dtype).tiny, jnp.finfo(dtype).eps

    def body(step: Callable, c: _Carry) -> _Carry:
        following, aux = step(c.u)
        f = following - c.u
        residual = jnp.max(jnp.abs(scale * f), axis=-1)
        residual = jnp.where(jnp.isfinite(residual), residual, jnp.inf)
        better = (residual < c.best_residual) & ~c.done
        best, best_aux = jax.tree.map(partial(_choose, better), (c.u, aux), (c.best, c.best_aux))
        best_residual = jnp.where(better, residual, c.best_residual)
        passes = jnp.where(c.done, c.passes, c.k + 1)
        limit = c.limit
        if relative:
            limit = jnp.where(c.k == 0, jnp.where(jnp.isfinite(residual), tolerance * residual, 0.0), limit)
        done = c.done | (better & (residual <= limit))

        # The differences of this pass replace the oldest; only their row of the Gram matrix is new.
        slot = (c.k + depth - 1) % depth
        used = rows < c.k
        change = f - c.f
        d_f = c.d_f.at[slot].set(change)
        d_g = c.d_g.at[slot].set(c.moved + mixing * change)
        row, projection = (y.T for y in _products(d_f, weight * change, weight * f))
        gram = c.gram.at[:, slot, :].set(row).at[:, :, slot].set(row)

        norm = jnp.sqrt(jnp.maximum(jnp.einsum("bii->bi", gram), tiny))
        system = jnp.where(used[:, None] & used, gram / (norm[:, :, None] * norm[:, None, :]), 0.0)
        system = system + jnp.diag(jnp.where(used, 100.0 * eps, 1.0).astype(dtype))
        gamma = jnp.where(used, _solve_spd(system, jnp.where(used, projection / norm, 0.0)) / norm, 0.0)
        mixed = mixing * f
        for i in range(depth):
            mixed = mixed - gamma[:, i, None] * d_g[i]
        if max_change is not None:
            mixed = jnp.clip(mixed, -max_change, max_change)
        moved = jnp.where(jnp.isfinite(mixed) & ~done[:, None], mixed, 0.0)
        u = c.u + moved
        return _Carry(c.k + 1, u, f, moved, d_f, d_g, gram, best, best_aux, best_residual, limit, passes, done)

    zeros = jnp.zeros_like(start)
    history = jnp.zeros((depth, batch, size), dtype)
    first = _Carry(
        jnp.asarray(0), start, zeros, zeros, history, history, jnp.zeros((batch, depth, depth), dtype), start,
        jax.tree.map(lambda a: jnp.full(a.shape, jnp.nan, a.dtype), jax.eval_shape(evaluate, start)[1]),
        jnp.full((batch,), jnp.inf, dtype), jnp.full((batch,), tolerance, dtype), jnp.zeros((batch,), jnp.int32),
        jnp.zeros((batch,), bool),
    )  # fmt: skip

    def run(c: _Carry, step: Callable, enough: int) -> _Carry:
        return jax.lax.while_loop(lambda c: (c.k < max_passes) & (jnp.sum(~c.done) > enough), partial(body, step), c)

    def result(c: _Carry) -> FixedPoint:
        residual = c.best_residual
        if relative:
            residual = jnp.where(c.limit > 0, residual * (tolerance / jnp.where(c.limit > 0, c.limit, 1.0)), residual)
        return FixedPoint(c.best, c.best_aux, residual, c.passes, c.done)

    if rest is None or batch < SMALLEST_BATCH:
        return result(run(first, evaluate, 0))
    few = batch // COMPACTION
    most = run(first, evaluate, few)
    rows_left = jnp.argsort(most.done, stable=True)[:few]
    last = run(_take_rows(most, rows_left), with_aux(rest(rows_left)), 0)
    return jax.tree.map(lambda y, z: y.at[rows_left].set(z), result(most), result(last))


def _products(history, a, b):
    """Products of each row's `history` `[m, B, n]` with its `a` and `b` `[B, n]`: `[m, B]` each, in one reading of the history.

    Partial sums side by side, as many as a vector unit has lanes: one running sum would wait for itself at every number.
    """
    fill = -a.shape[-1] % LANES
    history, a, b = (jnp.pad(y, [(0, 0)] * (y.ndim - 1) + [(0, fill)]) for y in (history, a, b))
    history, a, b = (y.reshape(*y.shape[:-1], -1, LANES) for y in (history, a, b))
    zero = jnp.zeros((), history.dtype)
    add = lambda x, y: (x[0] + y[0], x[1] + y[1])  # noqa: E731
    return [y.sum(axis=-1) for y in jax.lax.reduce((history * a, history * b), (zero, zero), add, (2,))]


def _choose(rows, new, old):
    """`new` in these rows, `old` in the others."""
    return jnp.where(rows.reshape(-1, *[1] * (new.ndim - 1)), new, old)


def _take_rows(c: _Carry, rows) -> _Carry:
    history = {name: getattr(c, name)[:, rows] for name in ("d_f", "d_g")}
    others = {name: value for name, value in c._asdict().items() if name not in ("k", *history)}
    return _Carry(k=c.k, **history, **jax.tree.map(lambda y: y[rows], others))


def _solve_spd(a, b):
    """Solve small symmetric positive systems `[B, m, m]` by an unrolled Cholesky factorisation (elementwise in B)."""
    m = b.shape[-1]
    low: list[list[Any]] = [[None] * m for _ in range(m)]
    y: list[Any] = [None] * m
    for i in range(m):
        for j in range(i + 1):
            s = a[:, i, j] - sum((low[i][k] * low[j][k] for k in range(j)), start=jnp.zeros_like(b[:, 0]))
            low[i][j] = jnp.sqrt(jnp.maximum(s, 1e-30)) if i == j else s / low[j][j]
        y[i] = (b[:, i] - sum((low[i][k] * y[k] for k in range(i)), start=jnp.zeros_like(b[:, 0]))) / low[i][i]
    x: list[Any] = [None] * m
    for i in reversed(range(m)):
        x[i] = (y[i] - sum((low[k][i] * x[k] for k in range(i + 1, m)), start=jnp.zeros_like(b[:, 0]))) / low[i][i]
    return jnp.stack(x, axis=-1)
