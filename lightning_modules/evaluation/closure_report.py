"""The picture of what closures learned: over the record, and over the two drivers that say most about each; and mean days."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure

from canveg_jax.io.humidity import vapour_pressure_deficit

from ..names import EQUIVALENT
from .report import KNOWN, MODELLED, OBSERVED, STYLE

DRIVERS = {
    "air_temperature": "air temperature, °C", "shortwave_in": "shortwave, W m$^{-2}$",
    "vapour_pressure_deficit": "vapour pressure deficit, kPa", "soil_water_content": "soil water, m$^3$ m$^{-3}$",
    "lai": "leaf area index", "day_of_year": "day of the year",
}  # fmt: skip
"""What the closures are drawn over."""

FLUXES = ("LE", "H", "G", "Rnet", "NEE")
CLASSES = 12


def closure_names(predictions: xr.Dataset) -> list[str]:
    """Names of the closures in a predictions file."""
    return [str(name).removeprefix("closure_") for name in predictions.data_vars if str(name).startswith("closure_")]


def beside(picture: str | Path) -> Path:
    """Where the picture of the closures goes: `report-closures.png` beside `report.png`."""
    picture = Path(picture)
    return picture.with_name(f"{picture.stem}-closures{picture.suffix}")


def closure_figure(predictions: xr.Dataset, sites: Sequence[str] | None = None) -> Figure:
    """Draw the closures of a predictions file, a block for each site; a row for each closure, then the mean days of five fluxes.

    Left: daily medians over the record, and the band of 80 % of the half-hours of each day. Right: medians in classes of the two
    drivers that say most about it (`strongest_drivers`), where half-hours were; the size of a mark grows with their number.

    Args:
        predictions: of `read_predictions`; all parts are shown.
        sites: which sites; default all.

    Raises:
        ValueError: the file has no closures.
    """
    import matplotlib

    names = closure_names(predictions)
    if not names:
        raise ValueError("the predictions have no closures to draw; the model that made them had none.")
    known = [str(name) for name in predictions["site_name"].values]
    shown = [name for name in known if sites is None or name in sites]
    rows = len(names) + 1
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(15.0, 2.6 * rows * len(shown)), layout="constrained")
        FigureCanvasAgg(figure)
        blocks = figure.subfigures(len(shown), 1, squeeze=False)[:, 0]
        for subfigure, site in zip(blocks, shown, strict=True):
            block = predictions.isel(row=np.flatnonzero(predictions["site_index"].values == known.index(site)))
            block = block.isel(row=np.flatnonzero(block["converged"].values))
            subfigure.suptitle(f"{site}   closures", x=0.01, ha="left", fontsize=12, fontweight="bold")
            _draw_site(subfigure, block, names)
    return figure


def strongest_drivers(values: np.ndarray, drivers: dict[str, np.ndarray]) -> tuple[str, str]:
    """The two drivers whose class means (12 classes, equally filled) hold the largest share of the variance of `values`."""
    total = float(np.var(values))

    def share(driver: np.ndarray) -> float:
        groups = np.array_split(np.argsort(driver, kind="stable"), CLASSES)
        between = sum(len(g) * (np.mean(values[g]) - np.mean(values)) ** 2 for g in groups if len(g))
        return float(between / (len(values) * total)) if total > 0 else 0.0

    first, second = sorted(drivers, key=lambda name: -share(drivers[name]))[:2]
    return first, second


def _draw_site(subfigure: SubFigure, block: xr.Dataset, names: Sequence[str]) -> None:
    grid = subfigure.add_gridspec(len(names) + 1, 10)
    drivers = _drivers(block)
    for row, name in enumerate(names):
        values = block[f"closure_{name}"]
        _over_the_record(subfigure.add_subplot(grid[row, :7]), block["time"].values, values)
        _over_two_drivers(subfigure.add_subplot(grid[row, 7:]), values.values, drivers)
    for i, flux in enumerate(FLUXES):
        _mean_day(subfigure.add_subplot(grid[-1, 2 * i : 2 * i + 2]), block, flux)


def _drivers(block: xr.Dataset) -> dict[str, np.ndarray]:
    columns = {name: block[name].values for name in DRIVERS if name in block}
    columns["vapour_pressure_deficit"] = np.asarray(vapour_pressure_deficit(block))
    start = block["time"].values.astype("datetime64[Y]")
    columns["day_of_year"] = (block["time"].values - start) / np.timedelta64(1, "D") + 1.0
    return columns


def _over_the_record(axes: Axes, time: np.ndarray, values: xr.DataArray) -> None:
    days, index = np.unique(time.astype("datetime64[D]"), return_inverse=True)
    order = np.argsort(index, kind="stable")
    groups = np.split(values.values[order], np.cumsum(np.bincount(index))[:-1])
    low, middle, high = np.array([np.quantile(group, [0.1, 0.5, 0.9]) for group in groups]).T
    axes.fill_between(days, low, high, color=MODELLED, alpha=0.25, lw=0)
    axes.plot(days, middle, color=MODELLED, lw=1.0)
    axes.axhline(1.0 if "factor" in values.attrs["long_name"] else 0.0, color="0.6", lw=0.8, ls="--")
    axes.set_title(values.attrs["long_name"])
    axes.margins(x=0.01)


def _over_two_drivers(axes: Axes, values: np.ndarray, drivers: dict[str, np.ndarray]) -> None:
    first, second = strongest_drivers(values, drivers)
    x, y = drivers[first], drivers[second]
    edges = [np.unique(np.quantile(column, np.linspace(0.0, 1.0, CLASSES + 1))) for column in (x, y)]
    across_class, up_class = (
        np.clip(np.searchsorted(edge, column, side="right") - 1, 0, max(0, len(edge) - 2))
        for edge, column in zip(edges, (x, y), strict=True)
    )
    cell = across_class * CLASSES + up_class
    marks = []
    for member in (cell == c for c in np.unique(cell)):
        marks.append((np.median(x[member]), np.median(y[member]), np.median(values[member]), member.sum()))
    across, up, middle, count = np.array(marks).T
    drawn = axes.scatter(across, up, c=middle, s=80.0 * np.sqrt(count / count.max()), cmap="viridis", edgecolors="none")
    axes.figure.colorbar(drawn, ax=axes)
    axes.set(xlabel=DRIVERS[first], ylabel=DRIVERS[second])


def _mean_day(axes: Axes, block: xr.Dataset, flux: str) -> None:
    axes.set_title(f"{flux}, mean day")
    axes.set_xlabel("hour")
    if f"{flux}_observed" not in block:
        return
    used = block[f"{flux}_measured"].values
    hour = (block["time"].values - block["time"].values.astype("datetime64[D]")) / np.timedelta64(1, "h")
    hours, index = np.unique(hour[used], return_inverse=True)
    if not len(hours):
        return
    lines = [(f"{flux}_observed", OBSERVED, "observed"), (flux, MODELLED, "modelled")]
    if f"{flux}{EQUIVALENT}" in block:
        lines.append((f"{flux}{EQUIVALENT}", KNOWN, "modelled, as the tower sees it"))
    for name, colour, label in lines:
        means = np.bincount(index, weights=block[name].values[used]) / np.bincount(index)
        axes.plot(hours, means, color=colour, lw=1.4, label=label)
    if flux == "LE":
        axes.legend()
