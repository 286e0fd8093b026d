"""Loss and scores of one part of the data, gathered over the batches of an epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from .metrics import FluxMetrics, LossSums


class PartScores(nn.Module):
    """`LossSums` and `FluxMetrics` of a part.

    Args:
        weights: of the loss, by target.
        targets: observed fluxes to score.
    """

    def __init__(self, weights: Mapping[str, float], targets: Sequence[str]):
        super().__init__()
        self.loss = LossSums(weights)
        self.fluxes = FluxMetrics(targets)

    def take(self) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Loss and scores of everything so far, which is then forgotten."""
        result = self.loss.compute(), self.fluxes.compute()
        self.loss.reset()
        self.fluxes.reset()
        return result
