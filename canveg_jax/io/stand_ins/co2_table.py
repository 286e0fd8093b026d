"""CO2 of the air from the annual means over all oceans."""

from __future__ import annotations

import numpy as np

from ..arrays import Series
from .base import Made, Record, StandIn

FIRST_YEAR = 1979
ANNUAL_MEANS = (
    336.9, 338.9, 340.1, 340.9, 342.5, 344.1, 345.5, 347.0, 348.7, 351.2,
    352.8, 354.1, 355.4, 356.1, 356.8, 358.3, 360.2, 361.9, 363.0, 365.7,
    367.8, 369.0, 370.6, 372.6, 375.1, 377.0, 379.0, 381.2, 382.9, 385.0,
    386.5, 388.8, 390.6, 392.7, 395.4, 397.3, 399.7, 403.1, 405.2, 407.6,
    410.1, 412.4, 414.7, 417.1, 419.4, 422.8,
)  # fmt: skip
"""Mole fraction of dry air, umol mol-1, of each year from `FIRST_YEAR` on: means over the marine surface [Lan2025]."""

GROWTH = 2.5
"""umol mol-1 a year, for years after the table: the mean of its last ten."""


def annual_mean(year: np.ndarray) -> Series:
    """CO2 `[time]`, umol mol-1, of calendar years `[time]`; after the table with `GROWTH`, missing before it."""
    index = np.asarray(year) - FIRST_YEAR
    last = len(ANNUAL_MEANS) - 1
    known = np.asarray(ANNUAL_MEANS)[np.clip(index, 0, last)]
    return np.where(index < 0, np.nan, known + GROWTH * np.maximum(index - last, 0))


def make(record: Record) -> Made:
    """Of the year of each half-hour; see `annual_mean`. It knows neither season nor place nor the night beneath an inversion."""
    years = record.start.year.to_numpy()
    beyond = years.max() - (FIRST_YEAR + len(ANNUAL_MEANS) - 1)
    remarks = (f"years after {FIRST_YEAR + len(ANNUAL_MEANS) - 1} are extrapolated",) if beyond > 0 else ()
    return Made(annual_mean(years), remarks=remarks)


ANNUAL_TABLE = StandIn(
    variable="co2",
    method="annual_table",
    meaning="global mean of the year",
    make=make,
)
