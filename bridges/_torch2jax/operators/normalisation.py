"""Normalisation over features, groups, and batches."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from .table import aten


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
    """As in torch, mean and scale have no derivative."""
    y, mean, scale = _normalise(x, tuple(range(x.ndim - len(shape), x.ndim)), eps)
    return _scale_and_shift(y, weight, bias), jax.lax.stop_gradient(mean), jax.lax.stop_gradient(scale)


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


@aten("native_group_norm.default")
def _native_group_norm(x, weight, bias, batch, channels, size, groups, eps):
    y, mean, scale = _normalise(x.reshape(batch, groups, -1), (2,), eps)
    y = y.reshape(batch, channels, -1)
    y = _scale_and_shift(y, _per_channel(weight, 3), _per_channel(bias, 3))
    return y.reshape(x.shape), mean[..., 0], scale[..., 0]


@aten("_native_batch_norm_legit_no_training.default")
def _batch_norm_eval(x, weight, bias, running_mean, running_var, momentum, eps):
    del momentum
    mean, scale = running_mean, 1 / jnp.sqrt(running_var + eps)
    y = (x - _per_channel(mean, x.ndim)) * _per_channel(scale, x.ndim)
    y = _scale_and_shift(y, _per_channel(weight, x.ndim), _per_channel(bias, x.ndim))
    return y, jnp.zeros((0,), x.dtype), jnp.zeros((0,), x.dtype)


@aten("_native_batch_norm_legit.no_stats")
def _batch_norm_of_batch(x, weight, bias, training, momentum, eps):
    """Normalised by the mean and variance of the batch, which are results too, without derivative as in torch."""
    del training, momentum
    y, mean, scale = _normalise(x, (0, *range(2, x.ndim)), eps)
    y = _scale_and_shift(y, _per_channel(weight, x.ndim), _per_channel(bias, x.ndim))
    mean, scale = jax.lax.stop_gradient((mean, scale))
    return y, mean.reshape(-1), scale.reshape(-1)


@aten("_native_batch_norm_legit_functional.default")
def _batch_norm(x, weight, bias, running_mean, running_var, training, momentum, eps):
    """As the two others; the last results are the new running mean and (unbiased) variance, without derivative."""
    if not training:
        y, mean, scale = _batch_norm_eval(x, weight, bias, running_mean, running_var, momentum, eps)
        return y, mean, scale, running_mean, running_var
    y, mean, scale = _batch_norm_of_batch(x, weight, bias, True, momentum, eps)
    fixed, over = jax.lax.stop_gradient(x), (0, *range(2, x.ndim))
    count = x.size // max(x.shape[1], 1)
    variance = jnp.var(fixed, axis=over) * (count / max(count - 1, 1))
    new_mean = (1 - momentum) * running_mean + momentum * jnp.mean(fixed, axis=over)
    return y, mean, scale, new_mean, (1 - momentum) * running_var + momentum * variance
