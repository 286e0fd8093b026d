"""A network on what a trained hybrid leaves over: better fluxes, but no physics any more. The hybrid itself stays as it is.

Its results are named `<flux>_with_residual` everywhere: energy, water and carbon are not conserved in them.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
import warnings
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import lightning as L
import numpy as np
import torch
import xarray as xr
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from ..data.dataset import TowerDataset
from ..data.statistics import ScalingStatistics
from ..data.targets import FLUX_OF_TARGET
from ..names import EQUIVALENT, WITH_RESIDUAL
from .flux_network import FluxNetwork

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..data.datamodule import FluxTowerDataModule

CHECKPOINT = "residual.ckpt"
"""Name of its checkpoint, beside that of the hybrid."""

RESIDUAL_FOLDER = "residual"
"""Name of its folder, in that of a shared hybrid."""


@dataclasses.dataclass
class ResidualSettings:
    """The network on the residuals of a trained hybrid.

    Args:
        inputs: names of network inputs and groups of them (`environment`, `antecedents` ...); null: no such network.
        hidden: widths of the hidden layers.
        gru: `{days: 30, hidden: 8}`: a memory of the days before, beside the inputs.
        epochs: at most; it stops when the validation part has not gained for 5.
        lr: learning rate (AdamW).
        weight_decay: of the weights.
    """

    inputs: list[str] | None = None
    hidden: list[int] = dataclasses.field(default_factory=lambda: [32, 32])
    gru: dict[str, int] | None = None
    epochs: int = 30
    lr: float = 3e-3
    weight_decay: float = 1e-2


def train_residual(
    data: FluxTowerDataModule,
    predictions: xr.Dataset,
    settings: ResidualSettings,
    weights: Mapping[str, float],
    folder: str | Path,
) -> FluxNetwork:
    """Train the network on `observed - modelled` of the training part, chosen by the validation part, and save it.

    `modelled` is what the tower would see of the hybrid's flux.

    Args:
        data: set up; its training and validation part are used.
        predictions: of the hybrid over all parts (`predictions_dataset`).
        settings: `inputs` given.
        weights: of the loss, by target; those of the hybrid.
        folder: the checkpoint `residual.ckpt` goes there.

    Raises:
        ValueError: an unknown input, or a number that cannot be right.
    """
    network = FluxNetwork(
        settings.inputs or (), settings.hidden, weights=dict(weights), lr=settings.lr, weight_decay=settings.weight_decay,
        gru=settings.gru,
    )  # fmt: skip
    data.carry_days(network.days_of_memory)
    parts = {name: left_over(part, predictions) for name, part in data.parts.items() if name in ("train", "val")}
    network.set_statistics(ScalingStatistics.of(parts["train"], data.sites))
    loaders = {name: data.loader_of(part, shuffle=name == "train") for name, part in parts.items()}
    watched = "val/loss" if "val" in loaders else "train/loss"
    folder = Path(folder)
    keep = ModelCheckpoint(folder, Path(CHECKPOINT).stem, monitor=watched, enable_version_counter=False)
    with _quiet():
        trainer = L.Trainer(
            max_epochs=settings.epochs, accelerator="cpu", logger=False, enable_progress_bar=False,
            enable_model_summary=False, num_sanity_val_steps=0, gradient_clip_val=1.0,
            callbacks=[keep, EarlyStopping(watched, patience=5, check_on_train_epoch_end=watched == "train/loss")],
        )  # fmt: skip
        trainer.fit(network, loaders["train"], loaders.get("val"))
    return load_residual(folder / CHECKPOINT)


def load_residual(path: str | Path) -> FluxNetwork:
    """The network of a checkpoint that `train_residual` wrote.

    Raises:
        FileNotFoundError: there is none.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"{path}: there is no network on the residuals beside the checkpoint. It is made by `canveg fit` with `residual`; "
            "set residual.inputs: null to predict without it."
        )
    return FluxNetwork.load_from_checkpoint(path, map_location="cpu").eval()


def left_over(part: TowerDataset, predictions: xr.Dataset) -> TowerDataset:
    """The half-hours of a part with `observed - modelled` in place of the targets; not measured where there is no solution."""
    rows = _rows_of(part, predictions)
    converged = torch.from_numpy(predictions["converged"].values[rows])
    result = copy.copy(part)
    result.target, result.measured = {}, {}
    for name, target in part.target.items():
        modelled = torch.from_numpy(seen(predictions, FLUX_OF_TARGET[name])[rows]).to(target.dtype)
        result.measured[name] = part.measured[name] & converged
        result.target[name] = torch.where(result.measured[name], target - modelled, torch.nan)
    return result


def with_residual(predictions: xr.Dataset, data: FluxTowerDataModule, network: FluxNetwork) -> xr.Dataset:
    """The predictions with `<flux>_with_residual` of the fluxes that the network was trained on: what the tower sees of the
    hybrid's flux, plus what the network adds."""
    data.carry_days(network.days_of_memory)
    added = {FLUX_OF_TARGET[name]: np.full(predictions.sizes["row"], np.nan) for name in network.targets}
    for part in (data.parts[name] for name in data.predict_parts):
        rows = _rows_of(part, predictions)
        with torch.no_grad():
            outputs = [network.fluxes(batch) for batch in data.loader_of(part)]
        for flux, column in added.items():
            column[rows] = torch.cat([output[flux] for output in outputs]).numpy()
    columns = {}
    for flux, residual in added.items():
        attrs = {
            "units": predictions[flux].attrs.get("units", "1"),
            "long_name": f"{flux} of the hybrid plus a network on its residuals: not physics, nothing is conserved",
        }
        columns[f"{flux}{WITH_RESIDUAL}"] = ("row", seen(predictions, flux) + residual, attrs)
    return predictions.assign(columns)


def seen(predictions: xr.Dataset, flux: str) -> np.ndarray:
    """What the tower would see of a modelled flux, `[row]`."""
    name = f"{flux}{EQUIVALENT}"
    return np.asarray(predictions[name if name in predictions else flux].values, float)


def _rows_of(part: TowerDataset, predictions: xr.Dataset) -> np.ndarray:
    """Where the half-hours of a part are in the predictions."""
    known = {
        (int(site), time): row
        for row, (site, time) in enumerate(
            zip(predictions["site_index"].values, predictions["time"].values.astype("datetime64[ns]"), strict=True)
        )
    }
    return np.array(
        [known[int(site), time] for site, time in zip(part.site.numpy(), part.time, strict=True)], dtype=int
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Lightning's remarks on the small trainer of the network."""
    log = logging.getLogger("lightning.pytorch")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*does not have many workers.*")
            warnings.filterwarnings("ignore", ".*Checkpoint directory .* exists and is not empty.*")
            warnings.filterwarnings("ignore", "The number of training batches .*")
            yield
    finally:
        log.setLevel(level)
