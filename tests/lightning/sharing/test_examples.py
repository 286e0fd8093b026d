"""The shipped model of the invented towers: small, described, and as good as its card says on weather it has not seen."""

import json
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch

from canveg_jax.synthetic.canopy_towers import synthetic_sites, synthetic_towers
from canveg_jax.synthetic.weather import synthetic_weather
from lightning_modules import FluxTowerDataModule, HybridCanopy
from tests.lightning.towers import KnownStress

EXAMPLES = Path(__file__).parents[3] / "examples/pretrained"
MODELS = ("stress-network",)


def unseen_weather():
    """Of the semi-arid tower, another year's; with the true stress."""
    site = next(site for site in synthetic_sites() if site.name == "SYN-Sem")
    weather = synthetic_weather(site, 60, 99, start="2021-05-01")
    columns = {
        str(name): torch.tensor(weather[name].values) for name in weather.data_vars if weather[name].dims == ("time",)
    }
    columns = {name: column.double() for name, column in columns.items() if column.dtype.is_floating_point}
    return columns, KnownStress()(columns)


def test_they_are_small_and_have_cards():
    assert {path.name for path in EXAMPLES.iterdir() if path.is_dir()} >= set(MODELS)
    for name in MODELS:
        files = [path for path in (EXAMPLES / name).iterdir()]
        assert sum(path.stat().st_size for path in files) < 200_000
        card = (EXAMPLES / name / "README.md").read_text()
        assert "any statement about nature: its towers are invented" in card and "| SYN-Sem | LE |" in card
        assert not any(path.suffix in (".pkl", ".ckpt", ".py") for path in files)


def test_the_stress_network_has_learned_the_stress():
    columns, truth = unseen_weather()
    model = HybridCanopy.from_pretrained(EXAMPLES / "stress-network")
    with torch.no_grad():
        learned = model.stress(columns)
    light = columns["shortwave_in"] > 50.0
    assert float(truth[light].std()) > 0.02
    assert np.corrcoef(learned[light], truth[light])[0, 1] > 0.98
    assert float((learned - truth)[light].square().mean().sqrt()) < 0.08


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_the_scores_of_the_card_hold_on_other_weather(name):
    """NSE of each flux of a new record of its towers within 0.1 of the card's test part."""
    described = json.loads((EXAMPLES / name / "model.json").read_text())
    model = HybridCanopy.from_pretrained(EXAMPLES / name)
    names = [site.name for site in model.sites]
    towers = [(site, tower) for site, tower in synthetic_towers(20, 300) if site.name in names]
    data = FluxTowerDataModule(datasets=towers, val_every=0, test_fraction=0.9, batch_size=512)
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    scores = trainer.test(model, datamodule=data, verbose=False)[0]
    for flux in ("LE", "NEE"):
        rows = [row for row in described["run"]["scores"] if row["part"] == "test" and row["flux"] == flux]
        expected = np.mean([row["NSE"] for row in rows])
        assert scores[f"test/NSE_{flux}"] > expected - 0.1, flux
