"""Sorting, searching and selection by rank.

Selected values get the derivative of the entry whose index is returned. Where several entries are equal, torch does not say
which index it returns; here it is the first (`cummax`, `cummin`: the last, as in torch).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from .table import aten


def _select(x, index, dim: int, keepdim: bool):
    """Values at the index `[..., 1, ...]` along an axis, and the index."""
    values = jnp.take_along_axis(x, index, axis=dim)
    return (values, index) if keepdim else (jnp.squeeze(values, dim), jnp.squeeze(index, dim))


def _ranks(x, dim: int, descending: bool = False):
    """The index that sorts an axis; NaN counts as largest."""
    x = jax.lax.stop_gradient(x)
    if not descending:
        return jnp.argsort(x, axis=dim, stable=True)
    n = x.shape[dim]
    return n - 1 - jnp.flip(jnp.argsort(jnp.flip(x, dim), axis=dim, stable=True), dim)


@aten("sort.default")
def _sort(x, dim=-1, descending=False):
    if not x.ndim:
        return x, jnp.zeros((), int)
    index = _ranks(x, dim, descending)
    return jnp.take_along_axis(x, index, axis=dim), index


@aten("sort.stable")
def _sort_stable(x, *, stable=None, dim=-1, descending=False):
    del stable
    return _sort(x, dim, descending)


@aten("topk.default")
def _topk(x, k, dim=-1, largest=True, sorted=True):
    """The k largest or smallest entries in order."""
    del sorted
    if not x.ndim:
        return (x, jnp.zeros((), int)) if k else (x[None][:0], jnp.zeros((0,), int))
    index = jax.lax.slice_in_dim(_ranks(x, dim, largest), 0, int(k), axis=dim % x.ndim)
    return jnp.take_along_axis(x, index, axis=dim), index


@aten("kthvalue.default")
def _kthvalue(x, k, dim=-1, keepdim=False):
    if not x.ndim:
        return x, jnp.zeros((), int)
    index = jax.lax.slice_in_dim(_ranks(x, dim), int(k) - 1, int(k), axis=dim % x.ndim)
    return _select(x, index, dim, keepdim)


def _middle(x, dim: int, keepdim: bool, ignore_nan: bool):
    """The lower of the two middle entries; NaN wins unless it is ignored."""
    order = _ranks(x, dim)
    missing = jnp.isnan(x) if jnp.issubdtype(x.dtype, jnp.inexact) else jnp.zeros(x.shape, bool)
    count = jnp.sum(~missing, axis=dim, keepdims=True)
    n = x.shape[dim]
    rank = jnp.maximum(count - 1, 0) // 2 if ignore_nan else jnp.where(count < n, count, (n - 1) // 2)
    return _select(x, jnp.take_along_axis(order, rank, axis=dim), dim, keepdim)


@aten("median.dim")
def _median(x, dim=-1, keepdim=False):
    return _middle(x, dim, keepdim, False) if x.ndim else (x, jnp.zeros((), int))


@aten("nanmedian.dim")
def _nanmedian(x, dim=-1, keepdim=False):
    return _middle(x, dim, keepdim, True) if x.ndim else (x, jnp.zeros((), int))


def shared(x, value):
    """A value of the array, whose derivative all entries equal to it share."""
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        return value
    value, fixed = jax.lax.stop_gradient(value), jax.lax.stop_gradient(x)
    equal = (fixed == value) | (jnp.isnan(fixed) & jnp.isnan(value))
    return value + jnp.sum(jnp.where(equal & jnp.isfinite(fixed), x - fixed, 0)) / jnp.maximum(jnp.sum(equal), 1)


@aten("median.default")
def _median_of_all(x):
    """Equal entries share the derivative."""
    return shared(x, _middle(x.reshape(-1), 0, False, False)[0])


@aten("nanmedian.default")
def _nanmedian_of_all(x):
    return shared(x, _middle(x.reshape(-1), 0, False, True)[0])


@aten("mode.default")
def _mode(x, dim=-1, keepdim=False):
    """The smallest of the most frequent values, and the index of its last entry."""
    if not x.ndim:
        return x, jnp.zeros((), int)
    front = jnp.moveaxis(jax.lax.stop_gradient(x), dim, -1)
    count = jnp.sum(front[..., :, None] == front[..., None, :], axis=-1)
    most = count == jnp.max(count, axis=-1, keepdims=True)
    rank = jnp.argsort(jnp.argsort(front, axis=-1, stable=True), axis=-1)
    smallest = jnp.min(jnp.where(most, rank, front.shape[-1]), axis=-1, keepdims=True)
    value = jnp.take_along_axis(front, jnp.argmax(rank == smallest, axis=-1, keepdims=True), -1)
    n = front.shape[-1]
    last = n - 1 - jnp.argmax(jnp.flip(front == value, -1), axis=-1, keepdims=True)
    return _select(x, jnp.moveaxis(last, -1, dim), dim, keepdim)


def _running(x, dim: int, better):
    """The running extreme of an axis and its index, the last of equal ones; NaN stays."""
    if not x.ndim:
        return x, jnp.zeros((), int)
    dim %= x.ndim
    shape = [-1 if i == dim else 1 for i in range(x.ndim)]
    number = jnp.broadcast_to(jnp.arange(x.shape[dim]).reshape(shape), x.shape)

    def later(a, b):
        take = better(b[0], a[0])
        if jnp.issubdtype(x.dtype, jnp.inexact):
            take = (take & ~jnp.isnan(a[0])) | jnp.isnan(b[0])
        return jnp.where(take, b[0], a[0]), jnp.where(take, b[1], a[1])

    index = jax.lax.associative_scan(later, (jax.lax.stop_gradient(x), number), axis=dim)[1]
    return jnp.take_along_axis(x, index, axis=dim), index


@aten("cummax.default")
def _cummax(x, dim):
    return _running(x, dim, jnp.greater_equal)


@aten("cummin.default")
def _cummin(x, dim):
    return _running(x, dim, jnp.less_equal)


@aten("searchsorted.Tensor", "searchsorted.Scalar")
def _searchsorted(sequence, values, *, out_int32=False, right=False, side=None, sorter=None):
    """Where to insert values in the last axis of a sorted sequence."""
    del out_int32
    side = side or ("right" if right else "left")
    values = jnp.asarray(values)
    if sorter is not None:
        sequence = jnp.take_along_axis(sequence, sorter, axis=-1)
    if sequence.ndim == 1:
        return jnp.searchsorted(sequence, values, side=side)
    rows = sequence.reshape(-1, sequence.shape[-1])
    wanted = values.reshape(-1, values.shape[-1])
    return jax.vmap(lambda s, v: jnp.searchsorted(s, v, side=side))(rows, wanted).reshape(values.shape)


@aten("bucketize.Tensor", "bucketize.Scalar")
def _bucketize(values, boundaries, *, out_int32=False, right=False):
    del out_int32
    return jnp.searchsorted(boundaries, jnp.asarray(values), side="right" if right else "left")


@aten("histc.default")
def _histc(x, bins=100, min=0, max=0):
    """Counts in equal bins between two limits; those of the data if the limits are equal."""
    x = x.reshape(-1)
    low, high = (jnp.min(x), jnp.max(x)) if min == max else (jnp.asarray(min, x.dtype), jnp.asarray(max, x.dtype))
    low, high = jnp.where(low == high, low - 1, low), jnp.where(low == high, high + 1, high)
    inside = (x >= low) & (x <= high)
    number = jnp.clip(((x - low) * bins / (high - low)).astype(int), 0, bins - 1)
    return jax.lax.stop_gradient(jnp.zeros(bins, x.dtype).at[number].add(inside.astype(x.dtype)))
