"""An ensemble of runs that differ in their seed: mean and spread of their predictions, and the scores of each beside its own."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from canveg_jax.fluxes import FLUX_TABLE
from canveg_jax.io import TARGET_TABLE

from ..names import EQUIVALENT, WITH_RESIDUAL
from .interval_table import MEMBERS, interval_table
from .intervals import calibrated_on, has_intervals, levels_of, seen_name, with_intervals, without_intervals
from .predictions import read_predictions, write_predictions
from .report import report_figure, save_figure
from .score_table import score_table, write_table

SPREAD = "_spread"
"""`LE_spread`: standard deviation of `LE` over the members."""

SOLVER = ("passes", "residual", "converged", "reason")
"""Outputs about the solver, not of the canopy."""

SAME = ("time", "site_index", "split")


def ensemble(members: Sequence[xr.Dataset]) -> xr.Dataset:
    """Mean of the predictions of several members, half-hour by half-hour, with the standard deviation over them (n - 1).

    Intervals of the members are left out: they are of other predictions. Averaged are modelled fluxes, what the tower sees
        of them, stress and closures; those that are scored, stress and closures
    have a spread. A half-hour counts as converged where it is in all members.

    Args:
        members: of `read_predictions`, of the same half-hours.

    Raises:
        ValueError: fewer than two members, or other half-hours, sites, parts or variables.
    """
    members = [without_intervals(member) for member in members]
    first = members[0] if members else None
    if first is None or len(members) < 2:
        raise ValueError(f"an ensemble needs the predictions of at least two runs; got {len(members)}.")
    for i, member in enumerate(members[1:], start=1):
        _require_same(first, member, i)
    averaged = [str(name) for name in first.data_vars if _is_modelled(str(name))]
    result = first.copy()
    for name in averaged:
        values = np.stack([member[name].values.astype(float) for member in members])
        attrs = first[name].attrs
        result[name] = ("row", values.mean(axis=0), attrs)
        if _has_spread(name):
            spread = {
                "units": attrs.get("units", "1"),
                "long_name": f"{attrs.get('long_name', name)}: spread of the members",
            }
            result[f"{name}{SPREAD}"] = ("row", values.std(axis=0, ddof=1), spread)
    converged = np.all([member["converged"].values for member in members], axis=0)
    result["converged"] = ("row", converged, first["converged"].attrs)
    for name in ("passes", "residual", "reason"):
        if name in result:
            worst = np.max([member[name].values for member in members], axis=0)
            result[name] = ("row", worst, first[name].attrs)
    return result.assign_attrs(members=len(members), title=f"Mean of {len(members)} runs that differ in their seed")


def member_scores(members: Sequence[xr.Dataset], mean: xr.Dataset) -> pd.DataFrame:
    """NSE by flux (columns) of each member, their mean, and the ensemble, indexed by site, part and who."""
    tables = {**{f"member {i}": score_table(member) for i, member in enumerate(members)}, "ensemble": score_table(mean)}
    by_who = {who: table.xs("all", level="period")["NSE"].unstack("flux", sort=False) for who, table in tables.items()}
    by_who = {**by_who, "mean of members": sum(by_who[f"member {i}"] for i in range(len(members))) / len(members)}
    joined = pd.concat(by_who, names=["who"]).reorder_levels(["site", "part", "who"])
    return joined.sort_index(level=["site", "part"], sort_remaining=False, kind="stable").dropna(
        axis="columns", how="all"
    )


def write_ensemble(paths: Sequence[str | Path], folder: str | Path) -> pd.DataFrame:
    """Read the predictions of several runs; write `predictions.nc`, `scores.csv`, `members.csv` and `report.png` of their mean.

    Where the package scores is installed (extra `experiments`), or the members have prediction intervals, `intervals.csv`
    as well: scores of the members as a distribution, and of the intervals of their mean, which are calibrated as those of
    the first member.

    Returns:
        `member_scores`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    members = [read_predictions(path) for path in paths]
    mean = with_member_crps(ensemble(members), members)
    if levels := levels_of(members[0]):
        mean = with_intervals(mean, levels, calibrated_on(members[0]))
    if has_intervals(mean) or any(str(name).endswith(MEMBERS) for name in mean.data_vars):
        write_table(folder / "intervals.csv", interval_table(mean))
    write_predictions(folder / "predictions.nc", mean, {"member_files": [str(path) for path in paths]})
    write_table(folder / "scores.csv", score_table(mean))
    scores = member_scores(members, mean)
    write_table(folder / "members.csv", scores)
    save_figure(report_figure(mean), folder / "report.png")
    return scores


def with_member_crps(mean: xr.Dataset, members: Sequence[xr.Dataset]) -> xr.Dataset:
    """Add `<flux>_crps_members` `[row]`: the continuous ranked probability score of the members, as an estimate of that of
    the distribution that they are drawn from (`fair`) [Gneiting2007] [Ferro2014]. Without the package scores the
    predictions as they are.

    NaN where nothing was measured or a member did not converge.
    """
    if find_spec("scores") is None:
        return mean
    crps_for_ensemble = import_module("scores.probability").crps_for_ensemble
    result = mean.copy()
    for info in TARGET_TABLE.values():
        if f"{info.flux}_observed" not in mean:
            continue
        name = seen_name(mean, info.flux)
        forecast = xr.DataArray(np.stack([m[name].values.astype(float) for m in members]), dims=("member", "row"))
        known = mean[f"{info.flux}_measured"].values & mean["converged"].values
        observed = xr.DataArray(np.where(known, mean[f"{info.flux}_observed"].values.astype(float), np.nan), dims="row")
        crps = crps_for_ensemble(forecast, observed, "member", method="fair", preserve_dims="row")
        meaning = f"continuous ranked probability score of the members' {info.flux}"
        result[f"{info.flux}{MEMBERS}"] = ("row", crps.values, {"units": info.unit, "long_name": meaning})
    return result


def _is_modelled(name: str) -> bool:
    return (name in FLUX_TABLE and name not in SOLVER) or _has_spread(name)


def _has_spread(name: str) -> bool:
    scored = {info.flux for info in TARGET_TABLE.values()}
    return (
        name in scored or name == "stress" or name.startswith("closure_") or name.endswith((EQUIVALENT, WITH_RESIDUAL))
    )


def _require_same(first: xr.Dataset, member: xr.Dataset, i: int) -> None:
    """Raise ValueError where a member is of something else than the first."""
    differ = [name for name in SAME if not np.array_equal(first[name].values, member[name].values)]
    if not np.array_equal(first["site_name"].values, member["site_name"].values):
        differ.append("site_name")
    if differ:
        raise ValueError(
            f"member {i} has other half-hours than member 0 ({', '.join(differ)} differ). Give runs of one configuration that "
            "differ in seed_everything alone."
        )
    lacking = sorted({str(name) for name in first.data_vars} ^ {str(name) for name in member.data_vars})
    if lacking:
        raise ValueError(f"member {i} and member 0 do not have the same variables: only one has {', '.join(lacking)}.")
