"""How good prediction intervals are: coverage, width, interval score, CRPS and PIT, by site, part, flux and time."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from canveg_jax.io import TARGET_TABLE

from ..data.splits import PARTS
from .intervals import CRPS, PIT, bounds_of, levels_of

PIT_CLASSES = 10
MEMBERS = "_crps_members"
"""`LE_crps_members`: CRPS of the members of an ensemble themselves."""

SEASONS = ("Dec-Feb", "Mar-May", "Jun-Aug", "Sep-Nov")


def interval_table(predictions: xr.Dataset) -> pd.DataFrame:
    """Scores of the intervals, indexed by `site, part, flux, period` (`all`, `day`, `night`, and the four seasons).

    Over measured, converged half-hours that have an interval (`n`). For each level: `coverage_90`, the share inside;
    `width_90`, the mean width (sharpness: the narrower of two with the same coverage is the better); `score_90`, the
    interval score, width plus `2 / (1 - level)` times the distance of what lies outside [Gneiting2007]. `CRPS`: mean
    continuous ranked probability score, which is the absolute error of a prediction without spread; `CRPS_members` that of
    the members of an ensemble alone. Widths and scores in the unit of the flux. `pit_1` ... `pit_10`: shares of the
    half-hours in tenths of the probability integral transform, 0.1 each where the predicted distribution is right; more in
    the first and last are errors beyond it.

    Raises:
        ValueError: predictions without intervals or members.
    """
    levels = levels_of(predictions)
    fluxes = [info.flux for info in TARGET_TABLE.values() if f"{info.flux}{PIT}" in predictions]
    scored = fluxes or [i.flux for i in TARGET_TABLE.values() if f"{i.flux}{MEMBERS}" in predictions]
    if not scored:
        raise ValueError("the predictions have no intervals. Write some: canveg intervals PREDICTIONS.nc --out FOLDER.")
    site_of, split = predictions["site_index"].values, predictions["split"].values
    periods = _periods(predictions)
    rows = {}
    for i, site in enumerate(predictions["site_name"].values):
        for j, part in enumerate(PARTS):
            chosen = (site_of == i) & (split == j)
            for flux in scored if chosen.any() else ():
                columns = _columns(predictions, flux, levels)
                known = chosen & predictions[f"{flux}_measured"].values & predictions["converged"].values
                known &= ~np.any([np.isnan(values) for values in columns.values()], axis=0)
                for period, when in periods.items():
                    rows[str(site), part, flux, period] = _scores(columns, known & when, levels)
    index = pd.MultiIndex.from_tuples(list(rows), names=["site", "part", "flux", "period"])
    return pd.DataFrame(list(rows.values()), index=index).astype({"n": int})


def _periods(predictions: xr.Dataset) -> dict[str, np.ndarray]:
    sunny = predictions["shortwave_in"].values > 0.0
    season = predictions["time"].values.astype("datetime64[M]").astype(int) % 12 + 1
    season = season % 12 // 3
    return {
        "all": np.ones(len(sunny), dtype=bool), "day": sunny, "night": ~sunny,
        **{name: season == i for i, name in enumerate(SEASONS)},
    }  # fmt: skip


def _columns(predictions: xr.Dataset, flux: str, levels: list[float]) -> dict[str, np.ndarray]:
    names = [bound for level in levels for bound in bounds_of(flux, level)]
    names += [f"{flux}_observed", *(f"{flux}{kind}" for kind in (PIT, CRPS, MEMBERS))]
    short = {name: name.removeprefix(f"{flux}_") for name in names if name in predictions}
    return {key: predictions[name].values.astype(float) for name, key in short.items()}


def _scores(columns: dict[str, np.ndarray], rows: np.ndarray, levels: list[float]) -> dict[str, float]:
    """Scores of the rows; NaN where there are none."""
    here = {name: values[rows] for name, values in columns.items()}
    n = int(rows.sum())
    result: dict[str, float] = {"n": n}

    def mean(values: np.ndarray) -> float:
        return float(values.mean()) if n else np.nan

    for level in levels:
        lower, upper = (here[name.removeprefix("_")] for name in bounds_of("", level))
        observed, width = here["observed"], upper - lower
        outside = np.maximum(lower - observed, 0.0) + np.maximum(observed - upper, 0.0)
        percent = f"{100.0 * level:g}"
        result |= {
            f"coverage_{percent}": mean(outside == 0.0), f"width_{percent}": mean(width),
            f"score_{percent}": mean(width + 2.0 / (1.0 - level) * outside),
        }  # fmt: skip
    for column, name in (("crps", "CRPS"), ("crps_members", "CRPS_members")):
        if column in here:
            result[name] = mean(here[column])
    if "pit" in here:
        counts = np.bincount(
            np.minimum((here["pit"] * PIT_CLASSES).astype(int), PIT_CLASSES - 1), minlength=PIT_CLASSES
        )
        result |= {f"pit_{i + 1}": count / n if n else np.nan for i, count in enumerate(counts)}
    return result
