"""Scores of fluxes on measured half-hours: RMSE, NSE, KGE, bias, correlation, and how many samples they rest on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import nn
from torchmetrics import MeanSquaredError, Metric, PearsonCorrCoef, R2Score

from ..data.targets import DEFAULT_TARGETS, FLUX_OF_TARGET, check_targets


class _Moments(Metric):
    """Base of metrics that follow from count, sums, sums of squares and of products (float64)."""

    full_state_update = False
    moments: torch.Tensor

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.add_state("moments", torch.zeros(6, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, preds: torch.Tensor, target: torch.Tensor) -> None:
        """Add samples `[n]`."""
        s, o = preds.double(), target.double()
        self.moments += torch.stack(
            [s.new_tensor(float(len(s))), s.sum(), o.sum(), (s * s).sum(), (o * o).sum(), (s * o).sum()]
        )


class Bias(_Moments):
    """Mean of model minus observation, in the unit of the flux."""

    higher_is_better = None

    def compute(self) -> torch.Tensor:
        n, s, o, *_ = self.moments
        return (s - o) / n


class KlingGuptaEfficiency(_Moments):
    """KGE [Gupta2009]: `1 - sqrt((r - 1)^2 + (sd_s/sd_o - 1)^2 + (mean_s/mean_o - 1)^2)`.

    Of no use where the observed mean is close to zero (NEE, ground heat): there read bias, RMSE, NSE and r.
    """

    higher_is_better = True

    def compute(self) -> torch.Tensor:
        n, s, o, ss, oo, so = self.moments
        mean_s, mean_o = s / n, o / n
        var_s, var_o = (ss / n - mean_s**2).clamp(min=0.0), (oo / n - mean_o**2).clamp(min=0.0)
        r = (so / n - mean_s * mean_o) / torch.sqrt(var_s * var_o)
        return 1.0 - torch.sqrt((r - 1.0) ** 2 + (torch.sqrt(var_s / var_o) - 1.0) ** 2 + (mean_s / mean_o - 1.0) ** 2)


def _varies(n: torch.Tensor, total: torch.Tensor, squares: torch.Tensor) -> bool:
    return bool(n >= 2) and bool(squares / n - (total / n) ** 2 > 1e-12 * squares / n)


class _ScoresOfOneFlux(nn.Module):
    """The five scores, summed in float64."""

    def __init__(self):
        super().__init__()
        self.RMSE = MeanSquaredError(squared=False)
        self.NSE = R2Score()
        self.KGE = KlingGuptaEfficiency()
        self.bias = Bias()
        self.r = PearsonCorrCoef()
        for metric in self.by_name().values():
            metric.set_dtype(torch.float64)

    def by_name(self) -> dict[str, Metric]:
        return {"RMSE": self.RMSE, "NSE": self.NSE, "KGE": self.KGE, "bias": self.bias, "r": self.r}


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
        self.scores = nn.ModuleDict({name: _ScoresOfOneFlux() for name in self.targets})

    def update(
        self,
        fluxes: Mapping[str, torch.Tensor],
        target: Mapping[str, torch.Tensor],
        measured: Mapping[str, torch.Tensor],
        converged: torch.Tensor | None = None,
    ) -> None:
        """Add a batch: model outputs by flux name, observations and masks by target name, all `[time]`."""
        for name in self.targets:
            if name not in target or FLUX_OF_TARGET[name] not in fluxes:
                continue
            used = measured[name] if converged is None else measured[name] & converged
            if bool(used.any()):
                pairs = fluxes[FLUX_OF_TARGET[name]].detach()[used].double(), target[name][used].double()
                for metric in self._of(name).by_name().values():
                    metric.update(*pairs)

    def compute(self) -> dict[str, torch.Tensor]:
        """All scores so far, and the number of samples of each flux."""
        result = {}
        for name in self.targets:
            flux, scores = FLUX_OF_TARGET[name], self._of(name)
            n, s, o, ss, oo, _ = scores.bias.moments
            observed_vary, modelled_vary = (_varies(n, total, squares) for total, squares in ((o, oo), (s, ss)))
            defined_if = {"RMSE": n >= 1, "bias": n >= 1, "NSE": observed_vary}
            for key, metric in scores.by_name().items():
                defined = defined_if.get(key, observed_vary and modelled_vary)
                value = metric.compute() if defined else torch.full((), torch.nan, dtype=torch.float64, device=n.device)
                result[f"{key}_{flux}"] = value
            result[f"n_{flux}"] = n.clone()
        return result

    def reset(self) -> None:
        """Forget all samples."""
        for name in self.targets:
            for metric in self._of(name).by_name().values():
                metric.reset()

    def _of(self, name: str) -> _ScoresOfOneFlux:
        return cast(_ScoresOfOneFlux, self.scores[name])


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
