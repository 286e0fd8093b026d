"""Views, joins, slices, gathers, and tensors made from sizes."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import torch

from ..._runtime.dtypes import jax_dtype
from .table import UnsupportedOperatorError, aten


def _sizes(shape) -> tuple[int, ...]:
    return tuple(int(n) for n in shape)


@aten("view.default", "_unsafe_view.default")
def _view(x, shape):
    shape = _sizes(shape)
    if -1 in shape and x.size == 0:
        rest = int(np.prod([n for n in shape if n != -1]))
        shape = tuple((0 if rest else 1) if n == -1 else n for n in shape)
    return jnp.reshape(x, shape)


@aten("permute.default")
def _permute(x, dims):
    return jnp.transpose(x, [d % x.ndim for d in dims])


@aten("transpose.int")
def _transpose(x, a, b):
    return jnp.swapaxes(x, a, b) if x.ndim else x


@aten("t.default")
def _t(x):
    return jnp.swapaxes(x, -1, -2) if x.ndim > 1 else x


@aten("expand.default")
def _expand(x, sizes, *, implicit=False):
    del implicit
    sizes = _sizes(sizes)
    lead = len(sizes) - x.ndim
    return jnp.broadcast_to(x, [x.shape[i - lead] if n == -1 else n for i, n in enumerate(sizes)])


@aten("squeeze.default", "squeeze.dim", "squeeze.dims")
def _squeeze(x, dim=None):
    dims = range(x.ndim) if dim is None else (dim,) if isinstance(dim, int) else dim
    return jnp.squeeze(x, tuple(d % x.ndim for d in dims if x.ndim and x.shape[d] == 1))


@aten("unsqueeze.default")
def _unsqueeze(x, dim):
    return jnp.expand_dims(x, dim)


@aten("cat.default", "concat.default")
def _cat(tensors, dim=0):
    tensors = [t for t in tensors if t.shape != (0,)] or tensors[:1]
    return jnp.concatenate(tensors, axis=dim)


@aten("stack.default")
def _stack(tensors, dim=0):
    return jnp.stack(tensors, axis=dim)


@aten("split.Tensor")
def _split(x, size, dim=0):
    length = x.shape[dim]
    return tuple(jnp.split(x, list(range(size, length, size)), axis=dim)) if size else (x,)


@aten("split_with_sizes.default")
def _split_with_sizes(x, sizes, dim=0):
    return tuple(jnp.split(x, [int(n) for n in np.cumsum(sizes)[:-1]], axis=dim))


@aten("unbind.int")
def _unbind(x, dim=0):
    return tuple(jnp.take(x, i, axis=dim) for i in range(x.shape[dim]))


@aten("select.int")
def _select(x, dim, index):
    index = int(index)
    return jnp.squeeze(_slice(x, dim, index, index + 1 if index != -1 else None), dim)


@aten("slice.Tensor")
def _slice(x, dim=0, start=None, end=None, step=1):
    return x[_window(x, dim, start, end, step)]


def _window(x, dim, start, end, step) -> tuple[slice, ...]:
    return (slice(None),) * (dim % x.ndim) + (slice(start, end, step),)


@aten("slice_scatter.default")
def _slice_scatter(x, source, dim=0, start=None, end=None, step=1):
    return x.at[_window(x, dim, start, end, step)].set(source.astype(x.dtype))


@aten("select_scatter.default")
def _select_scatter(x, source, dim, index):
    return x.at[(slice(None),) * (dim % x.ndim) + (int(index),)].set(source.astype(x.dtype))


@aten("index.Tensor")
def _index(x, indices):
    where = tuple(slice(None) if i is None else i for i in indices)
    if any(getattr(i, "dtype", None) == jnp.bool_ for i in where):
        raise UnsupportedOperatorError(
            "indexing by a boolean mask gives a size that depends on the data. Use torch.where."
        )
    return x[where]


@aten("index_put.default")
def _index_put(x, indices, values, accumulate=False):
    where: tuple[Any, ...] = tuple(slice(None) if i is None else i for i in indices)
    if len(where) == 1 and getattr(where[0], "dtype", None) == jnp.bool_ and jnp.ndim(values) == 0 and not accumulate:
        mask = where[0].reshape(where[0].shape + (1,) * (x.ndim - where[0].ndim))
        return jnp.where(mask, values.astype(x.dtype), x)
    if any(getattr(i, "dtype", None) == jnp.bool_ for i in where):
        raise UnsupportedOperatorError(
            "assignment through a boolean mask is supported for one number. Use torch.where."
        )
    return x.at[where].add(values) if accumulate else x.at[where].set(values)


@aten("gather.default")
def _gather(x, dim, index, *, sparse_grad=False):
    del sparse_grad
    window = tuple(slice(None) if d == dim % x.ndim else slice(0, n) for d, n in enumerate(index.shape))
    return jnp.take_along_axis(x[window], index, axis=dim)


@aten("index_select.default")
def _index_select(x, dim, index):
    return jnp.take(x, index, axis=dim)


@aten("repeat.default")
def _repeat(x, repeats):
    return jnp.tile(x, _sizes(repeats))


@aten("repeat_interleave.self_int")
def _repeat_interleave(x, repeats, dim=None, *, output_size=None):
    del output_size
    return jnp.repeat(x, repeats, axis=dim)


@aten("flip.default")
def _flip(x, dims):
    return jnp.flip(x, tuple(dims))


@aten("roll.default")
def _roll(x, shifts, dims=()):
    return jnp.roll(x, tuple(shifts), tuple(dims)) if dims else jnp.roll(x, shifts[0])


@aten("tril.default")
def _tril(x, diagonal=0):
    return jnp.tril(x, diagonal)


@aten("triu.default")
def _triu(x, diagonal=0):
    return jnp.triu(x, diagonal)


@aten("constant_pad_nd.default")
def _pad(x, pad, value=0):
    pairs = [(0, 0)] * (x.ndim - len(pad) // 2) + [(pad[i], pad[i + 1]) for i in range(len(pad) - 2, -1, -2)]
    window = tuple(slice(max(-a, 0), n + min(b, 0)) for (a, b), n in zip(pairs, x.shape, strict=True))
    return jnp.pad(x[window], [(max(a, 0), max(b, 0)) for a, b in pairs], constant_values=value)


def _made(dtype: torch.dtype | None, number: Any = 0.0) -> np.dtype:
    if dtype is None:
        dtype = torch.tensor(number).dtype
    return jax_dtype(dtype)


@aten("full.default")
def _full(size, value, *, dtype=None, **device: Any):
    del device
    return jnp.full(_sizes(size), value, _made(dtype, value))


@aten("zeros.default", "empty.memory_format")
def _zeros(size, *, dtype=None, **device: Any):
    del device
    return jnp.zeros(_sizes(size), _made(dtype))


@aten("ones.default")
def _ones(size, *, dtype=None, **device: Any):
    del device
    return jnp.ones(_sizes(size), _made(dtype))


@aten("full_like.default")
def _full_like(x, value, *, dtype=None, **device: Any):
    del device
    return jnp.full(x.shape, value, x.dtype if dtype is None else jax_dtype(dtype))


@aten("zeros_like.default", "empty_like.default")
def _zeros_like(x, *, dtype=None, **device: Any):
    return _full_like(x, 0, dtype=dtype, **device)


@aten("ones_like.default")
def _ones_like(x, *, dtype=None, **device: Any):
    return _full_like(x, 1, dtype=dtype, **device)


@aten("new_zeros.default")
def _new_zeros(x, size, *, dtype=None, **device: Any):
    del device
    return jnp.zeros(_sizes(size), x.dtype if dtype is None else jax_dtype(dtype))


@aten("new_ones.default")
def _new_ones(x, size, *, dtype=None, **device: Any):
    del device
    return jnp.ones(_sizes(size), x.dtype if dtype is None else jax_dtype(dtype))


@aten("new_full.default")
def _new_full(x, size, value, *, dtype=None, **device: Any):
    del device
    return jnp.full(_sizes(size), value, x.dtype if dtype is None else jax_dtype(dtype))


@aten("scalar_tensor.default")
def _scalar_tensor(value, *, dtype=None, **device: Any):
    del device
    return jnp.asarray(value, _made(dtype, value))


@aten("arange.default", "arange.start", "arange.start_step")
def _arange(*bounds, dtype=None, **device: Any):
    del device
    return jnp.arange(*bounds, dtype=_made(dtype, sum(bounds)))


@aten("linspace.default")
def _linspace(start, end, steps, *, dtype=None, **device: Any):
    del device
    return jnp.linspace(start, end, steps, dtype=_made(dtype))


@aten("sym_size.int")
def _sym_size(x, dim):
    return x.shape[dim]


@aten("sym_numel.default")
def _sym_numel(x):
    return x.size
