"""Stages of a run: what is held does not move by a bit, and which epochs have which loss."""

import lightning as L
import pytest
import torch

from lightning_modules import FluxTowerDataModule, HybridCanopy
from lightning_modules.models.stages import read_stages, stage_of
from tests.lightning.towers import SITE, BoringCanopy, boring_tower


def fitted(epochs, **options):
    data = FluxTowerDataModule(datasets=[(SITE, boring_tower(10))], block_days=1, test_fraction=0.2, seed=0)
    torch.manual_seed(0)
    model = HybridCanopy([SITE], physics=BoringCanopy(), **{"stress": {"module": "network", "hidden": [4]}, **options})
    start = {name: value.detach().clone() for name, value in model.named_parameters()}
    L.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False, max_epochs=epochs,
        enable_checkpointing=False,
    ).fit(model, datamodule=data)  # fmt: skip
    moved = {name for name, value in model.named_parameters() if not torch.equal(value, start[name])}
    return model, {"stress" if name.startswith("stress") else name.removeprefix("physics.raw.") for name in moved}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"kball", "stress"}),
        ({"freeze": ["kball"]}, {"stress"}),
        ({"freeze": ["stress"]}, {"kball"}),
        ({"stages": [{"train": ["kball"]}]}, {"kball"}),
        ({"stages": [{"hold": ["kball"]}]}, {"stress"}),
        ({"stages": [{"epochs": 5, "train": ["kball"]}, {"hold": ["kball"]}]}, {"kball"}),
        ({"stages": [{"epochs": 1, "train": ["kball"]}, {"hold": ["kball"]}]}, {"kball", "stress"}),
        ({"stages": [{"epochs": 1, "train": ["kball", "stress"]}, {}], "freeze": ["kball"]}, {"stress"}),
    ],
)
def test_only_what_a_stage_trains_moves(options, expected):
    _, moved = fitted(2, weight_decay=0.1, **options)
    assert moved == expected


def test_a_stage_that_trains_nothing_is_refused():
    with pytest.raises(ValueError, match="stage 0 trains nothing"):
        fitted(2, stages=[{"epochs": 1, "train": ["kball"]}, {}], freeze=["kball"])


def test_a_part_held_later_keeps_what_it_learned():
    stages = [{"epochs": 1, "train": ["kball"]}, {"hold": ["kball"]}]
    one, _ = fitted(1, stages=stages)
    three, _ = fitted(3, stages=stages)
    assert torch.equal(one.physics.raw["kball"], three.physics.raw["kball"])


def test_what_its_owner_froze_stays_frozen():
    data = FluxTowerDataModule(datasets=[(SITE, boring_tower(10))], block_days=1, test_fraction=0.2, seed=0)
    model = HybridCanopy([SITE], physics=BoringCanopy(), stages=[{"epochs": 1, "train": ["stress"]}, {}])
    model.physics.raw["kball"].requires_grad_(False)
    start = model.physics.raw["kball"].clone()
    L.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False, max_epochs=2,
        enable_checkpointing=False,
    ).fit(model, datamodule=data)  # fmt: skip
    assert torch.equal(model.physics.raw["kball"], start)


def test_a_stage_may_have_a_loss_of_its_own():
    """Net radiation does not depend on the parameter: in the stage that fits only it, nothing moves."""
    stages = [{"epochs": 1, "weights": {"net_radiation": 1.0}}, {"weights": {"latent_heat": 1.0}}]
    model, moved = fitted(1, stages=stages, stress=None)
    assert model.loss.weights == {"latent_heat": 0.5, "nee": 0.5, "net_radiation": 0.0}
    assert moved == set()
    _, moved = fitted(2, stages=stages, stress=None)
    assert moved == {"kball"}


def test_epochs_belong_to_their_stage():
    stages = read_stages([{"epochs": 2, "train": ["a"]}, {"epochs": 1, "hold": ["b"]}, {}], freeze=["c"])
    assert [stages.index(stage_of(stages, epoch)) for epoch in range(6)] == [0, 0, 1, 2, 2, 2]
    assert stages[0].trains("a") and not stages[0].trains("b") and not stages[2].trains("c") and stages[2].trains("b")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"stages": [{"epoch": 1}]}, "epochs"),
        ({"stages": [{"train": ["kball"]}, {}]}, "stage 0 needs `epochs`"),
        ({"stages": [{"epochs": 0}, {}]}, "positive whole number"),
        ({"stages": [{"epochs": True}, {}]}, "positive whole number"),
        ({"stages": [{"train": ["kbal"]}]}, "kball"),
        ({"freeze": ["strss"]}, "stress"),
        ({"stages": [{"weights": {"net_radiaton": 1.0}}]}, "net_radiation"),
    ],
)
def test_mistakes_are_named(options, text):
    with pytest.raises(ValueError, match=text):
        HybridCanopy([SITE], physics=BoringCanopy(), **options)
