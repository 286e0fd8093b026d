"""The picture of a predictions file: time series, mean diurnal cycle, scatter, stress against soil water; a block per site."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib import dates as mdates
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure

from canveg_jax.files import replacing

from ..data.splits import PARTS
from ..names import REASON_NAMES
from .interval_panels import coverage_by_month, pit_histogram
from .intervals import bounds_of, levels_of, seen_name

FLUXES = {"LE": ("Latent heat LE", "W m$^{-2}$"), "NEE": ("Net CO$_2$ exchange NEE", "µmol m$^{-2}$ s$^{-1}$")}
OBSERVED, MODELLED, KNOWN, FAILED = "#3b3b3b", "#c8501e", "#1f6f8b", "#b0004e"
WINDOW_DAYS = 10
ENOUGH_DAYS = 20
"""Records longer than this get a row of daily means as well."""

STYLE: dict[Any, Any] = {
    "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 10, "axes.titlelocation": "left",
    "axes.labelsize": 9, "xtick.labelsize": 8, "ytick.labelsize": 8, "legend.fontsize": 8, "legend.frameon": False,
    "font.size": 9,
}  # fmt: skip


def report_figure(
    predictions: xr.Dataset, *, parts: Sequence[str] = ("test",), sites: Sequence[str] | None = None
) -> Figure:
    """Draw the report.

    Args:
        predictions: of `read_predictions`.
        parts: which parts of the data to show; those without half-hours are skipped, and if none has any, all are shown.
        sites: which sites; default all.

    Raises:
        ValueError: an unknown site or part.
    """
    import matplotlib

    names = [str(name) for name in predictions["site_name"].values]
    for what, asked, known in (("site", sites or names, names), ("part", parts, PARTS)):
        if wrong := [name for name in asked if name not in known]:
            raise ValueError(f"there is no {what} {', '.join(wrong)} in the predictions; there are {', '.join(known)}.")
    split = predictions["split"].values
    shown = np.isin(split, [PARTS.index(part) for part in parts])
    shown = shown if shown.any() else np.ones_like(shown)
    present = [part for i, part in enumerate(PARTS) if (split[shown] == i).any()]
    blocks = []
    for site in sites or names:
        rows = np.flatnonzero(shown & (predictions["site_index"].values == names.index(site)))
        if len(rows):
            blocks.append((site, predictions.isel(row=rows)))
    long = [_span_days(block) > ENOUGH_DAYS for _, block in blocks]
    with matplotlib.rc_context(STYLE):
        more = 2.6 if levels_of(predictions) else 0.0
        heights = [(8.4 if tall else 5.8) + more for tall in long]
        figure = Figure(figsize=(15.0, sum(heights)), layout="constrained")
        FigureCanvasAgg(figure)
        subfigures = figure.subfigures(len(blocks), 1, squeeze=False, height_ratios=heights, hspace=0.04)[:, 0]
        for subfigure, (site, block), tall in zip(subfigures, blocks, long, strict=True):
            count = f"{block.sizes['row']} half-hours ({', '.join(present)})"
            lost = _lost(block)
            subfigure.suptitle(f"{site}   {count}{lost}", x=0.01, ha="left", fontsize=12, fontweight="bold")
            _draw_site(subfigure, block, tall)
    return figure


def save_figure(figure: Figure, path: str | Path, dpi: int = 110) -> Path:
    """Write the picture (format by the ending, default PNG); an existing file is replaced only by a complete one.

    Raises:
        ValueError: matplotlib does not know the format.
    """
    path = Path(path)
    kind = path.suffix.lstrip(".") or "png"
    with replacing(path) as temporary:
        figure.savefig(temporary, format=kind, dpi=dpi)
    return path


def _lost(block: xr.Dataset) -> str:
    """Half-hours without a solution, by reason, in words."""
    failed = ~block["converged"].values
    if not failed.any():
        return ""
    if "reason" not in block:
        return f", {int(failed.sum())} without a solution and left out"
    codes, numbers = np.unique(block["reason"].values[failed].astype(int), return_counts=True)
    reasons = ", ".join(f"{n} {REASON_NAMES.get(int(code), 'unknown')}" for code, n in zip(codes, numbers, strict=True))
    return f", {int(failed.sum())} without a solution and left out ({reasons})".replace("_", " ")


def _draw_site(subfigure: SubFigure, block: xr.Dataset, tall: bool) -> None:
    levels = levels_of(block)
    rows = 3 if tall else 2
    grid = subfigure.add_gridspec(rows + bool(levels), 10)
    for i, flux in enumerate(FLUXES):
        if f"{flux}_observed" not in block:
            continue
        half = slice(0, 5) if i == 0 else slice(5, 10)
        _window(subfigure.add_subplot(grid[0, half]), block, flux, legend=i == 0)
        if tall:
            _daily_means(subfigure.add_subplot(grid[1, half]), block, flux)
        _diurnal_cycle(subfigure.add_subplot(grid[rows - 1, 2 * i : 2 * i + 2]), block, flux)
        _scatter(subfigure.add_subplot(grid[rows - 1, 4 + 2 * i : 6 + 2 * i]), block, flux)
        if levels and bounds_of(flux, max(levels))[0] in block:
            pit_histogram(subfigure.add_subplot(grid[rows, 5 * i : 5 * i + 2]), block, flux)
            coverage_by_month(subfigure.add_subplot(grid[rows, 5 * i + 2 : 5 * i + 5]), block, flux, max(levels))
    _stress(subfigure.add_subplot(grid[rows - 1, 8:10]), block)


def _window(axes: Axes, block: xr.Dataset, flux: str, legend: bool) -> None:
    """Half-hours of the days in which most samples of LE and NEE were measured."""
    time = block["time"].values
    inside = _best_window(block)
    modelled = np.where(block["converged"].values, _seen(block, flux), np.nan)
    every = np.flatnonzero(inside)
    breaks = np.flatnonzero(np.diff(time[every]) > np.timedelta64(3, "h")) + 1
    axes.plot(np.insert(time[every], breaks, time[every][breaks - 1]), np.insert(modelled[every], breaks, np.nan),
              color=MODELLED, lw=1.2, label="modelled")  # fmt: skip
    levels = levels_of(block)
    if levels and (names := bounds_of(flux, max(levels)))[0] in block:
        lower, upper = (np.insert(block[name].values[every], breaks, np.nan) for name in names)
        band = f"{100.0 * max(levels):g} % interval"
        axes.fill_between(
            np.insert(time[every], breaks, time[every][breaks - 1]),
            lower,
            upper,
            color=MODELLED,
            alpha=0.18,
            lw=0,
            label=band,
        )
    seen = inside & _used(block, flux)
    axes.plot(time[seen], block[f"{flux}_observed"].values[seen], ".", color=OBSERVED, ms=3.5, label="observed")
    failed = time[inside & ~block["converged"].values]
    if len(failed):  # marks at the foot of the panel
        axes.plot(failed, np.full(len(failed), 0.02), "|", color=FAILED, ms=7, transform=axes.get_xaxis_transform(),
                  label="no solution")  # fmt: skip
    _time_axis(axes, flux)
    axes.set_title(FLUXES[flux][0])
    if legend:
        axes.legend(ncols=3, loc="upper right", bbox_to_anchor=(1.0, 1.13))


def _daily_means(axes: Axes, block: xr.Dataset, flux: str) -> None:
    """Means over the same measured half-hours; days with less than a quarter of them are left out."""
    used = _used(block, flux)
    day = block["time"].values.astype("datetime64[D]")
    days, index = np.unique(day[used], return_inverse=True)
    count = np.bincount(index, minlength=len(days))
    kept = count >= 12
    if not kept.any():
        return
    every = np.arange(days[kept][0], days[kept][-1] + np.timedelta64(1, "D"))
    for values, color, lw in ((block[f"{flux}_observed"].values, OBSERVED, 1.0), (_seen(block, flux), MODELLED, 1.2)):
        means = np.full(len(every), np.nan)
        total = np.bincount(index, values[used], minlength=len(days))
        means[np.searchsorted(every, days[kept])] = (total / np.maximum(count, 1))[kept]
        axes.plot(every, means, color=color, lw=lw, marker=".", ms=2.5)
    _time_axis(axes, flux)
    axes.set_title(f"{flux}, daily means")


def _diurnal_cycle(axes: Axes, block: xr.Dataset, flux: str) -> None:
    used = _used(block, flux)
    minute = (block["time"].values - block["time"].values.astype("datetime64[D]")).astype("timedelta64[m]").astype(int)
    times, index = np.unique(minute[used], return_inverse=True)
    if not len(times):
        return
    count = np.bincount(index)
    for values, color, style in (
        (block[f"{flux}_observed"].values, OBSERVED, ".-"),
        (_seen(block, flux), MODELLED, "-"),
    ):
        axes.plot(times / 60, np.bincount(index, values[used]) / count, style, color=color, ms=4, lw=1.4)
    axes.axhline(0.0, color="0.8", lw=0.8, zorder=0)
    axes.set(xlim=(0, 24), xticks=range(0, 25, 6), xlabel="hour (local standard time)", ylabel=_label(flux))
    axes.set_title(f"{flux}, mean day")


def _scatter(axes: Axes, block: xr.Dataset, flux: str) -> None:
    used = _used(block, flux)
    observed, modelled = block[f"{flux}_observed"].values[used], _seen(block, flux)[used]
    axes.set_title(f"{flux}, half-hours")
    axes.set(xlabel=f"observed, {FLUXES[flux][1]}", ylabel=f"modelled, {FLUXES[flux][1]}")
    if len(observed) < 2:
        return
    alpha = float(np.clip(1500.0 / len(observed), 0.08, 0.7))
    axes.plot(observed, modelled, ".", color=MODELLED, ms=4, alpha=alpha, mec="none", rasterized=True)
    both = np.concatenate([observed, modelled])
    low, high = np.quantile(both, [0.001, 0.999])
    margin = 0.05 * (high - low)
    limits = (low - margin, high + margin)
    axes.plot(limits, limits, color="0.4", lw=0.8, ls="--")
    axes.set(xlim=limits, ylim=limits, aspect="equal")
    error = modelled - observed
    rmse, variance = float(np.sqrt(np.mean(error**2))), float(np.var(observed))
    nse = 1.0 - rmse**2 / variance if variance > 0 else np.nan
    scores = f"NSE {nse:.2f}\nRMSE {rmse:.3g}\nn {len(observed)}"
    axes.text(0.04, 0.97, scores, transform=axes.transAxes, va="top", fontsize=8)


def _stress(axes: Axes, block: xr.Dataset) -> None:
    """Daytime factor against soil water: half-hours, and medians of equally filled classes."""
    sunny = (block["shortwave_in"].values > 20.0) & np.isfinite(block["stress"].values)
    water = block["soil_water_content"].values[sunny]
    axes.set_title("stomatal stress by day")
    axes.set(xlabel="soil water, m$^3$ m$^{-3}$", ylabel="factor (1 = none)", ylim=(0, 1.05))
    if not len(water):
        return
    learned = block["stress"].values[sunny]
    alpha = float(np.clip(1000.0 / len(water), 0.08, 0.5))
    axes.plot(water, learned, ".", color=MODELLED, ms=3, alpha=alpha, mec="none", rasterized=True)
    axes.plot(*_class_medians(water, learned), "o-", color=MODELLED, ms=3, lw=1.6, label="learned")
    if "stress_true" in block:
        known = block["stress_true"].values[sunny]
        axes.plot(*_class_medians(water, known), "s--", color=KNOWN, ms=3, lw=1.4, label="known")
        axes.legend(loc="best")


def _class_medians(x: np.ndarray, y: np.ndarray, classes: int = 12) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(x, kind="stable")
    groups = [g for g in np.array_split(order, min(classes, len(x))) if len(g)]
    return np.array([np.median(x[g]) for g in groups]), np.array([np.median(y[g]) for g in groups])


def _best_window(block: xr.Dataset) -> np.ndarray:
    """Rows of the first window of `WINDOW_DAYS` days with the most measured samples."""
    day = block["time"].values.astype("datetime64[D]")
    one_day = np.timedelta64(1, "D")
    every = np.arange(day.min(), day.max() + one_day, one_day)
    used = sum(_used(block, flux).astype(int) for flux in FLUXES if f"{flux}_observed" in block)
    daily = np.bincount((day - every[0]).astype(int), weights=used, minlength=len(every))
    width = min(WINDOW_DAYS, len(every))
    start = every[int(np.argmax(np.convolve(daily, np.ones(width), mode="valid")))]
    return (day >= start) & (day < start + width * one_day)


def _seen(block: xr.Dataset, flux: str) -> np.ndarray:
    """The modelled flux as the tower would see it, which is what its observations are compared with."""
    return block[seen_name(block, flux)].values


def _used(block: xr.Dataset, flux: str) -> np.ndarray:
    return block[f"{flux}_measured"].values & block["converged"].values


def _span_days(block: xr.Dataset) -> float:
    time = block["time"].values
    return float((time.max() - time.min()) / np.timedelta64(1, "D"))


def _label(flux: str) -> str:
    return f"{flux}, {FLUXES[flux][1]}"


def _time_axis(axes: Axes, flux: str) -> None:
    locator = mdates.AutoDateLocator(minticks=4, maxticks=9)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator))
    axes.axhline(0.0, color="0.8", lw=0.8, zorder=0)
    axes.set_ylabel(_label(flux))
    axes.margins(x=0.01)
