"""A network on the residuals of a hybrid: what it learns, what it leaves alone, and how its results are named."""

import lightning as L
import numpy as np
import pytest
import torch

from lightning_modules import FluxTowerDataModule, HybridCanopy
from lightning_modules.evaluation.predictions import predictions_dataset
from lightning_modules.evaluation.score_table import score_table
from lightning_modules.models.residual import (
    ResidualSettings,
    left_over,
    load_residual,
    train_residual,
    with_residual,
)
from tests.lightning.towers import SITE, BoringCanopy, KnownStress, boring_tower

WEIGHTS = {"latent_heat": 0.5, "nee": 0.5}


@pytest.fixture(scope="module")
def run():
    """A hybrid whose latent heat is wrong by a function of the wind, and its predictions over all parts."""
    tower = boring_tower(40, kball=8.17)
    wind = tower["wind_speed"].values
    tower["latent_heat"].values[:] += 30.0 * np.tanh((wind - wind.mean()) / wind.std())
    data = FluxTowerDataModule(
        datasets=[(SITE, tower)], block_days=3, test_fraction=0.25, seed=0, predict_part="all", batch_size=256
    )
    model = HybridCanopy([SITE], physics=BoringCanopy(8.17, broken_above=850.0), stress=KnownStress())
    trainer = L.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False, max_epochs=0
    )
    data.setup()
    model.set_statistics(data.statistics)
    with pytest.warns(UserWarning, match="did not converge"):
        outputs = trainer.predict(model, datamodule=data)
    return data, model, predictions_dataset(outputs, data)


def test_targets_are_what_is_left_over(run):
    data, _, predictions = run
    part = left_over(data.parts["test"], predictions)
    test = predictions.isel(row=predictions["split"].values == 2)
    np.testing.assert_array_equal(part.time, test["time"])
    used = part.measured["latent_heat"].numpy()
    np.testing.assert_array_equal(used, test["LE_measured"].values & test["converged"].values)
    assert not test["converged"].values.all() and used.any()
    expected = (test["LE_observed"] - test["LE"]).values
    np.testing.assert_allclose(part.target["latent_heat"].numpy()[used], expected[used], atol=1e-9)
    assert np.isnan(part.target["latent_heat"].numpy()[~used]).all()
    assert torch.equal(data.parts["test"].measured["latent_heat"], torch.from_numpy(test["LE_measured"].values))


def test_it_learns_what_the_hybrid_cannot(run, tmp_path):
    data, model, predictions = run
    before = {name: value.clone() for name, value in model.state_dict().items()}
    settings = ResidualSettings(inputs=["wind_speed", "shortwave_in"], hidden=[16], epochs=40, lr=1e-2)
    network = train_residual(data, predictions, settings, WEIGHTS, tmp_path)
    better = with_residual(predictions, data, network)
    table = score_table(better).sort_index().loc[(SITE.name, "test"), "RMSE"].xs("all", level="period")
    assert table["LE"] > 18.0 and table["LE_with_residual"] < 0.35 * table["LE"]
    np.testing.assert_array_equal(better["LE"], predictions["LE"])
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())
    assert "H_with_residual" not in better  # not in its loss
    assert "not physics" in better["LE_with_residual"].attrs["long_name"]
    again = with_residual(predictions, data, load_residual(tmp_path / "residual.ckpt"))
    np.testing.assert_array_equal(better["LE_with_residual"], again["LE_with_residual"])


def test_absent_checkpoint(tmp_path):
    with pytest.raises(FileNotFoundError, match="no network on the residuals beside the checkpoint"):
        load_residual(tmp_path / "residual.ckpt")
