"""Half-hours with rain: open-path sensors and sonics do not work then, and the canopy of the model is dry."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

TURBULENT = ("latent_heat", "sensible_heat", "nee", "gpp")
"""Fluxes that are left out while it rains."""


def with_wet(record: xr.Dataset, hours: float) -> xr.Dataset:
    """The record with `wet`: whether it rains in the half-hour, or rained in the hours before.

    A half-hour whose rain was not measured counts as dry.

    Raises:
        ValueError: the record has no precipitation.
    """
    if "precipitation" not in record:
        raise ValueError(
            f"mask_rain: the record of {record.attrs.get('site', 'a tower')} has no precipitation. Leave mask_rain out, or give "
            "a file that has it."
        )
    rain = np.asarray(record["precipitation"].values, float) > 0.0
    time = pd.DatetimeIndex(record["time"].values)
    last = pd.Series(time.where(rain), index=time).ffill()  # when it rained last
    since = (time - pd.DatetimeIndex(last)) / pd.Timedelta(hours=1)
    wet = np.nan_to_num(np.asarray(since, float), nan=np.inf) <= hours + 1e-9
    attrs = {"units": "1", "long_name": f"rain in the half-hour or in the {hours:g} h before"}
    return record.assign(wet=("time", wet, attrs))


def masked_while_wet(record: xr.Dataset) -> xr.Dataset:
    """The record whose turbulent fluxes do not count as measured where `wet`; the record itself if it has no such column."""
    if "wet" not in record:
        return record
    masks = {
        f"{name}_measured": record[f"{name}_measured"] & ~record["wet"]
        for name in TURBULENT
        if f"{name}_measured" in record
    }
    return record.assign(masks)
