"""What the processes of a distributed run tell each other. Alone, a process is the only one, and nothing is sent.

Every process must call `total` and `gathered`, and the same number of times: none may do so on a condition of its own.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import torch
from torch import distributed

Thing = TypeVar("Thing")


class Processes(NamedTuple):
    """`rank`: which process this is, from 0. `size`: how many there are."""

    rank: int
    size: int


def processes() -> Processes:
    """This process among those of the process group; `(0, 1)` without one."""
    if distributed.is_available() and distributed.is_initialized():
        return Processes(distributed.get_rank(), distributed.get_world_size())
    return Processes(0, 1)


def total(values: torch.Tensor) -> torch.Tensor:
    """The sum of the tensors (of one shape) of all processes, without derivative."""
    values = values.detach()
    if processes().size > 1:
        values = values.clone()
        distributed.all_reduce(values)
    return values


def gathered(thing: Thing) -> list[Thing]:
    """What each process has, in the order of the processes; whatever can be pickled."""
    size = processes().size
    if size == 1:
        return [thing]
    things: list[Any] = [None] * size
    distributed.all_gather_object(things, thing)
    return things
