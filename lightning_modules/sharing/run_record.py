"""What is known of a training run, as plain data that go with the model: towers, periods, split, scores, sources."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
import yaml

from canveg_jax.references import SITE, bibliography

from ..data.splits import PARTS
from ..evaluation.predictions import read_predictions
from ..evaluation.score_table import score_table

SPLIT_SETTINGS = (
    "test_fraction",
    "block_days",
    "val_every",
    "purge_days",
    "held_out",
    "mask_rain",
    "train_stride",
    "max_train_rows",
)
"""Settings of the data module that say how the record was divided."""

FINETUNED = "finetune.json"
"""File of a run that `canveg finetune` made: what it started from."""


def run_record(
    predictions: xr.Dataset, data_settings: Mapping[str, Any] | None = None, doi: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """`towers` (name, first and last half-hour, half-hours and measured samples by part, DOI), `split`, `scores`, `data_sha256`.

    Args:
        predictions: of the run (`predictions_dataset`).
        data_settings: `data` of its configuration.
        doi: of the towers' data, by name of the site, beside those that the package knows.
    """
    known = {**known_doi(), **(doi or {})}
    site, split = predictions["site_index"].values, predictions["split"].values
    time = predictions["time"].values.astype("datetime64[m]")
    towers = []
    for i, name in enumerate(str(name) for name in predictions["site_name"].values):
        here = site == i
        if not here.any():
            continue
        counts = {part: int((here & (split == j)).sum()) for j, part in enumerate(PARTS)}
        towers.append({
            "name": name, "first": str(time[here].min()), "last": str(time[here].max()), "half_hours": counts,
            "doi": known.get(name), "invented": name.startswith("SYN-"),
        })  # fmt: skip
    chosen = {name: _plain((data_settings or {}).get(name)) for name in SPLIT_SETTINGS if name in (data_settings or {})}
    return {
        "towers": towers, "split": chosen, "scores": scores_of_run(score_table(predictions)),
        "data_sha256": [str(digest) for digest in np.atleast_1d(predictions.attrs.get("source_sha256", []))],
        "inputs_beyond_training": str(predictions.attrs.get("inputs_beyond_training", "")),
    }  # fmt: skip


def scores_of_run(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of `score_table` of whole parts with any measurement, as plain data; a score that is not defined is None."""
    flat = table.reset_index()
    rows = flat.loc[(flat["period"] == "all") & (flat["n"] > 0)].drop(columns="period").to_dict(orient="records")
    return [
        {str(k): None if isinstance(v, float) and not np.isfinite(v) else v for k, v in row.items()} for row in rows
    ]


def known_doi() -> dict[str, str]:
    """DOI of the data of the site presets."""
    entries = bibliography().entries
    found = {
        name: [entries[key].fields["doi"] for key in keys if "doi" in entries[key].fields]
        for name, keys in SITE.items()
    }
    return {name: dois[0] for name, dois in found.items() if dois}


def record_of_checkpoint(checkpoint: Path, doi: Mapping[str, str] | None = None) -> dict[str, Any] | None:
    """The record of the run that a checkpoint lies in (`FOLDER/checkpoints/best.ckpt`, or beside `predictions.nc`); None
    where there are no predictions."""
    for folder in (checkpoint.parent.parent, checkpoint.parent):
        if (folder / "predictions.nc").is_file():
            config = folder / "config.yaml"
            settings = yaml.safe_load(config.read_text(encoding="utf-8")) if config.is_file() else {}
            data = settings.get("data") if isinstance(settings, dict) else None
            record = run_record(read_predictions(folder / "predictions.nc"), data, doi)
            if (folder / FINETUNED).is_file():
                record["started_from"] = json.loads((folder / FINETUNED).read_text(encoding="utf-8"))
            return record
    return None


def _plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
