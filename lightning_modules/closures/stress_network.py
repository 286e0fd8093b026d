"""The stomatal stress network: forcing in, factor in (0, 1] on the Ball-Berry humidity term out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import nn

from canveg_jax.stress.base import LOWEST_FACTOR

from ..data.inputs import DEFAULT_NETWORK_INPUTS, NETWORK_INPUTS, check_inputs, compute_inputs, standardised
from ..data.statistics import ScalingStatistics
from .perceptrons import MonotonePerceptron, Perceptron


class StressNetwork(nn.Module):
    """Multilayer perceptron `forcing -> factor [time]`, `f = 0.001 + 0.999 sigmoid(z)`.

    Inputs are standardised with the statistics of the training part, kept in buffers. It computes in the precision of
    its own weights and returns that of the forcing. At the start the factor is close to `initial` whatever the inputs:
    training begins from (almost) unstressed physics.

    Args:
        inputs: names of `NETWORK_INPUTS`.
        hidden: widths of the hidden layers.
        activation: `tanh` or `silu`.
        initial: factor at the start, about; in (0.001, 1).
        monotone: the factor never falls with soil water and never rises with vapour pressure deficit, whatever the
            weights (`MonotonePerceptron`). Needs `tanh`.

    Raises:
        ValueError: unknown input or activation, no hidden layer, `initial` out of range, `monotone` with `silu`.
    """

    input_mean: torch.Tensor
    input_sd: torch.Tensor

    def __init__(
        self,
        inputs: Sequence[str] = DEFAULT_NETWORK_INPUTS,
        hidden: Sequence[int] = (16, 16),
        *,
        activation: Literal["tanh", "silu"] = "tanh",
        initial: float = 0.95,
        monotone: bool = False,
    ):
        super().__init__()
        self.inputs = check_inputs(inputs)
        offset = logit_of_start(initial)
        check_monotone(monotone, activation)
        self.config: dict[str, Any] = {
            "inputs": list(self.inputs), "hidden": list(hidden), "activation": activation, "initial": float(initial),
            "monotone": bool(monotone),
        }  # fmt: skip
        self.register_buffer("input_mean", torch.zeros(len(self.inputs), dtype=torch.float64))
        self.register_buffer("input_sd", torch.ones(len(self.inputs), dtype=torch.float64))
        if monotone:
            self.perceptron: nn.Module = MonotonePerceptron(
                [NETWORK_INPUTS[name].direction for name in self.inputs], hidden, offset
            )
        else:
            self.perceptron = Perceptron(len(self.inputs), hidden, activation=activation, offset=offset)

    def set_statistics(self, statistics: ScalingStatistics) -> None:
        """Take mean and standard deviation of the inputs (a constant input is only centred)."""
        for i, name in enumerate(self.inputs):
            self.input_mean[i] = statistics.inputs[name].mean
            self.input_sd[i] = statistics.inputs[name].sd or 1.0

    def forward(self, forcing: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Factor `[time]`, of the forcing's dtype. Forcing columns are `[time]`; further keys are ignored."""
        columns = compute_inputs(forcing, self.inputs)
        scaled = standardised(columns, self.input_mean, self.input_sd)
        z = self.perceptron(scaled.to(next(self.perceptron.parameters()).dtype)).squeeze(-1)
        return LOWEST_FACTOR + (1.0 - LOWEST_FACTOR) * torch.sigmoid(z).to(columns.dtype)


def logit_of_start(initial: float) -> float:
    """The z whose factor `0.001 + 0.999 sigmoid(z)` is `initial`.

    Raises:
        ValueError: no z has it.
    """
    if not LOWEST_FACTOR < initial < 1.0:
        raise ValueError(f"initial must be between {LOWEST_FACTOR} and 1, both excluded; got {initial!r}.")
    share = (initial - LOWEST_FACTOR) / (1.0 - LOWEST_FACTOR)
    return math.log(share / (1.0 - share))


def check_monotone(monotone: bool, activation: str) -> None:
    """Raise ValueError if a monotone network was asked for with an activation that does not increase."""
    if monotone and activation != "tanh":
        raise ValueError(f"monotone=True needs an increasing activation; got {activation!r}, use 'tanh'.")
