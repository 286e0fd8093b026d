"""Moments of pairs (modelled, observed), from which all scores follow; added up over batches and over processes.

A tensor `[..., 7]`, float64: number of pairs, mean of the modelled and of the observed values, sums of the squared deviations
from these means (modelled, observed) and of their product, sum of the squared errors. Sums about the means keep the digits of a
small variance on a large mean.
"""

from __future__ import annotations

import torch

N_MOMENTS = 7


def moments_of(modelled: torch.Tensor, observed: torch.Tensor, used: torch.Tensor) -> torch.Tensor:
    """Moments `[7]` of the pairs `[n]` that are used; whatever stands at the others has no influence."""
    s, o = (torch.where(used, x, 0.0).double() for x in (modelled, observed))
    n = used.sum().double()
    mean_s, mean_o = s.sum() / n.clamp(min=1.0), o.sum() / n.clamp(min=1.0)
    s0, o0 = torch.where(used, s - mean_s, 0.0), torch.where(used, o - mean_o, 0.0)
    return torch.stack([n, mean_s, mean_o, (s0 * s0).sum(), (o0 * o0).sum(), (s0 * o0).sum(), (s - o).square().sum()])


def merged(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Moments `[..., 7]` of the pairs of both."""
    n = a[..., 0] + b[..., 0]
    share = b[..., 0] / n.clamp(min=1.0)
    step_s, step_o = b[..., 1] - a[..., 1], b[..., 2] - a[..., 2]
    cross = a[..., 0] * share
    between = torch.stack([step_s * step_s, step_o * step_o, step_s * step_o], dim=-1) * cross[..., None]
    means = a[..., 1:3] + torch.stack([step_s, step_o], dim=-1) * share[..., None]
    sums = a[..., 3:6] + b[..., 3:6] + between
    return torch.cat([n[..., None], means, sums, a[..., 6:] + b[..., 6:]], dim=-1)


def merged_over_processes(moments: torch.Tensor) -> torch.Tensor:
    """Moments `[..., 7]` of the pairs of all processes, `[process, ..., 7]`."""
    together = moments[0]
    for other in moments[1:]:
        together = merged(together, other)
    return together


def scores_of(moments: torch.Tensor) -> dict[str, torch.Tensor]:
    """`RMSE`, `NSE`, `KGE` [Gupta2009], `bias` and `r` of moments `[..., 7]`, each `[...]`; NaN where undefined.

    RMSE and bias need one pair, NSE two observations that differ, KGE and r also modelled values that differ.
    """
    n, mean_s, mean_o, ss, oo, so, squared_errors = moments.unbind(-1)
    some, observed_vary = n >= 1, _vary(n, mean_o, oo)
    both_vary = observed_vary & _vary(n, mean_s, ss)
    r = so / torch.sqrt(ss * oo)
    spread, level = torch.sqrt(ss / oo), mean_s / mean_o
    scores = {
        "RMSE": (some, torch.sqrt(squared_errors / n)),
        "NSE": (observed_vary, 1.0 - squared_errors / oo),
        "KGE": (both_vary, 1.0 - torch.sqrt((r - 1.0) ** 2 + (spread - 1.0) ** 2 + (level - 1.0) ** 2)),
        "bias": (some, mean_s - mean_o),
        "r": (both_vary, r.clamp(-1.0, 1.0)),
    }
    return {name: torch.where(defined, value, torch.nan) for name, (defined, value) in scores.items()}


def _vary(n: torch.Tensor, mean: torch.Tensor, squares: torch.Tensor) -> torch.Tensor:
    """Values differ by more than rounding."""
    return (n >= 2) & (squares > 1e-12 * (squares + n * mean.square()))
