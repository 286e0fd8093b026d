"""One run, from its configuration to `predictions.nc`, `scores.csv` and `result.json` in its folder."""

from __future__ import annotations

import dataclasses
import json
import logging
import platform
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pydantic
import torch
import xarray as xr
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from canveg_jax.files import replacing
from canveg_jax.io.tower_files import TowerFiles

from ..checkpoints.format import read_checkpoint
from ..data.datamodule import FluxTowerDataModule
from ..data.dataset import TowerDataset
from ..data.past_days import with_past_days
from ..data.rain import with_wet
from ..evaluation.predictions import predictions_dataset, write_predictions
from ..models.flux_network import FluxNetwork
from ..models.flux_task import FluxTask
from ..models.hybrid_canopy import HybridCanopy
from ..models.sequence_network import SequenceNetwork
from .benchmarks import fit_benchmark
from .plan import Run
from .rows import ROW_KINDS
from .scores import flux_scores

PREDICTIONS, SCORES, RESULT = "predictions.nc", "scores.csv", "result.json"

NOT_OF_A_RUN = (
    "logger",
    "callbacks",
    "default_root_dir",
    "enable_progress_bar",
    "enable_model_summary",
    "enable_checkpointing",
)
"""Settings of the trainer that a comparison makes itself."""

PROVENANCE = ("canveg-torch", "torch", "jax", "numpy", "scikit-learn")

UNHELPFUL = (
    ".*does not have many workers.*",
    ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",
    ".*Checkpoint directory .* exists and is not empty.*",
    ".*number of training batches.*smaller than the logging.*",
)
"""Warnings of Lightning that do not concern the user of a comparison."""


@dataclasses.dataclass(frozen=True)
class Fitted:
    """What fitting left.

    Args:
        outputs: batches of predictions of each part, as `predictions_dataset` takes them.
        epochs: passes over the training part; None for a benchmark.
        selected: loss of the validation part of the weights that were kept; None for a benchmark.
    """

    outputs: list[Any]
    epochs: int | None = None
    selected: float | None = None


def execute(run: Run, folder: Path, key: str) -> dict[str, Any]:
    """Fit the row of a run, predict all parts, and write `predictions.nc`, `scores.csv`, then `result.json` into its folder.

    Returns what `result.json` holds. The files are written whole or not at all, the second one last.
    """
    begin = time.perf_counter()
    kind = ROW_KINDS[run.config["kind"]]
    with warnings.catch_warnings(), _quiet():
        for text in UNHELPFUL:
            warnings.filterwarnings("ignore", text)
        L.seed_everything(run.seed, verbose=False)
        if kind.family == "physics":
            from canveg_jax.runtime import prepare_jax

            prepare_jax()
        data = build_data(run.config["data"])
        fitted = _benchmark(run, data) if kind.family == "benchmark" else _trained(run, data, folder)
        predictions = _predictions(fitted.outputs, data, run.config["wet_hours"])
    write_predictions(folder / PREDICTIONS, predictions)
    with replacing(folder / SCORES) as temporary:
        flux_scores(predictions).to_csv(temporary, index=False)
    result = {
        "key": key, "row": run.row, "label": run.label, "kind": run.config["kind"], "split": run.split, "seed": run.seed,
        "layers": run.layers, "le_weight": run.le_weight, "epochs": fitted.epochs, "selected": fitted.selected,
        "wall_s": round(time.perf_counter() - begin, 2),
        "half_hours": {name: len(part) for name, part in data.parts.items()},
        "measured": {name: part.measured_counts() for name, part in data.parts.items()},
        "not_converged": int((~predictions["converged"].values).sum()),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PROVENANCE}},
        "config": run.config,
    }  # fmt: skip
    with replacing(folder / RESULT) as temporary:
        temporary.write_text(json.dumps(result, indent=1, default=str))
    return result


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning's notes on devices and parts are left out: there are many runs."""
    loggers = [
        logging.getLogger(name)
        for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero")
    ]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def build_data(settings: Mapping[str, Any]) -> FluxTowerDataModule:
    """The data module of a configuration, set up; `predict` runs over all parts."""
    settings = dict(settings)
    towers = [pydantic.TypeAdapter(TowerFiles).validate_python(tower) for tower in settings.pop("towers")]
    data = FluxTowerDataModule(towers=towers, **{**settings, "predict_part": "all"})
    data.setup()
    for part in ("val", "test"):
        if part not in data.parts:
            raise ValueError(
                f"there is no {part} part. "
                + (
                    "Give test_forcings and test_fluxes, or test_fraction > 0."
                    if part == "test"
                    else "Set val_every > 1."
                )
            )
    return data


def _benchmark(run: Run, data: FluxTowerDataModule) -> Fitted:
    by_site = not data.held_out.towers
    model = fit_benchmark(
        run.config["kind"], data.parts["train"], data.parts["val"], inputs=run.config.get("inputs", ()), seed=run.seed,
        by_site=by_site, **run.config["settings"],
    )  # fmt: skip
    return Fitted([[_batch(data.parts[part], model.predict(data.parts[part]))] for part in data.predict_parts])


def _batch(part: TowerDataset, fluxes: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """A whole part as one batch of predictions, with what a canopy says beside its fluxes."""
    known = torch.ones(len(part), dtype=torch.bool)
    return {
        "fluxes": {**fluxes, "converged": known}, "stress": torch.full((len(part),), torch.nan), "observed": part.target,
        "measured": part.measured, "row": part.row, "site": part.site,
    }  # fmt: skip


def _trained(run: Run, data: FluxTowerDataModule, folder: Path) -> Fitted:
    config = run.config
    model = _model(config, data)
    settings = {k: v for k, v in config["trainer"].items() if k not in NOT_OF_A_RUN}
    settings = {
        "max_epochs": 30,
        "gradient_clip_val": 1.0,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 1,
        **settings,
    }
    best = ModelCheckpoint(
        folder / "checkpoints",
        "best",
        monitor="val/loss",
        mode="min",
        auto_insert_metric_name=False,
        enable_version_counter=False,
    )
    stop = EarlyStopping(**{"monitor": "val/loss", "patience": 5, **config["early_stopping"]})
    trainer = L.Trainer(
        **settings, logger=CSVLogger(folder, name="log", version=""), callbacks=[best, stop], enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=folder,
    )  # fmt: skip
    epochs, selected = 0, None
    if any(p.requires_grad for p in model.parameters()):
        trainer.fit(model, datamodule=data)
        epochs = trainer.current_epoch
        if not best.best_model_path:
            raise ValueError(f"row {run.row}: no epoch ended with a loss on the validation part that is a number.")
        content = read_checkpoint(best.best_model_path)
        model.load_state_dict(content["state_dict"])
        selected = float(best.best_model_score) if best.best_model_score is not None else None
    elif not isinstance(model, HybridCanopy):
        raise ValueError(f"row {run.row}: there is nothing to train.")
    outputs: list[Any] = list(trainer.predict(model, datamodule=data) or [])
    loaders: list[Any] = outputs if len(data.predict_parts) > 1 else [outputs]
    for batches in loaders:
        for batch in batches:
            if "converged" not in batch["fluxes"]:
                n = len(batch["row"])
                batch["fluxes"]["converged"] = torch.ones(n, dtype=torch.bool)
                batch["stress"] = torch.full((n,), torch.nan)
    return Fitted(list(loaders), epochs, selected)


def _model(config: Mapping[str, Any], data: FluxTowerDataModule) -> FluxTask:
    if config["kind"] == "network":
        return FluxNetwork(config["inputs"], **config["settings"], **config["loss"])
    if config["kind"] == "lstm":
        model = SequenceNetwork(config["inputs"], **config["settings"], **config["loss"])
        with_past_days(data, model.inputs, model.days)
        return model
    return HybridCanopy(data.sites, **config["model"])


def _predictions(outputs: Sequence[Any], data: FluxTowerDataModule, wet_hours: float) -> xr.Dataset:
    """Predictions of all parts in single precision, with `wet` where the files have precipitation."""
    for part, records in data.records.items():
        if all("precipitation" in record for record in records) and not any("wet" in record for record in records):
            data.records[part] = [with_wet(record, wet_hours) for record in records]
    predictions = predictions_dataset(outputs, data)
    narrow = {
        name: variable.astype(np.float32).assign_attrs(variable.attrs)
        for name, variable in predictions.data_vars.items()
        if variable.dtype == np.float64
    }
    return predictions.assign(narrow)
