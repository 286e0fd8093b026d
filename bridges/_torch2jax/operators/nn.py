"""Matrix products, convolution, normalisation, embedding and attention.

Products run at the highest precision (full float32 also on a GPU), which is torch's default.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import Precision

from .activation import safe_softmax
from .pointwise import refuse_dropout
from .table import UnsupportedOperatorError, aten


@aten("mm.default", "bmm.default", "matmul.default", "mv.default", "dot.default")
def matmul(a, b):
    """Matrix product over the last two axes."""
    return jnp.matmul(a, b, precision=Precision.HIGHEST)


@aten("linear.default")
def linear(x, weight, bias=None):
    """x W^T + b."""
    y = matmul(x, weight.T)
    return y if bias is None else y + bias


@aten("addmm.default", "baddbmm.default", "addmv.default")
def _addmm(x, a, b, *, beta=1, alpha=1):
    product = matmul(a, b)
    return (x if beta == 1 else beta * x) + (product if alpha == 1 else alpha * product)


@aten("outer.default")
def _outer(a, b):
    return jnp.outer(a, b)


@aten("einsum.default")
def _einsum(equation, tensors, *, path=None):
    del path
    return jnp.einsum(equation, *tensors, precision=Precision.HIGHEST)


@aten("bilinear.default")
def _bilinear(a, b, weight, bias=None):
    y = jnp.einsum("...i,kij,...j->...k", a, weight, b, precision=Precision.HIGHEST)
    return y if bias is None else y + bias


def _each(value, n: int) -> list[int]:
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    return values * n if len(values) == 1 else values


@aten("convolution.default")
def convolution(x, weight, bias, stride, padding, dilation, transposed, output_padding, groups):
    """Cross-correlation over 1 to 3 axes of `[batch, channel, ...]` (or without batch), or its transpose."""
    n = weight.ndim - 2
    single = x.ndim == n + 1
    x = x[None] if single else x
    stride, padding, dilation = _each(stride, n), _each(padding, n), _each(dilation, n)
    if transposed:
        extra = _each(output_padding, n)
        reach = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
        pads = [(r - p, r - p + e) for r, p, e in zip(reach, padding, extra, strict=True)]
        weight = jnp.flip(weight, range(2, n + 2))
        weight = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
        weight = jnp.swapaxes(weight, 1, 2).reshape(-1, weight.shape[1], *weight.shape[3:])
        step, spread = [1] * n, stride
    else:
        pads, step, spread = [(p, p) for p in padding], stride, [1] * n
    y = jax.lax.conv_general_dilated(
        x, weight, step, pads, lhs_dilation=spread, rhs_dilation=dilation, feature_group_count=groups,
        precision=Precision.HIGHEST,
    )  # fmt: skip
    y = y if bias is None else y + bias.reshape(-1, *[1] * n)
    return y[0] if single else y


@aten("conv1d.default", "conv2d.default", "conv3d.default", "conv1d.padding", "conv2d.padding", "conv3d.padding")
def _conv(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    n = weight.ndim - 2
    if padding == "valid":
        padding = 0
    elif padding == "same":
        total = [d * (k - 1) for d, k in zip(_each(dilation, n), weight.shape[2:], strict=True)]
        x = jnp.pad(x, [(0, 0)] * (x.ndim - n) + [(t // 2, t - t // 2) for t in total])
        padding = 0
    return convolution(x, weight, bias, stride, padding, dilation, False, 0, groups)


@aten("avg_pool1d.default")
def _avg_pool1d(x, kernel, stride=(), padding=0, ceil_mode=False, count_include_pad=True):
    if ceil_mode or not count_include_pad:
        raise UnsupportedOperatorError("avg_pool1d is supported with ceil_mode=False and count_include_pad=True.")
    return _window_sum(x, kernel, stride, padding) / _each(kernel, 1)[0]


def _window_sum(x, kernel, stride, padding):
    (size,), (pad,) = _each(kernel, 1), _each(padding, 1)
    step = _each(stride, 1)[0] if stride else size
    lead = (1,) * (x.ndim - 1)
    return jax.lax.reduce_window(
        x, np.zeros((), x.dtype), jax.lax.add, (*lead, size), (*lead, step), [(0, 0)] * (x.ndim - 1) + [(pad, pad)]
    )


def _normalise(x, over: tuple[int, ...], eps: float):
    mean = jnp.mean(x, axis=over, keepdims=True)
    variance = jnp.mean(jnp.square(x - mean), axis=over, keepdims=True)
    scale = jax.lax.rsqrt(variance + eps)
    return (x - mean) * scale, mean, scale


def _scale_and_shift(x, weight, bias):
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


@aten("native_layer_norm.default")
def _native_layer_norm(x, shape, weight, bias, eps):
    y, mean, scale = _normalise(x, tuple(range(x.ndim - len(shape), x.ndim)), eps)
    return _scale_and_shift(y, weight, bias), mean, scale


@aten("layer_norm.default")
def _layer_norm(x, shape, weight=None, bias=None, eps=1e-5, cudnn_enable=True):
    del cudnn_enable
    return _native_layer_norm(x, shape, weight, bias, eps)[0]


@aten("rms_norm.default")
def _rms_norm(x, shape, weight=None, eps=None):
    over = tuple(range(x.ndim - len(shape), x.ndim))
    eps = float(jnp.finfo(x.dtype).eps) if eps is None else eps
    y = x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=over, keepdims=True) + eps)
    return y if weight is None else y * weight


def _per_channel(parameter, ndim: int):
    return None if parameter is None else parameter.reshape(-1, *[1] * (ndim - 2))


@aten("group_norm.default")
def _group_norm(x, groups, weight=None, bias=None, eps=1e-5, cudnn_enabled=True):
    del cudnn_enabled
    y = x.reshape(x.shape[0], groups, -1)
    y = _normalise(y, (2,), eps)[0].reshape(x.shape)
    return _scale_and_shift(y, _per_channel(weight, x.ndim), _per_channel(bias, x.ndim))


@aten("_native_batch_norm_legit_no_training.default")
def _batch_norm_eval(x, weight, bias, running_mean, running_var, momentum, eps):
    del momentum
    mean, scale = running_mean, 1 / jnp.sqrt(running_var + eps)
    y = (x - _per_channel(mean, x.ndim)) * _per_channel(scale, x.ndim)
    y = _scale_and_shift(y, _per_channel(weight, x.ndim), _per_channel(bias, x.ndim))
    return y, jnp.zeros((0,), x.dtype), jnp.zeros((0,), x.dtype)


@aten("instance_norm.default")
def _instance_norm(x, weight, bias, running_mean, running_var, use_input_stats, momentum, eps, cudnn_enabled):
    del momentum, cudnn_enabled
    if not use_input_stats:
        return _batch_norm_eval(x, weight, bias, running_mean, running_var, 0.0, eps)[0]
    if running_mean is not None:
        raise UnsupportedOperatorError(
            "instance_norm updates its statistics in training mode. Call module.eval() first."
        )
    y = _normalise(x, tuple(range(2, x.ndim)), eps)[0]
    return _scale_and_shift(y, _per_channel(weight, x.ndim), _per_channel(bias, x.ndim))


@aten("embedding.default")
def _embedding(weight, index, padding_idx=-1, scale_grad_by_freq=False, sparse=False):
    """Rows of a table; NaN for an index outside it (torch raises). The padding row gets no gradient."""
    del sparse
    if scale_grad_by_freq:
        raise UnsupportedOperatorError(
            "embedding with scale_grad_by_freq=True has no JAX equivalent here. Set it to False."
        )
    if padding_idx >= 0:
        weight = weight.at[padding_idx].set(jax.lax.stop_gradient(weight[padding_idx]))
    outside = jnp.iinfo(index.dtype).max
    return jnp.take(weight, jnp.where(index < 0, outside, index), axis=0, mode="fill", fill_value=jnp.nan)


@aten("scaled_dot_product_attention.default")
def _attention(
    query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, *, scale=None, enable_gqa=False
):  # fmt: skip
    """softmax(Q K^T scale + mask) V; a row that may look at nothing gives 0."""
    refuse_dropout(dropout_p, True)
    if enable_gqa:
        key, value = (jnp.repeat(t, query.shape[-3] // t.shape[-3], axis=-3) for t in (key, value))
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    score = matmul(query, jnp.swapaxes(key, -1, -2)) * scale
    if is_causal:
        attn_mask = jnp.tril(jnp.ones(score.shape[-2:], bool))
    if attn_mask is not None and attn_mask.dtype == jnp.bool_:
        score = jnp.where(attn_mask, score, -jnp.inf)
    elif attn_mask is not None:
        score = score + attn_mask
    return matmul(safe_softmax(score, -1), value)
