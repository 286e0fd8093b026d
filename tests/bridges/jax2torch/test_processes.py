"""Workers, forks and GPU memory: nothing hangs, and what would hang is refused with the setting that mends it."""

import os
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from bridges import ForkError, jax2torch, worker_context
from bridges._runtime.process import jax_is_running, leave_gpu_memory_to_torch

square = jax2torch(lambda x: x * x)

forks = pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning", "ignore:.*use of fork:DeprecationWarning")


class TorchOnly(Dataset):
    """Samples made by torch."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return torch.full((3,), float(index))


class ByBridge(TorchOnly):
    """Samples made by a bridged function, in the worker."""

    def __getitem__(self, index):
        return square(super().__getitem__(index))


def loader(dataset, method, **options):
    return DataLoader(dataset, 2, num_workers=1, multiprocessing_context=method, timeout=100, **options)


@forks
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_500_epochs_of_a_training_loop_with_persistent_workers(method):
    w = torch.ones(3, requires_grad=True)
    step = jax2torch(lambda x, w: ((x * w) ** 2).mean())
    jnp.zeros(1).block_until_ready()
    assert jax_is_running()
    batches = loader(TorchOnly(), method, persistent_workers=True)
    n = 0
    for _ in range(500):
        for x in batches:
            step(x, w).backward()
            n += 1
    assert n == 1000 and torch.isfinite(w.grad).all() and step.operation.traces == {"forward": 1, "backward": 1}


@forks
def test_new_forked_workers_every_epoch():
    batches = loader(TorchOnly(), "fork")
    for _ in range(3):
        assert torch.cat([square(x) for x in batches])[:, 0].tolist() == [0.0, 1.0, 4.0, 9.0]


@forks
def test_jax_in_a_worker_forked_while_jax_runs_is_refused_with_the_remedy():
    square(torch.ones(1))
    with pytest.raises(ForkError, match="forked from one in which JAX was already running.*worker_context"):
        list(loader(ByBridge(), "fork"))
    assert square(torch.ones(1)).item() == 1.0


def test_workers_of_the_recommended_context_use_jax():
    jnp.zeros(1).block_until_ready()
    assert jax_is_running()
    rows = torch.cat(list(loader(ByBridge(), worker_context())))
    assert rows[:, 0].tolist() == [0.0, 1.0, 4.0, 9.0]


def run(code: str, **environment: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_importing_starts_no_backend_and_leaves_gpu_memory_to_torch():
    code = """
        import os, bridges, bridges._runtime.process as p
        bridges.jax2torch(lambda x: x)
        print(p.jax_is_running(), os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"])
    """
    environment = {k: v for k, v in os.environ.items() if k != "XLA_PYTHON_CLIENT_PREALLOCATE"}
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=environment, capture_output=True, text=True
    )
    assert result.stdout.split() == ["False", "false"]
    assert run(code, XLA_PYTHON_CLIENT_PREALLOCATE="true").split() == ["False", "true"]


def test_a_worker_forked_before_jax_runs_may_use_it():
    code = """
        import torch, bridges
        from torch.utils.data import DataLoader
        f = bridges.jax2torch(lambda x: x * x)
        class D(torch.utils.data.Dataset):
            def __len__(self): return 4
            def __getitem__(self, i): return f(torch.full((3,), float(i)))
        loader = DataLoader(D(), 2, num_workers=1, multiprocessing_context="fork", timeout=60)
        print([int(v) for x in loader for v in x[:, 0]])
    """
    assert run(code).strip() == "[0, 1, 4, 9]"


def test_too_late_to_leave_gpu_memory_to_torch_warns(monkeypatch):
    monkeypatch.delenv("XLA_PYTHON_CLIENT_PREALLOCATE", raising=False)
    jnp.zeros(1).block_until_ready()
    leave_gpu_memory_to_torch()
    monkeypatch.delenv("XLA_PYTHON_CLIENT_PREALLOCATE")
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with pytest.warns(RuntimeWarning, match="Import `bridges` before the first JAX operation"):
        leave_gpu_memory_to_torch()
