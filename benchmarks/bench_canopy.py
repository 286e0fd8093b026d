"""What a half-hour costs: forward and derivative of the canopy, the bridge and an optimiser step on top, compile time.

`make bench` (or `python benchmarks/bench_canopy.py --out benchmarks/RESULTS.md`) measures everything on synthetic weather
in one run and writes a table with machine, date and commit. Ratios within a run can be trusted, absolute times of
different runs cannot.

Every row is the fastest of several repetitions. `passes` is the number of passes of the slowest half-hour of the batch, then
the mean. Flops and bytes are XLA's own count of the compiled program with each loop body counted once, multiplied here by
the passes that the loop made; `roofline` is the least time that these bytes and flops need on this machine (measured copy
bandwidth and multiply-add rate), divided by the time taken.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch

import canveg_jax as cv
from bridges import TorchCanopy
from canveg_jax.io.synthetic import SYNTHETIC_SITES, synthetic_weather

SEED = 0
DAYS = 365


class Case(NamedTuple):
    """One row of the table."""

    what: str
    layers: int
    dtype: str
    batch: int


class Timing(NamedTuple):
    """Seconds: first call (trace, compile, run) and the fastest of the later ones."""

    first: float
    fastest: float


def fastest(call: Callable[[], Any], seconds: float = 2.0, least: int = 3) -> Timing:
    """Time a call that blocks until its result is there."""
    start = time.perf_counter()
    call()
    first = time.perf_counter() - start
    times: list[float] = []
    while len(times) < least or (sum(times) < seconds and len(times) < 200):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return Timing(first, min(times))


def machine() -> dict[str, float]:
    """Measured copy bandwidth (GB/s, read + write) and multiply-add rate (GFLOP/s) of this process in float64."""
    x = jnp.ones(1 << 25)
    copy = jax.jit(lambda x: x * 1.000001)
    bandwidth = 2 * x.nbytes / fastest(lambda: copy(x).block_until_ready(), 1.0).fastest / 1e9
    a = jnp.ones((2048, 2048))
    product = jax.jit(lambda a: a @ a)
    flops = 2 * 2048**3 / fastest(lambda: product(a).block_until_ready(), 1.0).fastest / 1e9
    return {"bandwidth": bandwidth, "flops": flops}


def half_hours(batch: int, dtype: str) -> dict[str, np.ndarray]:
    """Columns of `batch` random half-hours of a year at the humid site."""
    weather = synthetic_weather(SYNTHETIC_SITES["SYN-Hum"], DAYS, SEED)
    rows = np.random.default_rng(SEED).integers(0, weather.sizes["time"], batch)
    return {n: weather[n].values[rows].astype(dtype) for n in cv.FORCING_TABLE if n in weather}


def canopy_of(layers: int) -> cv.Canopy:
    """The canopy that is timed: the site constants of US-Bi1."""
    return cv.Canopy(cv.Site.named("US-Bi1", n_layers=layers))


def programs(case: Case) -> tuple[cv.Canopy, Callable, Callable, tuple]:
    """Jitted forward and derivative (to all parameters, the forcing and the stress), and their arguments."""
    canopy = canopy_of(case.layers)
    columns = {name: jnp.asarray(column) for name, column in half_hours(case.batch, case.dtype).items()}
    parameters = {name: jnp.asarray(v, case.dtype) for name, v in canopy.parameters.values.items()}
    stress = jnp.full(case.batch, 0.9, case.dtype)

    def forward(parameters, columns, stress):
        solution = canopy.compute(parameters, cv.Forcing(**columns), stress)
        return solution.fluxes.LE, solution.fluxes.NEE, solution.diagnostics

    def loss(parameters, columns, stress):
        le, nee, diagnostics = forward(parameters, columns, stress)
        return jnp.sum((le / 100) ** 2 + (nee / 10) ** 2), diagnostics

    gradient = jax.grad(loss, argnums=(0, 1, 2), has_aux=True)
    return canopy, jax.jit(forward), jax.jit(gradient), (parameters, columns, stress)


def bench_jax(case: Case, peak: dict[str, float]) -> list[dict]:
    """Forward and derivative in JAX alone."""
    _, forward, gradient, arguments = programs(case)
    diagnostics = forward(*arguments)[2]
    passes = np.asarray(diagnostics.passes)
    residual = float(np.max(np.asarray(diagnostics.residual)))
    rows = []
    for what, function in (("forward", forward), ("forward + derivative", gradient)):
        start = time.perf_counter()
        compiled = function.lower(*arguments).compile()
        compile_seconds = time.perf_counter() - start
        timing = fastest(lambda f=compiled: jax.block_until_ready(f(*arguments)))
        cost = compiled.cost_analysis() or {}
        loops = passes.max()
        flops, traffic = (cost.get(k, 0.0) * loops / case.batch for k in ("flops", "bytes accessed"))
        ideal = max(flops / peak["flops"], traffic / peak["bandwidth"]) * 1e-9
        rows.append(
            row(
                case,
                what,
                timing.fastest,
                compile_seconds,
                passes,
                residual,
                memory=compiled.memory_analysis().temp_size_in_bytes / case.batch,
                flops=flops,
                traffic=traffic,
                roofline=ideal / (timing.fastest / case.batch),
            )  # fmt: skip
        )
    return rows


def bench_torch(case: Case) -> list[dict]:
    """The same through the bridge, and one optimiser step of a stress network and all tunable parameters."""
    canopy = canopy_of(case.layers)
    forcing = {name: torch.as_tensor(column) for name, column in half_hours(case.batch, case.dtype).items()}
    dtype = getattr(torch, case.dtype)
    network = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1), torch.nn.Sigmoid())
    network.to(dtype)
    inputs = torch.stack([forcing["soil_water_content"], forcing["vapour_pressure"]], dim=-1)
    operation = TorchCanopy(canopy, tunable=cv.TUNABLE)
    optimizer = torch.optim.Adam([*network.parameters(), *operation.parameters()], lr=1e-4)
    stress = torch.full((case.batch,), 0.9, dtype=dtype)

    def forward():
        with torch.no_grad():
            return operation(forcing, stress=stress)

    def step():
        optimizer.zero_grad()
        out = operation(forcing, stress=network(inputs)[:, 0])
        ((out["LE"] / 100).square() + (out["NEE"] / 10).square()).mean().backward()
        optimizer.step()

    passes = forward()["passes"].numpy()
    residual = float(forward()["residual"].max())
    rows = []
    for what, call in (("bridge, forward", forward), ("bridge, optimiser step", step)):
        timing = fastest(call)
        rows.append(row(case, what, timing.fastest, timing.first, passes, residual))
    return rows


def row(case: Case, what: str, seconds: float, compile_seconds: float, passes, residual: float, **more: float) -> dict:
    """One line of the table."""
    return {
        "what": what, "layers": case.layers, "dtype": case.dtype, "batch": case.batch,
        "us / half-hour": seconds / case.batch * 1e6, "half-hours / s": case.batch / seconds,
        "compile s": compile_seconds, "passes": f"{passes.max()} ({passes.mean():.1f})", "residual": residual, **more,
    }  # fmt: skip


def table(rows: list[dict]) -> str:
    """The rows as a Markdown table."""
    heads = ("what", "layers", "dtype", "batch", "us / half-hour", "half-hours / s", "compile s", "passes", "residual W m-2",
             "temp kB / half-hour", "kflop", "kB moved", "roofline")  # fmt: skip
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    for r in rows:
        cells = [
            r["what"], r["layers"], r["dtype"], r["batch"], f"{r['us / half-hour']:.1f}", f"{r['half-hours / s']:.0f}",
            f"{r['compile s']:.1f}", r["passes"], f"{r['residual']:.1e}",
            *(f"{r[k] / 1e3:.0f}" if k in r else "" for k in ("memory", "flops", "traffic")),
            f"{r['roofline']:.2f}" if "roofline" in r else "",
        ]  # fmt: skip
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def commit() -> str:
    """Abbreviated commit of the checkout, or `unknown`."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.strip() or "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, nargs="+", default=[1, 50])
    parser.add_argument("--dtypes", nargs="+", default=["float64", "float32"], choices=["float64", "float32"])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32, 1024])
    parser.add_argument("--out", type=Path, help="append the table to this Markdown file")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    peak = machine()
    rows: list[dict] = []
    for layers in options.layers:
        for dtype in options.dtypes:
            for batch in options.batches:
                case = Case("", layers, dtype, batch)
                rows += bench_jax(case, peak)
                if batch == max(b for b in options.batches if b <= 1024):
                    rows += bench_torch(case)
                print(table(rows[-4:]).splitlines()[-1], flush=True)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    head = (
        f"\n## Canopy, {datetime.date.today()}, commit {commit()}\n\n"
        f"{jax.devices()[0].device_kind}, {os.cpu_count()} cores, {platform.machine()}, load {load:.1f}; "
        f"jax {jax.__version__}, torch {torch.__version__}, Python {platform.python_version()}. Copy bandwidth "
        f"{peak['bandwidth']:.1f} GB/s, matrix product {peak['flops']:.0f} GFLOP/s (float64).\n"
    )
    text = f"{head}\n{table(rows)}\n"
    print(text)
    if options.out:
        with options.out.open("a") as stream:
            stream.write(text)


if __name__ == "__main__":
    main()
