"""Weather, soil state and leaf area that drive the canopy: one number per half-hour, declared once.

`Forcing` is the declaration and the pytree that the physics reads; `FORCING_TABLE` is made from it.
"""

import dataclasses
import warnings
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

if TYPE_CHECKING:
    import xarray as xr

Series = Float[Array, "*time"]
"""One number per half-hour, `[time]`; a single number where an equation works on one half-hour."""


class ForcingInfo(NamedTuple):
    """Unit, meaning and the range outside which a value is refused at the edge."""

    unit: str
    meaning: str
    lower: float
    upper: float
    optional: bool = False


class ForcingError(ValueError):
    """A forcing column is missing, unknown, of another length than the rest, not finite or out of its range."""


def forced(unit: str, meaning: str, lower: float, upper: float, *, optional: bool = False) -> Any:
    """Field of `Forcing` with its `ForcingInfo`."""
    return eqx.field(metadata={"info": ForcingInfo(unit, meaning, lower, upper, optional)})


class Forcing(eqx.Module):
    """Forcing of any number of half-hours: arrays of shape `[time]`, in any order and any mix of sites.

    Each field is declared with unit, meaning and the range outside which `from_dataset` refuses it. Optional fields default to
    NaN, which means "not measured". `site` is the index of the half-hour's site in the list that the `Canopy` was built with
    (0 for a single site).

    Raises:
        ForcingError: a column is missing or unknown, or columns differ in shape.
    """

    day_of_year: Series = forced("1", "day of year (1 = 1 January) of the middle of the interval", 1, 367)
    hour: Series = forced("h", "local standard time of the middle of the interval", 0, 24)
    air_temperature: Series = forced("degC", "air temperature at measurement height", -60, 60)
    shortwave_in: Series = forced("W m-2", "incoming global radiation (below zero is used as zero)", -50, 1500)
    vapour_pressure: Series = forced("kPa", "water vapour pressure", 0.001, 10)
    wind_speed: Series = forced("m s-1", "wind speed at measurement height", 0, 60)
    co2: Series = forced("umol mol-1", "CO2 mole fraction", 200, 1500)
    pressure: Series = forced("kPa", "air pressure", 50, 110)
    friction_velocity: Series = forced("m s-1", "friction velocity", 0, 10)
    soil_temperature: Series = forced("degC", "soil temperature at soil depth (lower boundary)", -40, 70)
    soil_water_content: Series = forced("m3 m-3", "volumetric soil water content", 0, 0.8)
    lai: Series = forced("m2 m-2", "one-sided leaf area index", 0, 12)
    longwave_in: Series = forced(
        "W m-2", "incoming long-wave; not a number = use the sky model", 50, 700, optional=True
    )
    observed_canopy_height: Series = forced(
        "m", "canopy height, read by the alfalfa soil respiration only", 0, 100, optional=True
    )
    soil_temperature_tendency: Series = forced(
        "K h-1", "change of the soil temperature; not a number = no heat storage in the soil", -20, 20, optional=True
    )
    site: Int[Array, "*time"] = dataclasses.field(default=cast(Any, None))  # set in any case

    def __init__(self, *, site: Any = None, **columns: Any):
        check_columns(columns)
        reference = jnp.asarray(columns["air_temperature"])
        dtype = reference.dtype if jnp.issubdtype(reference.dtype, jnp.floating) else jnp.dtype(float)
        for name in FORCING_TABLE:
            column = (
                jnp.asarray(columns[name])
                if columns.get(name) is not None
                else jnp.full_like(reference, jnp.nan, dtype)
            )
            setattr(self, name, column if jnp.issubdtype(column.dtype, jnp.floating) else column.astype(dtype))
        self.site = jnp.zeros(reference.shape, dtype=int) if site is None else jnp.asarray(site, dtype=int)
        for name in (*FORCING_TABLE, "site"):
            if getattr(self, name).shape != reference.shape:
                raise ForcingError(
                    f"forcing '{name}' has shape {list(getattr(self, name).shape)}, but 'air_temperature' "
                    f"{list(reference.shape)}. Give every column one number per half-hour."
                )

    @classmethod
    def from_dataset(cls, dataset: "xr.Dataset", site: ArrayLike | None = None) -> "Forcing":
        """Take the forcing variables of an `xarray.Dataset` made by `read_tower` (or shaped like it).

        Raises:
            ForcingError: a variable is missing, not finite or outside its range. The message names the variable, the
                first rows, the value, the allowed range and what to do.
        """
        columns = {}
        for name, info in FORCING_TABLE.items():
            if name not in dataset:
                if info.optional:
                    continue
                raise ForcingError(
                    f"forcing variable '{name}' [{info.unit}] ({info.meaning}) is missing from the dataset."
                )
            values = np.asarray(dataset[name].values, dtype=np.float64)
            check_range(name, values, info)
            columns[name] = values
        index = dataset["site_index"].values if site is None and "site_index" in dataset else site
        return cls(site=index, **columns)

    def __len__(self) -> int:
        return int(self.air_temperature.shape[0])

    def __getitem__(self, rows: Any) -> "Forcing":
        return Forcing(site=self.site[rows], **{name: getattr(self, name)[rows] for name in FORCING_TABLE})


FORCING_TABLE: dict[str, ForcingInfo] = {
    field.name: field.metadata["info"] for field in dataclasses.fields(Forcing) if "info" in field.metadata
}
"""Unit, meaning and range of each column by name, in the order of their declaration; `site` is none of them."""


STAND_IN: dict[str, float] = {
    "day_of_year": 180.0, "hour": 0.0, "air_temperature": 15.0, "shortwave_in": 0.0, "vapour_pressure": 1.0,
    "wind_speed": 3.0, "co2": 400.0, "pressure": 100.0, "friction_velocity": 0.3, "soil_temperature": 15.0,
    "soil_water_content": 0.2, "lai": 1.0, "longwave_in": 330.0, "observed_canopy_height": 1.0,
    "soil_temperature_tendency": 0.0,
}  # fmt: skip
"""A calm night that any canopy solves: it takes the place of a row that cannot be solved, so that nothing of it is computed."""


def check_columns(names: Collection[str]) -> None:
    """Raise `ForcingError` if these names of columns (without `site`) lack one of the forcing or have one too many."""
    unknown = sorted(set(names) - set(FORCING_TABLE))
    missing = [name for name, info in FORCING_TABLE.items() if not info.optional and name not in names]
    if unknown or missing:
        raise ForcingError(f"forcing: unknown {unknown}, missing {missing}; columns are {', '.join(FORCING_TABLE)}.")


def rows_within_range(columns: Mapping[str, Any]) -> Any:
    """Whether every number of a row is within its range, `[time]`; optional ones may be NaN, which means "not measured".

    Args:
        columns: forcing by the names of `FORCING_TABLE`, arrays of JAX, NumPy or PyTorch. Columns that are not there do not
            count.
    """
    usable: Any = True
    for name, info in FORCING_TABLE.items():
        if name in columns:
            column = columns[name]
            within = (column >= info.lower) & (column <= info.upper)
            if info.optional:
                within = within | (column != column)  # only NaN differs from itself, in every array library
            usable = within & usable
    return usable


def check_range(name: str, values: np.ndarray, info: ForcingInfo) -> None:
    """Raise `ForcingError` where a forcing value is not finite (unless optional) or out of range."""
    finite = np.isfinite(values)
    bad = np.flatnonzero((finite & ((values < info.lower) | (values > info.upper))) | (~finite & (not info.optional)))
    if bad.size:
        rows = ", ".join(str(i) for i in bad[:5]) + (", ..." if bad.size > 5 else "")
        advice = "Check the unit (hPa or Pa?)." if name in ("pressure", "vapour_pressure") else "Check the unit."
        if not np.isfinite(values[bad[0]]):
            advice = "Fill or drop these rows: the canopy needs every forcing variable."
        raise ForcingError(
            f"forcing '{name}' must be within [{info.lower}, {info.upper}] {info.unit}; {bad.size} row(s) are not, first "
            f"value {values[bad[0]]!r} (rows {rows}). {advice}"
        )


class ForcingWarning(UserWarning):
    """A whole column of the forcing looks as if it were in another unit."""


OTHER_UNITS: dict[str, dict[str, Callable[[np.ndarray], np.ndarray]]] = {
    "air_temperature": {"K": lambda x: x - 273.15},
    "soil_temperature": {"K": lambda x: x - 273.15},
    "pressure": {"hPa": lambda x: x / 10.0, "Pa": lambda x: x / 1000.0},
    "vapour_pressure": {"hPa": lambda x: x / 10.0, "Pa": lambda x: x / 1000.0},
    "soil_water_content": {"%": lambda x: x / 100.0},
    "co2": {"mol mol-1": lambda x: x * 1e6},
}
"""Units that columns are often in by mistake, and how to convert them."""


def check_batch(columns: Mapping[str, Any]) -> None:
    """Warn where most numbers of a column are out of range but would be within it in another unit.

    The vapour pressure is judged by the air temperature too: most of the air cannot be far beyond saturation.

    Args:
        columns: forcing `[time]` by the names of `FORCING_TABLE`, as arrays.

    Warns:
        ForcingWarning: names the column, the unit that it seems to be in, and the one expected.
    """
    for name, units in OTHER_UNITS.items():
        if name not in columns:
            continue
        values = np.asarray(columns[name], float)
        info = FORCING_TABLE[name]
        upper = np.full(values.shape, info.upper)
        if name == "vapour_pressure" and "air_temperature" in columns:
            celsius = np.clip(np.asarray(columns["air_temperature"], float), -60.0, 60.0)
            upper = np.minimum(upper, 2.0 * 0.6108 * np.exp(17.27 * celsius / (celsius + 237.3)))
        there = np.isfinite(values)
        if not there.any() or np.mean(_within(values, info.lower, upper)[there]) > 0.5:
            continue
        for unit, convert in units.items():
            if np.mean(_within(convert(values), info.lower, upper)[there]) >= 0.9:
                warnings.warn(
                    f"forcing '{name}' looks like {unit} (median {np.median(values[there]):.4g}); expected {info.unit}, "
                    f"between {info.lower} and {info.upper}. Convert it: rows out of range are not solved.",
                    ForcingWarning,
                    stacklevel=3,
                )
                break


def _within(values: np.ndarray, lower: float, upper: np.ndarray) -> np.ndarray:
    return (values >= lower) & (values <= upper)
