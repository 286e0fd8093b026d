"""Half-hours whose solution did not converge: counted, logged, warned about."""

from __future__ import annotations

import warnings

import torch

from canveg_jax import NotConvergedWarning


class UnconvergedCount:
    """How many half-hours were solved since the last report, and how many of them did not converge."""

    def __init__(self) -> None:
        self.failed = self.total = 0

    def add(self, converged: torch.Tensor) -> None:
        """Count a batch; flags `[time]`."""
        self.failed += int((~converged).sum())
        self.total += len(converged)

    def take(self) -> tuple[int, int]:
        """Number that did not converge and number of all; the count starts again."""
        counts = self.failed, self.total
        self.failed = self.total = 0
        return counts


def warn_of_unconverged(what: str, failed: int, total: int) -> None:
    """Warn if any half-hour failed.

    Warns:
        NotConvergedWarning: says how many, and the remedy.
    """
    if failed:
        warnings.warn(
            f"{what}: {failed} of {total} half-hours did not converge and took no part in loss and scores "
            "(their fluxes are flagged in predictions). Raise max_passes in `solver` if there are many.",
            NotConvergedWarning,
            stacklevel=2,
        )
