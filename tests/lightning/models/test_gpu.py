"""Training on a GPU; skipped without one."""

import lightning as L
import pytest
import torch

import canveg_jax as cv
from bridges import TorchCanopy
from canveg_jax.synthetic import synthetic_tower
from lightning_modules import FluxTowerDataModule, HybridCanopy, StressNetwork
from tests.lightning.towers import SITE, boring_fluxes

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    # The comparison is with the CPU of the same machine.
    pytest.mark.filterwarnings("ignore:GPU available but not used"),
]


def tower():
    """Four days whose fluxes are plausible; what matters here is that both devices see the same."""

    def model(weather, stress):
        return boring_fluxes(weather["shortwave_in"].values, stress, 12.0, weather["soil_temperature"].values)

    return synthetic_tower(SITE, 4, 3, model, noise=False, aridity=0.3, start="2019-06-10")


def epoch_loss(accelerator: str) -> float:
    """Training loss of one epoch from fixed weights, in float64."""
    torch.manual_seed(0)
    options = cv.SolverOptions(tolerance=1e-10, adjoint_tolerance=1e-12)
    physics = TorchCanopy(cv.Canopy(SITE, options=options), tunable=("kball", "vcopt"), pad_to=64)
    network = StressNetwork(["soil_water_content", "vapour_pressure_deficit"], [6], monotone=True)
    model = HybridCanopy([SITE], tunable=["kball", "vcopt"], physics=physics, stress=network).double()
    data = FluxTowerDataModule(
        datasets=[(SITE, tower())], block_days=0.5, batch_size=64, test_fraction=0.2, val_every=0, seed=0
    )
    trainer = L.Trainer(
        accelerator=accelerator, devices=1, max_epochs=1, logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(model, datamodule=data)
    assert trainer.strategy.root_device.type == ("cuda" if accelerator == "gpu" else "cpu")
    assert trainer.callback_metrics["train/skipped_steps"] == 0
    return float(trainer.callback_metrics["train/loss"])


def test_an_epoch_has_the_loss_of_the_cpu():
    assert epoch_loss("gpu") == pytest.approx(epoch_loss("cpu"), rel=1e-6)
