"""CSV files, for the formats that are made of them: the header, one pass over the columns, their time stamps.

A format chooses its columns by the names in the header (`TowerCsv`), reads all of them in one pass (`TowerCsv.read`), and
computes with the result (`CsvColumns`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from ...spelling import did_you_mean
from ..arrays import Series
from ..timestamps import check_step, parse_stamps, stamps_from_day_and_hour
from ..tower_dataset import TowerFileError

MISSING = ("-9999", "-9999.0", "-9999.00", "-9999.99", "-6999", "NA", "NaN", "nan", "NAN", "")
STAMP_NAMES = ("TIMESTAMP_START", "TIMESTAMP_END")


class CsvHeader(NamedTuple):
    """What the first lines of a CSV say.

    Args:
        names: column names, in file order.
        comments: the number of comment lines (`#`) above them.
        both_stamps: rows carry both ends of their interval, as in network files.
        stamp: the first column named TIMESTAMP_END or TIMESTAMP_START, in upper or lower case.
        calendar: the columns of year, day of year and hour, if all three are there.
    """

    names: list[str]
    comments: int
    both_stamps: bool
    stamp: str | None
    calendar: tuple[str, str, str] | None


def read_header(path: Path) -> CsvHeader | None:
    """The header of a CSV: its first line that is no comment. None if the file is not UTF-8 text."""
    comments, header = 0, ""
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for line in lines:
                if not line.startswith("#"):
                    header = line
                    break
                comments += 1
    except UnicodeDecodeError:
        return None
    names = [name.strip().strip('"') for name in header.rstrip("\n").split(",")]
    year, day, hour = (
        next((name for name in names if name.lower().startswith(prefix)), None) for prefix in ("year", "doy", "hour")
    )
    return CsvHeader(
        names=names,
        comments=comments,
        both_stamps=set(STAMP_NAMES) <= set(names),
        stamp=next((name for name in names if name.upper() in STAMP_NAMES), None),
        calendar=(year, day, hour) if year and day and hour else None,
    )


class TowerCsv:
    """One CSV on disk: its header, and `read` for its columns. Columns are selected by name; their order does not matter.

    Args:
        path: CSV with one header row; there may be comment lines (`#`) before it.

    Raises:
        TowerFileError: not a text file.
    """

    def __init__(self, path: Path):
        header = read_header(path)
        if header is None:
            raise TowerFileError(f"{path.name}: expected a CSV in UTF-8; it is not a text file.")
        self.path = path
        self.header = header

    def require(self, name: str) -> str:
        """The name itself, if the file has such a column.

        Raises:
            TowerFileError: there is none; the message has the nearest name.
        """
        if name not in self.header.names:
            raise TowerFileError(f"{self.path.name} has no column '{name}'.{did_you_mean(name, self.header.names)}")
        return name

    def read(self, columns: Iterable[str | None]) -> CsvColumns:
        """The given columns and those of the time stamps, in one pass over the file. None among them is left out."""
        header = self.header
        text = [name for name in header.names if name.upper() in STAMP_NAMES]
        wanted = list(dict.fromkeys([*text, *(header.calendar or ()), *(name for name in columns if name)]))
        frame = pd.read_csv(
            self.path, skiprows=header.comments, usecols=[header.names.index(name) for name in wanted],
            names=header.names, header=0, na_values=list(MISSING), keep_default_na=False,
            dtype=dict.fromkeys(text, str), encoding="utf-8-sig", low_memory=False,
        )  # fmt: skip
        return CsvColumns(self.path.name, header, frame)


class CsvColumns:
    """Columns of one file in memory, as numbers with missing values as NaN, and as time stamps."""

    def __init__(self, file_name: str, header: CsvHeader, frame: pd.DataFrame):
        self._file_name = file_name
        self._header = header
        self._frame = frame
        self._numbers: dict[str, Series] = {}

    def numbers(self, names: Iterable[str | None]) -> dict[str, Series]:
        """Columns as float64 arrays `[time]`, missing (-9999, empty, NA) as NaN. None among the names is left out.

        Raises:
            TowerFileError: a column holds text.
        """
        wanted = list(dict.fromkeys(name for name in names if name))
        for name in wanted:
            if name not in self._numbers:
                self._numbers[name] = self._as_numbers(name)
        return {name: self._numbers[name] for name in wanted}

    def _as_numbers(self, name: str) -> Series:
        column = self._frame[name]
        numeric = pd.Series(pd.to_numeric(column, errors="coerce"))
        bad = np.flatnonzero((numeric.isna() & column.notna()).to_numpy())
        if bad.size:
            raise TowerFileError(
                f"{self._file_name}: column '{name}', row {bad[0]} holds {column.iloc[bad[0]]!r}; expected a number "
                "(or -9999 or nothing where missing)."
            )
        values = numeric.to_numpy(dtype=np.float64, copy=True)
        values[values <= -9990.0] = np.nan
        return values

    def with_data(self, candidates: Mapping[str, Sequence[str]]) -> dict[str, str]:
        """For each variable the first of its candidates that holds any number; if none does, the first.

        Variables without candidates are left out.
        """
        numbers = self.numbers(name for names in candidates.values() for name in names)
        return {
            variable: next((name for name in names if np.isfinite(numbers[name]).any()), names[0])
            for variable, names in candidates.items()
            if names
        }

    def intervals(self) -> tuple[pd.DatetimeIndex, pd.Timedelta]:
        """Start of every interval and the step, from TIMESTAMP_START and TIMESTAMP_END.

        Raises:
            ValueError: stamps that cannot be read, or are no regular series (`check_step`).
            TowerFileError: the two stamps of a row are not one step apart.
        """
        start, end = (self._stamps(name) for name in STAMP_NAMES)
        step = check_step(start, self._file_name)
        wrong = np.flatnonzero(end - start != step)
        if wrong.size:
            row = int(wrong[0])
            raise TowerFileError(
                f"{self._file_name}: row {row} runs from {start[row]} to {end[row]}, but rows are {step} apart; "
                "TIMESTAMP_START and TIMESTAMP_END must be one step apart. Use the file as the network delivers it."
            )
        return start, step

    def single_stamps(self) -> tuple[pd.DatetimeIndex, Literal["start", "end"]] | None:
        """The only time stamp of a row, and which end of the interval the file says it is; None without any.

        Taken from TIMESTAMP_END or TIMESTAMP_START, else from Year, DoY and Hour (then `end`).

        Raises:
            ValueError: stamps that cannot be read.
            TowerFileError: Year, DoY and Hour are not in every row, or contradict the stamp.
        """
        name, calendar = self._header.stamp, self._header.calendar
        computed = None
        if calendar:
            year, day, hour = self.numbers(calendar).values()
            if not (np.isfinite(year) & np.isfinite(day) & np.isfinite(hour)).all():
                raise TowerFileError(f"{self._file_name}: {', '.join(calendar)} must be there in every row.")
            computed = stamps_from_day_and_hour(year, day, hour)
        if name is None:
            return None if computed is None else (computed, "end")
        stamps = self._stamps(name)
        if computed is not None and (stamps != computed).any():
            row = int(np.flatnonzero(stamps != computed)[0])
            raise TowerFileError(
                f"{self._file_name}: row {row} has {name} {stamps[row]}, but {', '.join(calendar or ())} say "
                f"{computed[row]}. Correct one of them, or remove the three columns."
            )
        return stamps, "start" if name.upper() == "TIMESTAMP_START" else "end"

    def _stamps(self, name: str) -> pd.DatetimeIndex:
        return parse_stamps(pd.Series(self._frame[name]).fillna(""), f"{self._file_name}, {name}")
