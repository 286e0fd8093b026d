"""The picture of `canveg doctor`: short-wave by day and hour with sunrise and sunset, and when each variable is there."""

from __future__ import annotations

import matplotlib
import numpy as np
import xarray as xr
from matplotlib import dates as mdates
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from canveg_jax.io.doctor import Examination
from canveg_jax.io.sun import sine_of_elevation

from .report import STYLE

MISSING, FILLED, STAND_IN, MEASURED = range(4)
COLOURS = ("#f2f2f2", "#e8b96a", "#c8501e", "#1f6f8b")
NAMES = ("missing", "filled", "stand-in", "measured")
MOST_COLUMNS = 800


def doctor_figure(dataset: xr.Dataset, examination: Examination) -> Figure:
    """Draw the record of an examination."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(13.0, 9.0), layout="constrained")
        FigureCanvasAgg(figure)
        sky, bars = figure.subplots(2, 1, height_ratios=[1.0, 1.1])
        figure.suptitle(f"{examination.name}   {examination.period}", x=0.01, ha="left", fontsize=12, fontweight="bold")
        _sky(figure, sky, dataset, examination)
        _availability(bars, dataset, examination)
    return figure


def _sky(figure: Figure, axes: Axes, dataset: xr.Dataset, examination: Examination) -> None:
    """Short-wave, a column for each day; missing is grey."""
    axes.set_title("Short-wave radiation")
    axes.set(ylabel="hour (local standard time)", ylim=(0, 24), yticks=range(0, 25, 6))
    if "shortwave_in" not in dataset:
        return
    grid, dates = _by_day(dataset["shortwave_in"].values, dataset)
    edges = mdates.date2num(np.append(dates, dates[-1] + np.timedelta64(1, "D")))
    mesh = axes.pcolormesh(
        edges, np.linspace(0, 24, len(grid) + 1), np.ma.masked_invalid(np.maximum(grid, 0.0)), cmap="inferno",
        vmin=0.0, vmax=max(1.0, float(np.nanmax(grid, initial=1.0))), rasterized=True,
    )  # fmt: skip
    axes.set_facecolor("0.8")
    figure.colorbar(mesh, ax=axes, label="W m$^{-2}$", pad=0.01)
    if examination.place is not None:
        sine = sine_of_elevation(dataset["day_of_year"].values, dataset["hour"].values, examination.place)
        height, _ = _by_day(sine, dataset)
        hours = (np.arange(len(grid)) + 0.5) * 24 / len(grid)
        drawn = np.where(np.isfinite(height), height, -1.0)
        if drawn.shape[1] > 1 and drawn.max() > 0.0 > drawn.min():
            middle = mdates.date2num(dates) + 0.5
            axes.contour(middle, hours, drawn, levels=[0.0], colors="#7fd4ff", linewidths=1.2)
            axes.plot([], [], color="#7fd4ff", label="sunrise and sunset of the site")
            axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0))
    _dates(axes)


def _by_day(values: np.ndarray, dataset: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Values `[interval of the day, day]`, NaN outside of the record, and the dates."""
    time = dataset["time"].values
    day = time.astype("datetime64[D]")
    dates = np.arange(day[0], day[-1] + np.timedelta64(1, "D"))
    step = int(dataset.attrs["step_minutes"])
    interval = ((time - day) / np.timedelta64(step, "m")).astype(int)
    grid = np.full((1440 // step, len(dates)), np.nan)
    grid[interval, (day - dates[0]).astype(int)] = values
    return grid, dates


def _availability(axes: Axes, dataset: xr.Dataset, examination: Examination) -> None:
    """A bar for each variable: measured, filled, stand-in or missing for most of the time."""
    names = [found.variable for found in examination.variables]
    time = mdates.date2num(dataset["time"].values)
    columns = min(len(time), MOST_COLUMNS)
    edges = np.linspace(0, len(time), columns + 1).round().astype(int)
    rows = []
    for name in names:
        state = _state(name, dataset)
        counts = [np.add.reduceat(state == kind, edges[:-1]) for kind in range(len(COLOURS))]
        rows.append(np.argmax(counts, axis=0))
    stamps = np.append(time, 2 * time[-1] - time[-2])[edges]
    axes.pcolormesh(
        stamps, np.arange(len(names) + 1), np.array(rows), cmap=ListedColormap(COLOURS), vmin=-0.5, vmax=3.5,
        rasterized=True,
    )  # fmt: skip
    axes.set(ylim=(len(names), 0), yticks=np.arange(len(names)) + 0.5, yticklabels=[n.replace("_", " ") for n in names])
    for line in range(1, len(names)):
        axes.axhline(line, color="white", lw=1.5)
    for name, colour in zip(NAMES, COLOURS, strict=True):
        axes.plot([], [], "s", color=colour, label=name, ms=8, mec="0.6", mew=0.5)
    axes.legend(ncols=4, loc="lower right", bbox_to_anchor=(1.0, 1.0))
    usable = f"{examination.usable} of {examination.half_hours} half-hours usable"
    axes.set_title(f"What is there: {usable} (filled forcing is drawn as measured; its share stands in the table)")
    _dates(axes)


def _state(name: str, dataset: xr.Dataset) -> np.ndarray:
    """Measured, filled, stand-in or missing, `[time]`. Flags of single half-hours of the forcing are not kept: what is there
    counts as measured."""
    if name not in dataset:
        return np.full(dataset.sizes["time"], MISSING)
    state = np.where(np.isfinite(dataset[name].values), MEASURED, MISSING)
    if f"{name}_measured" in dataset:
        state = np.where((state == MEASURED) & ~dataset[f"{name}_measured"].values, FILLED, state)
    if f"{name}_stand_in" in dataset:
        state = np.where(dataset[f"{name}_stand_in"].values, STAND_IN, state)
    return state


def _dates(axes: Axes) -> None:
    locator = mdates.AutoDateLocator(minticks=4, maxticks=10)
    axes.xaxis_date()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator))
