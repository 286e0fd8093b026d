"""Anderson acceleration of a batch of independent fixed-point problems, each with its own stopping test.

Type II (Walker & Ni 2011): the next iterate combines the last `depth` differences so that the linearised residual is
smallest in the scaled norm.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class FixedPoint(NamedTuple):
    """Result of `solve`: `value` `[B, n]`; per problem `residual` (scaled), `passes` used and `converged`."""

    value: Any
    residual: Any
    passes: Any
    converged: Any


class _Carry(NamedTuple):
    k: Any
    u: Any
    f: Any
    d_u: Any
    d_f: Any
    best: Any
    best_residual: Any
    passes: Any
    done: Any


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
) -> FixedPoint:
    """Find `u = step(u)` for every row of a batch.

    Args:
        step: `[B, n] -> [B, n]`.
        start: `[B, n]`.
        scale: `[n]` or `[B, n]`; the residual of a row is `max |scale (step(u) - u)|`.
        mixing: `[n]`, weight of the new value in a plain pass.
        tolerance: a row stops when its residual is at or below it.
        max_passes: evaluations of `step` at the most.
        depth: number of differences kept.
        max_change: `[n]` or None; largest change of a component in one pass.

    Returns:
        The iterate of smallest residual of each row (at which `step` was evaluated).
    """
    batch, size = start.shape
    rows = jnp.arange(depth)
    zeros = jnp.zeros((depth, batch, size), start.dtype)
    eps = jnp.finfo(start.dtype).eps

    def cond(c: _Carry):
        return (c.k < max_passes) & ~jnp.all(c.done)

    def body(c: _Carry):
        f = step(c.u) - c.u
        residual = jnp.max(jnp.abs(scale * f), axis=-1)
        residual = jnp.where(jnp.isfinite(residual), residual, jnp.inf)
        better = (residual < c.best_residual) & ~c.done
        best = jnp.where(better[:, None], c.u, c.best)
        best_residual = jnp.where(better, residual, c.best_residual)
        passes = jnp.where(c.done, c.passes, c.k + 1)
        done = c.done | (residual <= tolerance)

        slot = (c.k - 1) % depth
        d_f = jnp.where((c.k > 0), c.d_f.at[slot].set(f - c.f), c.d_f)
        used = (rows < c.k).astype(start.dtype)
        weighted = d_f * scale
        gram = jnp.einsum("ibn,jbn->bij", weighted, weighted)
        norm = jnp.sqrt(jnp.maximum(jnp.einsum("bii->bi", gram), jnp.finfo(start.dtype).tiny))
        rhs = jnp.einsum("ibn,bn->bi", weighted, scale * f) / norm
        system = gram / (norm[:, :, None] * norm[:, None, :])
        keep = used[:, None] * used[None, :]
        identity = jnp.eye(depth, dtype=start.dtype)
        system = jnp.where(keep > 0, system, 0.0) + identity * (1.0 - used + 100 * eps)
        gamma = _solve_spd(system, rhs * used) / norm * used
        mixed = mixing * f - jnp.einsum("bi,ibn->bn", gamma, c.d_u + mixing * d_f)
        if max_change is not None:
            mixed = jnp.clip(mixed, -max_change, max_change)
        mixed = jnp.where(jnp.isfinite(mixed), mixed, 0.0)
        following = jnp.where(done[:, None], c.u, c.u + mixed)
        d_u = c.d_u.at[c.k % depth].set(following - c.u)
        return _Carry(c.k + 1, following, f, d_u, d_f, best, best_residual, passes, done)

    infinite = jnp.full((batch,), jnp.inf, start.dtype)
    first = _Carry(
        jnp.asarray(0), start, jnp.zeros_like(start), zeros, zeros, start, infinite,
        jnp.zeros((batch,), jnp.int32), jnp.zeros((batch,), bool),
    )  # fmt: skip
    last = jax.lax.while_loop(cond, body, first)
    return FixedPoint(last.best, last.best_residual, last.passes, last.done)


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
