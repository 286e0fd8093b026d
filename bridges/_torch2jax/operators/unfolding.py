"""Windows of an array as columns, and columns summed into an array."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np

from .table import aten
from .windows import Windows, each, gathered, sliding


@aten("unfold.default")
def _unfold(x, axis, size, step):
    """Windows of an axis, their places as a new last axis."""
    if not x.ndim:
        return x[None]
    axis %= x.ndim
    windows = sliding(x.shape[axis], size, step, 0, 1, False)
    held = jnp.take(x, windows.positions, axis=axis)
    return jnp.moveaxis(held, axis + 1, -1)


def _columns(sizes, kernel, dilation, padding, stride) -> list[Windows]:
    settings = zip(sizes, each(kernel, 2), each(stride, 2), each(padding, 2), each(dilation, 2), strict=True)
    return [sliding(*own, False) for own in settings]


@aten("im2col.default")
def _im2col(x, kernel, dilation, padding, stride):
    """`[batch, channel * kernel, window]` from `[batch, channel, height, width]`."""
    entries, used, _ = gathered(x, _columns(x.shape[-2:], kernel, dilation, padding, stride))
    entries = jnp.moveaxis(jnp.where(used, entries, 0), -1, -3)
    return entries.reshape(*x.shape[:-3], -1, entries.shape[-2] * entries.shape[-1])


@aten("col2im.default")
def _col2im(x, size, kernel, dilation, padding, stride):
    """The sum of overlapping windows: `[batch, channel, *size]` from `[batch, channel * kernel, window]`."""
    windows = _columns([int(s) for s in size], kernel, dilation, padding, stride)
    used = np.moveaxis(gathered(np.zeros(tuple(int(s) for s in size)), windows)[1], -1, 0).reshape(-1)
    flat = np.moveaxis(gathered(np.zeros(tuple(int(s) for s in size)), windows)[2], -1, 0).reshape(-1)
    places = math.prod(each(kernel, 2))
    entries = x.reshape(*x.shape[:-2], x.shape[-2] // places, -1)
    summed = jnp.zeros((*entries.shape[:-1], math.prod(int(s) for s in size)), x.dtype)
    summed = summed.at[..., flat].add(jnp.where(used, entries, 0))
    return summed.reshape(*entries.shape[:-1], *(int(s) for s in size))
