"""Sums, means, extremes and other reductions over axes."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from ..._runtime.dtypes import jax_dtype
from .pointwise import absolute
from .scalars import takes_scalars
from .table import aten, axes


def _cast(x, dtype):
    return x if dtype is None else x.astype(jax_dtype(dtype))


@aten("sum.dim_IntList", "sum.default")
def _sum(x, dim=None, keepdim=False, *, dtype=None):
    return jnp.sum(_cast(x, dtype), axis=axes(dim, x.ndim), keepdims=keepdim)


@aten("mean.dim", "mean.default")
def _mean(x, dim=None, keepdim=False, *, dtype=None):
    return jnp.mean(_cast(x, dtype), axis=axes(dim, x.ndim), keepdims=keepdim)


@aten("prod.default")
def _prod(x, *, dtype=None):
    return jnp.prod(_cast(x, dtype))


@aten("prod.dim_int")
@takes_scalars
def _prod_dim(x, dim, keepdim=False, *, dtype=None):
    return jnp.prod(_cast(x, dtype), axis=dim, keepdims=keepdim)


@aten("cumsum.default")
def _cumsum(x, dim, *, dtype=None):
    return jnp.cumsum(_cast(x, dtype), axis=dim) if x.ndim else _cast(x, dtype)


@aten("var.correction")
def _var(x, dim=None, *, correction=None, keepdim=False):
    over = axes(dim, x.ndim)
    count = math.prod(x.shape[a] for a in over)
    deviation = x - jnp.mean(x, axis=over, keepdims=True)
    return jnp.sum(jnp.square(deviation), axis=over, keepdims=keepdim) / (
        count - (1 if correction is None else correction)
    )


@aten("std.correction")
def _std(x, dim=None, *, correction=None, keepdim=False):
    return _root(_var(x, dim, correction=correction, keepdim=keepdim))


@aten("var_mean.correction")
def _var_mean(x, dim=None, *, correction=None, keepdim=False):
    return _var(x, dim, correction=correction, keepdim=keepdim), _mean(x, dim, keepdim)


def _root(square):
    """Square root with derivative 0 at 0, as torch has for norms and standard deviations."""
    zero = square == 0
    return jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, square)))


@aten("linalg_vector_norm.default")
def vector_norm(x, ord=2, dim=None, keepdim=False, *, dtype=None):
    """Norm of any order, with derivative 0 at 0; of order inf and -inf equal extremes share the derivative."""
    x, over = _cast(x, dtype), axes(dim, x.ndim)
    if ord == 2 and not jnp.issubdtype(x.dtype, jnp.complexfloating):
        return _root(jnp.sum(jnp.square(x), axis=over, keepdims=keepdim))
    x = absolute(x)
    if ord == 1:
        return jnp.sum(x, axis=over, keepdims=keepdim)
    if ord == 0:
        return jnp.sum(x != 0, axis=over, keepdims=keepdim).astype(x.dtype)
    if math.isinf(ord):
        return (jnp.max if ord > 0 else jnp.min)(x, axis=over, keepdims=keepdim)
    zero = x == 0
    power = jnp.where(zero, 0 if ord > 0 else jnp.inf, jnp.where(zero, 1, x) ** ord)
    total = jnp.sum(power, axis=over, keepdims=keepdim)
    none = (total == 0) | jnp.isinf(total)
    return jnp.where(none, total ** (1 / ord), jnp.where(none, 1, total) ** (1 / ord))


@aten("_cdist_forward.default")
def _distances(a, b, p, mode=None):
    """`[..., n, m]`: the norm of order p of each difference of two rows."""
    del mode
    return vector_norm(a[..., :, None, :] - b[..., None, :, :], p, (-1,))


@aten("_euclidean_dist.default")
def _euclidean_distances(a, b):
    return _distances(a, b, 2.0)


@aten("_pdist_forward.default")
def _distances_of_pairs(x, p=2.0):
    rows, columns = np.triu_indices(x.shape[0], 1)
    return vector_norm(x[rows] - x[columns], p, (-1,))


@aten("amax.default")
def _amax(x, dim=(), keepdim=False):
    return jnp.max(x, axis=axes(dim, x.ndim), keepdims=keepdim)


@aten("amin.default")
def _amin(x, dim=(), keepdim=False):
    return jnp.min(x, axis=axes(dim, x.ndim), keepdims=keepdim)


@aten("max.default")
def _max(x):
    return jnp.max(x)


@aten("min.default")
def _min(x):
    return jnp.min(x)


@aten("argmax.default")
@takes_scalars
def _argmax(x, dim=None, keepdim=False):
    return jnp.argmax(x, axis=dim, keepdims=keepdim)


@aten("argmin.default")
@takes_scalars
def _argmin(x, dim=None, keepdim=False):
    return jnp.argmin(x, axis=dim, keepdims=keepdim)


def _pick(x, index, dim, keepdim):
    index = jnp.expand_dims(index, dim)
    values = jnp.take_along_axis(x, index, axis=dim)
    return (values, index) if keepdim else (jnp.squeeze(values, dim), jnp.squeeze(index, dim))


@aten("max.dim")
@takes_scalars
def _max_dim(x, dim, keepdim=False):
    """Values and indices; the derivative goes to the index, also at ties."""
    return _pick(x, jnp.argmax(x, axis=dim), dim, keepdim)


@aten("min.dim")
@takes_scalars
def _min_dim(x, dim, keepdim=False):
    return _pick(x, jnp.argmin(x, axis=dim), dim, keepdim)


@aten("any.default", "any.dim", "any.dims")
def _any(x, dim=None, keepdim=False):
    return jnp.any(x, axis=axes(dim, x.ndim), keepdims=keepdim)


@aten("all.default", "all.dim", "all.dims")
def _all(x, dim=None, keepdim=False):
    return jnp.all(x, axis=axes(dim, x.ndim), keepdims=keepdim)


@aten("cumprod.default")
@takes_scalars
def _cumprod(x, dim, *, dtype=None):
    return jnp.cumprod(_cast(x, dtype), axis=dim)


@aten("logcumsumexp.default")
@takes_scalars
def _logcumsumexp(x, dim):
    return jax.lax.cumlogsumexp(x, axis=dim % x.ndim)
