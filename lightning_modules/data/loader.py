"""Loaders of half-hours whose place within an epoch is part of a checkpoint."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch.utils.data import DataLoader

from .dataset import Batch, TowerDataset, collate
from .order import HalfHourOrder

ORDER = ("half_hours", "batch_size", "seed")
"""Numbers that the order of an epoch follows from."""

ROUNDING = 1e-9
"""Relative difference of mean numbers of the same data on two machines."""


class TowerLoader(DataLoader):
    """A `DataLoader` in the order of `HalfHourOrder` that knows how far it is; Lightning saves and restores its state."""

    _epoch, _given = 0, 0
    _columns: dict[str, list[float]] | None = None

    def __iter__(self) -> Iterator[Batch]:  # pyright: ignore[reportIncompatibleMethodOverride] - Lightning asks for no more
        """Batches. Nothing is prepared, in worker processes either, before the first one is asked for: until then
        Lightning may still say which epoch it is."""
        if isinstance(self.sampler, HalfHourOrder):  # Lightning predicts with a sampler of its own
            self._epoch, self._given = self.sampler.epoch, self.sampler.passed
        for batch in super().__iter__():
            self._given += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Epoch, batches of it that were given out, and what these numbers refer to."""
        return {"epoch": self._epoch, "batches": self._given, "order": self._order()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on behind the batches that were given out.

        Raises:
            ValueError: they were of other data, or batches of another size.
        """
        if differences := self.differences(state):
            raise ValueError(
                f"the checkpoint was written within an epoch of other data or batches: {', '.join(differences)}; so the rest of "
                "that epoch is not known. Use the same data, batch_size and seed, or a checkpoint of the end of an epoch."
            )
        order = cast(HalfHourOrder, self.sampler)
        over = state["batches"] >= len(self)
        order.go_on_at(state["epoch"] + over, 0 if over else state["batches"])

    def differences(self, state: dict[str, Any]) -> list[str]:
        """How what a state refers to differs from what is here, in words: numbers of the order, and columns of the data."""
        there, here = state["order"], self._order()
        found = [f"{name} {there[name]} there, {here[name]} here" for name in ORDER if there[name] != here[name]]
        columns, own = there.get("columns"), here["columns"]
        if columns is None or own is None or there["half_hours"] != here["half_hours"]:
            return found
        other = [n for n in sorted({*columns, *own}) if not _alike(columns.get(n), own.get(n))]
        return found + ([f"other values of {', '.join(other)}"] if other else [])

    def _order(self) -> dict[str, Any]:
        order = cast(HalfHourOrder, self.sampler)
        if self._columns is None and isinstance(self.dataset, TowerDataset):
            self._columns = self.dataset.fingerprint()
        numbers = (order.length, order.batch_size, order.seed)
        return {**dict(zip(ORDER, numbers, strict=True)), "columns": self._columns}


def _alike(one: list[float] | None, other: list[float] | None) -> bool:
    """Whether two columns (`TowerDataset.fingerprint`) are the same but for how numbers are rounded."""
    if one is None or other is None or one[0] != other[0]:
        return False
    return all(abs(a - b) <= ROUNDING * max(one[1], other[1]) for a, b in zip(one, other, strict=True))


def tower_loader(
    dataset: TowerDataset, batch_size: int, *, shuffle: bool = False, num_workers: int = 0, seed: int | None = None
) -> TowerLoader:
    """A loader of ready batches, in the order of `HalfHourOrder`.

    Workers are started by `forkserver` where there is one, else `spawn`: a fork of a process in which JAX runs threads
    can deadlock. So a script that uses workers needs `if __name__ == "__main__":`.

    Args:
        dataset, num_workers: as of `DataLoader`.
        batch_size: half-hours of a batch, of all processes together; the last batch may be smaller.
        shuffle: for training; each iteration is another epoch.
        seed: of the shuffling; None: that of torch's global generator.
    """
    methods = multiprocessing.get_all_start_methods()
    context = ("forkserver" if "forkserver" in methods else "spawn") if num_workers else None
    order = HalfHourOrder(dataset, batch_size, shuffle=shuffle, seed=seed)
    return TowerLoader(
        dataset, batch_size=order.own_batch_size, sampler=order, num_workers=num_workers, collate_fn=collate,
        multiprocessing_context=context, persistent_workers=num_workers > 0,
        generator=torch.Generator(),  # else each iteration would draw from the global one, and a resumed run iterates less often
    )  # fmt: skip
