"""Fluxes to NetCDF-4 with CF names and units, and back. Written to a temporary name, then renamed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ..files import replacing
from ..fluxes import FLUX_TABLE
from ..spelling import unknown

TIME_UNITS = "minutes since 1970-01-01 00:00:00"
NO_LEAP_SECONDS = {"units_metadata": "leap_seconds: none"}


def package_version() -> str:
    """Version of the installed package, or `unknown (not installed)` when it runs from a source tree."""
    try:
        return metadata.version("canveg-torch")
    except metadata.PackageNotFoundError:
        return "unknown (not installed)"


def flux_dataset(fluxes: Any, time: Any) -> xr.Dataset:
    """Model outputs as a dataset with units, signs and CF standard names.

    Args:
        fluxes: mapping, dataset or dataclass (such as `Fluxes`) of arrays `[time]` with names from `FLUX_TABLE`.
        time: `[time]`, start of each interval (`tower["time"]`).

    Raises:
        ValueError: an unknown name, or an array that is not `[time]`.
    """
    if isinstance(fluxes, xr.Dataset):
        columns: Mapping[str, Any] = {str(name): variable.values for name, variable in fluxes.data_vars.items()}
    elif isinstance(fluxes, Mapping):
        columns = fluxes
    elif dataclasses.is_dataclass(fluxes):
        columns = {field.name: getattr(fluxes, field.name) for field in dataclasses.fields(fluxes)}
    else:
        raise ValueError(f"fluxes: expected a mapping, a dataset or Fluxes; got {type(fluxes).__name__}.")
    stamps = pd.DatetimeIndex(np.asarray(time))
    variables = {}
    for name, values in columns.items():
        if name not in FLUX_TABLE:
            raise ValueError(f"fluxes: {unknown('output', name, FLUX_TABLE)}")
        array = np.asarray(values)
        if array.shape != (len(stamps),):
            raise ValueError(
                f"fluxes: '{name}' has shape {array.shape}; expected ({len(stamps)},), one per time stamp."
            )
        variables[name] = flux_variable(name, array, "time")
    long_name = "start of the averaging interval, local standard time"
    time_attrs = {"standard_name": "time", "long_name": long_name, "axis": "T", **NO_LEAP_SECONDS}
    return xr.Dataset(variables, coords={"time": ("time", stamps.to_numpy(), time_attrs)})


def flux_variable(name: str, values: Any, dimension: str) -> tuple[str, np.ndarray, dict[str, Any]]:
    """A model output as an `xarray` variable: dimension, values (flags as int8), attributes of `FLUX_TABLE`."""
    array, info = np.asarray(values), FLUX_TABLE[name]
    attrs: dict[str, Any] = {"units": info.unit, "long_name": info.long_name, "sign": info.sign}
    if info.cf_standard_name:
        attrs["standard_name"] = info.cf_standard_name
    if info.unit == "K":
        attrs["units_metadata"] = "temperature: on_scale"
    if array.dtype == bool:
        return dimension, *flag(array, attrs)
    if np.issubdtype(array.dtype, np.integer):
        return dimension, array.astype(np.int32), attrs
    return dimension, array, attrs | {"cell_methods": "time: mean"}


def flag(values: Any, attributes: Mapping[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
    """Booleans as NetCDF knows them: int8 and the CF attributes that say so; `read_fluxes` makes booleans of them again."""
    meaning = {"flag_values": np.array([0, 1], dtype=np.int8), "flag_meanings": "no yes"}
    return np.asarray(values).astype(np.int8), {**attributes, **meaning}


def write_fluxes(
    path: str | Path,
    fluxes: Any,
    *,
    tower: xr.Dataset | None = None,
    time: Any = None,
    attributes: Mapping[str, Any] | None = None,
) -> Path:
    """Write model outputs as NetCDF-4 after the CF conventions; an existing file is replaced only by a complete one.

    NEE stays in umol m-2 s-1 under the standard name `surface_upward_mole_flux_of_carbon_dioxide`: CF asks for a unit
    that converts to the canonical one (mol m-2 s-1). Stamps are local standard time, as in the tower files.

    Args:
        path: the file; its folder must exist.
        fluxes: arrays `[time]` by name, see `flux_dataset`; `passes`, `residual`, `converged` may be among them.
        tower: the dataset that drove the model; gives the time, its bounds, site and the hashes of the input files.
        time: `[time]`, start of each interval, where there is no `tower` (or `fluxes` is a dataset with `time`).
        attributes: further global attributes (experiment, parameters ...).

    Returns:
        The path.

    Raises:
        ValueError: no time, unknown names, wrong shapes.
        FileNotFoundError: the folder does not exist.
    """
    path = Path(path)
    if time is None:
        holder = tower if tower is not None else fluxes if isinstance(fluxes, xr.Dataset) else None
        if holder is None:
            raise ValueError("write_fluxes: give tower=<dataset of read_tower> or time=<start of each interval>.")
        time = holder["time"].values
    dataset = flux_dataset(fluxes, time)
    if tower is not None and "time_end" in tower and tower.sizes["time"] == dataset.sizes["time"]:
        bounds = np.stack([dataset["time"].values, tower["time_end"].values], axis=1)
        dataset["time_bounds"] = (("time", "bound"), bounds)
        dataset["time"].attrs["bounds"] = "time_bounds"
    dataset.attrs = provenance(tower) | dict(attributes or {})
    write_dataset(path, dataset)
    return path


def provenance(tower: xr.Dataset | None) -> dict[str, Any]:
    """Global attributes: conventions, software version, when, and which input files (name and SHA-256) if known."""
    version = package_version()
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    attrs: dict[str, Any] = {
        "Conventions": "CF-1.11",
        "title": "Fluxes of a multilayer canopy model",
        "source": f"canveg-torch {version}",
        "history": f"{now} written by canveg-torch {version}",
    }
    kept = (
        "site", "latitude", "longitude", "utc_offset", "step_minutes", "format", "source_files", "source_sha256",
        "stand_ins",
    )  # fmt: skip
    if tower is not None:
        attrs |= {f"input_{key}" if key == "format" else key: tower.attrs[key] for key in kept if key in tower.attrs}
    return attrs


def read_fluxes(path: str | Path) -> xr.Dataset:
    """Read a file written by `write_fluxes` into memory; flags come back as booleans."""
    with xr.open_dataset(path, engine="h5netcdf") as file:
        dataset = file.load()
    for name, variable in dataset.data_vars.items():
        if variable.attrs.get("flag_meanings") == "no yes":
            dataset[name] = variable.astype(bool)
    return dataset


def write_dataset(path: str | Path, dataset: xr.Dataset) -> None:
    """Write compressed NetCDF-4 to a temporary name beside `path`, then rename.

    Raises:
        FileNotFoundError: the folder does not exist.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path.name}: the folder {path.parent} does not exist. Create it first.")
    encoding: dict[str, dict[str, Any]] = {}
    for name, variable in dataset.variables.items():
        settings: dict[str, Any] = {}
        if np.issubdtype(variable.dtype, np.datetime64):
            settings = {"units": TIME_UNITS, "calendar": "standard", "dtype": "int64"}
        elif np.issubdtype(variable.dtype, np.floating) and name in dataset.data_vars:
            settings = {"_FillValue": variable.dtype.type(np.nan)}
        if name in dataset.data_vars and variable.dtype.kind in "biufM":
            settings |= {"zlib": True, "complevel": 4}
        encoding[str(name)] = settings
    with replacing(path) as temporary:
        dataset.to_netcdf(temporary, engine="h5netcdf", encoding=encoding)
