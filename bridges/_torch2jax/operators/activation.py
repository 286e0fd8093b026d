"""Activations. Finite derivatives far from zero, and torch's choice of derivative at the kinks."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from .scalars import takes_scalars
from .table import aten, axes


@aten("relu.default")
def _relu(x):
    return (
        jnp.where(x > 0, x, jnp.where(jnp.isnan(x), x, 0))
        if jnp.issubdtype(x.dtype, jnp.inexact)
        else jnp.maximum(x, 0)
    )


@aten("leaky_relu.default")
def _leaky_relu(x, slope=0.01):
    return jnp.where(x > 0, x, slope * x)


@aten("prelu.default", "_prelu_kernel.default")
def _prelu(x, weight):
    if weight.size > 1 and x.ndim > 1 and weight.ndim == 1:
        weight = weight.reshape((1, -1) + (1,) * (x.ndim - 2))
    elif weight.ndim == 1 and weight.size == 1:
        weight = weight.reshape(())
    return jnp.where(x > 0, x, weight * x)


@aten("elu.default")
def elu(x, alpha=1.0, scale=1.0, input_scale=1.0):
    """Derivative at 0 from the left, as torch; the exponential never sees large numbers."""
    negative = jnp.where(x > 0, 0, x)
    return jnp.where(x > 0, scale * x, alpha * scale * jnp.expm1(negative * input_scale))


@aten("selu.default")
def _selu(x):
    return elu(x, 1.6732632423543772848170429916717, 1.0507009873554804934193349852946)


@aten("celu.default")
def _celu(x, alpha=1.0):
    return elu(x, alpha, 1.0, 1.0 / alpha)


@aten("gelu.default")
def _gelu(x, *, approximate="none"):
    if approximate == "tanh":
        # x sigmoid(2 u) is x (1 + tanh u) / 2 without the cancellation at large negative x.
        return x * jax.nn.sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))
    return jax.nn.gelu(x, approximate=False)


@aten("silu.default")
def _silu(x):
    return x * jax.nn.sigmoid(x)


@aten("softplus.default")
def softplus(x, beta=1.0, threshold=20.0):
    """log(1 + exp(beta x)) / beta, and x itself where beta x exceeds the threshold."""
    linear = x * beta > threshold
    return jnp.where(linear, x, jnp.log1p(jnp.exp(jnp.where(linear, 0, x * beta))) / beta)


@aten("mish.default")
def _mish(x):
    """x tanh(log(1 + e^x)) as a ratio in e^-|x|: no overflow, no cancellation in the derivative."""
    z = jnp.exp(jnp.where(x > 0, -x, x))
    small, large = z * (z + 2), 1 + 2 * z
    return x * jnp.where(x > 0, large / (large + 2 * z * z), small / (small + 2))


@aten("log_sigmoid.default")
def _log_sigmoid(x):
    return -jax.nn.softplus(-x)


@aten("hardtanh.default")
def _hardtanh(x, low=-1.0, high=1.0):
    """Derivative 0 at the bounds, with every torch."""
    return jnp.where(x <= low, low, jnp.where(x >= high, high, x)).astype(x.dtype)


@aten("relu6.default")
def _relu6(x):
    return _hardtanh(x, 0.0, 6.0)


@aten("hardsigmoid.default")
def _hardsigmoid(x):
    return jnp.where(x <= -3, 0, jnp.where(x >= 3, 1, x / 6 + 0.5)).astype(x.dtype)


@aten("hardswish.default")
def _hardswish(x):
    return jnp.where(x <= -3, 0, jnp.where(x >= 3, x, x * (x + 3) / 6)).astype(x.dtype)


@aten("hardshrink.default")
def _hardshrink(x, lambd=0.5):
    return jnp.where((x >= -lambd) & (x <= lambd), 0, x)


@aten("softshrink.default")
def _softshrink(x, lambd=0.5):
    return jnp.where(x > lambd, x - lambd, jnp.where(x < -lambd, x + lambd, 0 * x))


@aten("threshold.default")
def _threshold(x, threshold, value):
    return jnp.where(x <= threshold, value, x).astype(x.dtype)


@aten("glu.default")
def _glu(x, dim=-1):
    value, gate = jnp.split(x, 2, axis=dim)
    return value * jax.nn.sigmoid(gate)


@aten("softmax.int", "_softmax.default")
@takes_scalars
def _softmax(x, dim, option=None):
    del option
    return jax.nn.softmax(x, axis=dim)


@aten("_safe_softmax.default")
@takes_scalars
def safe_softmax(x, dim, dtype=None):
    """Softmax whose fully masked rows (all -inf) are 0."""
    del dtype
    masked = jnp.all(x == -jnp.inf, axis=dim, keepdims=True)
    return jnp.where(masked, 0, jax.nn.softmax(jnp.where(masked, 0, x), axis=dim))


@aten("log_softmax.int", "_log_softmax.default")
@takes_scalars
def _log_softmax(x, dim, option=None):
    del option
    return jax.nn.log_softmax(x, axis=dim)


@aten("logsumexp.default")
def _logsumexp(x, dim, keepdim=False):
    return jax.nn.logsumexp(x, axis=axes(dim, x.ndim), keepdims=keepdim)
