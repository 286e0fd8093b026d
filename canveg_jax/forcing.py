"""Weather, soil state and leaf area that drive the canopy: one number per half-hour."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np


class ForcingInfo(NamedTuple):
    """Unit, meaning and the range outside which a value is refused at the edge."""

    unit: str
    meaning: str
    lower: float
    upper: float
    optional: bool = False


FORCING_TABLE: dict[str, ForcingInfo] = {
    "day_of_year": ForcingInfo("1", "day of year (1 = 1 January) of the middle of the interval", 1, 367),
    "hour": ForcingInfo("h", "local standard time of the middle of the interval", 0, 24),
    "air_temperature": ForcingInfo("degC", "air temperature at measurement height", -60, 60),
    "shortwave_in": ForcingInfo("W m-2", "incoming global radiation (below zero is used as zero)", -50, 1500),
    "vapour_pressure": ForcingInfo("kPa", "water vapour pressure", 0.001, 10),
    "wind_speed": ForcingInfo("m s-1", "wind speed at measurement height", 0, 60),
    "co2": ForcingInfo("umol mol-1", "CO2 mole fraction", 200, 1500),
    "pressure": ForcingInfo("kPa", "air pressure", 50, 110),
    "friction_velocity": ForcingInfo("m s-1", "friction velocity", 0, 10),
    "soil_temperature": ForcingInfo("degC", "soil temperature at soil depth (lower boundary)", -40, 70),
    "soil_water_content": ForcingInfo("m3 m-3", "volumetric soil water content", 0, 0.8),
    "lai": ForcingInfo("m2 m-2", "one-sided leaf area index", 0, 12),
    "longwave_in": ForcingInfo("W m-2", "incoming long-wave; not a number = use the sky model", 50, 700, True),
    "observed_canopy_height": ForcingInfo(
        "m", "canopy height, read by the alfalfa soil respiration only", 0, 100, True
    ),
}


class Forcing(eqx.Module):
    """Forcing of any number of half-hours: arrays of shape `[time]`, in any order and any mix of sites.

    Fields, units and ranges are those of `FORCING_TABLE`. `site` is the index of the half-hour's site in the list that
    the `Canopy` was built with (0 for a single site). Optional fields default to NaN, which means "not measured".
    """

    day_of_year: Any
    hour: Any
    air_temperature: Any
    shortwave_in: Any
    vapour_pressure: Any
    wind_speed: Any
    co2: Any
    pressure: Any
    friction_velocity: Any
    soil_temperature: Any
    soil_water_content: Any
    lai: Any
    longwave_in: Any
    observed_canopy_height: Any
    site: Any

    def __init__(self, *, site: Any = None, **columns: Any):
        unknown = set(columns) - set(FORCING_TABLE)
        missing = [n for n, info in FORCING_TABLE.items() if not info.optional and n not in columns]
        if unknown or missing:
            raise TypeError(f"Forcing: unknown {sorted(unknown)}, missing {missing}; fields are {list(FORCING_TABLE)}.")
        reference = jnp.asarray(columns["air_temperature"])
        for name in FORCING_TABLE:
            column = columns.get(name)
            setattr(self, name, jnp.full_like(reference, jnp.nan) if column is None else jnp.asarray(column))
        self.site = jnp.zeros(reference.shape, dtype=int) if site is None else jnp.asarray(site, dtype=int)

    @classmethod
    def from_dataset(cls, dataset: Any, site: Any = None) -> Forcing:
        """Take the forcing variables of an `xarray.Dataset` made by `read_tower` (or shaped like it).

        Raises:
            ValueError: a variable is missing, not finite or outside its range. The message names the variable, the
                first rows, the value, the allowed range and what to do.
        """
        columns = {}
        for name, info in FORCING_TABLE.items():
            if name not in dataset:
                if info.optional:
                    continue
                raise ValueError(
                    f"forcing variable '{name}' [{info.unit}] ({info.meaning}) is missing from the dataset."
                )
            values = np.asarray(dataset[name].values, dtype=np.float64)
            check_range(name, values, info)
            columns[name] = values
        index = dataset["site_index"].values if site is None and "site_index" in dataset else site
        return cls(site=index, **columns)

    def __len__(self) -> int:
        return int(self.air_temperature.shape[0])

    def __getitem__(self, rows: Any) -> Forcing:
        return Forcing(site=self.site[rows], **{name: getattr(self, name)[rows] for name in FORCING_TABLE})


def check_range(name: str, values: np.ndarray, info: ForcingInfo) -> None:
    """Raise `ValueError` where a forcing value is not finite (unless optional) or out of range."""
    finite = np.isfinite(values)
    bad = np.flatnonzero((finite & ((values < info.lower) | (values > info.upper))) | (~finite & (not info.optional)))
    if bad.size:
        rows = ", ".join(str(i) for i in bad[:5]) + (", ..." if bad.size > 5 else "")
        advice = "Check the unit (hPa or Pa?)." if name in ("pressure", "vapour_pressure") else "Check the unit."
        if not np.isfinite(values[bad[0]]):
            advice = "Fill or drop these rows: the canopy needs every forcing variable."
        raise ValueError(
            f"forcing '{name}' must be within [{info.lower}, {info.upper}] {info.unit}; {bad.size} row(s) are not, first "
            f"value {values[bad[0]]!r} (rows {rows}). {advice}"
        )
