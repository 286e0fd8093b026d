"""Values written to, added to and combined at places given by indices.

An index outside the axis, for which torch raises, makes the whole result NaN; in a result of integers it is left out.
Negative indices count from the end where torch lets them, and are outside elsewhere.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from .table import UnsupportedOperatorError, aten


def poisoned(result, outside):
    """A result that is NaN everywhere if any index was outside."""
    if not jnp.issubdtype(result.dtype, jnp.inexact):
        return result
    return jnp.where(jnp.any(outside), jnp.nan, result).astype(result.dtype)


def places(index, axis: int) -> tuple:
    """Indices of all axes, for `x.at[...]`, from the index along one, as `scatter` and `gather` mean it."""
    grid = jnp.meshgrid(*(jnp.arange(n) for n in index.shape), indexing="ij", sparse=True) if index.ndim else []
    return tuple(index if i == axis else g for i, g in enumerate(grid))


def _prepare(x, dim: int, index, source):
    """Arrays of at least one axis, the places to write to, their part of the source, and which are outside."""
    x, index = jnp.atleast_1d(x), jnp.atleast_1d(index)
    axis = dim % x.ndim
    if jnp.ndim(source):
        source = source[tuple(slice(0, n) for n in index.shape)]
    source = jnp.broadcast_to(jnp.asarray(source, x.dtype), index.shape)
    size = x.shape[axis]
    outside = (index < 0) | (index >= size)
    # A negative index would count from the end; one past the end is dropped.
    return x, places(jnp.where(outside, size, index), axis), source, outside


@aten("scatter.src", "scatter.value")
def _scatter(x, dim, index, source):
    """One of several values for the same place wins; torch does not say which."""
    flat, where, source, outside = _prepare(x, dim, index, source)
    return poisoned(flat.at[where].set(source, mode="drop"), outside).reshape(x.shape)


@aten("scatter_add.default")
def _scatter_add(x, dim, index, source):
    flat, where, source, outside = _prepare(x, dim, index, source)
    return poisoned(flat.at[where].add(source, mode="drop"), outside).reshape(x.shape)


@aten("scatter.reduce", "scatter.value_reduce")
def _scatter_combined(x, dim, index, source, *, reduce):
    return _scatter_reduce(x, dim, index, source, {"add": "sum", "multiply": "prod"}[reduce])


@aten("scatter_reduce.two")
def _scatter_reduce(x, dim, index, source, reduce, *, include_self=True):
    """Combine the values of each place, with the one that is there or without it.

    Equal extremes share the derivative, as in torch. Places without a value keep what they have.
    """
    flat, where, source, outside = _prepare(x, dim, index, source)
    ones = jnp.ones(source.shape, jnp.int32)
    count = jnp.zeros(flat.shape, jnp.int32).at[where].add(ones, mode="drop")
    start = flat if include_self else jnp.where(count > 0, _neutral(reduce, flat.dtype), flat)
    at = start.at[where]
    if reduce in ("sum", "mean"):
        result = at.add(source, mode="drop")
        if reduce == "mean":
            divisor = jnp.maximum(count + (1 if include_self else 0), 1)
            whole = jnp.issubdtype(flat.dtype, jnp.integer)
            result = jnp.floor_divide(result, divisor) if whole else result / divisor.astype(flat.dtype)
    elif reduce == "prod":
        result = _products(start, source, where)
    else:
        result = _extreme(start, where, source, reduce == "amax")
    return poisoned(result, outside).astype(x.dtype).reshape(x.shape)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _products(start, source, where: tuple):
    """Products by place."""
    return start.at[where].multiply(source, mode="drop")


@_products.defjvp
def _products_jvp(where: tuple, primals, tangents):
    """The tangent of each factor times the product of the others, which needs no division by 0."""
    (start, source), (d_start, d_source) = primals, tangents
    one = jnp.ones((), start.dtype)
    zeros = (start == 0).astype(start.dtype).at[where].add((source == 0).astype(start.dtype), mode="drop")
    rest = jnp.where(start == 0, one, start).at[where].multiply(jnp.where(source == 0, one, source), mode="drop")
    own_zeros, own_rest = (v.at[where].get(mode="fill", fill_value=1) for v in (zeros, rest))

    def others(x, n, r):
        """Product of the other factors of a place with `n` zeros, whose factors that are not zero have the product `r`."""
        without = jnp.where(n == 0, r, 0) / jnp.where(x == 0, one, x)
        return jnp.where(x == 0, jnp.where(n == 1, r, 0), without)

    tangent = (
        (d_start * others(start, zeros, rest))
        .at[where]
        .add(d_source * others(source, own_zeros, own_rest), mode="drop")
    )
    return _products(start, source, where), tangent


def _neutral(reduce: str, dtype):
    if reduce in ("sum", "mean"):
        return jnp.asarray(0, dtype)
    if reduce == "prod":
        return jnp.asarray(1, dtype)
    if jnp.issubdtype(dtype, jnp.inexact):
        return jnp.asarray(-jnp.inf if reduce == "amax" else jnp.inf, dtype)
    if dtype == jnp.bool_:
        return jnp.asarray(reduce != "amax", dtype)
    return jnp.asarray(jnp.iinfo(dtype).min if reduce == "amax" else jnp.iinfo(dtype).max, dtype)


def _extreme(start, where: tuple, source, largest: bool):
    """Extremes by place; the derivative is shared by all values that equal it, the first one included."""
    fixed, own = jax.lax.stop_gradient(start), jax.lax.stop_gradient(source)
    value = fixed.at[where].max(own, mode="drop") if largest else fixed.at[where].min(own, mode="drop")
    if not jnp.issubdtype(value.dtype, jnp.inexact):
        return value
    wins = own == value.at[where].get(mode="fill", fill_value=0)
    first = fixed == value
    share = jax.lax.stop_gradient(first.astype(value.dtype).at[where].add(wins.astype(value.dtype), mode="drop"))
    safe = jnp.maximum(share, 1)
    # The difference of each winner to its own value is 0 and carries its derivative.
    change = jnp.where(first, start - fixed, 0).at[where].add(jnp.where(wins, source - own, 0), mode="drop")
    return value + jnp.where(jnp.isfinite(value), change / safe, 0)


def _along(x, dim: int, index):
    """`x` with its axis first, and the index with negative entries counted from the end."""
    axis = dim % max(x.ndim, 1)
    front = jnp.moveaxis(jnp.atleast_1d(x), axis, 0)
    index = jnp.atleast_1d(index)
    size = front.shape[0]
    outside = (index < -size) | (index >= size)
    return axis, front, jnp.where(outside, size, jnp.where(index < 0, index + size, index)), outside


def _back(front, axis: int, like):
    return jnp.moveaxis(front, 0, axis).reshape(like.shape)


@aten("index_add.default")
def _index_add(x, dim, index, source, *, alpha=1):
    axis, front, index, outside = _along(x, dim, index)
    source = jnp.moveaxis(jnp.atleast_1d(source), axis, 0)
    added = source if alpha == 1 else source * jnp.asarray(alpha, x.dtype)
    return poisoned(_back(front.at[index].add(added.astype(x.dtype), mode="drop"), axis, x), outside)


@aten("index_copy.default")
def _index_copy(x, dim, index, source):
    axis, front, index, outside = _along(x, dim, index)
    source = jnp.moveaxis(jnp.atleast_1d(source), axis, 0)
    return poisoned(_back(front.at[index].set(source.astype(x.dtype), mode="drop"), axis, x), outside)


@aten("index_fill.int_Scalar", "index_fill.int_Tensor")
def _index_fill(x, dim, index, value):
    axis, front, index, outside = _along(x, dim, index)
    return poisoned(_back(front.at[index].set(jnp.asarray(value, x.dtype), mode="drop"), axis, x), outside)


@aten("index_reduce.default")
def _index_reduce(x, dim, index, source, reduce, *, include_self=True):
    axis = dim % max(x.ndim, 1)
    source = jnp.atleast_1d(source)
    shape = [-1 if i == axis else 1 for i in range(source.ndim)]
    full = jnp.broadcast_to(jnp.atleast_1d(index).reshape(shape), source.shape)
    return _scatter_reduce(x, dim, full, source, reduce, include_self=include_self)


@aten("put.default")
def _put(x, index, source, accumulate=False):
    _, flat, index, outside = _along(x.reshape(-1), 0, index.reshape(-1))
    at, source = flat.at[index], source.reshape(-1)
    result = at.add(source, mode="drop") if accumulate else at.set(source, mode="drop")
    return poisoned(result.reshape(x.shape), outside)


@aten("masked_scatter.default")
def _masked_scatter(x, mask, source):
    """The entries of the source in their order, where the mask is true; NaN where the source is too short."""
    shape = jnp.broadcast_shapes(x.shape, mask.shape)
    mask, x = jnp.broadcast_to(mask, shape), jnp.broadcast_to(x, shape)
    number = (jnp.cumsum(mask.reshape(-1)) - 1).reshape(shape)
    values = source.reshape(-1).at[jnp.where(number < 0, source.size, number)].get(mode="fill")
    return jnp.where(mask, values, x)


@aten("diagonal.default")
def _diagonal(x, offset=0, dim1=0, dim2=1):
    return jnp.diagonal(x, offset, dim1, dim2)


@aten("diagonal_scatter.default")
def _diagonal_scatter(x, source, offset=0, dim1=0, dim2=1):
    front = jnp.moveaxis(x, (dim1 % x.ndim, dim2 % x.ndim), (-2, -1))
    n = jnp.diagonal(front, offset, -2, -1).shape[-1]
    rows, columns = jnp.arange(n) + max(-offset, 0), jnp.arange(n) + max(offset, 0)
    front = front.at[..., rows, columns].set(source.astype(x.dtype))
    return jnp.moveaxis(front, (-2, -1), (dim1 % x.ndim, dim2 % x.ndim))


def refuse_masks(indices) -> None:
    """Raise for an index that is a boolean mask, whose result has a size that depends on the data."""
    if any(getattr(i, "dtype", None) == jnp.bool_ for i in indices):
        raise UnsupportedOperatorError(
            "indexing by a boolean mask gives a size that depends on the data. Use torch.where."
        )
