"""Canopy height in time, from surveys: a table of dates, or the metadata (BIF) of a tower."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .bif import read_bif
from .lai import interpolated, lai_table
from .opening import archive_members
from .tower_dataset import Column, TowerFileError

LONGEST_GAP = 183
"""Days between two surveys over which the height is drawn linearly."""


def _is_metadata(height: Any) -> bool:
    return isinstance(height, str | Path) and (Path(height).suffix.lower() == ".xlsx" or _is_archive(Path(height)))


def _is_archive(path: Path) -> bool:
    return path.is_file() and bool(archive_members(path))


def canopy_height(height: Any, site: str | None, start: pd.DatetimeIndex, step: pd.Timedelta) -> Column:
    """Canopy height `[time]`, m, missing before the first and after the last survey.

    Args:
        height: a number; a table of dates as for leaf area (`lai_table`); or the path of a BIF (xlsx, or the zip that holds it).
        site: identifier of the site, for a BIF of several.
        start: `[time]`, start of every interval.
        step: their length.

    Raises:
        TowerFileError: the table is unusable, or a height is not between 0 and 100 m.
    """
    if isinstance(height, bool) or not isinstance(height, (int, float, np.integer, np.floating)):
        if _is_metadata(height):
            bif = read_bif(Path(str(height)), site)
            table, source = bif.series("GRP_HEIGHTC", "HEIGHTC"), f"{bif.label}, HEIGHTC"
        else:
            table, source = lai_table(height, "canopy_height")
        values = table.to_numpy(dtype=float)
        drawn = interpolated(pd.DatetimeIndex(table.index), values, start + step / 2, LONGEST_GAP)
    else:
        values = np.array([float(height)])
        drawn, source = np.full(len(start), float(height)), f"constant {float(height):g}"
    if not ((values >= 0.0) & (values <= 100.0)).all():
        raise TowerFileError(
            f"canopy_height ({source}) must be between 0 and 100 m; got {values.min():g} to {values.max():g}."
        )
    return Column(drawn, source)
