"""Operators that are themselves derivatives, as a network has them that differentiates inside (`torch.func.grad`).

Each is the pullback of the operator that it belongs to.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from .table import TABLE, aten


def _pullback(name: str, gradient, operands: list, rest: Callable):
    """Gradients to operands; `rest(function, operands)` calls the operator with its other arguments."""
    y, pull = jax.vjp(lambda *given: rest(TABLE[name], given), *operands)
    return pull(jnp.asarray(gradient, y.dtype))


def _chosen(gradients, wanted):
    return tuple(g if w else jnp.zeros((0,), jnp.float32) for g, w in zip(gradients, wanted, strict=True))


@aten("_adaptive_avg_pool2d_backward.default")
def _adaptive_avg_pool2d_backward(gradient, x):
    sizes = gradient.shape[-2:]
    return _pullback("aten._adaptive_avg_pool2d.default", gradient, [x], lambda f, a: f(*a, sizes))[0]


@aten("avg_pool2d_backward.default")
def _avg_pool2d_backward(gradient, x, *options):
    return _pullback("aten.avg_pool2d.default", gradient, [x], lambda f, a: f(*a, *options))[0]


@aten("max_pool2d_with_indices_backward.default")
def _max_pool2d_backward(gradient, x, kernel, stride, padding, dilation, ceil_mode, indices):
    del kernel, stride, padding, dilation, ceil_mode
    flat = jnp.zeros((*x.shape[:-2], x.shape[-2] * x.shape[-1]), gradient.dtype)
    lead = jnp.meshgrid(*(jnp.arange(n) for n in x.shape[:-2]), indexing="ij", sparse=True)
    at = flat.at[(*(g[..., None] for g in lead), indices.reshape(*x.shape[:-2], -1))]
    return at.add(gradient.reshape(*x.shape[:-2], -1)).reshape(x.shape)


@aten("convolution_backward.default")
def _convolution_backward(gradient, x, weight, bias_sizes, *options):
    *options, wanted = options
    bias = jnp.zeros((gradient.shape[1],), gradient.dtype)
    gradients = _pullback(
        "aten.convolution.default", gradient, [x, weight, bias], lambda f, a: f(*a, *options)
    )  # fmt: skip
    del bias_sizes
    return _chosen(gradients, wanted)
