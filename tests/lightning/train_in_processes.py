"""Training, scores and predictions of one model in several processes, around an analytic canopy; `python -m` of this file.

    python -m tests.lightning.train_in_processes FOLDER PROCESSES

The first process leaves `results.pt` and the predictions files in FOLDER.
"""

import sys
import warnings
from pathlib import Path

import lightning as L
import torch

import canveg_jax as cv
from lightning_modules import FluxTowerDataModule, HybridCanopy
from lightning_modules.evaluation.predictions import predictions_dataset, write_predictions
from tests.lightning.towers import SITE, BoringCanopy, boring_tower

OTHER = cv.Site(**{**SITE.model_dump(), "name": "Other"})


class FirstGradients(L.Callback):
    """Gradients of the first step, as the optimiser gets them."""

    def __init__(self):
        self.of = {}

    def on_after_backward(self, trainer, pl_module):
        self.of = self.of or {name: p.grad.clone() for name, p in pl_module.named_parameters()}


def main(folder: Path, size: int) -> None:
    """Predict with the first weights, train, score, predict with the last."""
    torch.manual_seed(0)
    records = [boring_tower(days=7, seed=1, noise=True), boring_tower(days=5, seed=2, site=OTHER, start="2018-06-01")]
    data = FluxTowerDataModule(
        datasets=list(zip([SITE, OTHER], records, strict=True)), predict_part="all", test_fraction=0.05, block_days=1,
        batch_size=50, seed=3,
    )  # fmt: skip
    network = {"module": "network", "hidden": [6]}
    model = HybridCanopy(
        [SITE, OTHER], physics=BoringCanopy(broken_above=700.0), stress=network, prior_weight=0.1,
        stages=[{"epochs": 1, "hold": ["stress"]}, {}],
    )  # fmt: skip
    gradients = FirstGradients()

    def trainer(**options):
        return L.Trainer(
            accelerator="cpu", devices=size, strategy="ddp" if size > 1 else "auto", precision="64-true", logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, **options,
        )  # fmt: skip

    def predict(name):
        outputs = predictor.predict(model, datamodule=data)
        predictions = predictions_dataset(outputs, data)
        if predictor.is_global_zero:
            write_predictions(folder / name, predictions)

    predictor = trainer()
    predict("first.nc")
    fit = trainer(max_epochs=3, callbacks=[gradients], gradient_clip_val=1.0)
    fit.fit(model, datamodule=data)
    logged = {name: float(value) for name, value in fit.callback_metrics.items()}
    validated = trainer().validate(model, datamodule=data, verbose=False)[0]
    tested = trainer().test(model, datamodule=data, verbose=False)[0]
    predict("last.nc")
    if fit.is_global_zero:
        weights = {name: p.detach() for name, p in model.named_parameters()}
        measured = {part: data.parts[part].measured_counts() for part in data.parts}
        bright = {part: float((data.parts[part].forcing["shortwave_in"] > 700.0).sum()) for part in data.parts}
        results = {"gradients": gradients.of, "weights": weights, "logged": logged, "validated": validated}
        torch.save(results | {"tested": tested, "measured": measured, "bright": bright}, folder / "results.pt")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    warnings.simplefilter("always", cv.NotConvergedWarning)
    main(Path(sys.argv[1]), int(sys.argv[2]))
