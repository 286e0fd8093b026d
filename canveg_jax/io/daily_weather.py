"""Daily means of the weather, so that a network with a memory can look back over days."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

DAILY_DRIVERS = (
    "air_temperature", "shortwave_in", "vapour_pressure_deficit", "soil_water_content", "lai", "precipitation",
)  # fmt: skip
"""Columns of the daily means, in their order; NaN where a file has no precipitation. Units as of `ANTECEDENT_VARIABLES`."""

DAILY = "daily"
"""Name of the daily means: `[day, driver]` in a record, `[time, day, driver]` in a batch."""


def daily_means(drivers: pd.DataFrame) -> xr.DataArray:
    """Means of calendar days, `[day, driver]`, without gaps in the days; NaN where a day has no sample.

    Args:
        drivers: columns of `DAILY_DRIVERS` by time; those that are missing become NaN.
    """
    means = drivers.resample("1D").mean().reindex(columns=list(DAILY_DRIVERS))
    coords = {"day": means.index.to_numpy().astype("datetime64[ns]"), "driver": list(DAILY_DRIVERS)}
    return xr.DataArray(
        means.to_numpy(float), dims=("day", "driver"), coords=coords, attrs={"long_name": "mean of the day"}
    )


def index_of_day(record: xr.Dataset) -> np.ndarray:
    """Which row of `record["daily"]` the day of each half-hour is, `[time]`."""
    first = record["day"].values[0].astype("datetime64[D]")
    return (record["time"].values.astype("datetime64[D]") - first).astype(np.int64)
