"""The masked loss against hand calculation."""

import numpy as np
import pytest
import torch

from lightning_modules import FluxLoss, loss_weights

SD = {"latent_heat": torch.tensor(10.0, dtype=torch.float64), "nee": torch.tensor(2.0, dtype=torch.float64)}


def example(requires_grad=False):
    fluxes = {
        "LE": torch.tensor([100.0, 50.0, 20.0, torch.nan], dtype=torch.float64, requires_grad=requires_grad),
        "NEE": torch.tensor([-3.0, 1.0, 5.0, torch.inf], dtype=torch.float64, requires_grad=requires_grad),
    }
    target = {
        "latent_heat": torch.tensor([95.0, torch.nan, 25.0, 1.0], dtype=torch.float64),
        "nee": torch.tensor([torch.nan, 2.0, 1.0, 1.0], dtype=torch.float64),
    }
    measured = {name: torch.isfinite(value) for name, value in target.items()}
    return fluxes, target, measured, torch.tensor([True, True, True, False])


@pytest.mark.parametrize(
    ("kind", "latent", "nee"),
    [
        ("squared", (0.5**2 + 0.5**2) / 2, (0.5**2 + 2.0**2) / 2),
        ("laplace", (0.5 + 0.5) / 2, (0.5 + 2.0) / 2),
        ("huber", (0.25 + 0.25) / 2, (0.25 + 2 * 2.0 - 1) / 2),
    ],
)
@pytest.mark.parametrize("w", [0.0, 0.3, 1.0])
def test_value(kind, latent, nee, w):
    fluxes, target, measured, converged = example()
    terms = FluxLoss(loss_weights(w), kind)(fluxes, target, measured, SD, converged)
    assert terms.loss.item() == pytest.approx(w * latent + (1 - w) * nee, rel=1e-14)
    assert terms.counts.tolist() == [2] * len(terms.counts)


def test_gradient_is_analytic_and_zero_where_masked():
    fluxes, target, measured, converged = example(requires_grad=True)
    FluxLoss(loss_weights(0.25))(fluxes, target, measured, SD, converged).loss.backward()
    np.testing.assert_allclose(fluxes["LE"].grad, np.array([0.25 * 5 / 100, 0, -0.25 * 5 / 100, 0]), rtol=1e-14)
    np.testing.assert_allclose(fluxes["NEE"].grad, np.array([0, 0.75 * -1 / 4, 0.75 * 4 / 4, 0]), rtol=1e-14)


def test_values_of_missing_and_failed_samples_do_not_matter():
    fluxes, target, measured, converged = example()
    loss = FluxLoss(loss_weights())
    first = loss(fluxes, target, measured, SD, converged).loss
    target = {name: torch.where(measured[name], value, 1e9) for name, value in target.items()}
    fluxes = {name: torch.where(converged, value, -7.0) for name, value in fluxes.items()}
    assert loss(fluxes, target, measured, SD, converged).loss == first


def test_batch_without_a_measured_sample_gives_zero_loss_and_zero_gradient():
    fluxes, target, measured, converged = example(requires_grad=True)
    nothing = {name: torch.zeros_like(mask) for name, mask in measured.items()}
    terms = FluxLoss(loss_weights())(fluxes, target, nothing, SD, converged)
    terms.loss.backward()
    assert terms.loss == 0 and terms.counts.sum() == 0
    assert fluxes["LE"].grad.abs().sum() == 0


def test_each_target_may_have_a_loss_of_its_own():
    fluxes, target, measured, converged = example()
    weights = {"latent_heat": 0.4, "nee": 0.6}

    def loss(kind):
        return FluxLoss(weights, kind)(fluxes, target, measured, SD, converged).loss.item()

    assert loss({"nee": "huber"}) == pytest.approx(0.4 * 0.25 + 0.6 * (0.25 + 3.0) / 2, rel=1e-12)
    assert loss({"nee": "laplace", "latent_heat": "laplace"}) == loss("laplace")
    for wrong in ({"nee": "hubr"}, {"nea": "huber"}):
        with pytest.raises(ValueError):
            FluxLoss(weights, wrong)


def test_weights_by_target():
    assert loss_weights(weights={"latent_heat": 2, "sensible_heat": 1, "net_radiation": 1, "nee": 0}) == {
        "latent_heat": 0.5, "sensible_heat": 0.25, "net_radiation": 0.25,
    }  # fmt: skip
    assert loss_weights(0.2) == pytest.approx({"latent_heat": 0.2, "nee": 0.8})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"le_weight": 1.5}, "le_weight must be between"),
        ({"weights": {"nee": -1.0, "latent_heat": 2.0}}, "must not be negative"),
        ({"weights": {"nee": 0.0}}, "one must be positive"),
        ({"weights": {"lattent_heat": 1.0}}, "Did you mean 'latent_heat'"),
        ({"weights": {}}, "at least one target"),
    ],
)
def test_bad_weights_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        loss_weights(**arguments)


def test_a_weighted_flux_that_is_not_there_is_an_error():
    fluxes, target, measured, converged = example()
    with pytest.raises(KeyError, match="sensible_heat"):
        FluxLoss({"sensible_heat": 1.0})(fluxes, target, measured, SD, converged)
    with pytest.raises(ValueError, match="'squared', 'huber' or 'laplace'"):
        FluxLoss({"nee": 1.0}, "l1")
