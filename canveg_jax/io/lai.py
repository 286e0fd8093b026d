"""Leaf area index from outside the tower file: a number, a series of dates, or a column."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .arrays import Series
from .tower_dataset import Column, TowerFileError

Lai = float | pd.Series | str
"""What a user may give: a constant, a series with dates, or the name of a column; m2 m-2."""


def leaf_area_index(
    lai: float | pd.Series | Column | None, what: str, start: pd.DatetimeIndex, step: pd.Timedelta
) -> Column:
    """Leaf area index `[time]`, one-sided, m2 m-2.

    Args:
        lai: a constant; a `pandas.Series` with dates as index (satellite composites, field surveys), drawn linearly
            between its dates to the middle of every interval and missing outside of them; or a column of the file.
        what: the file and its format, for messages.
        start: `[time]`, start of every interval.
        step: their length.

    Raises:
        TowerFileError: no LAI was given, it is negative or not finite, or the series is unusable.
    """
    if lai is None:
        raise TowerFileError(
            f"{what} has no leaf area index. Give lai=<number>, "
            "lai=<pandas.Series with dates>, or lai='<column>' (m2 m-2, for example MODIS MCD15A3H)."
        )
    if isinstance(lai, Column):
        return lai
    if isinstance(lai, pd.Series):
        return Column(_from_series(lai, start + step / 2), f"lai series of {len(lai)} dates, linear between them")
    value = float(lai)
    if not np.isfinite(value) or value < 0:
        raise TowerFileError(f"lai must be a finite number of at least 0 m2 m-2; got {lai!r}.")
    return Column(np.full(len(start), value), f"constant {value:g}")


def _from_series(lai: pd.Series, middle: pd.DatetimeIndex) -> Series:
    """The series drawn linearly between its dates to the given moments; NaN outside of them."""
    if not isinstance(lai.index, pd.DatetimeIndex) or lai.index.tz is not None:
        raise TowerFileError(
            "lai: the series needs dates without time zone (local standard time) as index, got "
            f"{type(lai.index).__name__}; use pandas.to_datetime on it."
        )
    given = lai.dropna().sort_index()
    if given.empty or given.index.has_duplicates or (given < 0).any():
        raise TowerFileError("lai: the series needs at least one value, each date once, and no negative values.")
    origin = middle[0]
    dates = (given.index - origin) / pd.Timedelta(days=1)
    wanted = (middle - origin) / pd.Timedelta(days=1)
    drawn = np.interp(wanted, dates, given.to_numpy(dtype=float), left=np.nan, right=np.nan)
    return np.asarray(drawn, dtype=np.float64)
