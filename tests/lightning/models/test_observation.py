"""The share of the turbulent fluxes that a tower sees: bounds, start, prior, recovery, and where it is refused."""

import lightning as L
import numpy as np
import pytest
import torch

from lightning_modules import FluxTowerDataModule, HybridCanopy
from lightning_modules.data.energy_closure import energy_closure
from lightning_modules.evaluation.predictions import predictions_dataset
from lightning_modules.evaluation.score_table import score_table
from lightning_modules.models.observation import ObservationModel
from tests.lightning.towers import SITE, BoringCanopy, KnownStress, boring_fluxes, boring_tower

WEIGHTS = {"latent_heat": 0.5, "nee": 0.5, "sensible_heat": 0.05}
SHARE = 0.8


def leaky_tower(days=20, seed=0, share=SHARE):
    """A tower that sees a share of the turbulent fluxes of a canopy that conserves energy."""
    tower = boring_tower(days, seed)
    return tower.assign({name: tower[name] * share for name in ("latent_heat", "sensible_heat")})


def datamodule(tower, **options):
    return FluxTowerDataModule(
        datasets=[(SITE, tower)], **{"block_days": 2, "test_fraction": 0.2, "seed": 0, **options}
    )


def trainer(**options):
    return L.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        **{"max_epochs": 1, "enable_checkpointing": False, **options},
    )  # fmt: skip


def hybrid(**options):
    return HybridCanopy([SITE], **{"physics": BoringCanopy(), "stress": None, "weights": WEIGHTS, **options})


def test_slope_of_a_tower_that_sees_a_share_of_its_energy():
    data = datamodule(leaky_tower())
    data.setup()
    assert energy_closure(data.parts["train"]) == pytest.approx(SHARE, abs=1e-9)
    assert data.statistics.energy_closure == {SITE.name: pytest.approx(SHARE, abs=1e-9)}


def test_slope_is_that_of_windy_measured_half_hours():
    """Calm half-hours, and those with a flux that was not measured, have no say."""
    tower = leaky_tower()
    calm = tower["friction_velocity"].values <= 0.2
    tower["latent_heat"].values[calm] = 5000.0
    assert calm.any()
    filled = np.zeros(tower.sizes["time"], dtype=bool)
    filled[::3] = True
    tower["sensible_heat"].values[filled] = -3000.0
    tower["sensible_heat_measured"].values[filled] = False
    data = datamodule(tower)
    data.setup()
    assert energy_closure(data.parts["train"]) == pytest.approx(SHARE, abs=1e-9)


def test_a_slope_needs_all_four_fluxes_and_enough_of_them():
    tower = leaky_tower()
    data = datamodule(tower, targets=["latent_heat", "sensible_heat", "nee"])
    data.setup()
    assert energy_closure(data.parts["train"]) is None
    tower["ground_heat_measured"].values[100:] = False
    data = datamodule(tower)
    data.setup()
    assert energy_closure(data.parts["train"]) is None and data.statistics.energy_closure == {}


@pytest.mark.parametrize("factors", ["one", "two"])
def test_shares_start_at_the_slopes_and_stay_within_bounds(factors):
    model = ObservationModel(3, factors)
    model.set_closure({0: 0.8, 2: 2.0})
    shares = model.shares()
    assert shares.shape == (3, 2)
    np.testing.assert_allclose(shares[0].detach(), 0.8, rtol=1e-12)
    np.testing.assert_allclose(shares[1].detach(), 0.8, rtol=1e-12)  # a tower that does not tell
    np.testing.assert_allclose(shares[2].detach(), 1.08, rtol=1e-12)
    with torch.no_grad():
        model.raw.fill_(-1e3)
    np.testing.assert_allclose(model.shares().detach(), 0.5, atol=1e-12)
    with torch.no_grad():
        model.raw.fill_(1e3)
    np.testing.assert_allclose(model.shares().detach(), 1.1, atol=1e-12)


def test_pull_to_the_slope():
    """`weight ((c - slope) / sd)^2`, nothing from towers whose slope is not known."""
    model = ObservationModel(2, prior_sd=0.07, weight=0.3)
    model.set_closure({0: 0.8})
    assert model.penalty().item() == pytest.approx(0.0, abs=1e-20)
    with torch.no_grad():
        share = (0.94 - 0.5) / 0.6  # two standard deviations above the slope
        model.raw.fill_(np.log(share / (1 - share)))
    assert model.penalty().item() == pytest.approx(0.3 * 2.0**2 / 2, rel=1e-9)
    model.penalty().backward()
    assert model.raw.grad[0] > 0 and model.raw.grad[1] == 0


@pytest.mark.parametrize("factors", ["one", "two"])
def test_a_known_share_is_recovered(factors):
    """From a wrong start, without prior; the canopy's parameter is recovered as well, not bent to fit."""
    data = datamodule(leaky_tower())
    model = hybrid(
        stress=KnownStress(), parameter_lr=0.1, observation={"factors": factors, "weight": 0.0}, schedule="cosine"
    )
    data.setup()
    model.set_statistics(data.statistics)
    model.observation.set_closure({0: 1.0})
    fit = trainer(max_epochs=60 if factors == "one" else 150)
    fit.fit(model, datamodule=data)
    np.testing.assert_allclose(model.observation.shares().detach(), SHARE, rtol=0.02)
    table = model.parameter_table()
    assert table.loc["kball", "value"] == pytest.approx(12.0, rel=0.02)
    rows = [name for name in table.index if name.startswith("observed_share")]
    assert len(rows) == (1 if factors == "one" else 2)
    assert table.loc[rows[0], "value"] == pytest.approx(model.observation.shares()[0, 0].item())


def test_a_flux_that_is_no_number_leaves_no_trace_in_the_share():
    """A refused half-hour, left out of the loss: the gradient is that of the others, to the last bit."""
    gradients = []
    for first in (torch.nan, 123.0):
        model = ObservationModel(1)
        model.set_closure({0: 0.8})
        fluxes = {"LE": torch.tensor([first, 50.0, 80.0]), "H": torch.tensor([first, 10.0, -5.0])}
        seen = model(fluxes, torch.zeros(3, dtype=torch.int64))
        assert bool(seen["LE"][0].isnan()) == np.isnan(first)
        used = torch.tensor([False, True, True])
        (torch.where(used, seen["LE"], 0.0).sum() + torch.where(used, seen["H"], 0.0).square().sum()).backward()
        gradients.append(model.raw.grad.clone())
    assert torch.equal(*gradients) and gradients[0].isfinite().all() and gradients[0].any()


def test_a_checkpoint_from_before_there_were_shares_loads(tmp_path):
    data = datamodule(leaky_tower())
    model = hybrid(observation="none", parameter_lr=0.1)
    fit = trainer(enable_checkpointing=True, default_root_dir=tmp_path)
    fit.fit(model, datamodule=data)
    fit.save_checkpoint(tmp_path / "old.ckpt")
    content = torch.load(tmp_path / "old.ckpt", weights_only=False)
    for name in ("closures", "observation", "stages", "freeze"):
        del content["hyper_parameters"][name]
    torch.save(content, tmp_path / "old.ckpt")
    again = HybridCanopy.load_from_checkpoint(tmp_path / "old.ckpt", physics=BoringCanopy(), weights_only=False)
    assert again.observation is None and torch.equal(again.physics.raw["kball"], model.physics.raw["kball"])


def test_loss_and_scores_compare_what_the_tower_sees():
    data = datamodule(leaky_tower())
    data.setup()
    model = hybrid(statistics=data.statistics, tunable=[], physics=BoringCanopy(12.0))
    batch = data.parts["train"].__getitems__(range(200))
    loss = model.batch_loss(batch, model.fluxes(batch)).loss
    assert loss.item() == pytest.approx(without_stress(data, batch), rel=1e-9)


def without_stress(data, batch):
    """The loss by hand: the model without stress, seen through the share, over measured half-hours."""
    forcing = {name: column.numpy() for name, column in batch["forcing"].items()}
    fluxes = boring_fluxes(forcing["shortwave_in"], 1.0, 12.0, forcing["soil_temperature"])
    total, weights = 0.0, {name: w / sum(WEIGHTS.values()) for name, w in WEIGHTS.items()}
    for name, flux, share in (("latent_heat", "LE", SHARE), ("nee", "NEE", 1.0), ("sensible_heat", "H", SHARE)):
        used = batch["measured"][name].numpy()
        error = (share * fluxes[flux] - batch["target"][name].numpy())[used] / data.statistics.targets[name].sd
        total += weights[name] * np.mean(error**2)
    return total


def test_files_name_the_true_flux_and_what_the_tower_sees(tmp_path):
    data = datamodule(leaky_tower())
    model = hybrid(tunable=[], physics=BoringCanopy(12.0, tunable=False))
    model.requires_grad_(False)
    data.setup()
    model.set_statistics(data.statistics)
    outputs = trainer().predict(model, datamodule=data)
    predictions = predictions_dataset(outputs, data)
    for flux in ("LE", "H"):
        seen = predictions[f"{flux}_observed_equivalent"]
        np.testing.assert_allclose(seen, SHARE * predictions[flux], rtol=1e-6)
        assert seen.attrs["units"] == "W m-2"
    table = score_table(predictions)
    one, other = (table.loc[(SITE.name, "test", name, "all")] for name in ("LE", "LE_observed_equivalent"))
    assert one["n"] == other["n"] > 0 and one["RMSE"] != other["RMSE"]
    assert "NEE_observed_equivalent" not in table.index.get_level_values("flux")


def test_corrected_fluxes_have_the_share_one():
    tower = leaky_tower(share=1.0)
    tower["latent_heat"].attrs["source_column"] = "LE_CORR"
    data = datamodule(tower)
    model = hybrid(parameter_lr=0.1)
    trainer().fit(model, datamodule=data)
    assert torch.equal(model.observation.shares(), torch.ones(1, 2, dtype=torch.float64))
    assert not model.observation.raw.requires_grad and model.observation.penalty() == 0
    assert not any(name.startswith("observed_share") for name in model.parameter_table().index)


def test_share_is_off_where_it_cannot_be_told():
    assert hybrid(weights=None).observation is None  # auto: no sensible heat in the loss
    assert hybrid(observation="none").observation is None
    assert hybrid().observation is not None
    with pytest.raises(ValueError, match="sensible_heat"):
        hybrid(weights=None, observation="one")
    with pytest.raises(ValueError, match="prior_sd"):
        hybrid(observation={"factors": "one", "prior_sdd": 1.0})
    with pytest.raises(ValueError, match="'one' or 'two'"):
        hybrid(observation="three")


def test_share_comes_back_from_a_checkpoint(tmp_path):
    data = datamodule(leaky_tower())
    model = hybrid(parameter_lr=0.1)
    fit = trainer(enable_checkpointing=True, default_root_dir=tmp_path)
    fit.fit(model, datamodule=data)
    fit.save_checkpoint(tmp_path / "model.ckpt")
    again = HybridCanopy.load_from_checkpoint(tmp_path / "model.ckpt", physics=BoringCanopy(), weights_only=False)
    assert torch.equal(again.observation.shares(), model.observation.shares())
    assert torch.equal(again.observation.slope, model.observation.slope)
