"""Scores of a predictions file: by site, part, flux and time of day, over measured half-hours that converged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xarray as xr

from canveg_jax.files import replacing
from canveg_jax.io import TARGET_TABLE

from ..data.splits import PARTS
from ..names import EQUIVALENT, WITH_RESIDUAL
from .moments import moments_of, scores_of

WITHOUT_KGE = ("NEE", "G")
"""Fluxes whose mean is close to zero, where KGE's ratio of means says nothing."""

COLUMNS = ["n", "RMSE", "NSE", "KGE", "bias", "r"]


def score_table(predictions: xr.Dataset) -> pd.DataFrame:
    """Scores, indexed by `site, part, flux, period` (`all`; `day`: incoming shortwave above zero; `night`; `dry` and
    `wet`, where the data module masks rain).

    `LE` is the modelled flux against the observation as it is; `LE_observed_equivalent`, of models with an observed share, what
    the tower would see of it, and `LE_with_residual` that plus a network on the residuals. Columns `n` (half-hours scored),
    `RMSE` and `bias` in the unit of the flux, `NSE`, `KGE`, `r`; NaN
    where undefined.
    """
    fluxes = [info.flux for info in TARGET_TABLE.values() if f"{info.flux}_observed" in predictions]
    kinds = (EQUIVALENT, WITH_RESIDUAL)
    fluxes += [f"{flux}{kind}" for kind in kinds for flux in fluxes if f"{flux}{kind}" in predictions]
    columns = {str(name): predictions[name].values for name in predictions.data_vars}
    sunny = columns["shortwave_in"] > 0
    periods = {"all": np.ones(len(sunny), dtype=bool), "day": sunny, "night": ~sunny}
    if "wet" in columns:
        periods |= {"dry": ~columns["wet"], "wet": columns["wet"]}
    site_of = predictions["site_index"].values
    rows = {}
    for i, site in enumerate(predictions["site_name"].values):
        for j, part in enumerate(PARTS):
            chosen = (site_of == i) & (columns["split"] == j)
            for period, when in periods.items():
                if chosen.any():
                    scores = _scores(columns, chosen & when, fluxes)
                    rows |= {(str(site), part, flux, period): scores[flux] for flux in fluxes}
    index = pd.MultiIndex.from_tuples(list(rows), names=["site", "part", "flux", "period"])
    table = pd.DataFrame(list(rows.values()), index=index, columns=COLUMNS)
    return table.astype({"n": int}).sort_index(level="site", sort_remaining=False, kind="stable")


def table_text(table: pd.DataFrame, periods: tuple[str, ...] = ("all", "day", "night", "dry", "wet")) -> str:
    """The table as text to print; undefined scores are left blank, fluxes without any measurement are left out."""
    shown = table.loc[table.index.get_level_values("period").isin(periods) & (table["n"] > 0)]
    return shown.to_string(float_format=lambda x: f"{x:.3f}", na_rep="") if len(shown) else "nothing was measured"


def write_table(path: str | Path, table: pd.DataFrame) -> Path:
    """Write CSV; an existing file is replaced only by a complete one."""
    with replacing(path) as temporary:
        table.to_csv(temporary, float_format="%.6g")
    return Path(path)


def _scores(columns: dict[str, np.ndarray], rows: np.ndarray, fluxes: list[str]) -> dict[str, dict[str, float]]:
    """Scores of the rows by flux. Plain moments, no metrics: those would wait for the other processes of a distributed run."""
    result = {}
    for flux in fluxes:
        seen = flux.removesuffix(EQUIVALENT).removesuffix(WITH_RESIDUAL)
        modelled, observed, measured, converged = (
            torch.from_numpy(columns[name][rows])
            for name in (flux, f"{seen}_observed", f"{seen}_measured", "converged")
        )
        moments = moments_of(modelled, observed, measured & converged)
        scores = {"n": float(moments[0]), **{name: float(value) for name, value in scores_of(moments).items()}}
        if seen in WITHOUT_KGE:
            scores["KGE"] = float("nan")
        result[flux] = {column: scores[column] for column in COLUMNS}
    return result
