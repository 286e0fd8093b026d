"""Scores of predictions: five fluxes, from the half-hour to the season, over measured half-hours that converged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from ..data.splits import PARTS
from ..evaluation.score_table import WITHOUT_KGE
from ..names import EQUIVALENT
from .benchmarks import require
from .frames import Frame
from .plan import FLUXES

COLUMNS = ("n", "NSE", "RMSE", "NME", "bias", "r", "sd_ratio", "KGE", "q05_error", "q95_error")

SCALES = ("half-hour", "day", "week", "season", "anomaly")

LEAST_SHARE = 0.25
"""Share of the half-hours of a day or week that must be measured for its mean to count."""


SHORT = 1024
"""Pairs of a set up to which sets are scored together with the short ones."""


def scores_of_pairs(modelled: np.ndarray, observed: np.ndarray, *, kge: bool = True) -> dict[str, float]:
    """Scores of the finite pairs `[n]`, see `scores_of_sets`."""
    return scores_of_sets([(modelled, observed, kge)])[0]


def scores_of_sets(sets: Sequence[tuple[np.ndarray, np.ndarray, bool]]) -> list[dict[str, float]]:
    """Scores of many sets of pairs; NaN where undefined.

    `NSE` = 1 - sum (s - o)^2 / sum (o - mean o)^2; `RMSE`; `NME` = sum |s - o| / sum |o - mean o| [Best2015]; `bias` = mean
    (s - o); `r` of Pearson; `sd_ratio` = sd s / sd o; `KGE` [Gupta2009]; `q05_error`, `q95_error`: 5th and 95th percentile of s
    minus those of o. Where both vary, NSE, RMSE, bias, r and KGE are those of the package `scores`, which takes many sets at
    once.

    Args:
        sets: modelled values `[n]`, observed values `[n]`, all finite, and whether KGE is wanted (False for fluxes whose mean is
            close to zero).
    """
    results = [_plain_scores(np.asarray(s, np.float64), np.asarray(o, np.float64)) for s, o, _ in sets]
    vary = [i for i, (s, o, _) in enumerate(sets) if len(o) > 1 and np.ptp(o) > 0 and np.ptp(s) > 0]
    for group in ([i for i in vary if len(sets[i][1]) <= SHORT], [i for i in vary if len(sets[i][1]) > SHORT]):
        for i, scores in zip(group, _scores_together([sets[i][:2] for i in group]), strict=True):
            if not (sets[i][2] and np.mean(sets[i][1]) != 0.0):
                scores["KGE"] = float("nan")
            results[i] |= scores
    return results


def _plain_scores(s: np.ndarray, o: np.ndarray) -> dict[str, float]:
    """What is defined for any set, and what the package does not have."""
    result = dict.fromkeys(COLUMNS, float("nan")) | {"n": float(len(o))}
    if not len(o):
        return result
    result |= {"RMSE": float(np.sqrt(np.mean((s - o) ** 2))), "bias": float(np.mean(s - o))}
    for name, q in (("q05_error", 0.05), ("q95_error", 0.95)):
        result[name] = float(np.quantile(s, q) - np.quantile(o, q))
    if np.ptp(o) > 0:
        result["NSE"] = float(1.0 - np.mean((s - o) ** 2) / np.var(o))
        result["NME"] = float(np.abs(s - o).sum() / np.abs(o - o.mean()).sum())
        result["sd_ratio"] = float(s.std() / o.std())
    return result


def _scores_together(sets: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[dict[str, float]]:
    """Scores by the package `scores` of sets in which both vary: a row each, filled up with NaN, which it leaves out."""
    if not sets:
        return []
    continuous = require("scores.continuous")
    rows = np.full((2, len(sets), max(len(o) for _, o in sets)), np.nan)
    for i, pair in enumerate(sets):
        for j, values in enumerate(pair):
            rows[j, i, : len(values)] = values
    s, o = (xr.DataArray(values, dims=("set", "pair")) for values in rows)
    table = {
        "NSE": continuous.nse(s, o, preserve_dims="set"), "RMSE": continuous.rmse(s, o, preserve_dims="set"),
        "bias": continuous.additive_bias(s, o, preserve_dims="set"),
        "r": continuous.correlation.pearsonr(s, o, preserve_dims="set"), "KGE": continuous.kge(s, o, preserve_dims="set"),
    }  # fmt: skip
    columns = {name: np.asarray(values) for name, values in table.items()}
    return [{name: float(values[i]) for name, values in columns.items()} for i in range(len(sets))]


def seen(predictions: xr.Dataset, flux: str) -> np.ndarray:
    """The modelled flux as the tower would see it, which is what its observations are compared with."""
    name = f"{flux}{EQUIVALENT}"
    return np.asarray(predictions[name if name in predictions else flux].values, float)


def used(predictions: xr.Dataset, flux: str) -> np.ndarray:
    """Which half-hours count: measured, converged, and modelled at all."""
    return (
        predictions[f"{flux}_measured"].values.astype(bool)
        & predictions["converged"].values.astype(bool)
        & np.isfinite(seen(predictions, flux))
    )


def fluxes_in(predictions: xr.Dataset) -> list[str]:
    """Fluxes that are modelled and observed."""
    return [flux for flux in FLUXES if f"{flux}_observed" in predictions and flux in predictions]


def flux_scores(predictions: xr.Dataset, parts: tuple[str, ...] = ("val", "test")) -> Frame:
    """Scores, a row for each `site, part, flux, scale, period`.

    Scales: `half-hour`, with the periods `all`, `day` (shortwave above zero), `night`, and `dry`, `wet` where the file has
    precipitation; `day` and `week`: means over days and weeks (from the first day of the part) of which a quarter was measured;
    `season`: means over the calendar months of the daily means; `anomaly`: daily means minus that of their month.
    """
    about, sets = [], []
    site_of, split = predictions["site_index"].values, predictions["split"].values
    time = predictions["time"].values.astype("datetime64[ns]")
    sunny = predictions["shortwave_in"].values > 0
    for i, site in enumerate(predictions["site_name"].values):
        for part in parts:
            here = (site_of == i) & (split == PARTS.index(part))
            if not here.any():
                continue
            periods = {"all": here, "day": here & sunny, "night": here & ~sunny}
            if "wet" in predictions:
                wet = predictions["wet"].values.astype(bool)
                periods |= {"dry": here & ~wet, "wet": here & wet}
            for flux in fluxes_in(predictions):
                counted = used(predictions, flux)
                s, o = seen(predictions, flux), np.asarray(predictions[f"{flux}_observed"].values, float)
                kge = flux not in WITHOUT_KGE
                for period, when in periods.items():
                    about.append((str(site), part, flux, "half-hour", period))
                    sets.append((s[when & counted], o[when & counted], kge))
                chosen = here & counted
                for scale, (a, b) in means_by_scale(time[here], time[chosen], s[chosen], o[chosen]).items():
                    about.append((str(site), part, flux, scale, "all"))
                    sets.append((a, b, kge and scale != "anomaly"))
    names = ["site", "part", "flux", "scale", "period"]
    rows = [dict(zip(names, a, strict=True)) | scores for a, scores in zip(about, scores_of_sets(sets), strict=True)]
    return pd.DataFrame(rows, columns=[*names, *COLUMNS])


def means_by_scale(
    every: np.ndarray, time: np.ndarray, modelled: np.ndarray, observed: np.ndarray
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Pairs (modelled, observed) of the scales beyond the half-hour.

    Args:
        every: time of all half-hours of the part, measured or not; says how many a day has, and where weeks begin.
        time, modelled, observed: of the half-hours that count.
    """
    pairs: Frame = pd.DataFrame({"s": modelled, "o": observed}, dtype=float)
    steps = np.diff(every)
    a_day = np.timedelta64(1, "D") / np.median(steps) if len(steps) else 48.0
    days = (time.astype("datetime64[D]") - every[0].astype("datetime64[D]")).astype(int)

    def means(group: np.ndarray, size: float) -> Frame:
        grouped = pairs.groupby(group)
        return grouped.mean()[grouped["s"].size() >= LEAST_SHARE * size]

    daily, weekly = means(days, a_day), means(days // 7, 7 * a_day)
    month = (every[0].astype("datetime64[D]") + daily.index.to_numpy()).astype("datetime64[M]").astype(int) % 12
    of_month = daily.groupby(month)
    tables = {"day": daily, "week": weekly, "season": of_month.mean(), "anomaly": daily - of_month.transform("mean")}
    return {scale: (table["s"].to_numpy(), table["o"].to_numpy()) for scale, table in tables.items()}
