"""CSV files, for the formats that are made of them: the header, one pass over the columns, their time stamps.

A format chooses its columns by the names in the header (`TowerCsv`), reads all of them in one pass (`TowerCsv.read`), and
computes with the result (`CsvColumns`).
"""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import pandas as pd

from ...spelling import did_you_mean
from ..arrays import Series
from ..opening import PREFERENCE, TextFile, text_file
from ..timestamps import check_step, parse_stamps, stamps_from_day_and_hour
from ..tower_dataset import TowerFileError
from .choices import choose_by_share, text_of_choices
from .csv_rows import CollectedRows, CountingFile
from .csv_threads import in_blocks, parse_in_blocks

MISSING = (
    "NA", "NaN", "nan", "NAN", "N/A", "#N/A", "n/a", "NULL", "null", "None", "none", "", " ", "-", "--", "?",
    "1.#QNAN", "-1.#IND",
    "#DIV/0!", "#VALUE!",
)  # fmt: skip
"""Texts that stand for a missing value."""

STAMP_NAMES = ("TIMESTAMP_START", "TIMESTAMP_END")
COUNTED_AT_ONCE = 1 << 20
ROWS_AT_ONCE = 50_000
"""Rows parsed at a time: it bounds the memory, for a file of any length."""

SINGLE_STAMPS = "TIMESTAMP_END or TIMESTAMP_START, or Year, DoY, Hour"


class CsvHeader(NamedTuple):
    """What the first lines of a CSV say.

    Args:
        names: column names, in file order.
        comments: the number of comment lines (`#`) above them.
        both_stamps: rows carry both ends of their interval, as in network files.
        stamp: the first column named TIMESTAMP_END or TIMESTAMP_START, in upper or lower case.
        calendar: the columns of year, day of year and hour, if all three are there.
        above: lines above the header, comments and empty ones.
        delimiter: what separates the columns: a comma, a semicolon or a tab.
        decimal: the decimal mark.
        first_row: the fields of the first row.
        delimiters_above: how often the delimiter stands in the header and above it.
    """

    names: list[str]
    comments: int
    both_stamps: bool
    stamp: str | None
    calendar: tuple[str, str, str] | None
    above: int = 0
    delimiter: str = ","
    decimal: str = "."
    first_row: tuple[str, ...] = ()
    delimiters_above: int = 0


def read_header(path: Path, wanted: Sequence[str] = PREFERENCE) -> CsvHeader | None:
    """The header of a CSV, packed or not (`text_file`): its first line that is no comment. None if the file is no text."""
    try:
        return _header(text_file(path, wanted))
    except TowerFileError:
        return None


def _header(file: TextFile) -> CsvHeader:
    comments, above, lines, skipped = 0, 0, ["", ""], ""
    with file.opened() as content, io.TextIOWrapper(content, encoding=file.encoding, errors="replace") as text:
        for line in text:
            if line.lstrip('"').startswith("#"):
                comments += 1
            elif line.strip(" ,;\t\r\n\ufeff"):
                lines = [line, next(text, "")]
                break
            above, skipped = above + 1, skipped + line
    delimiter = max(",;\t", key=lines[0].count)
    names = [name.strip().strip("\ufeff").strip() for name in _fields(lines[0], delimiter)]
    while len(names) > 1 and not names[-1]:  # what Excel leaves behind the last column
        names.pop()
    year, day, hour = (
        next((name for name in names if name.lower().startswith(prefix)), None) for prefix in ("year", "doy", "hour")
    )
    return CsvHeader(
        names=names,
        comments=comments,
        both_stamps=set(STAMP_NAMES) <= set(names),
        stamp=next((name for name in names if name.upper() in STAMP_NAMES), None),
        calendar=(year, day, hour) if year and day and hour else None,
        above=above,
        delimiter=delimiter,
        decimal="," if delimiter != "," and re.search(r"\d,\d", lines[1]) else ".",
        first_row=tuple(_fields(lines[1], delimiter)),
        delimiters_above=(skipped + lines[0]).count(delimiter),
    )


def _fields(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line.rstrip("\r\n")], delimiter=delimiter, skipinitialspace=True), []) or [""]


class TowerCsv:
    """One CSV on disk: its header, and `read` for its columns. Columns are selected by name; their order does not matter.

    Args:
        path: CSV with one header row; there may be comment lines (`#`) before it. It may be packed (`text_file`).
        utc_offset: hours east of UTC of the site, for time stamps that name a zone.
        wanted: which member of a zip archive to prefer (`text_file`).

    Raises:
        TowerFileError: not a text file, or an archive that cannot be read.
    """

    def __init__(self, path: Path, utc_offset: float | None = None, wanted: Sequence[str] = PREFERENCE):
        self.path = path
        self.file = text_file(path, wanted)
        self.header = _header(self.file)
        self.label = self.file.label
        self._utc_offset = utc_offset

    @property
    def names(self) -> list[str]:
        """Column names, in file order."""
        return self.header.names

    def require(self, name: str) -> str:
        """The name itself, if the file has such a column.

        Raises:
            TowerFileError: there is none; the message has the nearest name.
        """
        if name not in self.header.names:
            raise TowerFileError(f"{self.label} has no column '{name}'.{did_you_mean(name, self.header.names)}")
        return name

    def read(
        self, columns: Iterable[str | None], *, text: Sequence[str] | None = None, missing: Sequence[str] = ()
    ) -> CsvColumns:
        """The given columns and those of the time stamps, in one pass over the file. None among them is left out.

        Args:
            columns: of numbers.
            text: columns to read as text; default: those of the time stamps.
            missing: texts that stand for a missing value, beside the usual ones.

        Raises:
            TowerFileError: a column that is asked for is there twice, rows are longer than the header, or the file is damaged.
        """
        header = self.header
        calendar = (header.calendar or ()) if text is None else ()
        text = [name for name in header.names if name.upper() in STAMP_NAMES] if text is None else list(text)
        wanted = list(dict.fromkeys([*text, *calendar, *(name for name in columns if name)]))
        positions = {name: self._position(name) for name in wanted}
        surplus = header.first_row[len(header.names) :]
        if any(field.strip() for field in surplus):
            raise TowerFileError(
                f"{self.label}: the first row has {len(header.first_row)} fields, the header {len(header.names)} names. Give "
                "every column a name (R: write.csv(..., row.names = FALSE))."
            )
        width = max(len(header.names), len(header.first_row))
        tokens = {name: str(position) for name, position in positions.items()}
        options = dict(
            sep=header.delimiter, decimal=header.decimal, header=None, names=[str(i) for i in range(width)],
            usecols=sorted(tokens.values(), key=int), index_col=False, na_values=[*MISSING, *missing], keep_default_na=False,
            dtype={tokens[name]: str for name in text}, encoding=self.file.encoding, encoding_errors="replace",
            low_memory=False, skipinitialspace=True,
        )  # fmt: skip
        try:
            collected, delimiters = self._rows(lambda: CollectedRows(self.label, tokens, text), options)
        except (pd.errors.ParserError, csv.Error, UnicodeError) as error:
            raise TowerFileError(f"{self.label}: {_in_plain_words(str(error))}") from None
        if delimiters != header.delimiters_above + collected.rows * (len(header.first_row) - 1):
            self._refuse_longer_rows(width)
        return CsvColumns(self.label, header, collected, self._utc_offset)

    def _rows(self, empty: Callable[[], CollectedRows], options: dict[str, Any]) -> tuple[CollectedRows, int]:
        """The rows of the file, and how many delimiters it has."""
        delimiter = self.header.delimiter.encode()
        if in_blocks(self.file):
            collected = empty()
            try:
                return collected, parse_in_blocks(self.file, self.header.above + 1, options, collected.add, delimiter)
            except pd.errors.ParserError:
                pass  # perhaps a quotation that runs over lines: in one piece it may be all right, or is named by its line
        collected = empty()
        with self.file.opened() as content, CountingFile(content, delimiter) as counter:
            try:
                buffered = io.BufferedReader(counter, COUNTED_AT_ONCE)
                skipped = self.header.above + 1
                parts = pd.read_csv(buffered, skiprows=skipped, iterator=True, chunksize=ROWS_AT_ONCE, **options)
                for part in cast("Iterator[pd.DataFrame]", parts):
                    collected.add(part)
            except pd.errors.EmptyDataError:
                pass  # a header without rows: the time stamps say so
            return collected, counter.count

    def _refuse_longer_rows(self, width: int) -> None:
        """Find the row that made the count of delimiters wrong; shorter rows, whose rest is missing, are no fault.

        Raises:
            TowerFileError: a row has fields beyond the header: those in it may be in the wrong columns.
        """
        header = self.header
        with (
            self.file.opened() as content,
            io.TextIOWrapper(content, encoding=self.file.encoding, errors="replace") as text,
        ):
            rows = csv.reader(itertools.islice(text, header.above + 1, None), delimiter=header.delimiter)
            for row, fields in enumerate(filter(None, rows)):
                if any(field.strip() for field in fields[width:]):
                    raise TowerFileError(
                        f"{self.label}: row {row} (line {rows.line_num + header.above + 1}) has {len(fields)} fields, expected "
                        f"{len(header.names)} as in the header. Correct or remove it."
                    )

    def _position(self, name: str) -> int:
        places = [i for i, other in enumerate(self.header.names) if other == name]
        if len(places) > 1:
            numbers = " and ".join(str(place + 1) for place in places)
            raise TowerFileError(
                f"{self.label}: the column '{name}' is there {len(places)} times (columns {numbers}). Remove or rename all but "
                "one."
            )
        return places[0]


def _in_plain_words(message: str) -> str:
    """What pandas' parser says about a damaged CSV, in words that help whoever has the file."""
    if "EOF inside string" in message:
        return 'a quotation mark (") is opened and never closed. Remove it.'
    return "it is no table of equal rows. Correct the rows, or use the file as the network delivers it."


class CsvColumns:
    """Columns of one file in memory, as numbers with missing values as NaN, and as time stamps."""

    def __init__(self, file_name: str, header: CsvHeader, collected: CollectedRows, utc_offset: float | None = None):
        self._file_name = file_name
        self._header = header
        self._collected = collected
        self._utc_offset = utc_offset

    def numbers(self, names: Iterable[str | None]) -> dict[str, Series]:
        """Columns as float64 arrays `[time]`, missing (-9999, empty, NA) as NaN. None among the names is left out.

        Raises:
            TowerFileError: a column holds text.
        """
        wanted = list(dict.fromkeys(name for name in names if name))
        for name in wanted:
            if name in self._collected.unreadable:
                row, text = self._collected.unreadable[name]
                raise TowerFileError(
                    f"{self._file_name}: column '{name}', row {row} holds {text!r}; expected a number "
                    "(or -9999 or nothing where missing)."
                )
        return {name: self._collected.column(name) for name in wanted}

    def texts(self, name: str) -> list[str]:
        """A column that was read as text; nothing where it is empty."""
        return ["" if pd.isna(value) else str(value).strip() for value in self._collected.column(name)]

    def with_data(self, candidates: Mapping[str, Sequence[str]]) -> dict[str, str]:
        """For each variable the candidate that holds numbers in most half-hours (`choose_by_share`)."""
        return choose_by_share(self.numbers, candidates)

    def choices(self, chosen: Mapping[str, str], candidates: Mapping[str, Sequence[str]]) -> list[str]:
        """What was chosen from what, one text for each variable (`text_of_choices`)."""
        return text_of_choices(self.numbers, chosen, candidates)

    def left_out_text(self) -> list[str]:
        """Warnings about rows that were left out: none are."""
        return []

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
            computed = stamps_from_day_and_hour(year, self._whole_days(day, hour, calendar), hour)
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

    def _whole_days(self, day: Series, hour: Series, calendar: tuple[str, str, str]) -> Series:
        """The day of year; one with decimals (day 152.5 at 12 h) holds the hour a second time, which is left away.

        Raises:
            TowerFileError: the decimals are not those of the hour.
        """
        decimals = day % 1.0
        if not decimals.any():
            return day
        off = np.abs(decimals * 24.0 - hour % 24.0)
        wrong = np.flatnonzero(np.minimum(off, 24.0 - off) > 0.1)
        if wrong.size:
            row = int(wrong[0])
            raise TowerFileError(
                f"{self._file_name}: row {row} has {calendar[1]} {day[row]:g} and {calendar[2]} {hour[row]:g}; the "
                "decimals of the "
                f"day are not that hour. Give {calendar[1]} as whole days (1 = 1 January)."
            )
        return np.floor(day + 1e-6)

    def _stamps(self, name: str) -> pd.DatetimeIndex:
        text = pd.Series(self._collected.column(name)).fillna("")
        return parse_stamps(text, f"{self._file_name}, {name}", self._utc_offset)
