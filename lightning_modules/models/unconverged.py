"""Half-hours whose solution did not converge: counted, logged, warned about."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_only
from torchmetrics import Metric

from canveg_jax import NotConvergedWarning


class UnconvergedCount(Metric):
    """How many half-hours were solved since the last report, and how many of them did not converge, in all processes."""

    full_state_update = False
    counts: torch.Tensor

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.add_state("counts", torch.zeros(2, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, converged: torch.Tensor, counted: torch.Tensor | None = None) -> None:
        """Add a batch; flags `[time]`, and which half-hours are counted (default all)."""
        counted = torch.ones_like(converged) if counted is None else counted
        self.counts += torch.stack([(counted & ~converged).sum(), counted.sum()])

    def compute(self) -> torch.Tensor:
        """Number that did not converge and number of all."""
        return self.counts

    def take(self) -> tuple[int, int]:
        """The two numbers; the count starts again. Every process must call it, after at least one batch."""
        failed, total = self.compute().tolist()
        self.reset()
        return failed, total


@rank_zero_only
def warn_of_unconverged(what: str, failed: int, total: int) -> None:
    """Warn, in the first process, if any half-hour failed.

    Warns:
        NotConvergedWarning: says how many, and the remedy.
    """
    if failed:
        warnings.warn(
            f"{what}: {failed} of {total} half-hours did not converge and took no part in loss and scores "
            "(their fluxes are flagged in predictions). Raise max_passes in `solver` if there are many.",
            NotConvergedWarning,
            stacklevel=3,
        )
