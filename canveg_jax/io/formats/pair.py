"""Two CSVs of the same time stamps as one table: weather in one file, fluxes in the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from ...spelling import did_you_mean
from ..arrays import Series
from ..timestamps import check_step
from ..tower_dataset import TowerFileError
from .choices import choose_by_share, text_of_choices
from .csv import CsvColumns, TowerCsv


class CsvPair:
    """Two files as if they were one. A column that both have is read from the first.

    Half-hours that only one file has are left out; there must be some that both have.
    """

    def __init__(self, first: TowerCsv, second: TowerCsv):
        self.files = (first, second)
        self.names = [*first.header.names, *(n for n in second.header.names if n not in first.header.names)]
        self.label = f"{first.label} with {second.label}"

    def require(self, name: str) -> str:
        """The name itself, if one of the files has such a column.

        Raises:
            TowerFileError: none has; the message has the nearest name.
        """
        if name not in self.names:
            raise TowerFileError(f"{self.label} have no column '{name}'.{did_you_mean(name, self.names)}")
        return name

    def read(self, columns: Iterable[str | None]) -> PairColumns:
        """The given columns, each file in one pass."""
        first, second = self.files
        wanted = list(dict.fromkeys(name for name in columns if name))
        own = [name for name in wanted if name in first.header.names]
        others = [name for name in wanted if name not in own]
        return PairColumns((first.read(own), own), (second.read(others), others), self.label)


class PairColumns:
    """Columns of two files, on the half-hours that both have."""

    def __init__(self, first: tuple[CsvColumns, list[str]], second: tuple[CsvColumns, list[str]], label: str):
        (one, self._own), (two, _) = first, second
        self._tables = (one, two)
        (start, self._step), (other, step) = one.intervals(), two.intervals()
        common = start.intersection(other)
        if step != self._step or common.empty:
            raise TowerFileError(
                f"{label}: expected two files of the same half-hours; one runs from {start[0]} to {start[-1]}, the other from "
                f"{other[0]} to {other[-1]}. Give files of one period."
            )
        self._rows = (start.get_indexer(common), other.get_indexer(common))
        self._start = pd.DatetimeIndex(common)
        if len(common) > 1:
            check_step(self._start, label)
        self._left_out = len(start.union(other)) - len(common)
        self._label = label

    def intervals(self) -> tuple[pd.DatetimeIndex, pd.Timedelta]:
        """Start of every interval that both files have, and the step."""
        return self._start, self._step

    def left_out_text(self) -> list[str]:
        """A warning about half-hours that only one of the files has; none where both have all."""
        if not self._left_out:
            return []
        return [f"{self._label}: {self._left_out} half-hours that only one of the two files has are left out."]

    def numbers(self, names: Iterable[str | None]) -> dict[str, Series]:
        """Columns as float64 arrays `[time]`; see `CsvColumns.numbers`."""
        result = {}
        for name in dict.fromkeys(name for name in names if name):
            index = 0 if name in self._own else 1
            result[name] = np.asarray(self._tables[index].numbers([name])[name][self._rows[index]], dtype=np.float64)
        return result

    def with_data(self, candidates: Mapping[str, Sequence[str]]) -> dict[str, str]:
        """For each variable the candidate with most numbers; see `CsvColumns.with_data`."""
        return choose_by_share(self.numbers, candidates)

    def choices(self, chosen: Mapping[str, str], candidates: Mapping[str, Sequence[str]]) -> list[str]:
        """What was chosen from what; see `CsvColumns.choices`."""
        return text_of_choices(self.numbers, chosen, candidates)
