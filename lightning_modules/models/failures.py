"""Half-hours without a solution: counted by site and reason, logged, warned about; too many of them end a training."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_only
from torchmetrics import Metric

from canveg_jax import REASONS, NotConvergedWarning
from canveg_jax.solver import acceptance

from ..names import REASON_NAMES

SHOWN = 5
"""So many half-hours without a solution are named."""


class TooManyFailures(ValueError):
    """The share of half-hours without a solution exceeds the limit."""


class FailureCount(Metric):
    """How many half-hours were asked for since the last report, by site and by what became of them, in all processes.

    Args:
        n_sites: number of sites.

    Attributes:
        counts: `[site, reason]`, reasons by the codes of `canveg_jax.REASONS`.
        first: `(site, row, reason)` of the first that failed in this process.
    """

    full_state_update = False
    counts: torch.Tensor

    def __init__(self, n_sites: int = 1, **kwargs: Any):
        super().__init__(**kwargs)
        self.add_state("counts", torch.zeros(n_sites, len(REASONS), dtype=torch.int64), dist_reduce_fx="sum")
        self.first: list[tuple[int, int, int]] = []

    def update(self, fluxes: Mapping[str, torch.Tensor], batch: Mapping[str, Any], counted: torch.Tensor) -> None:
        """Add a batch.

        Args:
            fluxes: `converged` `[time]`, and `reason` if the physics says one; without, a half-hour did not converge.
            batch: `site`, and `row` if there is one, `[time]`.
            counted: which half-hours count `[time]`.
        """
        failed = ~fluxes["converged"].detach()
        reason = torch.where(failed, acceptance.NOT_CONVERGED, acceptance.SOLVED)
        if "reason" in fluxes:
            reason = torch.where(failed, fluxes["reason"].detach().long(), reason)
        site = batch["site"].clamp(0, len(self.counts) - 1)
        place = (site * self.counts.shape[1] + reason)[counted]
        self.counts += torch.bincount(place, minlength=self.counts.numel()).reshape(self.counts.shape)
        if len(self.first) < SHOWN and "row" in batch:
            for i in torch.nonzero(failed & counted)[: SHOWN - len(self.first), 0].tolist():
                self.first.append((int(site[i]), int(batch["row"][i]), int(reason[i])))

    def go_on_from(self, counts: torch.Tensor) -> None:
        """Count on from these numbers of this process."""
        self.reset()
        if counts.any():
            none = torch.zeros(0, dtype=torch.int64, device=counts.device)
            self.update({"converged": none.bool()}, {"site": none}, none.bool())
            self.counts += counts

    def compute(self) -> torch.Tensor:
        """The counts of all processes."""
        return self.counts

    def reset(self) -> None:
        """Count anew."""
        super().reset()
        self.first = []

    def take(self) -> tuple[np.ndarray, list[tuple[int, int, int]]]:
        """Counts `[site, reason]` and the first that failed; the count starts again. Every process must call it, after at least
        one batch."""
        counts, first = self.compute().cpu().numpy(), self.first
        self.reset()
        return counts, first


def failures_by_reason(counts: np.ndarray, sites: Sequence[str]) -> dict[str, int]:
    """Numbers of half-hours without a solution by `site/reason`, those that are not zero."""
    return {
        f"{sites[site]}/{REASON_NAMES[int(code)]}": int(counts[site, code])
        for site, code in zip(*np.nonzero(counts), strict=True)
        if code != acceptance.SOLVED
    }


def failed_and_all(counts: np.ndarray) -> tuple[int, int]:
    """How many half-hours have no solution, and how many there are."""
    return int(counts.sum() - counts[:, acceptance.SOLVED].sum()), int(counts.sum())


def require_few(
    what: str, counts: np.ndarray, sites: Sequence[str], first: Iterable[str], parameters: str, limit: float | None
) -> None:
    """See that the share of half-hours without a solution is within the limit.

    Args:
        what: part and epoch, in words.
        counts: `[site, reason]`.
        first: the first that failed, in words.
        parameters: those of the physics with their values, in words.
        limit: largest share; None: none.

    Raises:
        TooManyFailures: it is not; names numbers by site and reason, half-hours, parameters, and the remedy.
    """
    failed, total = failed_and_all(counts)
    if limit is None or failed <= limit * total:
        return
    by_reason = ", ".join(f"{name} {n}" for name, n in failures_by_reason(counts, sites).items())
    raise TooManyFailures(
        f"{what}: {failed} of {total} half-hours have no solution, more than max_failed_share ({limit:g}): {by_reason}. The "
        f"first: {', '.join(first) or 'not known'}. Parameters: {parameters or 'none is tuned'}. Look at the forcing of these "
        "half-hours (canveg doctor), lower network_lr and parameter_lr, raise max_passes in `solver`, or set "
        "max_failed_share: null to go on regardless."
    )


@rank_zero_only
def warn_of_failures(what: str, counts: np.ndarray) -> None:
    """Warn, in the first process, if any half-hour has no solution.

    Args:
        what: part, in words.
        counts: `[site, reason]`.

    Warns:
        NotConvergedWarning: says how many, why, and the remedy.
    """
    failed, total = failed_and_all(counts)
    if not failed:
        return
    by_reason = {int(code): int(counts[:, code].sum()) for code in np.flatnonzero(counts.sum(axis=0))}
    by_reason.pop(acceptance.SOLVED, None)
    remedies = (
        ["raise max_passes in `solver` if many did not converge"] if acceptance.NOT_CONVERGED in by_reason else []
    )
    remedies += (
        ["see what is wrong with the others (canveg doctor)"] if set(by_reason) - {acceptance.NOT_CONVERGED} else []
    )
    warnings.warn(
        f"{what}: {failed} of {total} half-hours have no solution and took no part in loss and scores "
        f"({'; '.join(f'{n}: {REASONS[code]}' for code, n in by_reason.items())}). Their fluxes are flagged in predictions; "
        f"{', and '.join(remedies)}.",
        NotConvergedWarning,
        stacklevel=3,
    )
