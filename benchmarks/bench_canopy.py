"""What a half-hour costs: forward and derivative of the canopy, the bridge and training steps on top, compile time.

    pytest benchmarks/bench_canopy.py -W ignore --benchmark-json=bench.json       # everything: some thirty programs to compile
    pytest benchmarks/bench_canopy.py -W ignore -k "50-float64-1024"              # a part of it
    python -m benchmarks.canopy_table bench.json --out benchmarks/RESULTS.md            # the table, with machine, date and commit

Ratios within a run can be trusted, absolute times of different runs cannot. Times are the least of many rounds by
pytest-benchmark; the three training steps, whose ratio counts, are taken in turn instead.

`passes` is the number of passes of the slowest half-hour of the batch, then the mean. `compile` is tracing and compilation of
that program, nothing cached. `kflop`, `transcendentals` and `kB` are XLA's own count for ONE pass of one half-hour, each
kernel's reads and writes counted although caches serve most of them; `flop/s` and `B/s` are these, times the mean passes, per
second, over the measured peak of a matrix product and of a copy. The derivative has no such count: its loops are of several
kinds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import lightning as L
import numpy as np
import pytest
import torch

import canveg_jax as cv
from benchmarks.training import EpochClock, invented_tower
from bridges import TorchCanopy
from canveg_jax.physics import column
from canveg_jax.synthetic import SYNTHETIC_SITES, synthetic_weather
from lightning_modules import HybridCanopy
from lightning_modules.data.dataset import TowerDataset, collate
from lightning_modules.data.statistics import ScalingStatistics

SEED = 0
DAYS = 365
TRAINING_BATCH = 1024
LAYERS = pytest.mark.parametrize("layers", [1, 50])
ALLOWED = {"LE": 0.05, "NEE": 0.005}
"""Differences of single from double precision that are counted, W m-2 and umol m-2 s-1."""


class Case(NamedTuple):
    """What a program is compiled for."""

    layers: int
    dtype: str
    batch: int


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
            conditions = column.conditions(forcing, p, site, canopy.scheme)
            return column.prepare(conditions, p, site, stress, canopy.scheme)

        return jax.vmap(of_one)(forcing, stress)

    def one_pass(state, x):
        return jax.vmap(lambda state, x: column.one_pass(state, x, p, site, canopy.scheme))(state, x)

    x = jax.jit(prepared)(columns)
    state = jax.vmap(column.initial_state)(x)
    cost = jax.jit(one_pass).lower(state, x).compile().cost_analysis() or {}
    names = {"kflop": "flops", "transcendentals": "transcendentals", "kB": "bytes accessed"}
    return {ours: cost.get(theirs, 0.0) / case.batch for ours, theirs in names.items()}


@pytest.fixture(autouse=True)
def clean_jax():
    """Double precision, and no program kept from one case to the next."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.clear_caches()


@pytest.mark.parametrize("what", ["forward", "derivative"])
@pytest.mark.parametrize("batch", [1, 32, 1024, 32_768])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@LAYERS
def test_canopy(benchmark, what: str, layers: int, dtype: str, batch: int):
    """Forward, or forward and derivative, in JAX alone."""
    case = Case(layers, dtype, batch)
    _, forward, gradient, arguments = programs(case)
    start = time.perf_counter()
    compiled = {"forward": forward, "derivative": gradient}[what].lower(*arguments).compile()
    seconds = time.perf_counter() - start
    diagnostics = compiled(*arguments)[-1]
    benchmark(lambda: jax.block_until_ready(compiled(*arguments)))
    more = one_pass_cost(case) if what == "forward" else {}
    benchmark.extra_info.update(
        described(
            case, np.asarray(diagnostics.passes), what="forward + derivative" if what == "derivative" else what,
            compile=seconds, residual=float(diagnostics.residual.max()),
            memory=compiled.memory_analysis().temp_size_in_bytes / batch, **more,
        )
    )  # fmt: skip


@LAYERS
def test_training_step(benchmark, layers: int, steps: int = 6, rounds: int = 8):
    """An optimiser step in JAX alone, through the bridge, and under a Lightning trainer: the same loss, in turn.

    All twenty tunable parameters and the stress are differentiated. The JAX step has no network and no optimiser: it is the
    value and derivative of the loss with respect to raw parameters and stress.
    """
    case = Case(layers, "float64", TRAINING_BATCH)
    tower = invented_tower(DAYS)
    chosen = np.random.default_rng(SEED).integers(0, tower.sizes["time"], case.batch * steps)
    data = TowerDataset([tower], ("latent_heat", "nee"), dtype=getattr(torch, case.dtype), rows=[chosen])
    sites = [canopy_of(case.layers).site]
    statistics = ScalingStatistics.of(data, sites)
    model = HybridCanopy(sites, stress="network", statistics=statistics, warm_start=False)  # as the others
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
    firsts, times = {}, {name: [] for name in epochs}

    def in_turn() -> None:
        for name, epoch in epochs.items():
            start = time.perf_counter()
            seconds = epoch() or time.perf_counter() - start
            firsts.setdefault(name, seconds)
            times[name].append(seconds / steps)

    benchmark.pedantic(in_turn, rounds=rounds, warmup_rounds=1)
    for name in epochs:
        info = {"what": name, "seconds": min(times[name][1:]), "compile": firsts[name]}
        benchmark.extra_info.setdefault("rows", []).append(described(case, passes[-1], **info))


@LAYERS
def test_bridge_forward(benchmark, layers: int):
    """The forward pass from torch, without gradients."""
    case = Case(layers, "float64", TRAINING_BATCH)
    operation = TorchCanopy(canopy_of(case.layers))
    forcing = {name: torch.as_tensor(column) for name, column in half_hours(case.batch, case.dtype).items()}
    stress = torch.full((case.batch,), 0.9, dtype=getattr(torch, case.dtype))

    def forward():
        with torch.no_grad():
            return operation(forcing, stress=stress)

    start = time.perf_counter()
    out = forward()
    seconds = time.perf_counter() - start
    benchmark(forward)
    info = {"what": "bridge, forward", "compile": seconds, "residual": float(out["residual"].max())}
    benchmark.extra_info.update(described(case, out["passes"].numpy(), **info))


@LAYERS
def test_precision(benchmark, layers: int):
    """How far single precision is from double, over the whole synthetic year."""
    weather = synthetic_weather(SYNTHETIC_SITES["SYN-Hum"], DAYS, SEED)
    columns = {n: weather[n].values for n in cv.FORCING_TABLE if n in weather}
    canopy = canopy_of(layers)
    double = canopy(cv.Forcing(**columns))
    single = benchmark.pedantic(lambda: canopy(cv.Forcing(**{n: c.astype("float32") for n, c in columns.items()})))
    parts = []
    for name, bound in ALLOWED.items():
        apart = np.abs(getattr(single, name) - getattr(double, name))
        parts.append(
            f"{name} within {bound} for {np.mean(apart <= bound):.2%} (99.9 %: {np.quantile(apart, 0.999):.2g}, "
            f"largest {apart.max():.2g})"
        )
    half_hours = columns["hour"].size
    benchmark.extra_info["note"] = (
        f"float32 against float64, {layers} layers, {half_hours} half-hours: {'; '.join(parts)}."
    )


def described(case: Case, passes: np.ndarray, **more: Any) -> dict[str, Any]:
    """What the report says of a case besides its time."""
    return {**case._asdict(), "most_passes": int(passes.max()), "mean_passes": float(passes.mean()), **more}
