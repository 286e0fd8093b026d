"""Random numbers, drawn from the key that the caller gives: torch's distributions, not its numbers.

`draw(sampler)` gives `sampler(key)` for a key of its own, or raises if the caller gave none.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import torch

from ..._runtime.dtypes import jax_dtype
from .table import UnsupportedOperatorError, random_aten


def dropped(draw, x, p: float, train: bool | None):
    """Each entry 0 with probability p, else divided by 1 - p."""
    return _dropout(draw, x, p, train)[0]


@random_aten("native_dropout.default")
def _dropout(draw, x, p, train):
    if train is False or p == 0 or not x.size:
        return x, jnp.ones(x.shape, bool)
    if p == 1:
        return jnp.zeros_like(x) * x, jnp.zeros(x.shape, bool)
    kept = draw(lambda key: jax.random.bernoulli(key, 1 - p, x.shape))
    return jnp.where(kept, x, 0) * jnp.asarray(1 / (1 - p), x.dtype), kept


@random_aten("bernoulli.default")
def _bernoulli(draw, x, *, generator=None):
    del generator
    return draw(lambda key: jax.random.bernoulli(key, jax.lax.stop_gradient(x)).astype(x.dtype))


@random_aten("bernoulli.p")
def _bernoulli_like(draw, x, p=0.5, *, generator=None):
    del generator
    return draw(lambda key: jax.random.bernoulli(key, p, x.shape).astype(x.dtype))


@random_aten("rrelu.default")
def _rrelu(draw, x, lower=1 / 8, upper=1 / 3, training=False, generator=None):
    """A slope for each entry in training, the mean slope otherwise."""
    del generator
    if not training:
        return jnp.where(x > 0, x, (lower + upper) / 2 * x)
    slope = draw(lambda key: jax.random.uniform(key, x.shape, x.dtype, lower, upper))
    return jnp.where(x > 0, x, slope * x)


def _floats(dtype: torch.dtype | None):
    return jax_dtype(torch.get_default_dtype() if dtype is None else dtype)


def _shape(size) -> tuple[int, ...]:
    return tuple(int(n) for n in size)


@random_aten("rand.default")
def _rand(draw, size, *, dtype=None, **device: Any):
    del device
    return draw(lambda key: jax.random.uniform(key, _shape(size), _floats(dtype)))


@random_aten("randn.default")
def _randn(draw, size, *, dtype=None, **device: Any):
    del device
    return draw(lambda key: jax.random.normal(key, _shape(size), _floats(dtype)))


@random_aten("rand_like.default")
def _rand_like(draw, x, *, dtype=None, **device: Any):
    del device
    return draw(lambda key: jax.random.uniform(key, x.shape, x.dtype if dtype is None else jax_dtype(dtype)))


@random_aten("randn_like.default")
def _randn_like(draw, x, *, dtype=None, **device: Any):
    del device
    return draw(lambda key: jax.random.normal(key, x.shape, x.dtype if dtype is None else jax_dtype(dtype)))


def _whole(draw, low, high, shape, dtype):
    return draw(lambda key: jax.random.randint(key, shape, low, high, int).astype(dtype))


@random_aten("randint.default")
def _randint(draw, high, size, *, dtype=None, **device: Any):
    del device
    return _whole(draw, 0, high, _shape(size), jax_dtype(torch.int64 if dtype is None else dtype))


@random_aten("randint.low")
def _randint_from(draw, low, high, size, *, dtype=None, **device: Any):
    del device
    return _whole(draw, low, high, _shape(size), jax_dtype(torch.int64 if dtype is None else dtype))


@random_aten("randint_like.default")
def _randint_like(draw, x, high, *, dtype=None, **device: Any):
    del device
    return _whole(draw, 0, high, x.shape, x.dtype if dtype is None else jax_dtype(dtype))


@random_aten("randint_like.low_dtype")
def _randint_like_from(draw, x, low, high, *, dtype=None, **device: Any):
    del device
    return _whole(draw, low, high, x.shape, x.dtype if dtype is None else jax_dtype(dtype))


@random_aten("randperm.default")
def _randperm(draw, n, *, dtype=None, **device: Any):
    del device
    return draw(lambda key: jax.random.permutation(key, int(n))).astype(
        jax_dtype(torch.int64 if dtype is None else dtype)
    )


@random_aten("uniform.default")
def _uniform(draw, x, low=0.0, high=1.0, *, generator=None):
    del generator
    return draw(lambda key: jax.random.uniform(key, x.shape, x.dtype, low, high))


@random_aten("normal_functional.default")
def _normal_like(draw, x, mean=0.0, std=1.0, *, generator=None):
    del generator
    return draw(lambda key: mean + std * jax.random.normal(key, x.shape, x.dtype))


@random_aten("normal.Tensor_Tensor", "normal.Tensor_float", "normal.float_Tensor")
def _normal(draw, mean, std=1.0, *, generator=None):
    """Without derivative to mean and std, as in torch."""
    del generator
    mean, std = (jax.lax.stop_gradient(jnp.asarray(v)) for v in (mean, std))
    shape = jnp.broadcast_shapes(mean.shape, std.shape)
    dtype = mean.dtype if mean.ndim else std.dtype
    return draw(lambda key: mean + std * jax.random.normal(key, shape, dtype))


@random_aten("normal.float_float")
def _normal_of_size(draw, mean, std, size, *, dtype=None, **device: Any):
    del device
    return draw(lambda key: mean + std * jax.random.normal(key, _shape(size), _floats(dtype)))


@random_aten("exponential.default")
def _exponential(draw, x, rate=1.0, *, generator=None):
    del generator
    return draw(lambda key: jax.random.exponential(key, x.shape, x.dtype) / rate)


@random_aten("multinomial.default")
def _multinomial(draw, weights, n, replacement=False, *, generator=None):
    """Numbers of classes, drawn in proportion to weights in the last axis."""
    del generator
    logits = jnp.log(jax.lax.stop_gradient(weights))
    count = int(n)
    if count > weights.shape[-1] and not replacement:
        raise UnsupportedOperatorError("multinomial without replacement cannot draw more than there are classes.")

    def sample(key):
        if replacement:
            drawn = jax.random.categorical(key, logits, axis=-1, shape=(count, *weights.shape[:-1]))
            return jnp.moveaxis(drawn, 0, -1)
        order = jnp.argsort(logits + jax.random.gumbel(key, logits.shape, logits.dtype), axis=-1, descending=True)
        return order[..., :count]

    return draw(sample)
