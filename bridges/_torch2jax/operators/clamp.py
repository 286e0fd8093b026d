"""Limits, with the derivative at a limit that the installed torch has.

Up to torch 2.13 a value equal to its limit has the derivative 1 to the value. Since 2.14 it is 0 for limits that are numbers, and
shared equally with the limit where that is a tensor. Which of them holds is asked of torch itself.
"""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import torch

from .table import aten, promote


@functools.cache
def share_at_a_limit(tensors: bool) -> float:
    """torch's derivative of `clamp` to a value that equals a limit.

    Args:
        tensors: whether the limits are tensors rather than numbers.
    """
    # In a thread of its own no mode, transform or `no_grad` of the caller holds.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_probe, tensors).result()


def _probe(tensors: bool) -> float:
    value = torch.zeros((), requires_grad=True)
    low, high = (torch.zeros(()), torch.ones(())) if tensors else (0.0, 1.0)
    (slope,) = torch.autograd.grad(torch.clamp(value, low, high), value)  # pyright: ignore[reportArgumentType, reportCallIssue]
    return float(slope)


def _tie(x, limit, share: float):
    """A value equal to its limit, with a share of the derivative."""
    return x if share == 1 else limit if share == 0 else share * x + (1 - share) * limit


def _limited(x, low, high, share: float):
    """`x` between limits, of which one may be None; the upper one wins where they are in the wrong order."""
    y = x
    if low is not None:
        y = jnp.where(x < low, low, jnp.where(x == low, _tie(x, low, share), y))
    if high is not None:
        y = jnp.where(x > high, high, jnp.where(x == high, _tie(x, high, share), y))
    if low is not None and high is not None:
        y = jnp.where(low > high, high, y)
        # Between equal limits nothing is shared; up to torch 2.13 the lower limit has no derivative there.
        below = jax.lax.stop_gradient(low) if share == 1 else low
        y = jnp.where(low == high, jnp.where(x < low, below, jnp.where(x > high, high, x)), y)
    for operand in (x, low, high):
        if operand is not None and jnp.issubdtype(operand.dtype, jnp.inexact):
            y = jnp.where(jnp.isnan(operand), operand, y)
    return y


def _operands(x, low, high) -> list:
    x, *limits = promote(x, *(limit for limit in (low, high) if limit is not None))
    supply = iter(limits)
    return [x, *(None if limit is None else next(supply) for limit in (low, high))]


def _share(x, tensors: bool) -> float:
    return share_at_a_limit(tensors) if jnp.issubdtype(x.dtype, jnp.inexact) else 1.0


@aten("clamp.default")
def _clamp(x, low=None, high=None):
    """Limits that are numbers. A value equal to both of them follows the derivative of a single limit."""
    x, low, high = _operands(x, low, high)
    share = _share(x, False)
    y = jax.lax.stop_gradient(x if low is None else jnp.maximum(x, low))
    y = y if high is None else jax.lax.stop_gradient(jnp.minimum(y, high))
    inside = jnp.ones(x.shape, bool)
    for limit, side in ((low, jnp.greater), (high, jnp.less)):
        if limit is not None:
            inside &= side(x, limit) | ((x == limit) & (share == 1))
    return jnp.where(inside, x, y)


@aten("clamp.Tensor")
def _clamp_by_tensors(x, low=None, high=None):
    x, low, high = _operands(x, low, high)
    return _limited(x, low, high, _share(x, True))


@aten("clamp_min.default")
def _clamp_min(x, low):
    return _clamp(x, low)


@aten("clamp_max.default")
def _clamp_max(x, high):
    return _clamp(x, None, high)


@aten("clamp_min.Tensor")
def _clamp_min_by_tensor(x, low):
    return _clamp_by_tensors(x, low)


@aten("clamp_max.Tensor")
def _clamp_max_by_tensor(x, high):
    return _clamp_by_tensors(x, None, high)
