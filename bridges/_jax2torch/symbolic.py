"""Shapes of results for symbolic batch sizes, so that `torch.compile` need not compile for every size.

JAX traces with concrete sizes. The function is therefore traced at the size at hand and at two larger ones of every
symbol; an output size that grows in proportion becomes an expression of the symbol, one that stays is a constant, and
where neither holds (or the function refuses other sizes) the symbol is fixed to its present value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import torch

from .._runtime.dtypes import torch_dtype


class Shape(NamedTuple):
    """Shape and dtype of a tensor; sizes may be symbolic."""

    sizes: tuple
    dtype: torch.dtype

    @classmethod
    def of(cls, tensor: torch.Tensor) -> Shape:
        """Of a tensor, real or fake."""
        return cls(tuple(tensor.shape), tensor.dtype)

    def at_hint(self, shifts: dict[str, int] | None = None) -> jax.ShapeDtypeStruct:
        """Concrete shape at the sizes of the example, some of them shifted."""
        shifts = shifts or {}
        sizes = [_hint(n) + (shifts.get(str(n), 0) if isinstance(n, torch.SymInt) else 0) for n in self.sizes]
        return jax.ShapeDtypeStruct(sizes, jax.numpy.dtype(str(self.dtype).removeprefix("torch.")))


def _hint(size: Any) -> int:
    if isinstance(size, torch.SymInt):
        return size.node.hint if size.node.hint is not None else int(size)
    return size


def output_shapes(trace: Callable[[Sequence], Sequence], inputs: Sequence[Shape]) -> list[Shape]:
    """Shapes of the results as expressions of the symbols in the inputs.

    Args:
        trace: concrete input shapes to concrete output shapes.
        inputs: shapes that may have symbolic sizes.
    """
    base = trace([s.at_hint() for s in inputs])
    sizes: list[list[Any]] = [list(x.shape) for x in base]
    symbols = {str(n): n for s in inputs for n in s.sizes if isinstance(n, torch.SymInt)}
    for name, symbol in symbols.items():
        slopes = _slopes(trace, inputs, base, name)
        if slopes is None:
            int(symbol)
            continue
        hint = _hint(symbol)
        for size, slope in zip(sizes, slopes, strict=True):
            for axis, a in enumerate(slope):
                if a:
                    size[axis] = size[axis] + a * (symbol - hint)
    return [Shape(tuple(size), torch_dtype(x.dtype)) for size, x in zip(sizes, base, strict=True)]


def _slopes(trace: Callable, inputs: Sequence[Shape], base: Sequence, name: str) -> list[list[int]] | None:
    """Growth of every output size with a symbol; None if it is not proportional."""
    try:
        one, two = ([tuple(x.shape) for x in trace([s.at_hint({name: k}) for s in inputs])] for k in (1, 2))
    except Exception:  # noqa: BLE001  whatever a function raises for a size it was not written for
        return None
    start = [tuple(x.shape) for x in base]
    ranks = [[len(shape) for shape in shapes] for shapes in (start, one, two)]
    if ranks[0] != ranks[1] or ranks[0] != ranks[2]:
        return None
    slopes = [[b - a for a, b in zip(s, o, strict=True)] for s, o in zip(start, one, strict=True)]
    if any(t - a != 2 * k for s, w, g in zip(start, two, slopes, strict=True) for a, t, k in zip(s, w, g, strict=True)):
        return None
    return slopes
