"""Scores of fluxes on measured half-hours: RMSE, NSE, KGE, bias, correlation, and how many samples they rest on.

In a distributed run `compute` gives the scores of the samples of all processes; every process must call it.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torchmetrics import Metric

from ..data.targets import DEFAULT_TARGETS, FLUX_OF_TARGET, check_targets
from .moments import N_MOMENTS, merged, merged_over_processes, moments_of, scores_of


class Moments(Metric):
    """`moments` of several fluxes, `[flux, 7]`."""

    full_state_update = False
    higher_is_better = None
    moments: torch.Tensor

    def __init__(self, fluxes: int = 1, **kwargs: Any):
        super().__init__(**kwargs)
        empty = torch.zeros(fluxes, N_MOMENTS, dtype=torch.float64)
        self.add_state("moments", empty, dist_reduce_fx=merged_over_processes)

    def update(self, new: torch.Tensor) -> None:
        """Add the samples of moments `[flux, 7]`."""
        self.moments = merged(self.moments, new)

    def compute(self) -> torch.Tensor:
        """The moments of all samples so far; without any, zeros."""
        return self.moments


class _Score(Moments):
    """Base of a single score of samples `[n]`."""

    name: str

    def update(self, preds: torch.Tensor, target: torch.Tensor) -> None:
        """Add samples `[n]`."""
        super().update(moments_of(preds, target, torch.ones_like(preds, dtype=torch.bool))[None])

    def compute(self) -> torch.Tensor:
        return scores_of(self.moments[0])[self.name]


class Bias(_Score):
    """Mean of model minus observation, in the unit of the flux."""

    name = "bias"


class KlingGuptaEfficiency(_Score):
    """KGE [Gupta2009]: `1 - sqrt((r - 1)^2 + (sd_s/sd_o - 1)^2 + (mean_s/mean_o - 1)^2)`.

    Of no use where the observed mean is close to zero (NEE, ground heat): there read bias, RMSE, NSE and r.
    """

    name = "KGE"
    higher_is_better = True


class FluxMetrics(nn.Module):
    """RMSE, NSE, KGE, bias and r of each flux, each over its own measured half-hours that the canopy solved.

    `update` per batch, `compute` at the end of an epoch, then `reset`. Keys are `<metric>_<flux>`, such as `NSE_LE`,
    and `n_<flux>`. A score of fewer than two samples, or of fluxes that do not vary, is NaN.

    Args:
        targets: observed fluxes to score.
    """

    def __init__(self, targets: Sequence[str] = DEFAULT_TARGETS):
        super().__init__()
        self.targets = check_targets(targets)
        self.moments = Moments(len(self.targets))

    def update(
        self,
        fluxes: Mapping[str, torch.Tensor],
        target: Mapping[str, torch.Tensor],
        measured: Mapping[str, torch.Tensor],
        converged: torch.Tensor | None = None,
    ) -> None:
        """Add a batch: model outputs by flux name, observations and masks by target name, all `[time]`."""
        rows = []
        for name in self.targets:
            if name not in target or FLUX_OF_TARGET[name] not in fluxes:
                rows.append(self.moments.moments.new_zeros(N_MOMENTS))
                continue
            used = measured[name] if converged is None else measured[name] & converged
            rows.append(moments_of(fluxes[FLUX_OF_TARGET[name]].detach(), target[name], used))
        self.moments.update(torch.stack(rows))

    def compute(self) -> dict[str, torch.Tensor]:
        """All scores so far, and the number of samples of each flux; of all processes, each of which must call this."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*was called before the .*update.*")
            return self._named(self.moments.compute())

    def compute_here(self) -> dict[str, torch.Tensor]:
        """The same of the samples of this process alone; asks no other."""
        return self._named(self.moments.moments)

    def _named(self, moments: torch.Tensor) -> dict[str, torch.Tensor]:
        scores = scores_of(moments)
        result = {}
        for i, name in enumerate(self.targets):
            flux = FLUX_OF_TARGET[name]
            result |= {f"{key}_{flux}": values[i] for key, values in scores.items()}
            result[f"n_{flux}"] = moments[i, 0].clone()
        return result

    def reset(self) -> None:
        """Forget all samples."""
        self.moments.reset()


class LossSums(Metric):
    """The exact loss of an epoch: weighted means of errors over all its samples, not a mean of batch means."""

    full_state_update = False
    higher_is_better = False
    sums: torch.Tensor
    counts: torch.Tensor

    def __init__(self, weights: Mapping[str, float], **kwargs: Any):
        super().__init__(**kwargs)
        self.weights = list(weights.values())
        self.add_state("sums", torch.zeros(len(weights), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("counts", torch.zeros(len(weights), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, sums: torch.Tensor, counts: torch.Tensor) -> None:
        """Add `LossTerms.sums` and `LossTerms.counts` of a batch."""
        self.sums += sums
        self.counts += counts

    def compute(self) -> torch.Tensor:
        return (self.sums.new_tensor(self.weights) * self.sums / self.counts.clamp(min=1.0)).sum()
