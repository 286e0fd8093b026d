"""Prediction intervals of the observed fluxes, by conformal prediction: errors of half-hours that are known say how far off
others are.

`<flux>_lower_90` and `<flux>_upper_90` are bounds within which the tower's observation is expected to lie, `<flux>_pit` is the
probability that the predictive distribution gives to values below the observation, `<flux>_crps` its continuous ranked
probability score.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from canveg_jax.io import TARGET_TABLE
from canveg_jax.io.netcdf import flux_variable
from canveg_jax.spelling import unknown

from ..data.random_error import sigma_line
from ..data.splits import PARTS
from ..names import EQUIVALENT

CALIBRATING = tuple(part for part in PARTS if part != "test")
"""Parts whose errors may be looked at."""

FEWEST = 100
"""Measured half-hours of a group from which intervals are made."""

PERIODS = ("night", "day")
PIT, CRPS = "_pit", "_crps"

_MADE = re.compile(rf"_(lower|upper)_\d+(_\d+)?$|{PIT}$|{CRPS}$")


class Errors(NamedTuple):
    """Calibrated errors of a flux in one group of half-hours (a site by day or night).

    `offset`, `slope`: the scale `offset + slope |modelled|`, in the unit of the flux; `scores`: errors divided by it, ascending.
    """

    offset: float
    slope: float
    scores: np.ndarray

    def scale(self, modelled: np.ndarray) -> np.ndarray:
        """The size of errors of modelled fluxes, in the unit of the flux."""
        return self.offset + self.slope * np.abs(modelled)


def check_intervals(levels: Sequence[float], calibrate_on: Sequence[str]) -> None:
    """Raise ValueError for levels that are none, and for parts that must not, or cannot, be calibrated on."""
    for level in levels:
        if isinstance(level, bool) or not isinstance(level, int | float) or not 0.0 < level < 1.0:
            raise ValueError(f"intervals: a level is a share between 0 and 1, such as 0.9; got {level!r}.")
    if not calibrate_on:
        raise ValueError(f"intervals: name the part(s) to calibrate on, {' or '.join(CALIBRATING)}.")
    for part in calibrate_on:
        if part == "test":
            raise ValueError("intervals: the test part is what they are judged by, so they cannot be calibrated on it.")
        if part not in CALIBRATING:
            raise ValueError(f"intervals: {unknown('part to calibrate on', part, CALIBRATING)}")


def bounds_of(flux: str, level: float) -> tuple[str, str]:
    """Names of the bounds: `LE_lower_90`, `LE_upper_90`."""
    percent = f"{100.0 * level:g}".replace(".", "_")
    return f"{flux}_lower_{percent}", f"{flux}_upper_{percent}"


def levels_of(predictions: xr.Dataset) -> list[float]:
    """Levels of the intervals in a predictions file; empty without any."""
    return [float(level) for level in np.atleast_1d(predictions.attrs.get("interval_levels", []))]


def has_intervals(predictions: xr.Dataset) -> bool:
    """Whether any flux has intervals; none has where too little was measured."""
    return any(str(name).endswith(PIT) for name in predictions.data_vars)


def calibrated_on(predictions: xr.Dataset) -> tuple[str, ...]:
    """Parts that the intervals of a predictions file were calibrated on."""
    return tuple(str(predictions.attrs.get("intervals_calibrated_on", "")).split())


def without_intervals(predictions: xr.Dataset) -> xr.Dataset:
    """The predictions without what `with_intervals` adds."""
    if not levels_of(predictions):
        return predictions
    kept = predictions.drop_vars([name for name in predictions.data_vars if _MADE.search(str(name))])
    for variable in kept.data_vars.values():
        variable.attrs.pop("ancillary_variables", None)
    kept.attrs = {name: value for name, value in kept.attrs.items() if not name.startswith("interval")}
    return kept


def seen_name(predictions: xr.Dataset, flux: str) -> str:
    """Name of the modelled flux as the tower would see it, which is what its observations are compared with."""
    return f"{flux}{EQUIVALENT}" if f"{flux}{EQUIVALENT}" in predictions else flux


def with_intervals(
    predictions: xr.Dataset, levels: Sequence[float] = (0.9,), calibrate_on: Sequence[str] = ("val",)
) -> xr.Dataset:
    """Add prediction intervals of the observed fluxes.

    A normalised conformal predictive system by groups [Vovk2005] [Papadopoulos2008] [Bostrom2022]. Groups are the half-hours of a
    site by day and by night. In each, the errors `observed - modelled` of the measured, converged half-hours of the calibrating
    parts are divided by a scale, `a + b |modelled|` (`sigma_line` of the same errors: those of fluxes grow with the flux), and
    the interval of a half-hour is its modelled flux plus its scale times quantiles of these scores. The quantiles below and
    above are taken separately, so a bias is taken out of the interval.

    If half-hours were exchangeable, at least the asked share of other half-hours would lie inside, whatever the model.
    Half-hours of a record are not: errors last for days, and years differ (docs/uncertainty.md). Nothing of the test part
    is used.

    Args:
        predictions: of `predictions_dataset` or `read_predictions`; it holds the calibrating parts.
        levels: shares of half-hours that the intervals should hold, in (0, 1).
        calibrate_on: `val`, or `train` and `val`; errors of the training part are right only for a model that could not
            learn them.

    Returns:
        The predictions with `<flux>_lower_90`, `<flux>_upper_90` for each level, `<flux>_pit`, `<flux>_crps` `[row]`, NaN
        where the canopy did not converge, in groups with fewer than 100 half-hours to calibrate on (named in the attribute
        `intervals_left_out`), and (pit and crps) where nothing was measured.

    Raises:
        ValueError: a level or part that cannot be right, or predictions without the calibrating parts.
    """
    check_intervals(levels, calibrate_on)
    result = without_intervals(predictions).copy()
    split = result["split"].values
    if not (chosen := np.isin(split, [PARTS.index(part) for part in calibrate_on])).any():
        raise ValueError(
            f"intervals: the predictions hold no half-hours of the {' and '.join(calibrate_on)} part to calibrate on. Predict "
            "all parts (data.predict_part: all), and keep a validation part (data.val_every)."
        )
    left_out: list[str] = []
    for target, info in TARGET_TABLE.items():
        if f"{info.flux}_observed" in result:
            left_out += _add(result, info.flux, levels, chosen, calibrate_on, what=target)
    return result.assign_attrs(
        interval_levels=[float(level) for level in levels],
        intervals_calibrated_on=" ".join(calibrate_on),
        intervals_left_out="; ".join(left_out),
    )


def calibrated_errors(modelled: np.ndarray, observed: np.ndarray) -> Errors:
    """Errors of the half-hours `[n]` of one group, scaled by how they grow with the modelled flux."""
    error = observed - modelled
    offset, slope = sigma_line(error**2, np.abs(modelled))
    smallest = np.finfo(float).tiny  # of a model without any error
    offset = max(offset, smallest)
    return Errors(offset, slope, np.sort(error / (offset + slope * np.abs(modelled))))


def crps_of_errors(scores: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Continuous ranked probability score of the distribution that has the scores as equally probable values.

    `mean |s - z| - mean |s - s'| / 2` [Gneiting2007].

    Args:
        scores: `[n]`, ascending.
        z: observations `[m]`, in the same unit.
    """
    n, total = len(scores), np.concatenate([[0.0], np.cumsum(scores)])
    below = np.searchsorted(scores, z)
    to_scores = (z * below - total[below] + total[-1] - total[below] - z * (n - below)) / n
    among = 2.0 * np.sum((2.0 * np.arange(n) - n + 1.0) * scores) / n**2
    return to_scores - 0.5 * among


def _add(
    result: xr.Dataset, flux: str, levels: Sequence[float], calibrating: np.ndarray, parts: Sequence[str], what: str
) -> list[str]:
    """Add the variables of one flux in place; returns which groups are left out."""
    name = seen_name(result, flux)
    modelled, observed = result[name].values.astype(float), result[f"{flux}_observed"].values.astype(float)
    solved = result["converged"].values & np.isfinite(modelled)
    known = result[f"{flux}_measured"].values & np.isfinite(observed) & solved
    if not (known & calibrating).any():
        return [f"{what}: nothing to calibrate on was measured"] if known.any() else []
    bounds = {bound: np.full(len(modelled), np.nan) for level in levels for bound in bounds_of(flux, level)}
    pit, crps = (np.full(len(modelled), np.nan) for _ in range(2))
    by_day = (result["shortwave_in"].values > 0.0).astype(int)
    left_out = []
    for i, site in enumerate(result["site_name"].values):
        for period, label in enumerate(PERIODS):
            group = (result["site_index"].values == i) & (by_day == period)
            errors_at = group & known & calibrating
            if (n := int(errors_at.sum())) < FEWEST:
                if (group & solved).any():
                    left_out.append(f"{site} {what} by {label}: {n} half-hours to calibrate on, {FEWEST} are needed")
                continue
            errors = calibrated_errors(modelled[errors_at], observed[errors_at])
            here = group & solved
            for level in levels:
                limits = _limits(errors, modelled[here], level)
                for bound, values in zip(bounds_of(flux, level), limits, strict=True):
                    bounds[bound][here] = values
            seen = group & known
            scale = errors.scale(modelled[seen])
            z = (observed[seen] - modelled[seen]) / scale
            pit[seen] = (np.searchsorted(errors.scores, z) + 0.5) / (len(errors.scores) + 1.0)
            crps[seen] = scale * crps_of_errors(errors.scores, z)
    _write(result, flux, levels, bounds, pit, crps, parts)
    result[name].attrs["ancillary_variables"] = " ".join(bounds)
    return left_out


def _limits(errors: Errors, modelled: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of the interval of a level; infinite where there are too few errors for it."""
    if len(errors.scores) < 2.0 / (1.0 - level) - 1.0 + 1e-9:
        return np.full(len(modelled), -np.inf), np.full(len(modelled), np.inf)
    from crepes import ConformalPredictiveSystem  # takes seconds

    system = ConformalPredictiveSystem().fit(errors.scores)
    lower, upper = system.predict_int(np.zeros(1), confidence=level)[0]
    scale = errors.scale(modelled)
    return modelled + lower * scale, modelled + upper * scale


def _write(
    result: xr.Dataset, flux: str, levels: Sequence[float], bounds: dict[str, np.ndarray], pit: np.ndarray, crps: np.ndarray,
    parts: Sequence[str],
) -> None:  # fmt: skip
    for level in levels:
        for side, bound in zip(("lower", "upper"), bounds_of(flux, level), strict=True):
            _, _, attrs = flux_variable(flux, bounds[bound], "row")
            meaning: dict[str, Any] = {
                "long_name": f"{side} bound of the {100.0 * level:g} % prediction interval of the observed {attrs['long_name']}",
                "coverage": float(level),
                "calibrated_on": " ".join(parts),
            }
            attrs.pop("standard_name", None)  # a bound is no flux
            result[bound] = ("row", bounds[bound], attrs | meaning)
    _, _, attrs = flux_variable(flux, crps, "row")
    result[f"{flux}{PIT}"] = (
        "row", pit, {"units": "1", "long_name": f"probability that the prediction of {flux} gives to less than was observed"},
    )  # fmt: skip
    result[f"{flux}{CRPS}"] = (
        "row", crps, {"units": attrs["units"], "long_name": f"continuous ranked probability score of the prediction of {flux}"},
    )  # fmt: skip
