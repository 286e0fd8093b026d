"""Pooling over the last 1 to 3 axes of `[batch, channel, ...]` or `[channel, ...]`.

The derivative of a maximum goes to the first of equal largest values of its window, that of an average to all alike.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np

from .table import aten
from .windows import Windows, adaptive, each, gathered, reduced, sliding


def _max_pool(x, windows: list[Windows]):
    """The largest entry of each window, and its number in the flattened last axes."""
    entries, used, flat = gathered(x, windows)
    lowest = -jnp.inf if jnp.issubdtype(x.dtype, jnp.inexact) else jnp.iinfo(x.dtype).min
    best = jnp.argmax(jnp.where(used, entries, lowest), axis=-1)[..., None]
    shape = (*entries.shape[:-1], used.shape[-1])
    first = jnp.broadcast_to(np.argmax(used, axis=-1)[..., None], best.shape)
    best = jnp.where(jnp.take_along_axis(jnp.broadcast_to(used, shape), best, -1), best, first)
    numbers = jnp.take_along_axis(jnp.broadcast_to(flat, shape), best, -1)
    return jnp.take_along_axis(entries, best, -1)[..., 0], numbers[..., 0]


def _sliding(x, n: int, kernel, stride, padding, dilation, ceil_mode: bool) -> list[Windows]:
    kernel = each(kernel, n)
    stride = each(stride, n) if stride not in ((), [], None) else kernel
    settings = zip(x.shape[-n:], kernel, stride, each(padding, n), each(dilation, n), strict=True)
    return [sliding(*own, ceil_mode) for own in settings]


def _enter(n: int) -> None:
    """Enter the poolings over `n` axes."""

    def max_with_indices(x, kernel, stride=(), padding=0, dilation=1, ceil_mode=False):
        return _max_pool(x, _sliding(x, n, kernel, stride, padding, dilation, ceil_mode))

    def maximum(*args):
        return max_with_indices(*args)[0]

    def average(
        x, kernel, stride=(), padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None
    ):  # fmt: skip
        windows = _sliding(x, n, kernel, stride, padding, 1, ceil_mode)
        counts = np.ones(())
        for i, (own, pad) in enumerate(zip(windows, each(padding, n), strict=True)):
            size = x.shape[i - n]
            inside = (own.positions < size + pad) if count_include_pad else own.used
            counts = counts[..., None] * inside.sum(1)
            x = reduced(x, i - n, own)
        return x / jnp.asarray(counts if divisor_override is None else divisor_override, x.dtype)

    def adaptive_average(x, sizes):
        for i, count in enumerate(each(sizes, n)):
            windows = adaptive(x.shape[i - n], x.shape[i - n] if count is None else int(count))
            x = reduced(x, i - n, windows, windows.used / windows.used.sum(1, keepdims=True))
        return x

    def adaptive_maximum(x, sizes):
        return _max_pool(
            x, [adaptive(size, int(count)) for size, count in zip(x.shape[-n:], each(sizes, n), strict=True)]
        )

    aten(f"max_pool{n}d.default")(maximum)
    aten(f"max_pool{n}d_with_indices.default")(max_with_indices)
    aten(f"avg_pool{n}d.default")(average)
    aten(f"adaptive_avg_pool{n}d.default", *([f"_adaptive_avg_pool{n}d.default"] if n > 1 else []))(adaptive_average)
    aten(f"adaptive_max_pool{n}d.default")(adaptive_maximum)


for _n in (1, 2, 3):
    _enter(_n)


def _unpool(x, indices, sizes):
    """Zeros `[..., *sizes]` with the entries of `x` at numbers `indices` of the flattened last axes.

    Raises nothing for a number outside: all results are NaN then.
    """
    n = len(sizes)
    lead, total = x.shape[: x.ndim - n], math.prod(int(s) for s in sizes)
    rows, places = x.reshape(math.prod(lead), -1), indices.reshape(math.prod(lead), -1)
    filled = jnp.zeros((rows.shape[0], total), x.dtype)
    filled = filled.at[np.arange(rows.shape[0])[:, None], places].set(rows, mode="drop")
    outside = jnp.any((places < 0) | (places >= total))
    return jnp.where(outside, jnp.nan, filled).reshape(*lead, *(int(s) for s in sizes)).astype(x.dtype)


@aten("max_unpool2d.default")
def _max_unpool2d(x, indices, sizes):
    return _unpool(x, indices, sizes)


@aten("max_unpool3d.default")
def _max_unpool3d(x, indices, sizes, stride, padding):
    del stride, padding
    return _unpool(x, indices, sizes)
