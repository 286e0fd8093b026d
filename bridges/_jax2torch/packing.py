"""Many small arrays as a few buffers: a residual costs some ten microseconds to keep, whatever its size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

SMALL = 4096
"""Elements; larger arrays are kept as they are, since packing copies."""


class Packing:
    """Where each of a list of arrays lies after packing; small ones of the same dtype share a buffer.

    Args:
        arrays: the arrays, or their shapes and dtypes.
    """

    def __init__(self, arrays: Sequence):
        self._arrays = [(tuple(a.shape), a.size) for a in arrays]
        groups: dict[Any, list[int]] = {}
        for i, array in enumerate(arrays):
            groups.setdefault(array.dtype if array.size <= SMALL else i, []).append(i)
        self._groups = list(groups.values())

    def pack(self, arrays: Sequence) -> list:
        """The buffers of the arrays."""
        return [
            arrays[group[0]] if len(group) == 1 else jnp.concatenate([arrays[i].ravel() for i in group])
            for group in self._groups
        ]

    def unpack(self, buffers: Sequence) -> list:
        """The arrays of the buffers."""
        arrays: list = [None] * len(self._arrays)
        for group, buffer in zip(self._groups, buffers, strict=True):
            if len(group) == 1:
                arrays[group[0]] = buffer
                continue
            start = 0
            for i in group:
                shape, size = self._arrays[i]
                arrays[i] = buffer[start : start + size].reshape(shape)
                start += size
        return arrays
