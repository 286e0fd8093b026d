"""`predictions.nc`: observed and modelled fluxes, stress, part of the data and solver flags, one row per half-hour.

Dimension `row`, in time order site by site; `site_index` (into `site_name`) and `time` say where and when. Modelled fluxes
have the model's names (`LE`, `NEE` ...), what a tower whose energy balance does not close would see of them is
`<flux>_observed_equivalent`, what closures did is `closure_<name>`, observations are
`<flux>_observed`, with `<flux>_measured` for what may be scored.
`split` is the index of the half-hour's part in `PARTS`: 0 train, 1 val, 2 test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from canveg_jax import FORCING_TABLE
from canveg_jax.fluxes import FLUX_TABLE
from canveg_jax.io import TARGET_TABLE
from canveg_jax.io.netcdf import NO_LEAP_SECONDS, flag, flux_variable, provenance, read_fluxes, write_dataset

from ..closures.closure import closure_kind
from ..data.splits import PARTS
from ..processes import gathered

if TYPE_CHECKING:
    from ..data.datamodule import FluxTowerDataModule

CONTEXT = ("air_temperature", "shortwave_in", "vapour_pressure", "soil_water_content", "lai")
"""Forcing that goes along, so that a report needs no other file."""


def predictions_dataset(outputs: Sequence[Any], data: FluxTowerDataModule) -> xr.Dataset:
    """What `Trainer.predict` returned, as one dataset; in a distributed run that of all processes, each of which must call this
    (only the first should write the result).

    Args:
        outputs: batches of `HybridCanopy.predict_step`, or a list of them per part (`predict_part="all"`).
        data: the data module that they were made from.

    Raises:
        ValueError: there are no outputs, or there is a half-hour twice.
    """
    parts = data.predict_parts
    loaders = _loaders(outputs, parts)
    pieces = []
    for part, batches in zip(parts, loaders, strict=True):
        columns = {name: _joined(batches, name) for name in ("row", "site", "stress")}
        _require_each_once(part, columns["site"], columns["row"])
        columns |= {name: _joined(batches, "fluxes", name) for name in batches[0]["fluxes"] if name in FLUX_TABLE}
        columns["split"] = np.full(len(columns["row"]), PARTS.index(part), dtype=np.int8)
        for group in ("seen", "closures"):
            columns |= {name: _joined(batches, group, name) for name in batches[0].get(group, {})}
        for name in batches[0]["observed"]:
            flux = TARGET_TABLE[name].flux
            columns[f"{flux}_observed"] = _joined(batches, "observed", name)
            columns[f"{flux}_measured"] = _joined(batches, "measured", name)
        pieces.append(columns | _from_records(data.records[part], columns["site"], columns["row"]))
    columns = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    order = np.lexsort((columns["time"], columns["site"]))
    columns = {name: values[order] for name, values in columns.items()}
    return _as_dataset(columns, data)


def write_predictions(path: str | Path, predictions: xr.Dataset, attributes: Mapping[str, Any] | None = None) -> Path:
    """Write `predictions_dataset`'s result as CF NetCDF; an existing file is replaced only by a complete one."""
    flags = {
        name: (variable.dims, *flag(variable.values, variable.attrs))
        for name, variable in predictions.data_vars.items()
        if variable.dtype == bool
    }
    write_dataset(path, predictions.assign(flags).assign_attrs(attributes or {}))
    return Path(path)


def read_predictions(path: str | Path) -> xr.Dataset:
    """Read what `write_predictions` wrote, flags as booleans.

    Raises:
        ValueError: the file holds something else.
    """
    try:
        predictions = read_fluxes(path)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not a NetCDF file that can be read: {error}") from error
    lacking = [name for name in ("time", "site_index", "site_name", "split", "converged") if name not in predictions]
    if lacking:
        raise ValueError(
            f"{path} is no predictions file: it lacks {', '.join(lacking)}. Write one with canveg predict."
        )
    return predictions


def _loaders(outputs: Sequence[Any], parts: Sequence[str]) -> list[list[Any]]:
    """Batches of each part, those of all processes one after the other."""
    own = [outputs] if len(parts) == 1 and outputs and isinstance(outputs[0], Mapping) else list(outputs)
    everywhere = gathered(own)
    if any(len(loaders) != len(parts) or not all(loaders) for loaders in everywhere):
        raise ValueError(f"expected predictions of {', '.join(parts)}; got {len(own)} set(s). Run predict again.")
    return [[batch for loaders in everywhere for batch in loaders[i]] for i in range(len(parts))]


def _require_each_once(part: str, site: np.ndarray, row: np.ndarray) -> None:
    """Raise ValueError if a half-hour is there twice: loaders that do not know of the other processes."""
    again = len(row) - len(np.unique(np.column_stack([site, row]), axis=0))
    if again:
        raise ValueError(
            f"{again} half-hours of the {part} part were predicted more than once. Give the trainer the FluxTowerDataModule, "
            "whose loaders share the half-hours among the processes."
        )


def _joined(batches: Sequence[Mapping[str, Any]], *keys: str) -> np.ndarray:
    def entry(batch: Any) -> np.ndarray:
        for key in keys:
            batch = batch[key]
        return batch.detach().cpu().numpy()

    return np.concatenate([entry(batch) for batch in batches])


def _from_records(records: Sequence[xr.Dataset], site: np.ndarray, row: np.ndarray) -> dict[str, np.ndarray]:
    """Time, context and (of synthetic towers) the true stress, picked from the towers' records by site and row."""
    wanted: dict[str, Any] = {"time": np.datetime64("NaT", "ns"), **dict.fromkeys(CONTEXT, np.nan)}
    if any("stress_true" in record for record in records):
        wanted["stress_true"] = np.nan
    if any("wet" in record for record in records):
        wanted["wet"] = False
    columns = {name: np.full(len(row), missing) for name, missing in wanted.items()}
    for i, record in enumerate(records):
        here = site == i
        for name, column in columns.items():
            if name in record:
                column[here] = record[name].values[row[here]]
    return columns


def _closure_attributes(name: str) -> dict[str, str]:
    kind = closure_kind(name)
    how = "factor on" if kind.moves == "factor" else "shift, between its bounds on a logistic scale, of"
    return {"units": "1", "long_name": f"{how} the {kind.meaning}", "acts_on": ", ".join(kind.acts_on)}


def _flux_and_kind(name: str) -> tuple[str, str]:
    """`LE`, `observed` of the column `LE_observed`; fluxes may have underscores of their own (`soil_respiration`)."""
    for kind in ("observed_equivalent", "observed", "measured"):
        if name.endswith(f"_{kind}"):
            return name.removesuffix(f"_{kind}"), kind
    return name, ""


def _as_dataset(columns: dict[str, np.ndarray], data: FluxTowerDataModule) -> xr.Dataset:
    variables: dict[str, Any] = {}
    for name, values in columns.items():
        flux, kind = _flux_and_kind(name)
        if kind == "observed_equivalent":
            _, _, attrs = flux_variable(flux, values, "row")
            attrs |= {"long_name": f"{attrs['long_name']}, the share of it that the tower observes"}
            variables[name] = ("row", values, attrs)
        elif name.startswith("closure_"):
            variables[name] = ("row", values, _closure_attributes(name.removeprefix("closure_")))
        elif name in FLUX_TABLE:
            dimension, array, attrs = flux_variable(name, values, "row")
            variables[name] = (dimension, array.astype(values.dtype), attrs)
        elif kind == "observed":
            _, _, attrs = flux_variable(flux, values, "row")
            variables[name] = ("row", values, attrs | {"long_name": f"{attrs['long_name']}, observed"})
        elif kind == "measured":
            attrs = {"units": "1", "long_name": f"{flux}_observed is measured, not filled"}
            variables[name] = ("row", values, attrs)
        elif name in CONTEXT:
            variables[name] = (
                "row",
                values,
                {"units": FORCING_TABLE[name].unit, "long_name": FORCING_TABLE[name].meaning},
            )
    variables["stress"] = ("row", columns["stress"], {"units": "1", "long_name": "stomatal stress factor, 1 = none"})
    if "wet" in columns:
        variables["wet"] = (
            "row",
            columns["wet"],
            {"units": "1", "long_name": "rain in the half-hour or shortly before"},
        )
    if "stress_true" in columns:
        known = {"units": "1", "long_name": "stomatal stress factor that made the synthetic fluxes"}
        variables["stress_true"] = ("row", columns["stress_true"], known)
    split = {"flag_values": np.arange(len(PARTS), dtype=np.int8), "flag_meanings": " ".join(PARTS)}
    variables["split"] = ("row", columns["split"], {"long_name": "part of the data", **split})
    stamp = {
        "standard_name": "time",
        "long_name": "start of the averaging interval, local standard time",
        **NO_LEAP_SECONDS,
    }
    index = {"long_name": "which site", "instance_dimension": "site"}
    coords = {
        "time": ("row", columns["time"], stamp),
        "site_index": ("row", columns["site"].astype(np.int32), index),
        "site_name": (
            "site",
            np.array([site.name for site in data.sites]),
            {"long_name": "site", "cf_role": "timeseries_id"},
        ),
    }
    for name, unit in (("latitude", "degrees_north"), ("longitude", "degrees_east")):
        place = {"units": unit, "standard_name": name, "long_name": f"{name} of the site"}
        coords[name] = ("site", np.array([getattr(site, name) for site in data.sites]), place)
    hashes = [str(h) for record in data.records["train"] for h in np.atleast_1d(record.attrs.get("source_sha256", []))]
    attrs = provenance(None) | {"title": "Observed and modelled fluxes", "featureType": "timeSeries"}
    return xr.Dataset(variables, coords, attrs | ({"source_sha256": hashes} if hashes else {}))
