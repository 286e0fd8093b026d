"""Batches padded to a few sizes, so that a ragged last batch does not compile a function again."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..errors import ConversionError


class Rows:
    """Padding of the rows (first axis) of the tensors of a function whose rows do not interact."""

    def __init__(self, name: str):
        self.name = name

    @staticmethod
    def size(n_rows: int) -> int:
        """Number of rows that `n_rows` are padded to: a power of two up to 256, then a multiple of 256."""
        return 1 << max(n_rows - 1, 0).bit_length() if n_rows <= 256 else -(-n_rows // 256) * 256

    def pad(self, tensors: Sequence[torch.Tensor], carries: Sequence[bool] | None) -> tuple[list[torch.Tensor], int]:
        """Repeat the last row until the number of rows is one of the sizes.

        Args:
            tensors: all tensors of a call.
            carries: which of them have rows; None: all that have an axis.

        Returns:
            The padded tensors and the number of true rows.

        Raises:
            ConversionError: tensors with different numbers of rows, or none with rows.
        """
        carries = [t.dim() > 0 for t in tensors] if carries is None else carries
        numbers = {t.shape[0] if t.dim() else None for t, c in zip(tensors, carries, strict=True) if c}
        if len(numbers) != 1 or not (n_rows := numbers.pop()):
            raise ConversionError(
                f"{self.name} is vectorized and expects tensors with one common number of rows (first axis), at least "
                f"1, got shapes {[tuple(t.shape) for t, c in zip(tensors, carries, strict=True) if c]}. Name the "
                "arguments that carry rows: jax2torch(..., vectorized=('x', ...))."
            )
        extra = self.size(n_rows) - n_rows
        if not extra:
            return list(tensors), n_rows
        return [
            torch.cat((t, t[-1:].expand(extra, *t.shape[1:]))) if c else t
            for t, c in zip(tensors, carries, strict=True)
        ], n_rows

    def cut(self, outputs: Sequence[torch.Tensor], n_rows: int, size: int) -> list[torch.Tensor]:
        """The outputs without the padding.

        Raises:
            ConversionError: an output has no rows, so the padding may have entered it.
        """
        for output in outputs:
            if output.dim() == 0 or output.shape[0] != size:
                raise ConversionError(
                    f"{self.name} is vectorized, so each of its results must have the {size} rows of its (padded) "
                    f"arguments, but one has shape {tuple(output.shape)}. Reduce over rows in torch, or use "
                    "vectorized=False."
                )
        return list(outputs) if n_rows == size else [x[:n_rows] for x in outputs]
