"""What a training loop does around a bridged function: autocast, loss scaling, checkpointing, hooks, DDP, copies."""

import copy
import gc
import os
import pickle
import socket

import jax
import jax.numpy as jnp
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from bridges import TransformError, jax2torch
from tests.bridges.naive import naive_bridge


def physics(x, w):
    return jnp.tanh(x @ w)


class Hybrid(nn.Module):
    """A linear layer in torch before a function in JAX."""

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(3, 4)
        self.w = nn.Parameter(torch.linspace(-1, 1, 8).reshape(4, 2))
        self.f = jax2torch(physics)

    def forward(self, x):
        return self.f(self.net(x), self.w)


def test_autocast_computes_in_float32_and_returns_gradients_in_the_callers_dtype():
    seen = []

    def f(x, w):
        seen.append((x.dtype, w.dtype))
        return x @ w

    g = jax2torch(f)
    w = torch.ones(4, 2, requires_grad=True)
    x = torch.ones(5, 3)
    net = nn.Linear(3, 4)
    with torch.autocast("cpu", torch.bfloat16):
        hidden = net(x)
        hidden.retain_grad()
        out = g(hidden, w)
    assert hidden.dtype == torch.bfloat16 and out.dtype == torch.float32
    assert seen == [(jnp.float32, jnp.float32)]
    out.sum().backward()
    assert hidden.grad.dtype == torch.bfloat16 and w.grad.dtype == torch.float32
    assert g(hidden.detach(), w.detach().bfloat16()).dtype == torch.bfloat16
    double = torch.ones(5, 4, dtype=torch.float64)
    with torch.autocast("cpu", torch.bfloat16):
        assert g(double, w.double()).dtype == torch.float64


def test_loss_scaler_takes_the_same_step():
    steps = []
    for scale in (1.0, 1024.0):
        torch.manual_seed(0)
        module = Hybrid()
        optimizer = torch.optim.SGD(module.parameters(), 0.1)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        scaler.scale(module(torch.ones(5, 3)).square().sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        steps.append([p.detach().clone() for p in module.parameters()])
    torch.testing.assert_close(*steps)


def test_loss_scaler_sees_infinities_of_the_bridge():
    x = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([x], 1.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    scaler.scale(jax2torch(lambda x: jnp.sqrt(x).sum())(x)).backward()
    scaler.step(optimizer)
    scaler.update()
    assert x.item() == 0.0 and scaler.get_scale() == 2.0


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpointing_gives_the_same_gradients_and_keeps_nothing_between(use_reentrant):
    f = jax2torch(lambda x: jnp.tanh(jnp.sin(x)))
    x = torch.linspace(-1, 1, 1 << 16, requires_grad=True)
    expected = torch.autograd.grad(f(x * 1).sum(), x)[0].clone()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.nbytes) or t, lambda t: t):
        gc.collect()
        before = live_bytes()
        out = checkpoint(lambda t: f(t * 1), x, use_reentrant=use_reentrant)
    assert sum(n > 0 for n in kept) <= 1 and live_bytes() - before <= out.nbytes
    out.sum().backward()
    torch.testing.assert_close(x.grad, expected)


def live_bytes() -> int:
    return sum(array.nbytes for array in jax.live_arrays())


def test_the_naive_bridge_keeps_residuals_in_spite_of_checkpointing():
    x = torch.linspace(-1, 1, 1 << 16, requires_grad=True)
    gc.collect()
    before = live_bytes()
    naive = naive_bridge(lambda x: jnp.tanh(jnp.sin(x)))
    out = checkpoint(lambda t: naive(t * 1), x, use_reentrant=False)
    assert live_bytes() - before > out.nbytes


def test_saved_tensor_hooks_see_residuals_which_the_naive_bridge_hides():
    x = torch.linspace(-1, 1, 100, requires_grad=True)
    seen = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: seen.append(t.shape) or t.clone(), lambda t: t):
        out = jax2torch(lambda x: jnp.tanh(jnp.sin(x)))(x)
    assert len(seen) >= 2
    out.sum().backward()
    torch.testing.assert_close(x.grad, torch.autograd.grad(torch.tanh(torch.sin(x)).sum(), x)[0])
    with torch.autograd.graph.saved_tensors_hooks(lambda t: seen.append("naive") or t, lambda t: t):
        naive_bridge(lambda x: jnp.tanh(jnp.sin(x)))(x)
    assert "naive" not in seen


def test_backward_uses_what_the_hooks_give_back():
    """A hook that stores tensors elsewhere (on disk, in half precision) returns others."""
    x = torch.linspace(-1, 1, 100, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: 3 * t):
        out = jax2torch(lambda x: jnp.exp(x))(x)
    out.sum().backward()
    torch.testing.assert_close(x.grad, 3 * torch.exp(x.detach()))


def test_tensor_and_module_hooks_fire():
    module = Hybrid()
    calls = []
    module.register_forward_hook(lambda *_: calls.append("forward"))
    module.register_full_backward_hook(lambda *_: calls.append("backward"))
    out = module(torch.ones(5, 3, requires_grad=True))
    out.register_hook(lambda g: calls.append("gradient") or 2 * g)
    out.sum().backward()
    assert calls == ["forward", "gradient", "backward"]
    doubled = module.w.grad.clone()
    module.w.grad = None
    module(torch.ones(5, 3, requires_grad=True)).sum().backward()
    torch.testing.assert_close(doubled, 2 * module.w.grad)


def test_an_optimiser_step_is_seen_by_the_next_call_where_a_closure_of_the_naive_bridge_is_stale():
    """The tensors themselves are the arguments; what a compiled function closes over is fixed when it is traced."""
    w, one = nn.Parameter(torch.tensor([1.0])), torch.ones(1)
    f = jax2torch(lambda w: w * 2)
    stale = naive_bridge(jax.jit(lambda one: one * 2 * jax.dlpack.from_dlpack(w.detach())))
    assert stale(one).item() == 2.0
    optimizer = torch.optim.SGD([w], 1.0)
    f(w).sum().backward()
    optimizer.step()
    assert w.item() == -1.0 and f(w).item() == -2.0
    assert stale(one).item() == 2.0


def test_deepcopy_shares_the_compiled_function():
    module = Hybrid()
    twin = copy.deepcopy(module)
    assert twin.f is module.f
    torch.testing.assert_close(twin(torch.ones(5, 3)), module(torch.ones(5, 3)))


def test_pickling_a_bridged_function_says_what_to_do():
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(Hybrid())


def test_data_parallel_is_refused():
    """Its replicas are threads running `_worker` of torch.nn.parallel.parallel_apply, which needs GPUs; the frame is
    what counts."""
    scope = {"__name__": "torch.nn.parallel.parallel_apply"}
    exec("def _worker(f): f()", scope)
    from threading import Thread

    errors, results = [], []
    f = jax2torch(lambda x: 2 * x)

    def replica():
        try:
            results.append(f(torch.ones(1)).item())
        except TransformError as error:
            errors.append(str(error))

    for target in (lambda: scope["_worker"](replica), replica):
        thread = Thread(target=target)
        thread.start()
        thread.join()
    assert len(errors) == 1 and "DistributedDataParallel" in errors[0] and results == [2.0]
    source = torch.nn.parallel.parallel_apply.__globals__ if callable(torch.nn.parallel.parallel_apply) else {}
    assert source.get("__name__") == "torch.nn.parallel.parallel_apply"


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def _ddp_worker(rank: int, port: int, folder: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    torch.manual_seed(0)
    module = nn.parallel.DistributedDataParallel(Hybrid())
    module(batch()[rank::2]).square().mean().backward()
    torch.save([p.grad for p in module.parameters()], f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def batch() -> torch.Tensor:
    return torch.linspace(-1, 1, 24).reshape(8, 3)


def test_distributed_data_parallel_averages_the_gradients_of_two_processes(tmp_path):
    torch.multiprocessing.spawn(_ddp_worker, (free_port(), str(tmp_path)), nprocs=2)
    torch.manual_seed(0)
    module = Hybrid()
    module(batch()).square().mean().backward()
    for rank in (0, 1):
        torch.testing.assert_close(torch.load(tmp_path / f"{rank}.pt"), [p.grad for p in module.parameters()])
