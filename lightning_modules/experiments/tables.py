"""Tables of a comparison: every score of every run, and the short one of rows by flux."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from canveg_jax.files import replacing

from ..evaluation.predictions import read_predictions
from ..names import EQUIVALENT
from .execute import PREDICTIONS, SCORES
from .frames import Frame
from .plan import FLUXES, Run
from .scores import seen, used

Predictions = dict[tuple[str, str], list[xr.Dataset]]
"""Predictions by row and split, one for each seed."""


def load_predictions(runs: Sequence[Run], results: Mapping[str, Any], folder: Path) -> Predictions:
    """The predictions of the runs that have results, without the training part."""
    loaded: Predictions = {}
    for run in runs:
        if run.name in results:
            whole = read_predictions(folder / run.name / PREDICTIONS)
            loaded.setdefault((run.label, run.split), []).append(
                whole.isel(row=np.flatnonzero(whole["split"].values != 0))
            )
    return loaded


def every_score(runs: Sequence[Run], results: Mapping[str, Any], folder: Path) -> Frame:
    """`scores.flux_scores` of all runs, with `row`, `split`, `layers`, `seed`, `wall_s` and `epochs`."""
    tables = []
    for run in runs:
        if run.name not in results:
            continue
        table = pd.read_csv(folder / run.name / SCORES)
        about = {
            "row": run.label, "layers": run.layers, "split": run.split, "seed": run.seed,
            "wall_s": results[run.name]["wall_s"], "epochs": results[run.name]["epochs"],
        }  # fmt: skip
        tables.append(table.assign(**about)[[*about, *table.columns]])
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def ensemble_nse(predictions: Sequence[xr.Dataset], flux: str) -> float:
    """NSE of the mean of the seeds' predictions on the test part; the median over the towers."""
    first = predictions[0]
    counted = (first["split"].values == 2) & np.all([used(p, flux) for p in predictions], axis=0)
    mean = np.mean([seen(p, flux) for p in predictions], axis=0)
    observed = np.asarray(first[f"{flux}_observed"].values, float)
    site = first["site_index"].values
    values = []
    for i in np.unique(site[counted]):
        o, error = observed[counted & (site == i)], (mean - observed)[counted & (site == i)]
        if o.std() > 0:
            values.append(1.0 - np.mean(error**2) / o.var())
    return float(np.median(values)) if values else float("nan")


def short_table(scores: Frame, predictions: Predictions) -> Frame:
    """A row for each `split, row`: for each flux the NSE of test half-hours, its spread, that of the ensemble; time and epochs.

    `NSE_LE` is the mean over the seeds of the median over the towers, `sd_LE` the standard deviation over the seeds (blank with
    one), `low_LE` and `high_LE` the 10th and 90th percentile over the towers (blank with one), `ensemble_LE` the NSE of the mean
    prediction.
    """
    chosen = scores[(scores["part"] == "test") & (scores["scale"] == "half-hour") & (scores["period"] == "all")]
    rows = []
    for (split, row), group in chosen.groupby(["split", "row"], sort=False):
        runs = group.drop_duplicates("seed")
        entry: dict[str, Any] = {"split": split, "row": row, "seeds": len(runs)}
        for flux in FLUXES:
            of_flux = group[(group["flux"] == flux) & (group["n"] > 1)]
            by_seed = of_flux.groupby("seed")["NSE"].median()
            by_site = of_flux.groupby("site")["NSE"].mean()
            entry[f"NSE_{flux}"] = by_seed.mean()
            entry[f"sd_{flux}"] = by_seed.std()
            several = len(by_site) > 1
            entry[f"low_{flux}"], entry[f"high_{flux}"] = by_site.quantile([0.1, 0.9]) if several else (np.nan, np.nan)
            there = flux in predictions[row, split][0] and len(of_flux)
            entry[f"ensemble_{flux}"] = ensemble_nse(predictions[row, split], flux) if there else np.nan
        entry |= {"wall_s": runs["wall_s"].mean(), "epochs": runs["epochs"].astype(float).mean()}
        rows.append(entry)
    return pd.DataFrame(rows)


def shown_fluxes(short: Frame) -> list[str]:
    """Fluxes that any row models."""
    return [flux for flux in FLUXES if short[f"NSE_{flux}"].notna().any()]


def cells(short: Frame) -> tuple[list[str], list[list[str]]]:
    """Head and cells of the short table of one split, as text: mean NSE ± spread over seeds (ensemble)."""
    fluxes = shown_fluxes(short)
    head = ["row", *fluxes, "seeds", "time, s", "epochs"]
    body = []
    for entry in short.to_dict("records"):
        line = [str(entry["row"])]
        for flux in fluxes:
            text = number(entry[f"NSE_{flux}"])
            if entry["seeds"] > 1 and text:
                text += f" ± {number(entry[f'sd_{flux}'])} ({number(entry[f'ensemble_{flux}'])})"
            line.append(text)
        line += [
            str(entry["seeds"]),
            f"{entry['wall_s']:.0f}",
            "" if pd.isna(entry["epochs"]) else f"{entry['epochs']:.0f}",
        ]
        body.append(line)
    return head, body


def number(value: float) -> str:
    """Three decimals; nothing for what is undefined."""
    return "" if pd.isna(value) else f"{value:.3f}"


def write_csv(path: Path, table: Frame) -> Path:
    """Write CSV; an existing file is replaced only by a complete one."""
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
    return path


def has_observed_share(predictions: xr.Dataset) -> bool:
    """Whether the model says what share of its fluxes the tower observes."""
    return any(str(name).endswith(EQUIVALENT) for name in predictions.data_vars)
