"""Likelihoods with a learned size of the errors: against torch's distributions, masks, learning, and what is refused."""

import lightning as L
import numpy as np
import pytest
import torch

from lightning_modules import FluxLoss, FluxNetwork, FluxTowerDataModule, HybridCanopy
from lightning_modules.models.error_scales import SMALLEST, ErrorScales, negative_log_density
from tests.lightning.towers import SITE, BoringCanopy, boring_tower

DISTRIBUTIONS = {"gaussian": torch.distributions.Normal, "laplace": torch.distributions.Laplace}
SD = {"latent_heat": torch.tensor(40.0, dtype=torch.float64), "nee": torch.tensor(5.0, dtype=torch.float64)}
WEIGHTS = {"latent_heat": 0.4, "nee": 0.6}


def scales(likelihood, lines=((0.5, 0.1), (0.2, 0.3))):
    module = ErrorScales(tuple(WEIGHTS), likelihood)
    with torch.no_grad():
        above = torch.tensor(lines, dtype=torch.float64) - torch.tensor([SMALLEST, 0.0], dtype=torch.float64)
        module.raw.copy_(torch.log(torch.expm1(above)))
    return module


def batch(n=50, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(scale):
        return scale * torch.randn(n, generator=generator, dtype=torch.float64)

    fluxes = {"LE": 100.0 + draw(60.0), "NEE": draw(8.0)}
    target = {"latent_heat": fluxes["LE"] + draw(20.0), "nee": fluxes["NEE"] + draw(2.0)}
    measured = {name: torch.rand(n, generator=generator) < 0.8 for name in target}
    return fluxes, target, measured, torch.rand(n, generator=generator) < 0.9


@pytest.mark.parametrize("likelihood", DISTRIBUTIONS)
def test_the_loss_is_the_density_of_torch(likelihood):
    """In units of the standard deviation of each target: `log sd` more than the density of the flux itself."""
    fluxes, target, measured, converged = batch()
    terms = FluxLoss(WEIGHTS)(fluxes, target, measured, SD, converged, scales=scales(likelihood))
    expected = 0.0
    for (name, weight), flux, (a, b) in zip(WEIGHTS.items(), ("LE", "NEE"), ((0.5, 0.1), (0.2, 0.3)), strict=True):
        used = measured[name] & converged
        modelled = fluxes[flux][used]
        sigma = a * SD[name] + b * modelled.abs()
        density = DISTRIBUTIONS[likelihood](modelled, sigma).log_prob(target[name][used])
        expected += weight * (-density.mean() - SD[name].log())
    assert terms.loss.item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("likelihood", DISTRIBUTIONS)
def test_left_out_half_hours_have_exactly_no_influence(likelihood):
    fluxes, target, measured, converged = batch()
    gradients = []
    for spoilt in (0.0, torch.nan, torch.inf):
        module = scales(likelihood)
        used = {name: measured[name] & converged for name in target}
        seen = {n: torch.where(used[n], v, spoilt) for n, v in target.items()}
        modelled = {n: torch.where(converged, v, spoilt).requires_grad_() for n, v in fluxes.items()}
        loss = FluxLoss(WEIGHTS)(modelled, seen, measured, SD, converged, scales=module).loss
        loss.backward()
        gradients.append([loss.detach(), module.raw.grad, *(v.grad for v in modelled.values())])
        assert (modelled["LE"].grad[~used["latent_heat"]] == 0.0).all()
    for other in gradients[1:]:
        assert all(torch.equal(a, b) for a, b in zip(gradients[0], other, strict=True))


def test_a_batch_without_samples_gives_zero():
    fluxes, target, measured, converged = batch()
    module = scales("gaussian")
    loss = FluxLoss(WEIGHTS)(fluxes, target, measured, SD, torch.zeros_like(converged), scales=module).loss
    loss.backward()
    assert loss == 0.0 and (module.raw.grad == 0.0).all()


@pytest.mark.parametrize("likelihood", DISTRIBUTIONS)
def test_the_derivative_of_the_scales(likelihood):
    fluxes, target, measured, converged = batch(12)

    def loss(raw):
        module = scales(likelihood)
        return torch.func.functional_call(Wrapped(module), {"module.raw": raw}, (fluxes, target, measured, converged))

    assert torch.autograd.gradcheck(loss, scales(likelihood).raw.detach().requires_grad_())


class Wrapped(torch.nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, fluxes, target, measured, converged):
        return FluxLoss(WEIGHTS)(fluxes, target, measured, SD, converged, scales=self.module).loss


def test_the_modelled_flux_gets_no_gradient_through_its_scale():
    modelled = torch.tensor([100.0], dtype=torch.float64, requires_grad=True)
    sigma = scales("gaussian")("latent_heat", modelled, 40.0)
    negative_log_density(modelled - 150.0, sigma, "gaussian").sum().backward()  # where error and sigma differ
    assert sigma.item() == pytest.approx(30.0) and modelled.grad.item() == pytest.approx(-50.0 / 30.0**2)


@pytest.mark.parametrize("likelihood", DISTRIBUTIONS)
def test_the_size_of_known_errors_is_found(likelihood):
    generator = torch.Generator().manual_seed(1)
    fluxes = {"LE": 300.0 * torch.rand(20_000, generator=generator, dtype=torch.float64)}
    size = 6.0 + 0.12 * fluxes["LE"]
    torch.manual_seed(2)
    target = {"latent_heat": DISTRIBUTIONS[likelihood](fluxes["LE"], size).sample()}
    measured = {"latent_heat": torch.ones(20_000, dtype=torch.bool)}
    module = ErrorScales(("latent_heat",), likelihood)
    optimizer = torch.optim.LBFGS(module.parameters(), max_iter=60, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = FluxLoss({"latent_heat": 1.0})(fluxes, target, measured, SD, scales=module).loss
        loss.backward()
        return loss

    optimizer.step(closure)
    table = module.table(torch.tensor([40.0]))
    assert table.loc["sigma_of_LE", "value"] == pytest.approx(6.0, rel=0.1)
    assert table.loc["sigma_slope_of_LE", "value"] == pytest.approx(0.12, rel=0.05)
    assert table.loc["sigma_of_LE", "unit"] == "W m-2"


def data():
    return FluxTowerDataModule(
        datasets=[(SITE, boring_tower(days=20, seed=1, noise=True))], block_days=2, batch_size=200
    )


def test_it_is_trained_with_the_canopy_kept_in_the_checkpoint_and_in_the_table(tmp_path):
    torch.manual_seed(0)
    module = data()
    stages = [{"epochs": 1, "train": ["kball"]}, {"train": ["kball", "error_scales"]}]
    model = HybridCanopy(
        [SITE], physics=BoringCanopy(), stress=None, likelihood="laplace", stages=stages, parameter_lr=0.05
    )
    before = model.error_scales.raw.detach().clone()
    trainer = L.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_progress_bar=False, default_root_dir=tmp_path,
        enable_checkpointing=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(model, datamodule=module)
    assert torch.equal(model.error_scales.raw, before)  # held in the first stage
    trainer.fit_loop.max_epochs = 6
    trainer.fit(model, datamodule=module)
    assert not torch.equal(model.error_scales.raw, before)
    table = model.parameter_table()
    assert {"kball", "sigma_of_LE", "sigma_slope_of_NEE"} <= set(table.index) and (table["value"] > 0.0).all()
    trainer.save_checkpoint(tmp_path / "m.ckpt")
    again = HybridCanopy.load_from_checkpoint(tmp_path / "m.ckpt", physics=BoringCanopy(), map_location="cpu")
    assert torch.equal(again.error_scales.raw, model.error_scales.raw) and again.error_scales.likelihood == "laplace"
    assert np.isfinite(trainer.validate(model, datamodule=module, verbose=False)[0]["val/loss"])


def test_a_network_without_physics_has_it_too():
    assert isinstance(FluxNetwork(likelihood="gaussian").error_scales, ErrorScales)
    assert FluxNetwork().error_scales is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"likelihood": "cauchy"}, "'gaussian', 'laplace' or null; got 'cauchy'"),
        ({"likelihood": "gaussian", "loss": "huber"}, "leave model.loss out"),
        ({"likelihood": "gaussian", "loss": {"nee": "laplace"}}, "leave model.loss out"),
        ({"likelihood": "laplace", "random_error": "fitted"}, "Leave one of them out"),
    ],
)
def test_what_does_not_go_together_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        HybridCanopy([SITE], physics=BoringCanopy(), **settings)
