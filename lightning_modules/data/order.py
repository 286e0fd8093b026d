"""In which order half-hours are visited, and which of them fall to which process of a distributed run."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import Dataset, DistributedSampler

from ..processes import gathered, processes


class Repeated(int):
    """Index of a half-hour that a batch has only so that all processes have batches of one size: it is not counted."""


class HalfHourOrder(DistributedSampler):
    """Indices of half-hours, whose batches do not depend on the number of processes.

    With `shuffle` (training) the processes share every batch: process `r` of `W` takes its half-hours `r, r + W, ...`, so
    that a step of all of them is the step of one process. Without, whole batches are dealt out in turn, so that each is
    computed as one process would. Processes that come off short get `Repeated` half-hours: all have equal numbers of
    batches, and each half-hour counts once.

    The order follows from seed and epoch alone, so a resumed run goes on with the order it would have had, from within an
    epoch too (`go_on_at`). Each iteration is the next epoch, unless `set_epoch` says which (Lightning calls it, and leaves
    samplers of this kind alone).

    Args:
        dataset: what is visited.
        batch_size: half-hours of a batch of all processes together.
        shuffle: see above.
        seed: of the shuffling; None: that of torch's global generator in the first process (`torch.initial_seed`).

    Attributes:
        own_batch_size: half-hours that this process takes at once; give it to the `DataLoader`.
        passed: batches at the beginning of the next iteration that are left out.

    Raises:
        RuntimeError: (when iterated) the order was made before the processes knew of each other.
    """

    def __init__(self, dataset: Dataset, batch_size: int, *, shuffle: bool, seed: int | None = None):
        self.processes = processes()
        seed = gathered(torch.initial_seed())[0] if seed is None and shuffle else seed or 0
        super().__init__(dataset, self.processes.size, self.processes.rank, shuffle, seed % 2**63)
        self.length = len(dataset)  # pyright: ignore[reportArgumentType] - a map-style dataset has a length
        self.batch_size = min(batch_size, self.length)
        self.own_batch_size = largest_share(self.batch_size) if shuffle else self.batch_size
        self.passed = 0

    def go_on_at(self, epoch: int, passed: int) -> None:
        """Let the next iteration be of this epoch, without its first `passed` batches."""
        self.epoch, self.passed = epoch, passed

    def set_epoch(self, epoch: int) -> None:
        """Let the next iteration be of this epoch: all of it, unless `go_on_at` has said otherwise for the same one."""
        if epoch != self.epoch:
            self.go_on_at(epoch, 0)

    def __iter__(self) -> Iterator[int]:
        if processes() != self.processes:
            raise RuntimeError(
                "this loader was made before the processes knew of each other, so each would visit every half-hour. Give the "
                "trainer the FluxTowerDataModule, or make loaders inside of it."
            )
        order = np.arange(self.length)
        if self.shuffle:
            np.random.default_rng((self.seed, self.epoch)).shuffle(order)
        batches = [order[i : i + self.batch_size].tolist() for i in range(0, self.length, self.batch_size)]
        batches = batches[self.passed :]
        self.go_on_at(self.epoch + 1, 0)
        rank, size = self.processes
        if not self.shuffle:
            for i in range(0, len(batches), size):
                yield from batches[i + rank] if i + rank < len(batches) else [Repeated(batches[0][0])]
            return
        for batch in batches:
            own = batch[rank::size]
            yield from own
            yield from [Repeated(batch[0])] * (largest_share(len(batch)) - len(own))

    def __len__(self) -> int:
        full, rest = divmod(self.length, self.batch_size)
        rank, size = self.processes
        if self.shuffle:
            return full * self.own_batch_size + largest_share(rest)
        rounds = -(-(full + bool(rest)) // size)
        last = (rounds - 1) * size + rank
        return (rounds - 1) * self.batch_size + (self.batch_size if last < full else max(1, rest * (last == full)))


def largest_share(n: int) -> int:
    """Half-hours of a batch of `n` that fall to each process, repeated ones included."""
    return -(-n // processes().size)
