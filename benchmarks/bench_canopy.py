"""What a half-hour costs: forward and derivative of the canopy, the bridge and training steps on top, compile time.

`python -m benchmarks.bench_canopy` measures everything on synthetic weather in one run and prints a table with machine,
date and commit; `--out FILE.md` appends it to a file. Ratios within a run can be trusted, absolute times of different runs
cannot.

Every row is the fastest of several repetitions. `passes` is the number of passes of the slowest half-hour of the batch, then
the mean. `compile` is tracing and compilation of that program, nothing cached. `kflop`, `transcendentals` and `kB` are
XLA's own count for ONE pass of one half-hour, each kernel's reads and writes counted although caches serve most of them;
`flop/s` and `B/s` are these, times the mean passes, per second, over the measured peak of a matrix product and of a copy.
The derivative has no such count: its loops are of several kinds.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import lightning as L
import numpy as np
import torch

import canveg_jax as cv
from benchmarks.reporting import add_out, heading, markdown, publish
from benchmarks.training import EpochClock, invented_tower
from bridges import TorchCanopy
from canveg_jax import half_hour
from canveg_jax.io.synthetic import SYNTHETIC_SITES, synthetic_weather
from lightning_modules import HybridCanopy
from lightning_modules.dataset import HalfHourDataset, collate
from lightning_modules.statistics import ScalingStatistics

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
    x = torch.ones(1 << 25, dtype=torch.float64)
    y = torch.empty_like(x).fill_(0)  # in memory that is there: a fresh result would measure page faults
    bandwidth = 2 * x.nbytes / fastest(lambda: torch.mul(x, 1.000001, out=y), 1.0).fastest / 1e9
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


def one_pass_cost(case: Case) -> dict[str, float]:
    """XLA's count of flops, transcendentals and bytes of one pass, per half-hour."""
    canopy = canopy_of(case.layers)
    columns = {name: jnp.asarray(column) for name, column in half_hours(case.batch, case.dtype).items()}
    p, site = jax.tree.map(lambda y: jnp.asarray(y, case.dtype), (canopy.parameters, canopy.site_arrays))

    def prepared(columns):
        forcing, stress = cv.Forcing(**columns), jnp.ones(case.batch, case.dtype)

        def of_one(forcing, stress):
            conditions = half_hour.conditions(forcing, p, site, canopy.scheme)
            return half_hour.prepare(conditions, p, site, stress, canopy.scheme)

        return jax.vmap(of_one)(forcing, stress)

    def one_pass(state, x):
        return jax.vmap(lambda state, x: half_hour.one_pass(state, x, p, site, canopy.scheme))(state, x)

    x = jax.jit(prepared)(columns)
    state = jax.vmap(half_hour.initial_state)(x)
    cost = jax.jit(one_pass).lower(state, x).compile().cost_analysis() or {}
    names = {"kflop": "flops", "transcendentals": "transcendentals", "kB": "bytes accessed"}
    return {ours: cost.get(theirs, 0.0) / case.batch for ours, theirs in names.items()}


def bench_jax(case: Case, peak: dict[str, float]) -> list[dict]:
    """Forward and derivative in JAX alone."""
    _, forward, gradient, arguments = programs(case)
    rows = []
    for what, function in (("forward", forward), ("forward + derivative", gradient)):
        start = time.perf_counter()
        compiled = function.lower(*arguments).compile()
        compile_seconds = time.perf_counter() - start
        diagnostics = compiled(*arguments)[-1]
        timing = fastest(lambda f=compiled: jax.block_until_ready(f(*arguments)))
        passes = np.asarray(diagnostics.passes)
        more: dict[str, float] = {"memory": compiled.memory_analysis().temp_size_in_bytes / case.batch}
        if what == "forward":
            more |= (cost := one_pass_cost(case))
            per_second = passes.mean() * case.batch / timing.fastest
            more["flop/s"] = cost["kflop"] * per_second / (peak["flops"] * 1e9)
            more["B/s"] = cost["kB"] * per_second / (peak["bandwidth"] * 1e9)
        residual = float(diagnostics.residual.max())
        rows.append(row(case, what, timing.fastest, compile_seconds, passes, residual, **more))
    return rows


def bench_training(case: Case, steps: int = 6, rounds: int = 4) -> list[dict]:
    """An optimiser step in JAX alone, through the bridge, and under a Lightning trainer: the same loss, in turn.

    All twenty tunable parameters and the stress are differentiated. The JAX step has no network and no optimiser: it is the
    value and derivative of the loss with respect to raw parameters and stress.
    """
    tower = invented_tower(DAYS)
    chosen = np.random.default_rng(SEED).integers(0, tower.sizes["time"], case.batch * steps)
    data = HalfHourDataset([tower], ("latent_heat", "nee"), dtype=getattr(torch, case.dtype), rows=[chosen])
    sites = [canopy_of(case.layers).site]
    model = HybridCanopy(sites, stress="network", statistics=ScalingStatistics.of(data, sites))
    loader = torch.utils.data.DataLoader(data, batch_size=case.batch, collate_fn=collate)
    batches = list(loader)
    optimizer = model.configure_optimizers()
    canopy = canopy_of(case.layers)
    raw = {name: jnp.asarray(z.detach().numpy(), case.dtype) for name, z in model.physics.raw.items()}
    forcings = [{n: jnp.asarray(c.numpy()) for n, c in batch["forcing"].items()} for batch in batches]
    targets = [{n: jnp.asarray(c.numpy()) for n, c in batch["target"].items()} for batch in batches]
    stress = jnp.full(case.batch, 0.95, case.dtype)
    passes = []

    def loss(raw, stress, columns, target):
        solution = canopy.compute(cv.constrain(raw, canopy.parameters.values), cv.Forcing(**columns), stress)
        le, nee = solution.fluxes.LE - target["latent_heat"], solution.fluxes.NEE - target["nee"]
        return jnp.mean((le / 80) ** 2 + (nee / 8) ** 2), solution.diagnostics

    in_jax = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))

    def jax_epoch():
        for columns, target in zip(forcings, targets, strict=True):
            (_, diagnostics), _ = jax.block_until_ready(in_jax(raw, stress, columns, target))
            passes.append(np.asarray(diagnostics.passes))

    def torch_epoch():
        for batch in batches:
            optimizer.zero_grad()
            model.batch_loss(batch, model(batch["forcing"], batch["site"])).loss.backward()
            optimizer.step()

    def lightning_epoch() -> float:
        clock = EpochClock()
        trainer = L.Trainer(
            max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, gradient_clip_val=1.0, callbacks=[clock],
        )  # fmt: skip
        trainer.fit(model, loader)
        return clock.seconds[-1]

    epochs = {"step in JAX": jax_epoch, "step through the bridge": torch_epoch, "step under Lightning": lightning_epoch}
    firsts, best = {}, dict.fromkeys(epochs, float("inf"))
    for round_ in range(rounds + 1):
        for name, epoch in epochs.items():
            start = time.perf_counter()
            seconds = epoch() or time.perf_counter() - start
            if round_:
                best[name] = min(best[name], seconds / steps)
            else:
                firsts[name] = seconds
    last = passes[-1]
    return [row(case, name, best[name], firsts[name], last, float("nan")) for name in epochs]


def bench_bridge(case: Case) -> list[dict]:
    """The forward pass from torch, without gradients."""
    operation = TorchCanopy(canopy_of(case.layers))
    forcing = {name: torch.as_tensor(column) for name, column in half_hours(case.batch, case.dtype).items()}
    stress = torch.full((case.batch,), 0.9, dtype=getattr(torch, case.dtype))

    def forward():
        with torch.no_grad():
            return operation(forcing, stress=stress)

    start = time.perf_counter()
    out = forward()
    first = time.perf_counter() - start
    timing = fastest(forward)
    return [row(case, "bridge, forward", timing.fastest, first, out["passes"].numpy(), float(out["residual"].max()))]


def bench_precision(case: Case, allowed: dict[str, float]) -> str:
    """How far single precision is from double, over the whole synthetic year."""
    weather = synthetic_weather(SYNTHETIC_SITES["SYN-Hum"], DAYS, SEED)
    columns = {n: weather[n].values for n in cv.FORCING_TABLE if n in weather}
    canopy = canopy_of(case.layers)
    fluxes = {t: canopy(cv.Forcing(**{n: c.astype(t) for n, c in columns.items()})) for t in ("float64", "float32")}
    parts = []
    for name, bound in allowed.items():
        apart = np.abs(getattr(fluxes["float32"], name) - getattr(fluxes["float64"], name))
        parts.append(
            f"{name} within {bound} for {np.mean(apart <= bound):.2%} (99.9 %: {np.quantile(apart, 0.999):.2g}, "
            f"largest {apart.max():.2g})"
        )
    return f"float32 against float64, {case.layers} layers, {columns['hour'].size} half-hours: {'; '.join(parts)}.\n"


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
             "temp kB / half-hour", "kflop", "transcendentals", "kB", "flop/s", "B/s")  # fmt: skip
    formats = {"memory": (1e3, ".1f"), "kflop": (1e3, ".0f"), "transcendentals": (1, ".0f"), "kB": (1e3, ".0f"),
               "flop/s": (1, ".2f"), "B/s": (1, ".2f")}  # fmt: skip
    lines = [
        [
            r["what"], r["layers"], r["dtype"], r["batch"], f"{r['us / half-hour']:.1f}", f"{r['half-hours / s']:.0f}",
            f"{r['compile s']:.1f}", r["passes"], "" if np.isnan(r["residual"]) else f"{r['residual']:.1e}",
            *(format(r[k] / unit, f) if k in r else "" for k, (unit, f) in formats.items()),
        ]
        for r in rows
    ]  # fmt: skip
    return markdown(heads, lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, nargs="+", default=[1, 50])
    parser.add_argument("--dtypes", nargs="+", default=["float64", "float32"], choices=["float64", "float32"])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32, 1024, 32_768])
    parser.add_argument("--training", type=int, default=1024, help="batch size of the training steps; 0: none")
    add_out(parser)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    peak = machine()
    rows: list[dict] = []
    notes: list[str] = []

    def add(more: list[dict]) -> None:
        rows.extend(more)
        print("\n".join(table(more).splitlines()[2:]), flush=True)

    for layers in options.layers:
        for dtype in options.dtypes:
            for batch in options.batches:
                add(bench_jax(Case("", layers, dtype, batch), peak))
        if options.training:
            case = Case("", layers, "float64", options.training)
            add(bench_bridge(case))
            add(bench_training(case))
        if len(options.dtypes) == 2:
            notes.append(bench_precision(Case("", layers, "", 0), {"LE": 0.05, "NEE": 0.005}))
    speed = f"Copy bandwidth {peak['bandwidth']:.1f} GB/s, matrix product {peak['flops']:.0f} GFLOP/s (float64).\n"
    publish("\n".join([heading("Canopy") + speed, table(rows), "", *notes]), options.out)


if __name__ == "__main__":
    main()
