"""Rows of a CSV on their way into memory: what passes is counted, and parts are put one below the other."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import IO, Any

import numpy as np
import pandas as pd

LARGEST_MISSING_CODE = -6900.0
"""Numbers up to this one are codes of missing values (-6999, -7777, -9999 and their kind): nothing that a tower measures is."""


class CountingFile(io.RawIOBase):
    """A binary file that counts the delimiters that pass: pandas drops fields beyond the header without a word."""

    def __init__(self, content: IO[bytes], delimiter: bytes):
        super().__init__()
        self._content, self._delimiter = content, delimiter
        self.count = 0

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Pass the next bytes on."""
        data = self._content.read(len(buffer))
        self.count += data.count(self._delimiter)
        buffer[: len(data)] = data
        return len(data)


class CollectedRows:
    """Parts of a file put one below the other: numbers as float64, stamps as text."""

    def __init__(self, label: str, tokens: Mapping[str, str], text: Sequence[str]):
        self.label, self._tokens, self.text = label, tokens, list(text)
        self._parts: dict[str, list[Any]] = {name: [] for name in tokens}
        self.unreadable: dict[str, tuple[int, Any]] = {}
        self.rows = 0

    def add(self, part: pd.DataFrame) -> None:
        """Take the columns of the next rows; the first text in a column of numbers is remembered with its row."""
        for name, token in self._tokens.items():
            column = part[token]
            if name in self.text:
                self._parts[name].append(column.astype("object").to_numpy())
                continue
            if column.dtype.kind in "fiu":
                values = column.to_numpy(dtype=np.float64, copy=True)
            else:
                numeric = pd.Series(pd.to_numeric(column, errors="coerce"))
                bad = np.flatnonzero((numeric.isna() & column.notna()).to_numpy())
                if bad.size and name not in self.unreadable:
                    self.unreadable[name] = (self.rows + int(bad[0]), column.iloc[bad[0]])
                values = numeric.to_numpy(dtype=np.float64, copy=True)
            values[~np.isfinite(values) | (values <= LARGEST_MISSING_CODE)] = np.nan
            self._parts[name].append(values)
        self.rows += len(part)

    def column(self, name: str) -> np.ndarray:
        """The whole column, without the empty rows that spreadsheets leave at the end."""
        parts = self._parts[name]
        if len(parts) != 1:
            empty = np.empty(0, dtype=object if name in self.text else np.float64)
            parts[:] = [np.concatenate(parts) if parts else empty]
        return parts[0][: self._used()]

    def _used(self) -> int:
        """Rows up to the last one that has a time stamp; all, if there is no column of stamps."""
        if not self.text:
            return self.rows
        used, ends = self.rows, [self._parts[name][-1] for name in self.text if self._parts[name]]
        last = len(ends[0]) if ends else 0
        while last and all(pd.isna(end[last - 1]) or end[last - 1] == "\x1a" for end in ends):
            last, used = last - 1, used - 1
        return used
