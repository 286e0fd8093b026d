"""Windows along the axes of an array: where they lie, what they hold, and their weighted sums.

Pooling, interpolation and unfolding are all made of them. A window is a row of positions on one axis; positions that
lie outside the array, or that a shorter window does not use, are marked and hold nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np


class Windows(NamedTuple):
    """Windows along one axis: `positions` and `used`, each `[window, place in the window]`."""

    positions: np.ndarray
    used: np.ndarray


def each(value, n: int) -> list[int]:
    """One number for each of `n` axes; torch gives one for all, or a list of one or of `n`."""
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    return values * n if len(values) == 1 else values


def sliding(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> Windows:
    """The windows of a pooling over an axis of length `size`, `padding` empty positions on either side.

    With `ceil_mode` a last window may reach beyond the padding, if it starts before its right part.
    """
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    count = (math.ceil(room / stride) if ceil_mode else room // stride) + 1
    if ceil_mode and (count - 1) * stride >= size + padding:
        count -= 1
    positions = np.arange(count)[:, None] * stride - padding + np.arange(kernel) * dilation
    return Windows(positions, (positions >= 0) & (positions < size))


def adaptive(size: int, count: int) -> Windows:
    """`count` windows that cover an axis, window i from floor(i size / count) to ceil((i + 1) size / count)."""
    start = np.arange(count) * size // max(count, 1)
    end = -(-(np.arange(count) + 1) * size // max(count, 1))
    positions = start[:, None] + np.arange(max((end - start).max(initial=0), 1))
    return Windows(positions, positions < end[:, None])


def reduced(x, axis: int, windows: Windows, weights: np.ndarray | None = None):
    """Sum over each window along one axis; `weights [window, place]` multiply its entries."""
    axis %= x.ndim
    held = _take(x, axis, windows)
    trailing = (1,) * (x.ndim - axis - 1)
    used = windows.used.reshape(*windows.used.shape, *trailing)
    held = jnp.where(used, held, 0)
    if weights is not None:
        held = held * jnp.asarray(weights, x.dtype).reshape(*weights.shape, *trailing)
    return jnp.sum(held, axis=axis + 1)


def gathered(x, windows: Sequence[Windows]):
    """The entries of all windows along the last axes.

    Returns:
        Entries `[..., *count, place]`, which places are used `[*count, place]`, and the number of each entry in the
        flattened last axes, of the same shape.
    """
    n = len(windows)
    lead = x.ndim - n
    sizes = x.shape[lead:]
    for i, own in enumerate(windows):
        x = _take(x, lead + 2 * i, own)
    used, flat = np.ones((1,) * (2 * n), bool), np.zeros((1,) * (2 * n), int)
    for i, own in enumerate(windows):
        shape = [1] * (2 * n)
        shape[2 * i : 2 * i + 2] = own.used.shape
        used = used & own.used.reshape(shape)
        flat = flat * sizes[i] + np.clip(own.positions, 0, max(sizes[i] - 1, 0)).reshape(shape)
    order = [*range(0, 2 * n, 2), *range(1, 2 * n, 2)]
    counts = tuple(len(own.used) for own in windows)
    x = jnp.transpose(x, [*range(lead), *(lead + o for o in order)])
    return (
        x.reshape(*x.shape[: lead + n], math.prod(w.used.shape[1] for w in windows)),
        np.transpose(used, order).reshape(*counts, -1),
        np.transpose(flat, order).reshape(*counts, -1),
    )


def _take(x, axis: int, windows: Windows):
    """`[..., window, place, ...]`: the entries of windows along an axis; any entry where a place is not used."""
    return jnp.take(x, np.clip(windows.positions, 0, max(x.shape[axis] - 1, 0)), axis=axis, mode="clip")
