"""Nothing outlives its owner: bridged functions that are deleted are freed with their compiled programs."""

import gc
import sys
import weakref
from pathlib import Path

import jax.numpy as jnp
import pytest
import torch

from bridges import jax2torch


def used_and_deleted(scale: float) -> list[weakref.ref]:
    """References to the kernels of a function that was trained, evaluated and transformed, and is gone."""
    f = jax2torch(lambda x: jnp.tanh(x) * scale)
    x = torch.ones(3, requires_grad=True)
    (slope,) = torch.autograd.grad(f(x).sum(), x, create_graph=True)
    slope.sum().backward()
    with torch.no_grad():
        f(x)
    torch.func.vmap(torch.func.grad(lambda y: f(y).sum()))(torch.ones(2, 3))
    kernels = [kernel for kernel, _ in f.operation._kernels.values()]
    return [weakref.ref(f.operation), *map(weakref.ref, kernels)]


def test_kernels_are_freed():
    for scale in (2.0, 3.0):
        references = used_and_deleted(scale)
        gc.collect()
        assert len(references) == 2 and all(reference() is None for reference in references)


def test_a_graph_keeps_what_its_backward_needs():
    f = jax2torch(lambda x: jnp.tanh(x) * 2.0)
    x = torch.ones(3, dtype=torch.float64, requires_grad=True)
    out = f(x).sum()
    kernel = weakref.ref(next(iter(f.operation._kernels.values()))[0])
    del f
    gc.collect()
    out.backward()
    torch.testing.assert_close(x.grad, 2.0 / torch.cosh(x.detach()) ** 2)
    del out
    gc.collect()
    assert kernel() is None


def memory_maps() -> int:
    return len(Path("/proc/self/maps").read_text().splitlines())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts memory maps by /proc")
@pytest.mark.parametrize("rounds", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_memory_maps_stay_as_many(rounds):
    """A compiled program takes several; a process may have 65,530."""

    def train(scale: float) -> None:
        f = jax2torch(lambda x: jnp.tanh(x) * scale)
        x = torch.ones(3, requires_grad=True)
        f(x).sum().backward()

    train(-1.0)
    gc.collect()
    before = memory_maps()
    for k in range(rounds):
        train(float(k))
    gc.collect()
    assert memory_maps() - before < 10
