"""The naive bridge that the tests compare with: jax.vjp at every call, everything on ctx, DLPack as it comes."""

from __future__ import annotations

from collections.abc import Callable

import jax
import torch


def to_jax(tensor):
    return jax.dlpack.from_dlpack(tensor.detach())


def naive_bridge(fn: Callable) -> Callable:
    """A JAX function of positional arrays with array results as a torch function, in the obvious way."""

    class Naive(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *tensors):
            outputs, ctx.pullback = jax.vjp(fn, *map(to_jax, tensors))
            return jax.tree.map(torch.from_dlpack, outputs)

        @staticmethod
        def backward(ctx, *gradients):
            cotangents = tuple(map(to_jax, gradients))
            result = ctx.pullback(cotangents if len(cotangents) > 1 else cotangents[0])
            return tuple(None if g.dtype == jax.dtypes.float0 else torch.from_dlpack(g) for g in result)

    return Naive.apply
