"""How a batch of half-hours is cut into parts, and which of its arrays go along with the rows. The one place for both.

A batch is any `NamedTuple` record. Its fields `parameters`, `site` and `closure` may be shared by all rows (`Axes` says which
of their arrays are not); the arrays of all other fields have the rows in front.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from .options import Axes, Static

Batch = TypeVar("Batch", bound=tuple)

FORWARD_LAYERS, BACKWARD_LAYERS = 12_800, 6_400
"""Layers that are solved together on a CPU: 256 half-hours of 50 layers forward, 128 backward. What a pass reads and writes
then stays in the caches, and memory stays small (docs/performance.md)."""

RECORD_CHUNK = 1024
"""Half-hours of a whole record that `Canopy.solve` gives to one call: bounds its memory, and one program serves any record."""

RECORD_CHUNK_ON_ACCELERATOR = 32_768


def record_chunk() -> int:
    """Half-hours that `Canopy.solve` gives to one call, by JAX's default device."""
    return RECORD_CHUNK if jax.default_backend() == "cpu" else RECORD_CHUNK_ON_ACCELERATOR


def number_of_rows(batch: Any) -> int:
    """Rows of a batch, read from its first field."""
    return jax.tree.leaves(batch[0])[0].shape[0]


def in_axes(axes: Axes, batch: Batch) -> Batch:
    """The batch with 0 or None in place of its arrays, as `jax.vmap` wants it."""

    def of(name: str) -> Any:
        if name not in Axes._fields:
            return 0
        flags = getattr(axes, name)
        structure = jax.tree.structure(getattr(batch, name))
        return jax.tree.unflatten(structure, [0 if by_row else None for by_row in flags])

    return type(batch)(*(of(name) for name in batch._fields))  # type: ignore[attr-defined]


def map_rows(axes: Axes, function: Callable, batch: Any, *more: Any) -> Any:
    """`function(row of batch, *row of more)` for every row of a batch."""
    return jax.vmap(function, in_axes=(in_axes(axes, batch), *(0 for _ in more)))(batch, *more)


def on_rows(axes: Axes, function: Callable, batch: Batch, shared: Callable = lambda leaf: leaf) -> Batch:
    """The batch with `function` of all arrays that differ between rows, and `shared` of the others."""

    def of(name: str, field: Any) -> Any:
        if name not in Axes._fields:
            return jax.tree.map(function, field)
        leaves, structure = jax.tree.flatten(field)
        flags = getattr(axes, name)
        new = [function(leaf) if by_row else shared(leaf) for by_row, leaf in zip(flags, leaves, strict=True)]
        return jax.tree.unflatten(structure, new)

    return type(batch)(*(of(name, field) for name, field in zip(batch._fields, batch, strict=True)))  # type: ignore[attr-defined]


def rows_together(static: Static, layers_on_cpu: int, batch: Any) -> int:
    """Rows that are solved together: as many as make `layers_on_cpu` on a CPU, the whole batch on an accelerator.

    Decided while tracing, by JAX's default device: a wrong guess costs time, never accuracy.
    """
    if static.options.rows_at_once is not None:
        return static.options.rows_at_once
    if jax.default_backend() == "cpu":
        return max(1, layers_on_cpu // static.scheme.n_layers)
    return number_of_rows(batch)


def in_parts(run: Callable, axes: Axes, size: int, batch: Any, rows: Any = (), cotangents: Any = ()) -> Any:
    """`run(batch, rows, cotangents)` of one part of about `size` rows after another; results `[part, row, ...]`.

    The last part is filled up with copies of the last row, whose cotangents are zero; `joined` drops their results.

    Args:
        rows: further arrays with the rows in front, for example where to start.
        cotangents: likewise; zero in the copies, so that these add nothing to a sum.
    """
    total = number_of_rows(batch)
    count = max(1, -(-total // size))
    size = -(-total // count)
    if count == 1:
        return jax.tree.map(lambda y: y[None], run(batch, rows, cotangents))
    if extra := count * size - total:
        fill = partial(_filled, extra)
        batch, rows = on_rows(axes, fill, batch), jax.tree.map(fill, rows)
        cotangents = jax.tree.map(partial(_filled_with_zeros, extra), cotangents)

    def part(k: Any) -> tuple[Any, Any, Any]:
        def cut(y: Any) -> Any:
            return jax.lax.dynamic_slice_in_dim(y, k * size, size)

        return (on_rows(axes, cut, batch), *jax.tree.map(cut, (rows, cotangents)))

    def turn(now: Any, k: Any) -> tuple[Any, Any]:
        # The loop carries the part that it works on and cuts out the next one. A part that were cut where it is used
        # would be cut again inside every kernel that reads it, which stops XLA from using vector instructions there.
        return part(k + 1), run(*now)

    return jax.lax.scan(turn, part(0), jnp.arange(count))[1]


def joined(total: int, y: Any) -> Any:
    """`[part, row, ...]` as `[row, ...]`, without the copies that filled the last part."""
    return y.reshape(-1, *y.shape[2:])[:total]


def by_row(values: Any, like: Any) -> Any:
    """`[row]` in a shape that broadcasts over the rows of `like`."""
    return values.reshape(-1, *[1] * (like.ndim - 1))


def _filled(extra: int, y: Any) -> Any:
    return jnp.concatenate([y, jnp.repeat(y[-1:], extra, axis=0)])


def _filled_with_zeros(extra: int, y: Any) -> Any:
    return jnp.concatenate([y, jnp.zeros((extra, *y.shape[1:]), y.dtype)])
