"""Many rounds of create, train, delete in one process: memory and memory maps stay flat."""

import gc
import sys
from pathlib import Path

import jax.numpy as jnp
import lightning as L
import pytest
import torch

from bridges import jax2torch
from lightning_modules import FluxTowerDataModule, HybridCanopy
from tests.lightning.towers import SITE, boring_tower

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts memory maps by /proc"),
]
MEGABYTE = 2**20


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def maps() -> int:
    """Memory maps of this process; it may have 65,530, and a compiled program takes several."""
    return len(Path("/proc/self/maps").read_text().splitlines())


def growth(train, rounds: int, settle: int) -> tuple[int, int]:
    """Bytes and maps that the rounds after the first `settle` add."""
    start = (0, 0)
    for k in range(rounds):
        if k == settle:
            start = resident(), maps()
        train(k)
        gc.collect()
    grown = resident() - start[0], maps() - start[1]
    print(f"{rounds - settle} rounds: {grown[0] / MEGABYTE:.1f} MB, {grown[1]} maps")
    return grown


def test_functions_that_are_trained_and_deleted():
    def train(k: int) -> None:
        f = jax2torch(lambda x, w: jnp.tanh(x @ w) * (k + 1.0))
        w = torch.ones(3, 2, requires_grad=True)
        optimiser = torch.optim.Adam([w])
        for _ in range(3):
            optimiser.zero_grad()
            f(torch.ones(4, 3), w).square().sum().backward()
            optimiser.step()

    memory, new_maps = growth(train, 200, 50)
    assert memory < 20 * MEGABYTE and new_maps < 10


@pytest.mark.filterwarnings("ignore:.*:UserWarning:lightning")
def test_hybrid_canopies_that_are_fitted_and_deleted():
    """Each fit makes its programs again, from the compilation cache where there is one."""
    tower = boring_tower(days=4)

    def train(k: int) -> None:
        data = FluxTowerDataModule(
            datasets=[(SITE, tower)], block_days=0.5, batch_size=32, test_fraction=0.2, val_every=0
        )
        model = HybridCanopy([SITE], tunable=["kball"], parameters={"kball": 8.0 + 0.1 * k}, stress=None)
        before = model.physics.raw["kball"].item()
        L.Trainer(
            max_steps=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False,
        ).fit(model, datamodule=data)  # fmt: skip
        assert model.physics.raw["kball"].item() != before

    memory, new_maps = growth(train, 20, 5)
    assert memory < 150 * MEGABYTE and new_maps < 100
