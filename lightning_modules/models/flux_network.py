"""A pure network, without physics: the nine inputs of the published one to LE and NEE. A benchmark for the hybrid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from canveg_jax.io.daily_weather import DAILY

from ..closures.daily_memory import read_memory
from ..closures.perceptrons import Perceptron
from ..data.inputs import check_inputs, compute_inputs, standardised
from ..data.statistics import ScalingStatistics
from ..data.targets import FLUX_OF_TARGET
from .baselines import NINE_INPUTS
from .error_scales import Likelihood
from .flux_task import FluxTask
from .losses import FluxLoss, LossKind, loss_weights


class FluxNetwork(FluxTask):
    """Perceptron `inputs -> weighted fluxes`, inputs and outputs standardised with the training part's statistics.

    Trained with the loss, masks, splits and scores of `HybridCanopy`.

    Args:
        inputs: names of `NETWORK_INPUTS`.
        hidden, activation: of the perceptron.
        gru: `{days: 30, hidden: 8}`: a memory of the days before (`DailyMemory`) beside the inputs.
        le_weight, weights, loss, random_error, likelihood: as of `HybridCanopy`; the outputs are the weighted targets.
        lr, weight_decay: of AdamW.
    """

    stages_that_scale = ("fit", "validate", "test", "predict")

    input_mean: torch.Tensor
    input_sd: torch.Tensor
    target_mean: torch.Tensor

    def __init__(
        self,
        inputs: Sequence[str] = NINE_INPUTS,
        hidden: Sequence[int] = (32, 32),
        *,
        activation: str = "tanh",
        gru: dict[str, int] | None = None,
        le_weight: float = 0.5,
        weights: dict[str, float] | None = None,
        loss: LossKind | dict[str, LossKind] = "squared",
        random_error: str | dict[str, list[float]] | None = None,
        likelihood: Likelihood | None = None,
        lr: float = 3e-3,
        weight_decay: float = 0.0,
    ):
        flux_loss = FluxLoss(loss_weights(le_weight, weights), loss)
        super().__init__(flux_loss, tuple(flux_loss.weights), random_error, likelihood)
        self.inputs = check_inputs(inputs)
        self.targets = tuple(flux_loss.weights)
        self.memory = read_memory(gru)
        remembered = 0 if self.memory is None else self.memory.hidden
        self.perceptron = Perceptron(len(self.inputs) + remembered, hidden, len(self.targets), activation=activation)
        self.register_buffer("input_mean", torch.zeros(len(self.inputs), dtype=torch.float64))
        self.register_buffer("input_sd", torch.ones(len(self.inputs), dtype=torch.float64))
        self.register_buffer("target_mean", torch.zeros(len(self.targets), dtype=torch.float64))
        self.save_hyperparameters({
            "inputs": list(inputs), "hidden": list(hidden), "activation": activation, "gru": gru, "le_weight": le_weight,
            "weights": weights, "loss": loss, "random_error": random_error, "likelihood": likelihood, "lr": lr,
            "weight_decay": weight_decay,
        })  # fmt: skip

    def take_statistics(self, statistics: ScalingStatistics) -> None:
        """Means of the fluxes, means and standard deviations of the inputs (a constant input is only centred)."""
        for i, name in enumerate(self.targets):
            self.target_mean[i] = statistics.targets[name].mean
        for i, name in enumerate(self.inputs):
            self.input_mean[i] = statistics.inputs[name].mean
            self.input_sd[i] = statistics.inputs[name].sd or 1.0
        if self.memory is not None:
            self.memory.set_statistics(statistics)

    def forward(self, forcing: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Fluxes `[time]` by model output name, float64."""
        columns = compute_inputs(forcing, self.inputs).double()
        scaled = standardised(columns, self.input_mean, self.input_sd).to(self.perceptron.head.weight.dtype)
        if self.memory is not None:
            scaled = torch.cat([scaled, self.memory(forcing).to(scaled.dtype)], dim=-1)
        outputs = self.perceptron(scaled).double() * self.target_sd + self.target_mean
        return {FLUX_OF_TARGET[name]: outputs[:, i] for i, name in enumerate(self.targets)}

    def fluxes(self, batch: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """`forward` of a batch."""
        return self(
            {**batch["forcing"], **batch.get("history", {}), **({DAILY: batch[DAILY]} if DAILY in batch else {})}
        )

    @property
    def days_of_memory(self) -> int:
        """Those of its memory."""
        return 0 if self.memory is None else self.memory.days

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW."""
        return torch.optim.AdamW(self.parameters(), lr=self.hparams["lr"], weight_decay=self.hparams["weight_decay"])
