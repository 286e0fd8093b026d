"""Which axes of which input tensors have a free size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from .._runtime.upstream import torch_tree
from .export import NetworkError


def free_axes_of(arguments: tuple[tuple, dict], free_axes: Any) -> list[tuple[int, ...]]:
    """Axes of each tensor in the arguments, in torch's order of leaves.

    Args:
        arguments: positional and named arguments of the network.
        free_axes: for all tensors, or by argument (see `torch2jax`).

    Raises:
        NetworkError: `free_axes` names an argument that does not exist, or has another number of entries.
    """
    positional, named = arguments
    if isinstance(free_axes, Mapping):
        known = {*range(len(positional)), *named}
        unknown = [key for key in free_axes if key not in known]
        if unknown:
            raise NetworkError(f"free_axes names {unknown}, but the arguments are {sorted(known, key=str)}.")
        wanted = [*(free_axes.get(i) for i in range(len(positional))), *(free_axes.get(name) for name in named)]
    elif _by_entry(free_axes):
        if len(free_axes) != len(positional):
            raise NetworkError(
                f"free_axes has {len(free_axes)} entries for {len(positional)} positional arguments. Give one for each "
                "(named arguments are fixed then), or a dict by position and name."
            )
        wanted = [*free_axes, *([None] * len(named))]
    else:
        wanted = [free_axes] * (len(positional) + len(named))
    found: list[tuple[int, ...]] = []
    for argument, axes in zip((*positional, *named.values()), wanted, strict=True):
        _collect(argument, axes, found)
    return found


def _by_entry(axes: Any) -> bool:
    """Whether a sequence holds an entry for each argument, rather than the numbers of axes."""
    return isinstance(axes, Sequence) and not all(isinstance(a, int) for a in axes)


def _collect(argument: Any, axes: Any, found: list[tuple[int, ...]]) -> None:
    if isinstance(argument, torch.Tensor):
        if isinstance(axes, Mapping) or _by_entry(axes):
            raise NetworkError(f"free_axes has {axes!r} for a tensor; expected numbers of axes or None.")
        found.append(_of_tensor(argument, axes))
    elif isinstance(argument, Mapping) and isinstance(axes, Mapping):
        unknown = [key for key in axes if key not in argument]
        if unknown:
            raise NetworkError(f"free_axes names {unknown}, but the argument has {list(argument)}.")
        for key, value in argument.items():
            _collect(value, axes.get(key), found)
    elif isinstance(argument, (list, tuple)) and _by_entry(axes):
        if len(axes) != len(argument):
            raise NetworkError(f"free_axes has {len(axes)} entries for an argument of {len(argument)}.")
        for value, own in zip(argument, axes, strict=True):
            _collect(value, own, found)
    else:
        for leaf in torch_tree.tree_leaves(argument):
            if isinstance(leaf, torch.Tensor):
                _collect(leaf, axes, found)


def _of_tensor(tensor: torch.Tensor, free_axes: int | Sequence[int] | None) -> tuple[int, ...]:
    axes = () if free_axes is None else (free_axes,) if isinstance(free_axes, int) else tuple(free_axes)
    return tuple(sorted({a % tensor.ndim for a in axes if -tensor.ndim <= a < tensor.ndim}))
