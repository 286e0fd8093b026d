"""The loss: weighted errors of the fluxes in units of their training standard deviation, over measured samples only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

import torch

from ..data.targets import FLUX_OF_TARGET, check_targets
from .error_scales import ErrorScales, negative_log_density

LossKind = Literal["squared", "huber", "laplace"]
KINDS: tuple[LossKind, ...] = ("squared", "huber", "laplace")


class LossTerms(NamedTuple):
    """`loss`: 0-d. `sums`, `counts`: `[target]`, sum of the unweighted errors (differentiable) and number of samples used."""

    loss: torch.Tensor
    sums: torch.Tensor
    counts: torch.Tensor


def loss_weights(
    le_weight: float = 0.5, weights: Mapping[str, float] | None = None, others: Iterable[str] = ()
) -> dict[str, float]:
    """Weights by target, normalised to sum 1.

    Args:
        le_weight: w in [0, 1] of latent heat; NEE gets 1 - w. Used if `weights` is None.
        weights: weight by target, at least one positive and none negative; targets left out or of weight 0
            are not fitted.
        others: targets to list with weight 0, if they have none.

    Raises:
        ValueError: a weight is out of range, or a target unknown.
    """
    if weights is None:
        if not 0.0 <= le_weight <= 1.0:
            raise ValueError(f"le_weight must be between 0 (only NEE) and 1 (only LE); got {le_weight!r}.")
        weights = {"latent_heat": le_weight, "nee": 1.0 - le_weight}
    check_targets(weights)
    total = sum(weights.values())
    if min(weights.values()) < 0 or not 0 < total < float("inf"):
        raise ValueError(f"weights must not be negative, and one must be positive; got {dict(weights)}.")
    fitted = {name: value / total for name, value in weights.items() if value > 0}
    return fitted | {name: 0.0 for name in others if name not in fitted}


class FluxLoss:
    """`L = sum_k w_k mean_t rho((y_kt - o_kt) / sd_k)` over the half-hours `t` that are used.

    A half-hour is used for `k` where `k` was measured and the canopy converged.

    `rho(x)` is `x**2` (squared), `|x|` (laplace: double-exponential errors, as eddy-covariance noise has), or `x**2`
    up to `|x| = 1` and `2 |x| - 1` beyond (huber). A target without a usable sample in the batch adds zero. Missing
    targets and half-hours that did not converge have no influence on value or gradient, whatever number stands there.

    Args:
        weights: by target, as `loss_weights` returns them.
        kind: see above; or one for each target by name, squared for those that are left out.

    Raises:
        ValueError: an unknown kind or target.
    """

    def __init__(self, weights: Mapping[str, float], kind: LossKind | Mapping[str, LossKind] = "squared"):
        self.weights = dict(weights)
        self.kinds: dict[str, LossKind] = dict.fromkeys(weights, "squared" if isinstance(kind, Mapping) else kind)
        if isinstance(kind, Mapping):
            check_targets(kind)
            self.kinds |= {name: kind[name] for name in kind if name in self.weights}
        for chosen in kind.values() if isinstance(kind, Mapping) else (kind,):
            if chosen not in KINDS:
                raise ValueError(f"loss must be 'squared', 'huber' or 'laplace'; got {chosen!r}.")

    def __call__(
        self,
        fluxes: Mapping[str, torch.Tensor],
        target: Mapping[str, torch.Tensor],
        measured: Mapping[str, torch.Tensor],
        sd: Mapping[str, torch.Tensor | float],
        converged: torch.Tensor | None = None,
        factors: Mapping[str, torch.Tensor] | None = None,
        scales: ErrorScales | None = None,
    ) -> LossTerms:
        """Loss of a batch.

        Args:
            fluxes: model outputs `[time]` by flux name.
            target, measured: observations and masks `[time]` by target name.
            sd: standard deviations by target name.
            converged: half-hours with a solution; None: all.
            factors: on the errors, `[time]` by target name (`ErrorWeights`); None: 1.
            scales: `rho` is the negative logarithm of the density of the errors, in units of `sd`, with these learned scales.

        Raises:
            KeyError: a weighted target, or its flux, is missing; the message says which.
        """
        sums, counts = [], []
        for name in self.weights:
            flux = FLUX_OF_TARGET[name]
            if name not in target or flux not in fluxes:
                raise KeyError(
                    f"the loss needs target '{name}' and model output '{flux}'; the batch has {list(target)}, the "
                    f"model {list(fluxes)}. Add the target to the data or give it no weight."
                )
            used = measured[name] if converged is None else measured[name] & converged
            error = (torch.where(used, fluxes[flux], 0.0) - torch.where(used, target[name], 0.0)) / sd[name]
            if factors is not None:
                error = error * torch.where(used, factors[name], 1.0)
            if scales is None:
                rho = _rho(error, self.kinds[name])
            else:
                sigma = scales(name, torch.where(used, fluxes[flux], 0.0), sd[name]) / sd[name]
                rho = torch.where(used, negative_log_density(error, sigma, scales.likelihood), 0.0)
            sums.append(rho.sum())
            counts.append(used.sum())
        return LossTerms(self.mean(sums, counts), torch.stack(sums), torch.stack(counts))

    def mean(self, sums: Iterable[torch.Tensor], counts: Iterable[torch.Tensor]) -> torch.Tensor:
        """The loss of sums of errors and numbers of samples, by target."""
        terms = zip(self.weights.values(), sums, counts, strict=True)
        return torch.stack([weight * total / count.clamp(min=1) for weight, total, count in terms]).sum()


def _rho(error: torch.Tensor, kind: LossKind) -> torch.Tensor:
    if kind == "squared":
        return error.square()
    size = error.abs()
    return size if kind == "laplace" else torch.where(size <= 1.0, error.square(), 2.0 * size - 1.0)
