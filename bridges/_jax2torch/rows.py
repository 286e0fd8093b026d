"""Batches padded to a few sizes, so that a ragged last batch does not compile a function again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import torch

from ..errors import ConversionError

FINE = 256
"""Rows; sizes are powers of two up to this one and its multiples above."""


class Rows:
    """Padding of the rows (first axis) of the tensors of a function whose rows do not interact.

    Args:
        name: of the function, for errors.
        smallest: smaller batches are padded to this number of rows.
    """

    def __init__(self, name: str, smallest: int = 1):
        self.name = name
        self.smallest = smallest

    def size(self, n_rows: int) -> int:
        """Number of rows that `n_rows` are padded to."""
        n_rows = max(n_rows, self.smallest)
        return 1 << max(n_rows - 1, 0).bit_length() if n_rows <= FINE else -(-n_rows // FINE) * FINE

    def number(self, tensors: Sequence[torch.Tensor], describe: Callable[[int], str]) -> int:
        """The common number of rows.

        Args:
            tensors: all tensors with rows.
            describe: what a tensor is, by its number in `tensors`.

        Raises:
            ConversionError: tensors with different numbers of rows, or none with rows; the message names those that differ from
                most.
        """
        numbers = [t.shape[0] if t.dim() else None for t in tensors]
        usual = Counter(n for n in numbers if n is not None).most_common(1)
        if not usual or not usual[0][0]:
            raise ConversionError(
                f"{self.name} is vectorized and expects tensors with one common number of rows (first axis), at least "
                f"1, got shapes {[tuple(t.shape) for t in tensors]}. Name the arguments that carry rows: "
                "jax2torch(..., vectorized=('x', ...))."
            )
        n_rows = usual[0][0]
        if any(n != n_rows for n in numbers):
            odd = [f"{describe(i)} has shape {tuple(tensors[i].shape)}" for i, n in enumerate(numbers) if n != n_rows]
            raise ConversionError(
                f"{self.name} expects tensors with one common number of rows (first axis), which is {n_rows} for "
                f"{describe(numbers.index(n_rows))}, but {', '.join(odd)}. Cut or repeat it to {n_rows} rows, or leave "
                "it out of `vectorized`."
            )
        return n_rows

    def pad(self, tensors: Sequence[torch.Tensor], n_rows: int) -> list[torch.Tensor]:
        """Tensors of `n_rows` rows with the last one repeated until their number is one of the sizes."""
        extra = self.size(n_rows) - n_rows
        if not extra:
            return list(tensors)
        return [torch.cat((t, t[-1:].expand(extra, *t.shape[1:]))) for t in tensors]

    def cut(self, outputs: Sequence[torch.Tensor], n_rows: int) -> list[torch.Tensor]:
        """The outputs without the padding.

        Raises:
            ConversionError: an output has no rows, so the padding may have entered it.
        """
        size = self.size(n_rows)
        for output in outputs:
            if output.dim() == 0 or output.shape[0] != size:
                raise ConversionError(
                    f"{self.name} is vectorized, so each of its results must have the {size} rows of its (padded) "
                    f"arguments, but one has shape {tuple(output.shape)}. Reduce over rows in torch, or use "
                    "vectorized=False."
                )
        return list(outputs) if n_rows == size else [x[:n_rows] for x in outputs]
