"""The picture of what was learned: stress and closures over the record and over their drivers; where LE comes from; mean days."""

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
from .density import medians_in_cells
from .report import KNOWN, MODELLED, OBSERVED, STYLE
from .stress_panels import by_day, stress_over_soil_water, stress_over_water_and_deficit, stress_varies

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


def beside(picture: str | Path, what: str = "closures") -> Path:
    """Where a further picture goes: `report-closures.png` beside `report.png`."""
    picture = Path(picture)
    return picture.with_name(f"{picture.stem}-{what}{picture.suffix}")


def learned_something(predictions: xr.Dataset) -> bool:
    """Whether there are closures, or a stress that varies."""
    return bool(closure_names(predictions)) or stress_varies(predictions)


def closure_figure(predictions: xr.Dataset, sites: Sequence[str] | None = None) -> Figure:
    """Draw what was learned, a block for each site: a row for the stress, if it varies, and for each closure, then the daily
    means of latent heat from leaves and soil, then the mean days of five fluxes.

    Left: daily medians over the record, and the band of 80 % of the half-hours of each day. Right: medians in classes of the two
    drivers that say most about it (`strongest_drivers`), where half-hours were; the size of a mark grows with their number. The
    stress is drawn over soil water, with the classical schemes beside it, and over soil water and vapour pressure deficit.

    Args:
        predictions: of `read_predictions`; all parts are shown.
        sites: which sites; default all.

    Raises:
        ValueError: the file has neither closures nor a stress that varies.
    """
    import matplotlib

    names = closure_names(predictions)
    if not learned_something(predictions):
        raise ValueError("the predictions have no closures and no stress to draw; the model that made them had none.")
    known = [str(name) for name in predictions["site_name"].values]
    shown = [name for name in known if sites is None or name in sites]
    rows = len(names) + 2 + stress_varies(predictions)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(15.0, 2.6 * rows * len(shown)), layout="constrained")
        FigureCanvasAgg(figure)
        blocks = figure.subfigures(len(shown), 1, squeeze=False)[:, 0]
        for subfigure, site in zip(blocks, shown, strict=True):
            block = predictions.isel(row=np.flatnonzero(predictions["site_index"].values == known.index(site)))
            block = block.isel(row=np.flatnonzero(block["converged"].values))
            subfigure.suptitle(f"{site}   what was learned", x=0.01, ha="left", fontsize=12, fontweight="bold")
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
    stressed = int(stress_varies(block))
    grid = subfigure.add_gridspec(stressed + len(names) + 2, 10)
    drivers, time = _drivers(block), block["time"].values
    if stressed:
        lit = by_day(block)
        over_record = subfigure.add_subplot(grid[0, :4])
        _over_the_record(over_record, time[lit], block["stress"].values[lit], 1.0)
        over_record.set_title("stress factor by day")
        stress_over_soil_water(subfigure.add_subplot(grid[0, 4:7]), block, MODELLED)
        stress_over_water_and_deficit(subfigure.add_subplot(grid[0, 7:]), block, drivers["vapour_pressure_deficit"])
    for row, name in enumerate(names, start=stressed):
        values = block[f"closure_{name}"]
        axes = subfigure.add_subplot(grid[row, :7])
        _over_the_record(axes, time, values.values, 1.0 if "factor" in values.attrs["long_name"] else 0.0)
        axes.set_title(values.attrs["long_name"])
        _over_two_drivers(subfigure.add_subplot(grid[row, 7:]), values.values, drivers)
    _partition(subfigure.add_subplot(grid[-2, :]), block)
    for i, flux in enumerate(FLUXES):
        _mean_day(subfigure.add_subplot(grid[-1, 2 * i : 2 * i + 2]), block, flux)


def _drivers(block: xr.Dataset) -> dict[str, np.ndarray]:
    columns = {name: block[name].values for name in DRIVERS if name in block}
    columns["vapour_pressure_deficit"] = np.asarray(vapour_pressure_deficit(block))
    start = block["time"].values.astype("datetime64[Y]")
    columns["day_of_year"] = (block["time"].values - start) / np.timedelta64(1, "D") + 1.0
    return columns


def _over_the_record(axes: Axes, time: np.ndarray, values: np.ndarray, default: float) -> None:
    days, groups = _by_day_of(time, values)
    low, middle, high = np.array([np.quantile(group, [0.1, 0.5, 0.9]) for group in groups]).T
    axes.fill_between(days, low, high, color=MODELLED, alpha=0.25, lw=0)
    axes.plot(days, middle, color=MODELLED, lw=1.0)
    axes.axhline(default, color="0.6", lw=0.8, ls="--")
    axes.margins(x=0.01)


def _by_day_of(time: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Days, and the values of each."""
    days, index = np.unique(time.astype("datetime64[D]"), return_inverse=True)
    order = np.argsort(index, kind="stable")
    return days, np.split(values[order], np.cumsum(np.bincount(index))[:-1])


def _over_two_drivers(axes: Axes, values: np.ndarray, drivers: dict[str, np.ndarray]) -> None:
    first, second = strongest_drivers(values, drivers)
    medians_in_cells(axes, drivers[first], drivers[second], values, CLASSES)
    axes.set(xlabel=DRIVERS[first], ylabel=DRIVERS[second])


def _partition(axes: Axes, block: xr.Dataset) -> None:
    """Daily means of latent heat from leaves and from the soil, and the share of the leaves in all of it."""
    if "canopy_LE" not in block or "soil_LE" not in block:
        axes.set_axis_off()
        return
    time = block["time"].values
    days, leaves = _by_day_of(time, block["canopy_LE"].values)
    _, soil = _by_day_of(time, block["soil_LE"].values)
    from_leaves, from_soil = (np.array([group.mean() for group in groups]) for groups in (leaves, soil))
    axes.plot(days, from_leaves, color=MODELLED, lw=1.0, label="leaves (transpiration)")
    axes.plot(days, from_soil, color=KNOWN, lw=1.0, label="soil (evaporation)")
    total = block["canopy_LE"].values.sum() + block["soil_LE"].values.sum()
    share = 100.0 * block["canopy_LE"].values.sum() / total if total > 0 else np.nan
    axes.set_title(f"LE by source, W m$^{{-2}}$, daily means; leaves {share:.0f} %")
    axes.legend(ncols=2)
    axes.margins(x=0.01)


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
