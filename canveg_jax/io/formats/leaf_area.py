"""Leaf area of a file that may hold it as a column, for all formats: which column is read, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd

from ..arrays import Series
from ..lai import Lai, is_table_file, leaf_area_index
from ..tower_dataset import Column
from .base import ReadOptions


def lai_column(options: ReadOptions, require: Callable[[str], str], default: str | None = None) -> str | None:
    """The column of leaf area that is to be read: the user's, else `default`; None if leaf area is no column.

    Args:
        options: of the reader.
        require: gives a name back if the file has such a column, and refuses it otherwise.
        default: the column of the file that holds leaf area.

    Raises:
        TowerFileError: there is no such column.
    """
    lai = chosen_lai(options)
    if lai is None:
        return default
    return require(lai) if isinstance(lai, str) and not is_table_file(lai) else None


def chosen_lai(options: ReadOptions) -> Lai | None:
    """What the user says about leaf area: `lai`, else the column chosen for it."""
    return options.columns.get("lai") if options.lai is None else options.lai


def leaf_area(
    options: ReadOptions,
    column: str | None,
    numbers: Mapping[str, Series],
    what: str,
    start: pd.DatetimeIndex,
    step: pd.Timedelta,
) -> Column:
    """Leaf area `[time]` from the column that `lai_column` named, or from what the user gave (`leaf_area_index`)."""
    given = Column(numbers[column], column) if column is not None else chosen_lai(options)
    return leaf_area_index(given, what, start, step)
