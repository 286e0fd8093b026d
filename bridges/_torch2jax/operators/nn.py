"""Matrix products, convolution and attention.

Products run at the highest precision (full float32 also on a GPU), which is torch's default.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax.lax import Precision

from .activation import safe_softmax
from .random import dropped
from .table import aten, random_aten
from .windows import each


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


@aten("convolution.default")
def convolution(x, weight, bias, stride, padding, dilation, transposed, output_padding, groups):
    """Cross-correlation over 1 to 3 axes of `[batch, channel, ...]` (or without batch), or its transpose."""
    n = weight.ndim - 2
    single = x.ndim == n + 1
    x = x[None] if single else x
    stride, padding, dilation = each(stride, n), each(padding, n), each(dilation, n)
    if transposed:
        extra = each(output_padding, n)
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
        total = [d * (k - 1) for d, k in zip(each(dilation, n), weight.shape[2:], strict=True)]
        x = jnp.pad(x, [(0, 0)] * (x.ndim - n) + [(t // 2, t - t // 2) for t in total])
        padding = 0
    return convolution(x, weight, bias, stride, padding, dilation, False, 0, groups)


@random_aten("scaled_dot_product_attention.default")
def _attention(
    draw, query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, *, scale=None, enable_gqa=False
):  # fmt: skip
    """softmax(Q K^T scale + mask) V; a row that may look at nothing gives 0."""
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
    return matmul(dropped(draw, safe_softmax(score, -1), dropout_p, True), value)
