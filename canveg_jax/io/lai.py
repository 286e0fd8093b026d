"""Leaf area index from outside the tower file: a number, a table of dates, or a column."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..forcing import FORCING_TABLE
from .arrays import Series
from .lai_files import read_lai_table
from .tower_dataset import Column, TowerFileError

Lai = float | pd.Series | pd.DataFrame | Mapping[Any, Any] | Sequence[Any] | str | Path
"""What a user may give, m2 m-2: a constant; a table of dates as a series, a frame, a mapping, a list of pairs or the path of a
file (`read_lai_table`); or the name of a column."""

LONGEST_GAP = 30
"""Days between two dates over which a table or a sparse column is drawn linearly; longer gaps stay missing."""

FILL_VALUES = (24.9, 25.5)
"""What MODIS writes where there is no leaf area (249 to 255, scaled by 0.1)."""

LARGEST = FORCING_TABLE["lai"].upper
LARGEST_RAW = 100.0
"""MODIS writes leaf area as whole numbers from 0 to 100, in tenths."""

TABLE_SUFFIXES = (".csv", ".txt", ".xlsx", ".gz", ".zip")


def is_table_file(lai: object) -> bool:
    """Whether this is the path of a table of dates, not the name of a column."""
    return isinstance(lai, Path) or (isinstance(lai, str) and Path(lai).suffix.lower() in TABLE_SUFFIXES)


def leaf_area_index(lai: Lai | Column | None, what: str, start: pd.DatetimeIndex, step: pd.Timedelta) -> Column:
    """Leaf area index `[time]`, one-sided, m2 m-2.

    Args:
        lai: a constant; a table of dates (satellite composites, field surveys), drawn linearly between dates that are at most
            `LONGEST_GAP` days apart to the middle of every interval, missing elsewhere; or a column of the file, whose gaps
            are drawn likewise. Numbers up to 100 that must be tenths (raw MODIS) are divided by ten, and said.
        what: the file and its format, for messages.
        start: `[time]`, start of every interval.
        step: their length.

    Returns:
        The column. Its attributes say how it was made, how many half-hours have none (`samples_missing`) and, as `converted` and
        `gaps`, what `read_tower` warns of.

    Raises:
        TowerFileError: no LAI was given, it is negative or not finite, or the table is unusable.
    """
    if lai is None:
        raise TowerFileError(
            f"{what} has no leaf area index. Give lai=<number>, lai=<a table of dates: pandas.Series, or the path of a "
            "CSV with date,lai or of a MODIS subset>, or lai='<column>' (m2 m-2, for example MODIS MCD15A3H)."
        )
    middle = start + step / 2
    if isinstance(lai, Column):
        return _from_column(lai, middle)
    if isinstance(lai, bool) or not isinstance(lai, (int, float, np.integer, np.floating)):
        table, source = lai_table(lai)
        return _drawn(table, source, middle)
    value = float(lai)
    if not np.isfinite(value) or value < 0:
        raise TowerFileError(f"lai must be a finite number of at least 0 m2 m-2; got {lai!r}.")
    if value > LARGEST:
        raise TowerFileError(
            f"lai must be a number from 0 to {LARGEST:g} m2 m-2; got {value:g}. MODIS numbers are tenths."
        )
    return Column(np.full(len(start), value), f"constant {value:g}")


def lai_table(lai: Any, name: str = "lai") -> tuple[pd.Series, str]:
    """A table of dates (local standard time, increasing) and leaf area or another quantity, and where it is from.

    Args:
        lai: a series or one-column frame with dates as index; a frame with columns of dates and leaf area; a mapping from
            dates; a list of pairs or of mappings with `date` and `lai`; or the path of a file.

    Raises:
        TowerFileError: it is none of these, or holds dates that cannot be read, are there twice, or leaf area below zero.
    """
    if isinstance(lai, str | Path):
        path = Path(lai)
        if not path.is_file():
            raise TowerFileError(
                f"{name}: there is no file '{path}'. Give the path of a CSV with date,{name}, or a number."
            )
        return _clean(read_lai_table(path, name), name), path.name
    if isinstance(lai, pd.DataFrame):
        return _clean(_from_frame(lai, name), name), f"table of {len(lai)} dates"
    if isinstance(lai, pd.Series):
        return _clean(lai, name), f"{name} series of {len(lai)} dates"
    if isinstance(lai, Mapping):
        return _clean(
            pd.Series(list(lai.values()), index=list(lai.keys()), dtype=object), name
        ), f"table of {len(lai)} dates"
    if isinstance(lai, Sequence):
        return _clean(_from_list(lai, name), name), f"table of {len(lai)} dates"
    raise TowerFileError(
        f"{name}: expected a number, a table of dates or the name of a column; got {type(lai).__name__}. An array "
        "has no dates: give a "
        "pandas.Series with dates as index."
    )


def _from_frame(frame: pd.DataFrame, name: str) -> pd.Series:
    if frame.shape[1] == 1:
        return frame.iloc[:, 0]
    dates = next((c for c in frame.columns if str(c).lower() in ("date", "time", "timestamp")), None)
    values = next((c for c in frame.columns if str(c).lower().startswith(name)), None)
    if dates is None or values is None:
        raise TowerFileError(
            f"{name}: the table has the columns {', '.join(map(str, frame.columns))}; expected `date` and `{name}`, "
            "or dates as index and one "
            "column."
        )
    return pd.Series(frame[values].to_numpy(), index=frame[dates].to_numpy())


def _from_list(entries: Sequence[Any], name: str) -> pd.Series:
    dates, values = [], []
    for i, entry in enumerate(entries):
        if isinstance(entry, Mapping) and {"date", name} <= set(entry):
            date, value = entry["date"], entry[name]
        elif isinstance(entry, Sequence) and not isinstance(entry, str) and len(entry) == 2:
            date, value = entry
        elif isinstance(entry, Mapping) and len(entry) == 1:
            ((date, value),) = entry.items()
        else:
            raise TowerFileError(
                f"{name}: entry {i} of the list is {entry!r}; expected [date, number] or {{date: ..., {name}: ...}}."
            )
        dates.append(date)
        values.append(value)
    return pd.Series(values, index=dates, dtype=object)


def _clean(table: pd.Series, name: str) -> pd.Series:
    """Dates as index, increasing, each once; numbers as values; missing ones left out."""
    index = table.index
    if isinstance(index, pd.RangeIndex) or pd.api.types.is_numeric_dtype(index):
        if len(index) and not _years(index):
            raise TowerFileError(
                f"{name}: the series needs dates without time zone (local standard time) as index, got "
                f"{type(table.index).__name__}; use pandas.to_datetime on it."
            )
        index = index.astype(str)
    if not isinstance(index, pd.DatetimeIndex):
        texts = [d.isoformat() if isinstance(d, datetime.date) else str(d) for d in index]
        compact = all(len(t) == 8 and t.isdigit() for t in texts)
        moments = pd.to_datetime(pd.Series(texts), format="%Y%m%d" if compact else "ISO8601", errors="coerce")
        if (bad := np.flatnonzero(moments.isna().to_numpy())).size:
            raise TowerFileError(f"{name}: entry {bad[0]} has the date {texts[bad[0]]!r}; expected YYYY-MM-DD.")
        index = pd.DatetimeIndex(moments)
    if index.tz is not None:
        raise TowerFileError(f"{name}: the series needs dates without time zone (local standard time) as index.")
    values = [_number(value) for value in table]
    lost = [i for i, value in enumerate(values) if value is None]
    if lost:
        raise TowerFileError(f"{name}: entry {lost[0]} holds {table.iloc[lost[0]]!r}; expected a number.")
    numbers = pd.Series(np.asarray(values, dtype=np.float64), index=index)
    kept = numbers.to_numpy() > -900.0  # a code of missing values is none, and NaN compares as false
    given = pd.Series(numbers.to_numpy()[kept], index=index[kept]).sort_index()
    if given.empty or given.index.has_duplicates or (given < 0).any():
        raise TowerFileError(f"{name}: the series needs at least one value, each date once, and no negative values.")
    return given


def _number(value: Any) -> float | None:
    """A number, NaN where it is missing, None where it is something else."""
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, str) and not value.strip()):
        return np.nan
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _years(index: pd.Index) -> bool:
    """Whether whole numbers are dates written as YYYYMMDD."""
    return bool(((index >= 19000101) & (index <= 22000101)).all())


def _drawn(table: pd.Series, source: str, middle: pd.DatetimeIndex) -> Column:
    values, attributes = _in_units(table.to_numpy(dtype=float), source)
    known = np.isfinite(values)
    drawn = interpolated(pd.DatetimeIndex(table.index[known]), values[known], middle, LONGEST_GAP)
    return _reported(Column(drawn, f"{source}, linear between dates", attributes), middle)


def _from_column(column: Column, middle: pd.DatetimeIndex) -> Column:
    """A column of the file: its own numbers, and between them, where they are sparse, lines of up to `LONGEST_GAP` days."""
    values, attributes = _in_units(column.values, f"column {column.source}")
    known = np.isfinite(values)
    if known.all() or not known.any():
        return _reported(Column(values, column.source, {**column.attributes, **attributes}), middle)
    drawn = interpolated(middle[known], values[known], middle, LONGEST_GAP)
    rows = np.flatnonzero(known)
    if (
        len(rows) > 1 and (spacing := int(np.median(np.diff(rows)))) > 1
    ):  # composites: the last one holds for its own length
        last = slice(rows[-1], rows[-1] + min(spacing, round(LONGEST_GAP * (rows[-1] - rows[0]) / _days(middle, rows))))
        drawn[last] = values[rows[-1]]
    filled = int((np.isfinite(drawn) & ~known).sum())
    attributes = {**column.attributes, **attributes, "samples_interpolated": filled}
    return _reported(Column(np.where(known, values, drawn), column.source, attributes), middle)


def _days(middle: pd.DatetimeIndex, rows: np.ndarray) -> float:
    """Days from the first to the last of the rows."""
    times = middle.to_numpy()[rows]
    return float((times[-1] - times[0]) / np.timedelta64(1, "D"))


def _in_units(values: Series, source: str) -> tuple[Series, dict[str, Any]]:
    """Leaf area without fill values and in m2 m-2, and what was done."""
    texts = []
    fill = ((values >= FILL_VALUES[0]) & (values <= FILL_VALUES[1])) | ((values >= 249.0) & (values <= 255.0))
    rest = values[np.isfinite(values) & ~fill]
    if 2 * rest.size < np.isfinite(values).sum():  # so many would not be fill values
        fill, rest = np.zeros(values.shape, dtype=bool), values[np.isfinite(values)]
    raw = (
        rest.size > 0
        and float(np.median(rest)) > LARGEST
        or (rest.size > 0 and float(np.quantile(rest, 0.9)) > 1.5 * LARGEST)
    )
    if raw:
        values = np.where(values > LARGEST_RAW, np.nan, values)
        high = float(np.nanmax(values)) if np.isfinite(values).any() else np.inf
        if not high <= LARGEST_RAW:
            raise TowerFileError(
                f"lai ({source}) reaches {np.max(rest):g}; expected m2 m-2, 0 to {LARGEST:g}. Correct it."
            )
        texts.append(f"{source} reaches {high:g}, which is raw MODIS in tenths of m2 m-2; it was divided by ten")
        values = 0.1 * values
    elif fill.any():
        texts.append(
            f"{source} holds {int(fill.sum())} fill value(s) of MODIS ({values[fill][0]:g}); they count as missing"
        )
        values = np.where(fill, np.nan, values)
    return values, {"converted": "; ".join(texts)} if texts else {}


def _reported(column: Column, middle: pd.DatetimeIndex) -> Column:
    """The column with its gaps as an attribute, if there are any."""
    gaps = ~np.isfinite(column.values)
    if not gaps.any():
        return column
    edges = np.flatnonzero(np.diff(np.concatenate(([0], gaps.astype(np.int8), [0]))))
    spans = [f"{middle[a]:%Y-%m-%d} to {middle[b - 1]:%Y-%m-%d}" for a, b in zip(edges[::2], edges[1::2], strict=True)]
    text = (
        f"leaf area ({column.source}) is missing in {int(gaps.sum())} of {len(gaps)} half-hours, {', '.join(spans[:3])}"
        f"{', ...' if len(spans) > 3 else ''}: dates up to {LONGEST_GAP} days apart are connected, nothing is carried beyond the "
        "first and the last. Add dates"
    )
    return column._replace(attributes={**column.attributes, "samples_missing": int(gaps.sum()), "gaps": text})


def interpolated(dates: pd.DatetimeIndex, values: Series, wanted: pd.DatetimeIndex, longest_gap: float) -> Series:
    """Values of dates drawn linearly to other moments; NaN outside of them and in gaps longer than `longest_gap` days."""
    if not len(dates):
        return np.full(len(wanted), np.nan)
    origin = dates[0]
    x = np.asarray((dates - origin) / pd.Timedelta(days=1), dtype=np.float64)
    t = np.asarray((wanted - origin) / pd.Timedelta(days=1), dtype=np.float64)
    drawn = np.interp(t, x, values, left=np.nan, right=np.nan)
    after = np.clip(np.searchsorted(x, t), 1, max(len(x) - 1, 1))
    if len(x) > 1:
        wide = (x[after] - x[after - 1] > longest_gap) & (t != x[after]) & (t != x[after - 1])
        drawn = np.where(wide, np.nan, drawn)
    return drawn
