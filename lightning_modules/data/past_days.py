"""Daily means of the days before a half-hour, for networks that read them as a sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr

from .datamodule import FluxTowerDataModule
from .inputs import compute_inputs


def past_name(variable: str, day: int) -> str:
    """Column of the mean over the 24 h that end `day` days before the half-hour ends: `air_temperature_past_0`."""
    return f"{variable}_past_{day}"


def with_past_days(data: FluxTowerDataModule, inputs: Sequence[str], days: int) -> None:
    """Add to `history` of every part of a data module that is set up the daily means of the inputs over `days` days.

    Day 0 ends with the half-hour itself. A record that follows another knows it. A day without any sample has the mean of the
    first day that has one.
    """
    for part, dataset in data.parts.items():
        columns = {past_name(name, day): np.full(len(dataset), np.nan) for name in inputs for day in range(days)}
        for site, record in enumerate(data.records[part]):
            here = np.flatnonzero(dataset.site.numpy() == site)
            if not len(here):
                continue
            before = [r for r in (data.records["train"][site],) if r is not record]
            means = _past(record, before, inputs, days)
            rows = dataset.row.numpy()[here]
            for name, values in means.items():
                columns[name][here] = values[rows]
        dtype = dataset.forcing["air_temperature"].dtype
        dataset.history |= {name: torch.as_tensor(values, dtype=dtype) for name, values in columns.items()}


def _past(record: xr.Dataset, before: list[xr.Dataset], inputs: Sequence[str], days: int) -> dict[str, np.ndarray]:
    follows = before and before[0]["time"].values[-1] < record["time"].values[0]
    frames = [_frame(r, inputs) for r in [*(before if follows else []), record]]
    series = pd.concat(frames)
    result = {}
    for name in inputs:
        daily: Any = series[name].rolling("1D", min_periods=1).mean()
        for day in range(days):
            shifted = daily.copy()
            shifted.index = pd.DatetimeIndex(daily.index) + pd.Timedelta(days=day)
            at = pd.DatetimeIndex(series.index)
            values = np.asarray(shifted.reindex(at, method="ffill", tolerance=pd.Timedelta(hours=12)), float)
            known = values[np.isfinite(values)]
            values = np.where(np.isfinite(values), values, known[0] if len(known) else np.nan)
            result[past_name(name, day)] = values[len(series) - record.sizes["time"] :]
    return result


def _frame(record: xr.Dataset, inputs: Sequence[str]) -> pd.DataFrame:
    columns = {
        str(name): torch.as_tensor(np.asarray(variable.values, float))
        for name, variable in record.data_vars.items()
        if variable.dims == ("time",) and variable.dtype.kind in "fi"
    }
    values = compute_inputs(columns, inputs).numpy()
    return pd.DataFrame(values, index=pd.DatetimeIndex(record["time"].values), columns=list(inputs))
