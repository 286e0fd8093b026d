"""Views, joins, slices, gathers, and tensors made from sizes."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import torch

from ..._runtime.dtypes import jax_dtype
from .scatter import places, poisoned, refuse_masks
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


def _within(x, where: tuple):
    """Indices with those outside moved past the end, and whether any was outside. None stands for a whole axis."""
    kept, outside, axis = [], jnp.zeros((), bool), 0
    for index in where:
        if isinstance(index, slice):
            axis += 1
            kept.append(index)
            continue
        size = x.shape[axis]
        axis += 1
        beyond = (index < -size) | (index >= size)
        outside = outside | jnp.any(beyond)
        kept.append(jnp.where(beyond, size, index))
    return tuple(kept), outside


@aten("index.Tensor", "_unsafe_index.Tensor")
def _index(x, indices):
    """Entries at indices, negative ones counted from the end; NaN outside (integers: their smallest number)."""
    where = tuple(slice(None) if i is None else i for i in indices)
    refuse_masks(where)
    where, _ = _within(x, where)
    return x.at[where].get(mode="fill")


@aten("index_put.default", "_unsafe_index_put.default")
def _index_put(x, indices, values, accumulate=False):
    where: tuple[Any, ...] = tuple(slice(None) if i is None else i for i in indices)
    if len(where) == 1 and getattr(where[0], "dtype", None) == jnp.bool_ and jnp.ndim(values) == 0:
        mask = where[0].reshape(where[0].shape + (1,) * (x.ndim - where[0].ndim))
        return jnp.where(mask, x + values if accumulate else values, x).astype(x.dtype)
    if any(getattr(i, "dtype", None) == jnp.bool_ for i in where):
        raise UnsupportedOperatorError(
            "assignment through a boolean mask is supported for one number. Use torch.where."
        )
    where, outside = _within(x, where)
    at, values = x.at[where], jnp.asarray(values, x.dtype)
    return poisoned(at.add(values, mode="drop") if accumulate else at.set(values, mode="drop"), outside)


@aten("gather.default")
def _gather(x, dim, index, *, sparse_grad=False):
    """Entries at indices along one axis; NaN for an index outside, also a negative one."""
    del sparse_grad
    if not index.size:
        return jnp.zeros(index.shape, x.dtype)
    flat, own = jnp.atleast_1d(x), jnp.atleast_1d(index)
    axis = dim % flat.ndim
    own = jnp.where(own < 0, flat.shape[axis], own)
    return flat.at[places(own, axis)].get(mode="fill").reshape(index.shape)


@aten("index_select.default")
def _index_select(x, dim, index):
    """Slices at indices along one axis; NaN for an index outside, also a negative one."""
    flat = jnp.atleast_1d(x)
    own = jnp.where(index < 0, flat.shape[dim], jnp.atleast_1d(index))
    return jnp.take(flat, own, axis=dim, mode="fill").reshape(
        x.shape
        if not x.ndim
        else (-1,)
        if flat.ndim == 1
        else (*flat.shape[: dim % flat.ndim], own.shape[0], *flat.shape[dim % flat.ndim + 1 :])
    )


@aten("take.default")
def _take(x, index):
    """Entries of the flattened array."""
    return _index(x.reshape(-1), (index,))


@aten("repeat.default")
def _repeat(x, repeats):
    return jnp.tile(x, _sizes(repeats))


@aten("repeat_interleave.self_int")
def _repeat_interleave(x, repeats, dim=None, *, output_size=None):
    del output_size
    return jnp.repeat(x, repeats, axis=dim)


@aten("repeat_interleave.Tensor")
def _repeated_numbers(repeats, *, output_size=None):
    """Number i `repeats[i]` times; where `output_size` is not their sum, for which torch raises, a number outside."""
    if output_size is None:
        raise UnsupportedOperatorError("repeats in a tensor give a size that depends on the data. Pass output_size.")
    ends = jnp.cumsum(repeats)
    number = jnp.searchsorted(ends, jnp.arange(int(output_size)), side="right")
    return jnp.where(jnp.sum(repeats) == int(output_size), number, repeats.shape[0])


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


@aten("tril_indices.default")
def _tril_indices(rows, columns, offset=0, **options: Any):
    """`[2, entry]`: rows and columns of the lower triangle."""
    del options
    return jnp.asarray(np.tril_indices(int(rows), offset, int(columns)))


@aten("triu_indices.default")
def _triu_indices(rows, columns, offset=0, **options: Any):
    """`[2, entry]`: rows and columns of the upper triangle."""
    del options
    return jnp.asarray(np.triu_indices(int(rows), offset, int(columns)))


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


@aten("empty_strided.default")
def _empty_strided(size, stride, *, dtype=None, **device: Any):
    del stride
    return _zeros(size, dtype=dtype, **device)


@aten("new_empty_strided.default")
def _new_empty_strided(x, size, stride, *, dtype=None, **device: Any):
    del stride
    return _new_zeros(x, size, dtype=dtype, **device)


@aten("as_strided.default")
def _as_strided(x, size, stride, storage_offset=None):
    """A view by strides into an array in order (others are refused by the export)."""
    places = np.asarray(storage_offset or 0)
    for n, step in zip(_sizes(size), _sizes(stride), strict=True):
        places = places[..., None] + np.arange(n) * step
    return x.reshape(-1)[places]


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
