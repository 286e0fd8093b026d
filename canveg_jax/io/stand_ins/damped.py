"""Soil temperature as the damped and lagged temperature of the air."""

from __future__ import annotations

import numpy as np

from ..arrays import Series
from .base import Made, Record, StandIn

FILTER_DAYS = 12.0
START_DAYS = 30.0
"""The filter starts at the mean of so many days."""


def damped_temperature(
    air_temperature: Series, step_days: float, *, days: float = FILTER_DAYS, amplitude: float = 1.0, lag: float = 0.0
) -> Series:
    """Soil temperature `[time]`, degC: the temperature of the air behind a filter of first order, as heat that is stored and
    given back [Campbell1998].

    `days dF/dt = T - F`, and then `mean + amplitude (F(t - lag) - mean)`, `mean` that of the record. A wave of the angular
    frequency `w` (per day) keeps `amplitude / sqrt(1 + (w days)**2)` of its height and comes `atan(w days) / w + lag` days
    later: the year keeps 98 % and comes 12 days later, the day keeps 1 %. Each interval is solved exactly for a constant
    temperature; a missing one leaves the filter as it is. It starts at the mean of the first 30 days.

    Args:
        air_temperature: `T`, `[time]`, degC, with at least one value.
        step_days: length of an interval, days.
        days: time constant, positive.
        amplitude: further damping, 1 = none.
        lag: further delay, days, not negative. Before the record the first value stands.
    """
    known = np.isfinite(air_temperature)
    first = air_temperature[known][: max(1, round(START_DAYS / step_days))]
    value, kept = float(first.mean()), float(np.exp(-step_days / days))
    end = np.empty(len(air_temperature))
    for i, (temperature, there) in enumerate(zip(air_temperature.tolist(), known.tolist(), strict=True)):
        if there:
            value = temperature + (value - temperature) * kept
        end[i] = value
    middle = np.concatenate(([end[0]], 0.5 * (end[1:] + end[:-1])))
    position = np.arange(len(end)) - lag / step_days
    mean = float(air_temperature[known].mean())
    return mean + amplitude * (np.interp(position, np.arange(len(end)), middle) - mean)


def make(record: Record, *, days: float, amplitude: float, lag: float) -> Made:
    """Of the air temperature; see `damped_temperature`.

    Raises:
        StandInError: there is no air temperature.
    """
    temperature = record.series("air_temperature", "soil_temperature by damped")
    step_days = record.step.total_seconds() / 86400.0
    values = damped_temperature(temperature, step_days, days=days, amplitude=amplitude, lag=lag)
    return Made(values, {"days": days, "amplitude": amplitude, "lag": lag})


DAMPED = StandIn(
    variable="soil_temperature",
    method="damped",
    meaning="air temperature behind a 12-day filter",
    make=make,
    parameters={"days": FILTER_DAYS, "amplitude": 1.0, "lag": 0.0},
    extent="absent",
)
