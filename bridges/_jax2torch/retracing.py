"""A warning of a bridged function that is compiled again and again, which names the argument that keeps changing."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax

from .kernel import Observe
from .pytree import Spec, Static, leaf_path

LIMIT = 16
"""Programs of one kind before the warning. More than ordinary use has: a batch padded to powers of two up to 256 has nine."""
_SHOWN = 4

_REMEDIES = {
    "shape": "Pad it to a few sizes (jax2torch(..., vectorized=...) does so where rows do not interact), or give batches of one "
    "size.",
    "dtype": "Convert it to one dtype before the call.",
    "value": "Pass it as a tensor or a number that is not in static_argnames, if the function computes with it; else keep to "
    "a few values.",
    "structure": "Give dicts with the same keys and sequences of the same length, for example stacked into one tensor.",
}


class Seen(NamedTuple):
    """One argument as a program was compiled for it: an array, or a value that is compiled in."""

    shape: tuple[int, ...] | None = None
    dtype: str | None = None
    value: str | None = None

    def __str__(self) -> str:
        return self.value if self.value is not None else f"{self.dtype}{list(self.shape or ())}"


_ABSENT = Seen()


class Retracing:
    """What a function has been compiled for.

    Args:
        name: of the function.
    """

    def __init__(self, name: str):
        self.name = name
        self._programs: dict[tuple, list[dict[str, Seen]]] = {}
        self._warned = False

    def observer(self, spec: Spec, fixed: Sequence, order: Sequence[int], names: Sequence[str]) -> Observe:
        """What a kernel calls at each trace.

        Args:
            spec: structure of the arguments `(args, kwargs)`.
            fixed: the leaves that are compiled in; anything in place of the others.
            order: for each array of the kernel the number of its leaf.
            names: of the positional arguments, as far as they are known.
        """
        standing = [0 if i in order else leaf for i, leaf in enumerate(fixed)]

        def observe(program: tuple, arrays: Sequence) -> None:
            if self._warned:
                return
            args, kwargs = jax.tree.unflatten(spec.tree, standing)
            path = lambda i: _path(args, kwargs, i, names)  # noqa: E731
            seen = {path(i): Seen(value=repr(leaf)) for i, leaf in enumerate(standing) if i not in order}
            seen |= {path(i): _seen(array) for i, array in zip(order, arrays, strict=False)}
            self._record(program, seen | _static(args, kwargs, names))

        return observe

    def _record(self, program: tuple, seen: dict[str, Seen]) -> None:
        """Note one trace, and warn once if there are too many different ones."""
        programs = self._programs.setdefault(program, [])
        if seen in programs:
            return
        programs.append(seen)
        if len(programs) >= LIMIT:
            self._warned = True
            text = _explain(self.name, programs)
            self._programs.clear()
            warnings.warn(text, UserWarning, stacklevel=2)


def _explain(name: str, programs: list[dict[str, Seen]]) -> str:
    """The message for programs compiled for these arguments, in their order."""
    paths = list(dict.fromkeys(path for seen in programs for path in seen))
    history = {path: [seen.get(path, _ABSENT) for seen in programs] for path in paths}
    variety = {path: len(set(found)) for path, found in history.items()}
    most = max(variety.values())
    changing = [path for path in paths if variety[path] == most]
    if any(_ABSENT in history[path] for path in changing):
        aspect, changing = "structure", [path for path in changing if _ABSENT in history[path]]
        examples = f"there is {', '.join(changing[-_SHOWN:])} in some calls and not in others"
    else:
        found = history[changing[0]]
        aspect = max(("shape", "dtype", "value"), key=lambda a: len({getattr(s, a) for s in found}))
        examples = f"{', '.join(str(s) for s in list(dict.fromkeys(found))[-_SHOWN:])} in the last programs"
    others = f" (and {', '.join(changing[1 : 1 + _SHOWN])})" if len(changing) > 1 and aspect != "structure" else ""
    what = "the structure of the arguments" if aspect == "structure" else f"the {aspect} of {changing[0]}{others}"
    return (
        f"{name} has been compiled for {len(programs)} different sets of arguments: {what} keeps changing, {examples}. Each "
        f"costs a compilation and stays in memory. {_REMEDIES[aspect]}"
    )


def _seen(array: Any) -> Seen:
    """An array as a program takes it: a number has the dtype of its kind."""
    return Seen(tuple(array.shape), str(array.dtype))


def _path(args: tuple, kwargs: dict, number: int, names: Sequence[str]) -> str:
    """Where a leaf stands, as `argument x['a']`."""
    text = leaf_path(args, kwargs, number).removeprefix("argument ")
    position = text.split("[")[0].split(".")[0]
    if position.isdigit() and int(position) < len(names):
        text = names[int(position)] + text.removeprefix(position)
    return f"argument {text}"


def _static(args: tuple, kwargs: dict, names: Sequence[str]) -> dict[str, Seen]:
    """Values of the arguments named static."""
    named = {(names[i] if i < len(names) else str(i)): value for i, value in enumerate(args)} | kwargs
    return {f"argument {name}": Seen(value=repr(v.value)) for name, v in named.items() if isinstance(v, Static)}
