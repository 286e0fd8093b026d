"""The last solution of each half-hour of training: where the solver starts in the next epoch."""

from __future__ import annotations

import torch


class SolutionMemory:
    """States by site and row of the tower's record, in single precision: 4 (5 N + 1) bytes a half-hour, 35 MB for two
    years with 50 layers. Checkpoints hold it: a solution depends, within the solver's tolerance, on where it started.

    Args:
        state_size: numbers of a half-hour's state (`TorchCanopy.state_size`).
    """

    def __init__(self, state_size: int):
        self.state_size = state_size
        self._of_site: dict[int, torch.Tensor] = {}

    def __getstate__(self) -> dict:
        return {"state_size": self.state_size, "_of_site": {}}

    def forget(self) -> None:
        """Remember nothing."""
        self._of_site = {}

    def state(self) -> dict[int, dict[str, torch.Tensor]]:
        """By site the rows that are known, and their states."""
        rows = {site: torch.nonzero(torch.isfinite(known).any(dim=1))[:, 0] for site, known in self._of_site.items()}
        return {site: {"row": row.int(), "state": self._of_site[site][row]} for site, row in rows.items()}

    def set_state(self, state: dict[int, dict[str, torch.Tensor]], device: torch.device) -> None:
        """Know what `state` gave, and nothing else."""
        self.forget()
        for site, known in state.items():
            row = known["row"].long().to(device)
            everywhere = torch.ones(len(row), dtype=torch.bool, device=device)
            self.keep(torch.full_like(row, site), row, known["state"].to(device), everywhere)

    def recall(self, site: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        """States `[time, state_size]` of these half-hours, NaN where none is known."""
        states = torch.full((len(row), self.state_size), torch.nan, dtype=torch.float32, device=row.device)
        for index, here in _by_site(site):
            known = self._of_site.get(index)
            if known is not None:
                here = here[row[here] < len(known)]
                states[here] = known[row[here]]
        return states

    def keep(self, site: torch.Tensor, row: torch.Tensor, state: torch.Tensor, converged: torch.Tensor) -> None:
        """Remember the states of the half-hours that converged, and forget those of the others."""
        if not len(row):
            return
        state = torch.where(converged[:, None], state, torch.nan).float()
        for index, here in _by_site(site):
            known = self._of_site.get(index)
            needed = int(row[here].max()) + 1
            if known is None or len(known) < needed:
                size = max(needed, 2 * (0 if known is None else len(known)))
                larger = torch.full((size, self.state_size), torch.nan, dtype=torch.float32, device=row.device)
                if known is not None:
                    larger[: len(known)] = known
                self._of_site[index] = known = larger
            known[row[here]] = state[here]


def _by_site(site: torch.Tensor) -> list[tuple[int, torch.Tensor]]:
    """Each site's index with the positions of its half-hours in the batch."""
    return [(int(index), torch.nonzero(site == index)[:, 0]) for index in site.unique()]
