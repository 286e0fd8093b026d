"""Four invented towers whose leaves close their stomata by a known law; a network inside the canopy has to find it.

Minutes on two cores.

Run by `make demo`, or `python examples/demo.py`. Results: a table on the screen, and files in runs/demo/.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import lightning as L
import numpy as np
import pandas as pd
import torch
import xarray as xr
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

import canveg_jax as cv
from bridges import TorchCanopy
from canveg_jax.runtime import prepare_jax
from canveg_jax.synthetic import KnownLeafStress
from canveg_jax.synthetic.canopy_towers import synthetic_towers
from lightning_modules import FluxTowerDataModule, HybridCanopy, block_split
from lightning_modules.evaluation.closure_report import closure_figure
from lightning_modules.evaluation.predictions import predictions_dataset, write_predictions
from lightning_modules.evaluation.report import report_figure, save_figure

FLUXES = {"LE": "latent_heat", "NEE": "nee"}
CONSEQUENCES = (("LE", "LE", "latent_heat_true"), ("g", "canopy_conductance", "canopy_conductance_true"))
BLOCK_DAYS = 5.0
"""Every fifth block of so many days is validation."""


def main() -> None:
    """Make towers, train, compare, print."""
    options = _options()
    _require_enough_days(options.days)
    prepare_jax()
    L.seed_everything(options.seed, verbose=False)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec.*")
    begin = time.perf_counter()

    def say(text: str) -> None:
        print(f"[{time.perf_counter() - begin:4.0f} s] {text}", flush=True)

    say(
        "Four invented towers, humid to arid; their fluxes are the canopy's own, each leaf under a known stress, plus noise "
        "and gaps."
    )
    law = KnownLeafStress()
    days = [options.days, options.days, *2 * [options.days * 3 // 2]]  # the dry ones see rain more rarely
    towers = synthetic_towers(days, options.seed, n_layers=options.layers, in_loop=law, progress=say)
    unseen = synthetic_towers(options.test_days, options.seed + 100, n_layers=options.layers, in_loop=law)
    say(f"another {options.test_days} days of other weather for each: the test")
    data = FluxTowerDataModule(
        datasets=[(site, tower, test) for (site, tower), (_, test) in zip(towers, unseen, strict=True)],
        batch_size=256, block_days=BLOCK_DAYS, predict_part="test", seed=options.seed,
    )  # fmt: skip
    data.setup()
    model = HybridCanopy(
        data.sites, tunable=(), network_lr=0.02, schedule="cosine",
        stress={"module": "in_loop", "inputs": ["leaf_vpd", "soil_water_content"], "hidden": [8], "monotone": True},
    )  # fmt: skip
    trainer = L.Trainer(
        max_epochs=options.epochs, accelerator="cpu", gradient_clip_val=1.0, num_sanity_val_steps=0, log_every_n_steps=1,
        enable_progress_bar=False, enable_model_summary=False, logger=CSVLogger(options.out, name="", version="log"),
        callbacks=[
            Progress(say),
            ModelCheckpoint(options.out / "checkpoints", "best", monitor="val/loss", enable_version_counter=False),
        ],
    )  # fmt: skip
    say(
        "Training one network for the leaves of all sites, inside the solver, on "
        f"{len(data.parts['train'])} half-hours (the first step compiles)."
    )
    trainer.fit(model, datamodule=data)
    outputs = trainer.predict(model, datamodule=data, ckpt_path="best", weights_only=True)
    predictions = predictions_dataset(outputs or [], data)
    say("Scoring")
    table = comparison(predictions, unstressed(model, data, predictions), [test for _, test in unseen])
    files = [
        write_predictions(options.out / "predictions.nc", predictions),
        save_figure(report_figure(predictions), options.out / "report.png"),
        save_figure(closure_figure(predictions), options.out / "report-closures.png"),
    ]
    table.to_csv(options.out / "scores.csv")
    print(f"\n{as_text(table)}\n")
    say(f"Done. Table, predictions and picture: {options.out}/scores.csv, {', '.join(map(str, files))}")


class Progress(L.Callback):
    """A line per epoch."""

    def __init__(self, say: Callable[[str], None]):
        self.say = say

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        metrics = trainer.callback_metrics
        self.say(
            f"epoch {trainer.current_epoch + 1:2d}/{trainer.max_epochs}   validation loss {metrics['val/loss']:.4f}   "
            f"NSE of LE {metrics['val/NSE_LE']:.3f}, NEE {metrics['val/NSE_NEE']:.3f}"
        )


def unstressed(model: HybridCanopy, data: FluxTowerDataModule, predictions: xr.Dataset) -> dict[str, np.ndarray]:
    """Fluxes of the same physics without stress, in the order of the predictions, and whether it converged."""
    canopy = TorchCanopy(cv.Canopy(data.sites))
    pieces = []
    with torch.no_grad():
        for batch in data.test_dataloader():
            pieces.append(canopy({**batch["forcing"], "site": batch["site"]}))
    order = np.lexsort((data.parts["test"].time, data.parts["test"].site.numpy()))
    assert len(order) == predictions.sizes["row"]
    return {name: torch.cat([p[name] for p in pieces]).numpy()[order] for name in (*FLUXES, "converged")}


def comparison(predictions: xr.Dataset, physics: dict[str, np.ndarray], tests: list[xr.Dataset]) -> pd.DataFrame:
    """Scores on the test record by site: unstressed physics, hybrid, and the truth itself (what noise leaves possible)."""
    site = predictions["site_index"].values
    names = [str(name) for name in predictions["site_name"].values]
    rows = {}
    for label, chosen in [
        *((name, site == i) for i, name in enumerate(names)),
        ("all sites", np.ones(len(site), bool)),
    ]:
        row: dict[tuple[str, str], float] = {}
        for flux, target in FLUXES.items():
            truth = np.concatenate(
                [t[f"{target}_true"].sel(time=predictions["time"].values[site == i]) for i, t in enumerate(tests)]
            )
            used = (
                chosen & predictions[f"{flux}_measured"].values & predictions["converged"].values & physics["converged"]
            )
            observed = predictions[f"{flux}_observed"].values[used]
            for what, values in (("physics", physics[flux]), ("hybrid", predictions[flux].values), ("truth", truth)):
                mse = float(np.mean((values[used] - observed) ** 2))
                row[flux, f"RMSE {what}"] = mse**0.5
                row[flux, f"NSE {what}"] = 1.0 - mse / float(np.var(observed))
        sunny = chosen & (predictions["shortwave_in"].values > 20.0) & predictions["converged"].values
        known = predictions["stress_true"].values[sunny]
        error = predictions["stress"].values[sunny] - known
        row["stress", "known, mean"], row["stress", "known, SD"] = float(known.mean()), float(known.std())
        row["stress", "factor RMSE"] = float(np.sqrt(np.mean(error**2)))
        for what, name, target in CONSEQUENCES:
            truth = np.concatenate(
                [t[target].sel(time=predictions["time"].values[site == i]) for i, t in enumerate(tests)]
            )[sunny]
            error = predictions[name].values[sunny] - truth
            row["stress", f"{what}, mean"] = float(truth.mean())
            row["stress", f"{what}, RMSE"] = float(np.sqrt(np.mean(error**2)))
            row["stress", f"{what}, bias"] = float(error.mean())
        rows[label] = row
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis(index="site")
    kinds = {"RMSE": 1, "NSE": 2}
    return table.loc[:, sorted(table.columns, key=lambda c: (c[0] == "stress", c[0], kinds.get(c[1].split()[0], 0)))]


def as_text(table: pd.DataFrame) -> str:
    """The table in print."""
    parts = [
        f"{title}\n{table.loc[:, key].to_string(float_format=lambda x: f'{x:.3f}')}"
        for key, title in (
            ("LE", "Latent heat LE, W m-2: test record, measured half-hours (truth = noise floor)"),
            ("NEE", "Net CO2 exchange NEE, umol m-2 s-1"),
            (
                "stress",
                "Stress factor, test record by day: learned against known; and what its error does to the true fluxes, without "
                "noise (LE in W m-2, stomatal conductance of the canopy g in mol m-2 s-1)",
            ),
        )
    ]
    return "\n\n".join(parts)


def _require_enough_days(days: int) -> None:
    """End with a message if a record of so many days has no validation part; before minutes are spent on making towers."""
    half_hours = np.datetime64("2019-01-01", "ns") + np.arange(48 * days) * np.timedelta64(30, "m")
    try:
        block_split(half_hours, block_days=BLOCK_DAYS)
    except ValueError as error:
        sys.exit(f"demo.py: --days {days} is too short: {error}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--days", type=int, default=80, help="length of the training records")
    parser.add_argument("--test-days", type=int, default=30, help="length of the test records")
    parser.add_argument("--layers", type=int, default=3, help="canopy layers (1 and 3 need no dispersion matrix made)")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder for the results")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    return options


if __name__ == "__main__":
    main()
