"""Panels of the report on prediction intervals: are observations where they were expected, and in which months?"""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from .interval_table import PIT_CLASSES
from .intervals import PIT, bounds_of

FEWEST_OF_A_MONTH = 48
"""Measured half-hours, one day, from which a month has a share."""

FILL, LINE = "#1f6f8b", "0.4"


def pit_histogram(axes: Axes, block: xr.Dataset, flux: str) -> None:
    """Shares of the observations in tenths of the predicted distribution; flat where it is right [Gneiting2007]."""
    pit = block[f"{flux}{PIT}"].values
    pit = pit[np.isfinite(pit)]
    axes.set_title(f"{flux}, PIT")
    axes.set(xlabel="probability below the observation", ylabel="share", xlim=(0, 1))
    if len(pit):
        counts, edges = np.histogram(pit, bins=PIT_CLASSES, range=(0.0, 1.0))
        axes.bar(
            edges[:-1], counts / len(pit), width=1.0 / PIT_CLASSES, align="edge", color=FILL, alpha=0.7, ec="white"
        )
    axes.axhline(1.0 / PIT_CLASSES, color=LINE, lw=0.8, ls="--")


def coverage_by_month(axes: Axes, block: xr.Dataset, flux: str, level: float) -> None:
    """Share of the observations of each month inside the interval; months with less than a day of them are left out."""
    lower, upper = (block[name].values for name in bounds_of(flux, level))
    observed = block[f"{flux}_observed"].values
    known = block[f"{flux}_measured"].values & block["converged"].values & np.isfinite(lower + upper + observed)
    axes.set_title(f"{flux}, inside the {100.0 * level:g} % interval")
    axes.set(ylabel="share", ylim=(0, 1.02))
    axes.axhline(level, color=LINE, lw=0.8, ls="--")
    month = block["time"].values.astype("datetime64[M]")
    months, index = np.unique(month[known], return_inverse=True)
    inside = ((observed >= lower) & (observed <= upper))[known]
    count = np.bincount(index, minlength=len(months))
    share = np.bincount(index, weights=inside, minlength=len(months)) / np.maximum(count, 1)
    kept = count >= FEWEST_OF_A_MONTH
    axes.bar(np.arange(len(months))[kept], share[kept], color=FILL, alpha=0.7)
    step = max(1, len(months) // 6)
    axes.set_xticks(np.arange(len(months))[::step], [str(m) for m in months[::step]])
