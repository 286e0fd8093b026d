"""Named tuples for torch's own ones (`torch.max(x, 1)`, `torch.sort(x)`), which JAX does not take apart."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import torch

from .._runtime.upstream import torch_tree

_MADE: dict[str, type] = {}


def __getattr__(name: str) -> Any:
    """The named tuple for `torch.return_types.<name>`; a pickled result finds its type here."""
    if name not in _MADE:
        fields = _fields(getattr(torch.return_types, name, None))
        if not fields:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        _MADE[name] = namedtuple(name, fields, module=__name__)
    return _MADE[name]


def _fields(kind: Any) -> list[str]:
    """Names of the entries of one of torch's result types, in order."""
    count = getattr(kind, "n_sequence_fields", 0)
    numbered = tuple(range(count))
    entries = {name: getattr(kind, name) for name in dir(kind) if not name.startswith(("_", "n_"))}
    if not count:
        return []
    example = kind(numbered)
    named = {getattr(example, name): name for name in entries if isinstance(getattr(example, name), int)}
    return [named[i] for i in numbered]


def as_named_tuples(result: Any) -> Any:
    """A result with each of torch's own tuples replaced by a named tuple of the same name and fields."""
    if type(result).__module__ == "torch.return_types":
        return __getattr__(type(result).__name__)(*(as_named_tuples(v) for v in result))
    leaf = lambda v: v is not result  # noqa: E731
    children, structure = torch_tree.tree_flatten(result, is_leaf=leaf)
    if len(children) == 1 and children[0] is result:
        return result
    return torch_tree.tree_unflatten([as_named_tuples(c) for c in children], structure)
