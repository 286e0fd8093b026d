"""The stress network in the loop: the state of every leaf in, factor on the Ball-Berry humidity term out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import nn

from canveg_jax.spelling import unknown
from canveg_jax.stress import LEAF_INPUTS
from canveg_jax.stress.base import LOWEST_FACTOR

from ..data.inputs import NETWORK_INPUTS, check_inputs, compute_inputs
from ..data.statistics import ScalingStatistics
from .perceptrons import MonotonePerceptron, Perceptron
from .stress_network import check_monotone, logit_of_start

DEFAULT_LEAF_INPUTS = ("leaf_vpd", "soil_water_content")
PUBLISHED_INPUTS = ("soil_water_content", "inverse_leaf_humidity")
PUBLISHED_HIDDEN = (6, 6)


class LeafStressNetwork(nn.Module):
    """Multilayer perceptron that the canopy evaluates for every leaf at every pass of its solver (`TorchCanopy(in_loop=...)`).

    Two presets:

    * `factor` multiplies the humidity term, `f = 0.001 + 0.999 sigmoid(z)`, close to `initial` at the start. Inputs are
      standardised, those of the half-hour by the training part, those of the leaf by typical values (`LEAF_INPUTS`).
    * `published` stands in place of the humidity term, `h = sigmoid(z)` of standardised soil water and of
      `inverse_leaf_humidity` as it is, 2-6-6-1 with tanh, weights uniform within `1 / sqrt(n_in)` at the start [Jiang2025].

    Args:
        inputs: names of `canveg_jax.LEAF_INPUTS` and of `NETWORK_INPUTS`.
        hidden: widths of the hidden layers.
        preset: `factor` or `published`; the latter fixes everything else.
        activation: `tanh` or `silu`.
        initial: factor at the start, about; in (0.001, 1).
        monotone: the factor never falls with soil water and humidity and never rises with a deficit, whatever the weights.

    Raises:
        ValueError: unknown input, activation or preset, `initial` out of range, or a setting that `published` fixes.
    """

    in_loop = True
    input_mean: torch.Tensor
    input_sd: torch.Tensor

    def __init__(
        self,
        inputs: Sequence[str] | None = None,
        hidden: Sequence[int] | None = None,
        *,
        preset: Literal["factor", "published"] = "factor",
        activation: Literal["tanh", "silu"] = "tanh",
        initial: float = 0.95,
        monotone: bool = False,
    ):
        super().__init__()
        if preset not in ("factor", "published"):
            raise ValueError(unknown("preset of the stress in the loop", str(preset), ("factor", "published")))
        self.replaces_humidity = preset == "published"
        if self.replaces_humidity and (inputs, hidden, activation, initial, monotone) != (
            None,
            None,
            "tanh",
            0.95,
            False,
        ):
            raise ValueError(
                "preset 'published' fixes inputs, hidden, activation, initial and monotone; leave them out, or use 'factor'."
            )
        default = PUBLISHED_INPUTS if self.replaces_humidity else DEFAULT_LEAF_INPUTS
        known = {**LEAF_INPUTS, **NETWORK_INPUTS}
        self.inputs = check_inputs(default if inputs is None else inputs, known, "input of the stress in the loop")
        hidden = PUBLISHED_HIDDEN if hidden is None else tuple(hidden)
        self.config: dict[str, Any] = {"preset": preset}
        if not self.replaces_humidity:
            self.config |= {
                "inputs": list(self.inputs), "hidden": list(hidden), "activation": activation, "initial": float(initial),
                "monotone": bool(monotone),
            }  # fmt: skip
        scales = [LEAF_INPUTS[name] if name in LEAF_INPUTS else None for name in self.inputs]
        as_it_is = self.replaces_humidity
        mean = [0.0 if scale is None or as_it_is else scale.mean for scale in scales]
        sd = [1.0 if scale is None or as_it_is else scale.sd for scale in scales]
        self.register_buffer("input_mean", torch.tensor(mean, dtype=torch.float64))
        self.register_buffer("input_sd", torch.tensor(sd, dtype=torch.float64))
        self.perceptron = self._perceptron(hidden, activation, initial, monotone)

    def _perceptron(self, hidden: Sequence[int], activation: str, initial: float, monotone: bool) -> nn.Module:
        if self.replaces_humidity:
            widths = (len(self.inputs), *hidden)
            layers = [(nn.Linear(a, b), nn.Tanh()) for a, b in zip(widths[:-1], widths[1:], strict=True)]
            return nn.Sequential(*(part for layer in layers for part in layer), nn.Linear(widths[-1], 1))
        offset = logit_of_start(initial)
        check_monotone(monotone, activation)
        if monotone:
            known = {**LEAF_INPUTS, **NETWORK_INPUTS}
            return MonotonePerceptron([known[name].direction for name in self.inputs], hidden, offset)
        return Perceptron(len(self.inputs), hidden, activation=activation, offset=offset)

    @property
    def column_inputs(self) -> tuple[str, ...]:
        """Inputs that are numbers of the half-hour."""
        return tuple(name for name in self.inputs if name not in LEAF_INPUTS)

    def set_statistics(self, statistics: ScalingStatistics) -> None:
        """Take mean and standard deviation of the inputs that are numbers of the half-hour (a constant one is only centred)."""
        for i, name in enumerate(self.inputs):
            if name not in LEAF_INPUTS:
                self.input_mean[i] = statistics.inputs[name].mean
                self.input_sd[i] = statistics.inputs[name].sd or 1.0

    def columns(self, forcing: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The inputs that are numbers of the half-hour, `[time]`, in physical units."""
        names = self.column_inputs
        return dict(zip(names, compute_inputs(forcing, names).unbind(-1), strict=True)) if names else {}

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Factor `[...]` of leaves from their inputs `[..., input]`, in the units of the tables."""
        scaled = (features - self.input_mean.to(features.dtype)) / self.input_sd.to(features.dtype)
        z = self.perceptron(scaled.to(next(self.perceptron.parameters()).dtype)).squeeze(-1).to(features.dtype)
        if self.replaces_humidity:
            return torch.sigmoid(z)
        return LOWEST_FACTOR + (1.0 - LOWEST_FACTOR) * torch.sigmoid(z)
