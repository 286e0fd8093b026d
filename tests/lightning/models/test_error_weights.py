"""Weights of samples by their random error: values, normalisation, gradients, refusals, and training with them."""

import lightning as L
import numpy as np
import pytest
import torch

from lightning_modules import FluxNetwork, FluxTowerDataModule, HybridCanopy
from lightning_modules.data.random_error import RandomError
from lightning_modules.models.error_weights import ErrorWeights, read_error_weights
from lightning_modules.models.losses import FluxLoss
from tests.lightning.towers import SITE, BoringCanopy, KnownStress, boring_tower

TARGETS = ("latent_heat", "nee")
ERRORS = {
    "latent_heat": RandomError(10.0, 0.1, 500, (0.0, 100.0, 400.0), 0.05, 1.0),
    "nee": RandomError(1.0, 0.2, 500, (0.0, 5.0)),
}


def weights(setting, targets=TARGETS, errors=ERRORS):
    module = ErrorWeights(setting, targets)
    module.set_statistics(errors)
    return module


def test_factor_is_reference_over_sigma():
    modelled = torch.tensor([0.0, -100.0, 400.0, torch.nan], dtype=torch.float64)
    sigma = np.array([10.0, 20.0, 50.0])
    reference = np.mean(sigma**-2.0) ** -0.5
    factors = weights("fitted")("latent_heat", modelled, {}).numpy()
    np.testing.assert_allclose(factors, [*(reference / sigma), 1.0], rtol=1e-12)
    assert np.mean(factors[:3] ** 2) == pytest.approx(1.0)  # at the magnitudes of the training part
    given = weights({"latent_heat": [20.0, 0.0]})
    assert given("latent_heat", modelled, {}).numpy() == pytest.approx(1.0)
    assert given("nee", modelled, {}).numpy() == pytest.approx(1.0)  # left out: all alike


def test_sigma_of_the_file():
    module = weights("file", ("latent_heat",))
    batch = {"sigma": {"latent_heat": torch.tensor([20.0, 5.0, torch.nan, 0.0])}}
    factors = module("latent_heat", torch.zeros(4), batch)
    torch.testing.assert_close(factors, torch.tensor([1.0, 4.0, 1.0, 1.0]))
    with pytest.raises(ValueError, match="give no standard deviation of the error of nee"):
        weights("file")
    some = RandomError(10.0, 0.1, 500, (0.0,), 0.05, 0.75)
    with pytest.warns(UserWarning, match="25.0 % of the measured samples of latent_heat"):
        weights("file", ("latent_heat",), {"latent_heat": some})


def test_loss_of_weighed_errors():
    """By hand: two errors of 3 and 4 standard deviations with factors 2 and 0.5."""
    target = {"latent_heat": torch.zeros(3)}
    fluxes = {"LE": torch.tensor([3.0, 4.0, torch.nan], requires_grad=True)}
    measured = {"latent_heat": torch.tensor([True, True, False])}
    factors = {"latent_heat": torch.tensor([2.0, 0.5, torch.nan])}
    terms = FluxLoss({"latent_heat": 1.0})(fluxes, target, measured, {"latent_heat": 1.0}, None, factors)
    assert terms.loss.item() == pytest.approx((36.0 + 4.0) / 2.0)
    (gradient,) = torch.autograd.grad(terms.loss, fluxes["LE"])
    torch.testing.assert_close(gradient, torch.tensor([12.0, 1.0, 0.0]))


def test_no_gradient_through_sigma():
    modelled = torch.tensor([100.0], requires_grad=True)
    assert not weights("fitted")("latent_heat", modelled, {}).requires_grad


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("sigma", "must be 'file', 'fitted'"),
        ({"latent_heat": [0.0, 0.1]}, "a > 0 and b >= 0"),
        ({"latent_heat": [5.0]}, "two numbers"),
        ({"latent": [5.0, 0.1]}, "latent_heat"),
    ],
)
def test_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        read_error_weights(setting, TARGETS)
    assert read_error_weights(None, TARGETS) is None and read_error_weights("none", TARGETS) is None


def test_too_few_pairs():
    with pytest.raises(ValueError, match="only 7 pairs of days"):
        weights("fitted", ("nee",), {"nee": RandomError(None, None, 7, (1.0,))})


def test_trained_and_back_from_the_checkpoint(tmp_path):
    """Errors that are known to be large count less: the hybrid finds the parameter that precise samples ask for."""
    tower = boring_tower(30, kball=12.0)
    odd = np.arange(tower.sizes["time"]) % 2 == 1
    tower["latent_heat"].values[odd] *= 0.5
    tower["latent_heat_sigma"] = ("time", np.where(odd, 1000.0, 1.0))

    def found(random_error):
        data = FluxTowerDataModule(datasets=[(SITE, tower)], block_days=3, test_fraction=0.2, seed=0)
        model = HybridCanopy(
            [SITE], physics=BoringCanopy(8.0), stress=KnownStress(), le_weight=1.0, parameter_lr=0.1,
            random_error=random_error,
        )  # fmt: skip
        trainer = L.Trainer(
            max_epochs=60, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
            enable_checkpointing=False,
        )  # fmt: skip
        trainer.fit(model, datamodule=data)
        trainer.save_checkpoint(tmp_path / "last.ckpt")
        back = HybridCanopy.load_from_checkpoint(
            tmp_path / "last.ckpt", physics=BoringCanopy(8.0), stress=KnownStress(), weights_only=True
        )
        if random_error:
            torch.testing.assert_close(back.error_weights.reference, model.error_weights.reference)
        return float(model.physics.parameter_values()["kball"].detach())

    assert found("file") == pytest.approx(12.0, rel=0.01)
    assert found(None) == pytest.approx(9.0, rel=0.03)


def test_pure_network_takes_them():
    data = FluxTowerDataModule(datasets=[(SITE, boring_tower(60))], block_days=3, test_fraction=0.2, seed=0)
    data.setup()
    network = FluxNetwork(random_error={"latent_heat": [8.8, 0.13]})
    network.set_statistics(data.statistics)
    batch = data.parts["train"].__getitems__(list(range(64)))
    plain = FluxNetwork()
    plain.load_state_dict(network.state_dict(), strict=False)
    with torch.no_grad():
        fluxes = network.fluxes(batch)
        weighed, alike = network.batch_loss(batch, fluxes), plain.batch_loss(batch, fluxes)
    assert weighed.sums[1] == alike.sums[1] and weighed.sums[0] != alike.sums[0]
