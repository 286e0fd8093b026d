"""A pure network, without physics: the nine inputs of the published one to LE and NEE. A benchmark for the hybrid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import lightning as L
import torch
from torch import nn

from ..closures.perceptrons import Perceptron
from ..data.inputs import check_inputs, compute_inputs
from ..data.statistics import ScalingStatistics
from ..data.targets import FLUX_OF_TARGET
from ..evaluation.metrics import FluxMetrics, LossSums
from .baselines import NINE_INPUTS
from .losses import FluxLoss, LossKind, LossTerms, loss_weights


class FluxNetwork(L.LightningModule):
    """Perceptron `inputs -> weighted fluxes`, inputs and outputs standardised with the training part's statistics.

    Trained with the loss, masks, splits and scores of `HybridCanopy`.

    Args:
        inputs: names of `NETWORK_INPUTS`.
        hidden, activation: of the perceptron.
        le_weight, weights, loss: as of `HybridCanopy`; the outputs are the weighted targets.
        lr, weight_decay: of AdamW.
    """

    input_mean: torch.Tensor
    input_sd: torch.Tensor
    target_mean: torch.Tensor
    target_sd: torch.Tensor
    has_statistics: torch.Tensor

    def __init__(
        self,
        inputs: Sequence[str] = NINE_INPUTS,
        hidden: Sequence[int] = (32, 32),
        activation: str = "tanh",
        le_weight: float = 0.5,
        weights: dict[str, float] | None = None,
        loss: LossKind = "squared",
        lr: float = 3e-3,
        weight_decay: float = 0.0,
    ):
        super().__init__()
        self.inputs = check_inputs(inputs)
        self.loss = FluxLoss(loss_weights(le_weight, weights), loss)
        self.targets = tuple(self.loss.weights)
        self.perceptron = Perceptron(len(self.inputs), hidden, len(self.targets), activation)
        for name, size in (("input", len(self.inputs)), ("target", len(self.targets))):
            self.register_buffer(f"{name}_mean", torch.zeros(size, dtype=torch.float64))
            self.register_buffer(f"{name}_sd", torch.ones(size, dtype=torch.float64))
        self.register_buffer("has_statistics", torch.tensor(False))
        self.flux_metrics = nn.ModuleDict({part: FluxMetrics(self.targets) for part in ("val", "test")})
        self.loss_sums = nn.ModuleDict({part: LossSums(self.loss.weights) for part in ("val", "test")})
        self.save_hyperparameters({
            "inputs": list(inputs), "hidden": list(hidden), "activation": activation, "le_weight": le_weight,
            "weights": weights, "loss": loss, "lr": lr, "weight_decay": weight_decay,
        })  # fmt: skip

    def set_statistics(self, statistics: ScalingStatistics) -> None:
        """Take means and standard deviations of inputs and targets."""
        for kind, names, entries in (
            ("input", self.inputs, statistics.inputs),
            ("target", self.targets, statistics.targets),
        ):
            for i, name in enumerate(names):
                if name not in entries:
                    raise ValueError(
                        f"the training part has no measured '{name}'. Give it weight 0, or use data that have it."
                    )
                getattr(self, f"{kind}_mean")[i] = entries[name].mean
                getattr(self, f"{kind}_sd")[i] = entries[name].sd or 1.0
        self.has_statistics.fill_(True)

    def setup(self, stage: str) -> None:
        """Take the statistics of the data module, unless a checkpoint brought some."""
        if not self.has_statistics:
            self.set_statistics(self.trainer.datamodule.statistics)

    def forward(self, forcing: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Fluxes `[time]` by model output name, float64."""
        columns = compute_inputs(forcing, self.inputs).double()
        scaled = ((columns - self.input_mean) / self.input_sd).to(self.perceptron.head.weight.dtype)
        outputs = self.perceptron(scaled).double() * self.target_sd + self.target_mean
        return {FLUX_OF_TARGET[name]: outputs[:, i] for i, name in enumerate(self.targets)}

    def batch_loss(self, batch: Mapping[str, Any], fluxes: Mapping[str, torch.Tensor]) -> LossTerms:
        """Masked loss of a batch."""
        sd = {name: self.target_sd[i] for i, name in enumerate(self.targets)}
        return self.loss(fluxes, batch["target"], batch["measured"], sd)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> torch.Tensor:
        loss = self.batch_loss(batch, self(batch["forcing"])).loss
        self.log("train/loss", loss.detach(), on_step=False, on_epoch=True, prog_bar=True, batch_size=len(batch["row"]))
        return loss

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self._evaluate("val", batch)

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self._evaluate("test", batch)

    def on_validation_epoch_end(self) -> None:
        self._report("val")

    def on_test_epoch_end(self) -> None:
        self._report("test")

    def predict_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> dict[str, Any]:
        """`fluxes`, `observed`, `measured`, `row`, `site`."""
        return {
            "fluxes": self(batch["forcing"]), "observed": batch["target"], "measured": batch["measured"],
            "row": batch["row"], "site": batch["site"],
        }  # fmt: skip

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=self.hparams["lr"], weight_decay=self.hparams["weight_decay"])

    def _evaluate(self, part: str, batch: Mapping[str, Any]) -> None:
        fluxes = self(batch["forcing"])
        terms = self.batch_loss(batch, fluxes)
        self.loss_sums[part].update(terms.sums, terms.counts)
        self.flux_metrics[part].update(fluxes, batch["target"], batch["measured"])

    def _report(self, part: str) -> None:
        self.log(f"{part}/loss", self.loss_sums[part].compute(), prog_bar=True)
        self.loss_sums[part].reset()
        self.log_dict({f"{part}/{name}": value for name, value in self.flux_metrics[part].compute().items()})
        self.flux_metrics[part].reset()
