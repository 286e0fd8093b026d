"""Time stamps of tower files: parsing, the step, and the middle of the interval.

All times are local standard time without daylight saving, as the networks deliver them; nothing is shifted to UTC.
"""

from __future__ import annotations

import re
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from .arrays import Series

HALF_HOUR = cast(pd.Timedelta, pd.Timedelta(minutes=30))  # pandas' stubs allow NaT here
HOUR = cast(pd.Timedelta, pd.Timedelta(minutes=60))
ALLOWED_STEPS = (HALF_HOUR, HOUR)


COMPACT = r"\d{12}(?:\d{2})?"
"""`YYYYMMDDHHMM`, perhaps with seconds."""

WITH_ZONE = r".*\d[T ]\d.*(?:Z|[+-]\d{2}:?\d{2})"


def parse_stamps(text: pd.Series, what: str, utc_offset: float | None = None) -> pd.DatetimeIndex:
    """Time stamps written `YYYYMMDDHHMM[SS]` (networks) or ISO `YYYY-MM-DD HH:MM[:SS]` (prepared files).

    Midnight may be written as 2400 of the day before. Stamps with a zone (`Z`, `+01:00`) are brought to local standard time.

    Args:
        text: `[time]`.
        what: file and column, for messages.
        utc_offset: hours east of UTC of the site's standard time; needed for stamps with a zone.

    Raises:
        ValueError: a stamp cannot be read, or names a zone while `utc_offset` is unknown; the message names the file column, the
            row and the text.
    """
    quick = _twelve_digits(text)
    if quick is not None:
        return quick
    stamps = text.astype("string").str.strip().str.removesuffix(".0")
    if len(stamps) and stamps.str.contains("e+", regex=False).any():
        stamps = stamps.map(_without_exponent)
    compact = stamps.str.fullmatch(COMPACT).fillna(False).to_numpy(dtype=bool)
    parsed = pd.Series(pd.NaT, index=stamps.index, dtype="datetime64[ns]")
    digits = stamps[compact].str.slice(0, 12)
    late = digits.str.endswith("2400").to_numpy(dtype=bool)
    if late.any():
        digits = digits.where(~late, digits.str.slice(0, 8) + "0000")
    moments = pd.to_datetime(digits, format="%Y%m%d%H%M", errors="coerce")
    parsed[compact] = moments + pd.to_timedelta(late.astype(int), unit="D") if late.any() else moments
    others = stamps[~compact]
    zoned = others.str.fullmatch(WITH_ZONE).fillna(False).to_numpy(dtype=bool)
    if zoned.any():
        row = others.index[np.flatnonzero(zoned)[0]]
        if utc_offset is None:
            raise ValueError(
                f"{what}: row {row} has the time stamp {text.iloc[row]!r} with a time zone; expected local standard "
                "time. Give the "
                "site (with its utc_offset), so that stamps can be converted, or write them as YYYYMMDDHHMM in local "
                "standard time."
            )
        moments = pd.to_datetime(others[zoned], format="ISO8601", errors="coerce", utc=True).dt.tz_localize(None)
        parsed[others.index[zoned]] = moments + pd.Timedelta(hours=utc_offset)
        others = others[~zoned]
    others = others[others.str.match(r"\d{4}-\d{2}-\d{2}").fillna(False).to_numpy(dtype=bool)]
    parsed[others.index] = pd.to_datetime(others, format="ISO8601", errors="coerce")
    bad = np.flatnonzero(parsed.isna().to_numpy())
    if bad.size:
        raise ValueError(
            f"{what}: row {bad[0]} has the time stamp {str(text.iloc[bad[0]])[:40]!r}; expected YYYYMMDDHHMM or "
            f"YYYY-MM-DD HH:MM. Correct or remove the {bad.size} row(s) that cannot be read"
            f"{'; is it a row of units?' if bad.tolist() == [0] and len(parsed) > 1 else '.'}"
        )
    return pd.DatetimeIndex(parsed)


def _twelve_digits(text: pd.Series) -> pd.DatetimeIndex | None:
    """Stamps that are `YYYYMMDDHHMM` throughout, as networks write them, by arithmetic on the digits; None for any others."""
    if not len(text):
        return None
    try:
        written = np.asarray(text.to_numpy(dtype=object), dtype="S")
    except UnicodeEncodeError:
        return None
    if written.dtype.itemsize != 12:
        return None
    digits = written.view(np.uint8).reshape(len(written), 12).astype(np.int64) - ord("0")
    if digits.min() < 0 or digits.max() > 9:
        return None
    year, month, day, hour, minute = (
        digits[:, part] @ (10 ** np.arange(part.stop - part.start - 1, -1, -1))
        for part in (slice(0, 4), slice(4, 6), slice(6, 8), slice(8, 10), slice(10, 12))
    )
    if ((month < 1) | (month > 12) | (day < 1) | (hour > 23) | (minute > 59)).any():
        return None
    months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + (day - 1)
    if (days.astype("datetime64[M]") != months).any():  # 31 February
        return None
    return pd.DatetimeIndex(days.astype("datetime64[ns]") + (hour * 60 + minute).astype("timedelta64[m]"))


def _without_exponent(text: object) -> object:
    """`2.01906010030e+11` as twelve digits, if all of them are there; a spreadsheet that rounded them away cannot be helped."""
    found = re.fullmatch(r"(\d)\.(\d{11})0*e\+11", str(text))
    return found[1] + found[2] if found else text


def stamps_from_day_and_hour(year: ArrayLike, day_of_year: ArrayLike, hour: ArrayLike) -> pd.DatetimeIndex:
    """Time stamps `[time]` from the columns year, day of year (1 = 1 January) and decimal hour (0..24), each `[time]`."""
    start = pd.to_datetime(pd.Series(np.asarray(year, dtype=int)).astype(str) + "-01-01", format="%Y-%m-%d")
    minutes = np.rint(np.asarray(hour, dtype=float) * 60.0)
    days = np.asarray(day_of_year, dtype=float) - 1.0
    return pd.DatetimeIndex(start) + pd.to_timedelta(days, unit="D") + pd.to_timedelta(minutes, unit="min")


def check_step(stamps: pd.DatetimeIndex, what: str) -> pd.Timedelta:
    """The step between stamps, after checking that there is exactly one.

    Raises:
        ValueError: fewer than two rows, a stamp twice, stamps out of order, unequal steps, or a step that is neither
            30 nor 60 minutes. The message names the first row and its stamps.
    """
    if len(stamps) < 2:
        raise ValueError(f"{what}: {len(stamps)} row(s); at least two are needed to infer the time step.")
    duplicated = np.flatnonzero(stamps.duplicated())
    if duplicated.size:
        raise ValueError(
            f"{what}: time stamp {stamps[duplicated[0]]} is there twice (again in row {duplicated[0]}; "
            f"{duplicated.size} duplicate(s) in all). Remove the duplicates; if they fall on a change of "
            "daylight saving time, convert the stamps to standard time."
        )
    steps = np.diff(stamps.to_numpy())
    backward = np.flatnonzero(steps < np.timedelta64(0, "ns"))
    if backward.size:
        row = int(backward[0]) + 1
        raise ValueError(f"{what}: row {row} ({stamps[row]}) is earlier than the row before it. Sort the rows by time.")
    step = pd.Timedelta(np.min(steps))
    unequal = np.flatnonzero(steps != np.min(steps))
    if unequal.size:
        row = int(unequal[0]) + 1
        raise ValueError(
            f"{what}: steps must be equal; row {row} comes {pd.Timedelta(steps[row - 1])} after {stamps[row - 1]}, "
            f"other rows {step} ({unequal.size} unequal step(s)). Insert the missing rows with empty values."
        )
    if not isinstance(step, pd.Timedelta) or step not in ALLOWED_STEPS:
        raise ValueError(
            f"{what}: the time step is {step}; expected 30 or 60 minutes (daily to yearly files cannot drive it)."
        )
    return step


def middle_of_interval(start: pd.DatetimeIndex, step: pd.Timedelta) -> tuple[Series, Series]:
    """Day of year (whole) and decimal hour of the middle of each interval, both `[time]`.

    The half-hour that ends on 1 January 00:00 has its middle on 31 December 23:45: day 365 or 366, hour 23.75.
    """
    middle = start + step / 2
    hour = middle.hour + middle.minute / 60.0 + middle.second / 3600.0
    return middle.day_of_year.to_numpy(dtype=np.float64), np.asarray(hour, dtype=np.float64)
