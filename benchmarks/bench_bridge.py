"""Cost of the bridge: a bridged call against the same jitted JAX calls, and against the naive bridge.

The naive bridge calls jax.vjp each time. Every variant is timed in turn, many rounds over, and the least time of each
counts, so that a busy machine disturbs all alike. The direct calls wait for their results, as a bridged call does.

    python -m benchmarks.bench_bridge
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import torch

from benchmarks.reporting import add_out, heading, markdown, publish
from bridges import copies, jax2torch


def small(x, w, b):
    """Three arguments, two results: the fixed cost."""
    return jnp.tanh(x * w + b), (x * w).sum()


def through(x):
    """One pass over memory: the bandwidth cost."""
    return x * 2


def naive_bridge(fn: Callable) -> Callable:
    """jax.vjp at every call, as the published bridges do."""

    class Naive(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *tensors):
            outputs, ctx.pullback = jax.vjp(fn, *[jax.dlpack.from_dlpack(t.detach()) for t in tensors])
            return jax.tree.map(torch.from_dlpack, outputs)

        @staticmethod
        def backward(ctx, *gradients):
            cotangents = tuple(map(jax.dlpack.from_dlpack, gradients))
            result = ctx.pullback(cotangents if len(cotangents) > 1 else cotangents[0])
            return tuple(map(torch.from_dlpack, result))

    return Naive.apply


class Empty(torch.autograd.Function):
    """The floor: what torch itself takes for a function in Python."""

    @staticmethod
    def forward(ctx, *tensors):
        return tuple(t.detach().view(t.shape) for t in tensors)

    @staticmethod
    def backward(ctx, *gradients):
        return gradients


def variants(fn: Callable, sizes: list[int], device: str) -> dict[str, Callable[[], None]]:
    """The calls to compare, each without arguments."""
    tensors = [torch.randn(n, device=device, requires_grad=True) for n in sizes]
    arrays = [jax.device_put(jax.dlpack.from_dlpack(t.detach())) for t in tensors]
    jitted = jax.jit(fn)
    forward = jax.jit(lambda *a: jax.vjp(fn, *a))
    backward = jax.jit(lambda pullback, cotangents: pullback(cotangents))
    as_tuple = lambda y: y if isinstance(y, tuple) else (y,)  # noqa: E731
    bridged, naive = jax2torch(fn), naive_bridge(jitted)
    cotangents = tuple(torch.ones_like(y) for y in as_tuple(bridged(*tensors)))
    seeds = jax.tree.map(jnp.ones_like, jitted(*arrays))
    empty_seeds = tuple(torch.ones_like(t) for t in tensors)

    def without_grad() -> None:
        with torch.no_grad():
            bridged(*tensors)

    def direct_both() -> None:
        outputs, pullback = forward(*arrays)
        jax.block_until_ready((outputs, backward(pullback, seeds)))

    def both(f: Callable, seeds: tuple) -> Callable[[], None]:
        return lambda: torch.autograd.grad(as_tuple(f(*tensors)), tensors, seeds)

    return {
        "direct forward": lambda: jax.block_until_ready(jitted(*arrays)),
        "bridged forward, no_grad": without_grad,
        "bridged forward": lambda: bridged(*tensors),
        "naive forward": lambda: naive(*tensors),
        "direct forward + backward": direct_both,
        "bridged forward + backward": both(bridged, cotangents),
        "naive forward + backward": both(naive, cotangents),
        "empty autograd.Function, forward + backward": both(Empty.apply, empty_seeds),
    }


def least_times(calls: dict[str, Callable[[], None]], rounds: int, repeats: int) -> dict[str, float]:
    """Least time of a call in microseconds, each variant in turn.

    The first call of a turn does not count: it meets the memory as another variant left it, at 100 MB a quarter of its time.
    """
    best = dict.fromkeys(calls, float("inf"))
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            call()
            for _ in range(repeats):
                start = time.perf_counter()
                call()
                best[name] = min(best[name], time.perf_counter() - start)
    return {name: 1e6 * t for name, t in best.items()}


def steady_state(calls: int) -> dict[str, float]:
    """Traces and growth of resident memory over many forward and backward calls with varying data."""
    f = jax2torch(small)
    tensors = [torch.randn(16, requires_grad=True) for _ in range(3)]
    seeds = torch.ones(16), torch.ones(())

    def step(k: int) -> None:
        with torch.no_grad():
            tensors[0].fill_(k * 1e-4)
        torch.autograd.grad(f(*tensors), tensors, seeds)

    for k in range(1000):
        step(k)
    gc.collect()
    traces, memory = f.operation.traces.total(), resident()
    for k in range(calls):
        step(k)
    gc.collect()
    return {
        "calls": calls,
        "new_traces": f.operation.traces.total() - traces,
        "resident_growth_MB": (resident() - memory) / 1e6,
    }


def resident() -> int:
    """Resident memory in bytes."""
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * 4096


def comparison(times: dict[str, float]) -> list[list[str]]:
    """What stands above the direct calls, and what the naive bridge takes; one line a kind of call."""
    lines = []
    for kind in ("forward", "forward + backward"):
        ours, direct, naive = (times[f"{who} {kind}"] for who in ("bridged", "direct", "naive"))
        lines.append(
            [kind, f"{direct:.0f}", f"{ours:.0f}", f"{ours - direct:+.0f}", f"{naive:.0f}", f"{naive / ours:.1f}"]
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--calls", type=int, default=20_000, help="of the steady-state test")
    add_out(parser)
    options = parser.parse_args()
    cases = {
        "tiny": (small, [16, 16, 16], options.rounds, 5),
        "1 MB": (through, [1 << 18], options.rounds, 2),
        "100 MB": (through, [25 << 20], max(options.rounds // 30, 5), 2),
    }
    heads = ("function", "kind", "direct JAX", "bridged", "over direct", "naive", "naive / bridged")
    lines, notes = [], []
    for case, (fn, sizes, rounds, repeats) in cases.items():
        copies.clear()
        times = least_times(variants(fn, sizes, options.device), rounds, repeats)
        lines += [[case, *line] for line in comparison(times)]
        empty = times["empty autograd.Function, forward + backward"]
        notes.append(
            f"{case}: without gradients {times['bridged forward, no_grad']:.0f}, an empty autograd.Function forward + backward "
            f"{empty:.0f}; copies counted: {dict(copies) or 'none'}."
        )
        print(case, times, flush=True)
    steady = steady_state(options.calls)
    notes.append(
        f"{steady['calls']} calls forward + backward with varying data: {steady['new_traces']} new traces, resident memory "
        f"{steady['resident_growth_MB']:+.1f} MB."
    )
    legend = "Least time of interleaved calls, microseconds.\n"
    publish("\n".join([heading("Bridge") + legend, markdown(heads, lines), "", *notes]), options.out)


if __name__ == "__main__":
    main()
