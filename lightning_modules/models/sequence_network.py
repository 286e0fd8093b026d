"""A network without physics that remembers the days before: an LSTM over daily means, beside the half-hour's own inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ..closures.perceptrons import Perceptron
from ..data.inputs import compute_inputs, standardised
from ..data.past_days import past_name
from ..data.targets import FLUX_OF_TARGET
from .baselines import NINE_INPUTS
from .flux_network import FluxNetwork


class SequenceNetwork(FluxNetwork):
    """An LSTM [Hochreiter1997] reads the daily means of the inputs, oldest day first; its last state and the half-hour's inputs
    go through a perceptron to the fluxes.

    Inputs, past and outputs are standardised with the statistics of the training part. The half-hours need the columns of
    `data.past_days.with_past_days`.

    Args:
        inputs, hidden: of the perceptron, as of `FluxNetwork`.
        days: how many days the LSTM reads.
        memory: size of its state.
        options: as of `FluxNetwork`.
    """

    def __init__(
        self,
        inputs: Sequence[str] = NINE_INPUTS,
        hidden: Sequence[int] = (32, 32),
        *,
        days: int = 10,
        memory: int = 16,
        **options: Any,
    ):
        super().__init__(inputs, hidden, **options)
        for name, value in (("days", days), ("memory", memory)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1; got {value!r}.")
        self.days = days
        self.lstm = torch.nn.LSTM(len(self.inputs), memory, batch_first=True)
        self.perceptron = Perceptron(
            len(self.inputs) + memory, hidden, len(self.targets), activation=options.get("activation", "tanh")
        )
        self.save_hyperparameters({"days": days, "memory": memory})

    def forward(self, forcing: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Fluxes `[time]` by model output name, float64."""
        now = compute_inputs(forcing, self.inputs).double()
        past = torch.stack(
            [
                torch.stack([forcing[past_name(name, day)] for name in self.inputs], dim=-1)
                for day in reversed(range(self.days))
            ],
            dim=1,
        ).double()  # [time, day, input]
        dtype = self.perceptron.head.weight.dtype
        now, past = (standardised(x, self.input_mean, self.input_sd).to(dtype) for x in (now, past))
        _, (state, _) = self.lstm(past)
        outputs = self.perceptron(torch.cat([now, state[-1]], dim=-1)).double() * self.target_sd + self.target_mean
        return {FLUX_OF_TARGET[name]: outputs[:, i] for i, name in enumerate(self.targets)}
