"""Files with leaf area by date: a CSV of one's own, a MODIS subset as ORNL delivers it, or the metadata (BIF) of a tower."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .bif import read_bif
from .opening import text_file
from .tower_dataset import TowerFileError

MODIS_DATE = re.compile(r"A(\d{4})(\d{3})")
NUMBER = re.compile(r"[+-]?\d*\.?\d+(?:[eE][+-]?\d+)?|\d+\.")
MODIS_SCALE = 0.1
MODIS_FILL = 249.0
"""The numbers from here to 255 say why there is none."""

GOOD_QUALITY = 0b1
"""Bit of FparLai_QC that is zero where the main algorithm made the number."""

FIRST_PIXEL = 5
"""Columns before the pixels: granule, product, date, place, time of processing."""


def read_lai_table(path: Path, quantity: str = "lai") -> pd.Series:
    """Leaf area index (m2 m-2) or another quantity by date from a file.

    * A MODIS subset of ORNL's fixed sites (no header; a date `AYYYYDDD` in the third column, then 17 x 17 pixels): the pixel
    of the
      tower, else the mean of its eight neighbours. Whole numbers are tenths, 249 to 255 are no numbers; rows of `FparLai_QC`
      in the same file remove what the backup algorithm made. A running median over three composites takes single clouds away.
    * A BIF (xlsx or CSV with SITE_ID, GROUP_ID, ...): the means of GRP_LAI.
    * Any other CSV: columns `date` (or time, timestamp) and `lai` (or what begins with it).

    Raises:
        TowerFileError: no such columns, or no usable row; the message says what was expected.
    """
    if path.suffix.lower() == ".xlsx":
        return read_bif(path).series("GRP_LAI", "LAI")
    file = text_file(path)
    with file.opened() as content, io.TextIOWrapper(content, encoding=file.encoding, errors="replace") as text:
        lines = [line for line in text.read().splitlines() if line.strip() and not line.startswith("#")]
    delimiter = max(",;\t", key=lines[0].count) if lines else ","
    rows = [[field.strip() for field in row] for row in csv.reader(lines, delimiter=delimiter)]
    if not rows:
        raise TowerFileError(f"{path.name}: the table of leaf area is empty. Give a CSV with the columns date,lai.")
    if {"SITE_ID", "GROUP_ID", "DATAVALUE"} <= set(rows[0]):
        return read_bif(path).series("GRP_LAI", "LAI")
    modis = [row for row in rows if len(row) > FIRST_PIXEL and MODIS_DATE.fullmatch(row[2])]
    return _modis(modis, path.name) if modis else _own(rows, path.name, quantity)


def _own(rows: list[list[str]], name: str, quantity: str) -> pd.Series:
    lower = [field.lower() for field in rows[0]]
    date = next((i for i, f in enumerate(lower) if f in ("date", "time", "timestamp", "datetime")), None)
    value = next((i for i, f in enumerate(lower) if f.startswith(quantity)), None)
    if date is None or value is None:
        raise TowerFileError(
            f"{name}: expected a table with the columns date and {quantity}, or a MODIS subset of ORNL; its columns are "
            f"{', '.join(rows[0][:8])}."
        )
    kept = [row for row in rows[1:] if len(row) > max(date, value)]
    texts = [None if row[value] in ("", "NA", "NaN", "nan") else row[value] for row in kept]
    return pd.Series(texts, index=[row[date] for row in kept], dtype=object)


def _modis(rows: list[list[str]], name: str) -> pd.Series:
    """Leaf area of the central pixel, `[composite]`."""
    quality = {row[2]: _centre(_pixels(row)) for row in rows if "FparLai_QC" in row[0]}
    lai_rows = [row for row in rows if "Lai" in row[0] and "QC" not in row[0] and "StdDev" not in row[0]] or [
        row for row in rows if not re.search(r"Fpar|QC|StdDev", row[0])
    ]
    values: dict[Any, float] = {}
    raw = [_pixels(row) for row in lai_rows]
    known = np.concatenate([p[np.isfinite(p) & (p < MODIS_FILL)] for p in raw]) if raw else np.empty(0)
    scale = MODIS_SCALE if known.size and np.all(known == np.round(known)) and known.max() > 12.0 else 1.0
    if known.size and scale == 1.0 and np.all(known == np.round(known)) and (known > 0).any() and not _scaled(name):
        scale = MODIS_SCALE  # whole numbers are tenths, in a sparse place too
    for row, pixels in zip(lai_rows, raw, strict=True):
        flag = quality.get(row[2])
        if flag is not None and np.isfinite(flag) and int(flag) & GOOD_QUALITY:
            continue
        value = _centre(np.where(pixels >= (MODIS_FILL if scale < 1 else 0.1 * MODIS_FILL), np.nan, pixels))
        if np.isfinite(value):
            found = MODIS_DATE.fullmatch(row[2])
            assert found is not None
            day = pd.to_datetime(found[1] + found[2], format="%Y%j")
            values[day] = scale * value
    if not values:
        raise TowerFileError(
            f"{name}: a MODIS subset of {len(rows)} rows without one usable leaf area (249 to 255 and poor quality are none). "
            "Take another period, or give a number."
        )
    series = pd.Series(values).sort_index()
    return pd.Series(series.rolling(3, center=True, min_periods=1).median())


def _scaled(name: str) -> bool:
    return "scaled" in name.lower()


def _pixels(row: list[str]) -> np.ndarray:
    return np.array([float(text) if NUMBER.fullmatch(text) else np.nan for text in row[FIRST_PIXEL:]])


def _centre(pixels: np.ndarray) -> float:
    """The pixel in the middle of a square; where it is missing, the mean of its neighbours; NaN without any."""
    side = int(np.sqrt(pixels.size))
    square = pixels[: side * side].reshape(side, side)
    middle = side // 2
    if np.isfinite(square[middle, middle]):
        return float(square[middle, middle])
    around = square[max(middle - 1, 0) : middle + 2, max(middle - 1, 0) : middle + 2]
    there = around[np.isfinite(around)]
    return float(there.mean()) if there.size else np.nan
