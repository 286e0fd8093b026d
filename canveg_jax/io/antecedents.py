"""What the weather was before a half-hour: running means of its drivers, as columns of the tower dataset.

They are made from the forcing of the whole record in time order, never from a flux, so nothing that is to be predicted leaks
into them; each half-hour carries its own past, so batches may still be shuffled.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from ..forcing import FORCING_TABLE
from ..physics.saturation import saturation_vapour_pressure_hpa
from .daily_weather import DAILY, daily_means

ANTECEDENT_DAYS = (1, 7, 30)
"""Lengths of the windows, in days."""

ANTECEDENT_VARIABLES: dict[str, str] = {
    "air_temperature": "degC", "shortwave_in": "W m-2", "vapour_pressure_deficit": "kPa", "soil_water_content": "m3 m-3",
    "lai": "m2 m-2", "precipitation": "mm",
}  # fmt: skip
"""Drivers that have running means, and their units; precipitation only where the file has it."""

FORCING_OF_DRIVERS = ("air_temperature", "shortwave_in", "vapour_pressure", "soil_water_content", "lai")

SLOPE_DAYS = 7
"""The slope of a driver is its value minus its mean over so many days."""


def antecedent_name(variable: str, days: int) -> str:
    """Name of the running mean of a driver: `air_temperature_7d`."""
    return f"{variable}_{days}d"


def slope_name(variable: str) -> str:
    """Name of the deviation of a driver from its mean over the last week: `air_temperature_slope`."""
    return f"{variable}_slope"


ANTECEDENTS: dict[str, str] = {
    **{antecedent_name(v, days): unit for v, unit in ANTECEDENT_VARIABLES.items() for days in ANTECEDENT_DAYS},
    **{slope_name(v): unit for v, unit in ANTECEDENT_VARIABLES.items()},
}
"""Name and unit of every antecedent column."""


def with_antecedents(records: Sequence[xr.Dataset]) -> list[xr.Dataset]:
    """The records of one tower, each with its `ANTECEDENTS`, and the daily means of all of them (`daily_weather`).

    The running mean of a half-hour covers the window that ends with it, gaps skipped; at the start of a record the window is as
    long as the record so far. Records that follow each other in time (a training and a test file) are one record here: the
    first half-hour of the second knows the last of the first. Where a window holds no sample at all the mean of the record
    stands. The share of samples that were there is the attribute `share_present` of each column.

    Args:
        records: datasets as `read_tower` makes them, of one tower, each with increasing time.
    """
    order = np.argsort([record["time"].values[0] for record in records])
    series = [_drivers(records[i]) for i in order]
    joined = pd.concat(series)
    overlap = not joined.index.is_monotonic_increasing
    if overlap and len(records) > 1:  # then they do not continue each other
        return [with_antecedents([record])[0] for record in records]
    in_a_day = pd.Timedelta(days=1) / pd.Series(joined.index).diff().median() if len(joined) > 1 else 48.0
    means, shares = {}, {}
    for name in joined.columns:
        values = joined[name]
        overall = values.mean()
        for days in ANTECEDENT_DAYS:
            window = values.rolling(f"{days}D", min_periods=1)
            mean, count = (np.asarray(statistic, float) for statistic in (window.mean(), window.count()))
            means[antecedent_name(name, days)] = np.where(np.isfinite(mean), mean, overall)
            shares[antecedent_name(name, days)] = float(np.minimum(count / (in_a_day * days), 1.0).mean())
        slope = np.asarray(values.fillna(overall), float) - means[antecedent_name(name, SLOPE_DAYS)]
        means[slope_name(name)], shares[slope_name(name)] = slope, shares[antecedent_name(name, SLOPE_DAYS)]
    daily = daily_means(joined)
    result: list[xr.Dataset] = list(records)
    first = 0
    for i, part in zip(order, series, strict=True):
        rows = slice(first, first + len(part))
        columns = {
            name: (
                "time",
                column[rows],
                {"units": ANTECEDENTS[name], "long_name": _meaning(name), "share_present": shares[name]},
            )
            for name, column in means.items()
        }
        result[i] = records[i].assign(columns).assign({DAILY: daily})
        first += len(part)
    return result


def _drivers(record: xr.Dataset) -> pd.DataFrame:
    """The drivers that have running means, by time."""
    forcing = {name: _within_range(record, name) for name in FORCING_OF_DRIVERS}
    temperature = forcing["air_temperature"]
    saturation = 0.1 * saturation_vapour_pressure_hpa(temperature + 273.15, exp=np.exp, log=np.log)
    columns = {
        "air_temperature": temperature,
        "shortwave_in": np.maximum(forcing["shortwave_in"], 0.0),
        "vapour_pressure_deficit": np.maximum(saturation - forcing["vapour_pressure"], 0.0),
        "soil_water_content": forcing["soil_water_content"],
        "lai": forcing["lai"],
    }
    if "precipitation" in record:
        rain = np.asarray(record["precipitation"].values, float)
        columns["precipitation"] = np.where(np.isfinite(rain) & (rain >= 0.0), rain, np.nan)
    return pd.DataFrame(columns, index=pd.DatetimeIndex(record["time"].values), dtype=float)


def _within_range(record: xr.Dataset, name: str) -> np.ndarray:
    """A column of the forcing, missing where a number is outside its range."""
    values, info = np.asarray(record[name].values, float), FORCING_TABLE[name]
    return np.where((values >= info.lower) & (values <= info.upper), values, np.nan)


def _meaning(name: str) -> str:
    variable, _, kind = name.rpartition("_")
    words = variable.replace("_", " ")
    if kind == "slope":
        return f"{words} minus its mean over the last {SLOPE_DAYS} days"
    return f"{words}, mean over the last {kind.removesuffix('d')} days"
