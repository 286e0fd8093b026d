"""Scores of predictions: five fluxes, from the half-hour to the season, over measured half-hours that converged."""

from __future__ import annotations

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


def scores_of_pairs(modelled: np.ndarray, observed: np.ndarray, *, kge: bool = True) -> dict[str, float]:
    """Scores of pairs `[n]`; NaN where undefined.

    `NSE` = 1 - sum (s - o)^2 / sum (o - mean o)^2; `RMSE`; `NME` = sum |s - o| / sum |o - mean o|; `bias` = mean (s - o); `r` of
    Pearson; `sd_ratio` = sd s / sd o; `KGE` [Gupta2009]; `q05_error`, `q95_error`: 5th and 95th percentile of s minus those of o.
    NSE, RMSE, bias, r and KGE are those of the package `scores`; NME as in [Best2015].

    Args:
        modelled, observed: finite numbers.
        kge: False leaves it out (fluxes whose mean is close to zero).
    """
    continuous = require("scores.continuous")
    nothing = float("nan")
    result = dict.fromkeys(COLUMNS, nothing) | {"n": float(len(observed))}
    if not len(observed):
        return result
    s, o = (xr.DataArray(np.asarray(values, np.float64), dims="pair") for values in (modelled, observed))
    varies = float(o.std()) > 0.0
    both_vary = varies and float(s.std()) > 0.0
    result |= {"RMSE": float(continuous.rmse(s, o)), "bias": float(continuous.additive_bias(s, o))}
    if varies:
        result["NSE"] = float(continuous.nse(s, o))
        result["NME"] = float(np.abs(s - o).sum() / np.abs(o - o.mean()).sum())
        result["sd_ratio"] = float(s.std() / o.std())
    if both_vary:
        result["r"] = float(continuous.correlation.pearsonr(s, o))
    if both_vary and kge and float(o.mean()) != 0.0:
        result["KGE"] = float(continuous.kge(s, o))
    for name, q in (("q05_error", 0.05), ("q95_error", 0.95)):
        result[name] = float(np.quantile(s.values, q) - np.quantile(o.values, q))
    return result


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
    rows = []
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
                index = {"site": str(site), "part": part, "flux": flux}
                for period, when in periods.items():
                    chosen = when & counted
                    scores = scores_of_pairs(s[chosen], o[chosen], kge=kge)
                    rows.append({**index, "scale": "half-hour", "period": period, **scores})
                chosen = here & counted
                for scale, (a, b) in means_by_scale(time[here], time[chosen], s[chosen], o[chosen]).items():
                    with_kge = kge and scale != "anomaly"
                    rows.append({**index, "scale": scale, "period": "all", **scores_of_pairs(a, b, kge=with_kge)})
    return pd.DataFrame(rows, columns=["site", "part", "flux", "scale", "period", *COLUMNS])


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
