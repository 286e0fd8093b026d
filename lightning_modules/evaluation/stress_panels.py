"""Panels of a learned stress: over soil water, with the classical schemes beside it, and over soil water and deficit."""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr
from matplotlib.axes import Axes

from ..closures.stress_scheme import TRAINABLE_SCHEMES, StressScheme
from .density import classes, medians_in_cells

CLASSES = 12
BY_DAY = 20.0
"""W m-2; below this shortwave stomata say nothing of stress."""

NAMES = {"soil_moisture": "ramp", "feddes": "Feddes", "jarvis": "Jarvis"}


def stress_varies(predictions: xr.Dataset) -> bool:
    """Whether there is a stress to draw: a model without one has the factor 1 everywhere."""
    return "stress" in predictions and bool(np.ptp(predictions["stress"].values[by_day(predictions)]) > 1e-6)


def by_day(block: xr.Dataset) -> np.ndarray:
    """Half-hours with light that were solved; all that were solved if it is always dark."""
    solved = np.asarray(block["converged"].values, bool)
    light = solved & (block["shortwave_in"].values > BY_DAY)
    return light if light.any() else solved


def stress_over_soil_water(axes: Axes, block: xr.Dataset, colour: str) -> None:
    """Medians of the stress factor by classes of soil water, the band of 80 % of the half-hours, and the schemes' medians.

    The schemes (`canveg_jax.STRESSES`) have their default parameters: what one would use without learning.
    """
    lit = block.isel(row=np.flatnonzero(by_day(block)))
    water = lit["soil_water_content"].values
    index, n = classes(water, CLASSES)
    members = [index == k for k in range(n)]
    middle = [np.median(water[m]) for m in members]
    low, median, high = np.array([np.quantile(lit["stress"].values[m], [0.1, 0.5, 0.9]) for m in members]).T
    axes.fill_between(middle, low, high, color=colour, alpha=0.25, lw=0)
    axes.plot(middle, median, color=colour, lw=1.8, label="learned")
    for name, style in zip(TRAINABLE_SCHEMES, ("--", ":", "-."), strict=False):
        factor = scheme_factor(name, lit)
        axes.plot(
            middle, [np.median(factor[m]) for m in members], style, color="0.4", lw=1.1, label=NAMES.get(name, name)
        )
    axes.set(xlabel="soil water, m$^3$ m$^{-3}$", ylim=(0.0, 1.05), title="stress factor by day")
    axes.legend(loc="lower right")


def scheme_factor(name: str, block: xr.Dataset) -> np.ndarray:
    """Factor of a classical scheme with its default parameters in the half-hours of a predictions file, `[row]`."""
    columns = {
        str(c): torch.from_numpy(np.asarray(v.values, float)) for c, v in block.data_vars.items() if v.dtype.kind == "f"
    }
    with torch.no_grad():
        return StressScheme(name)(columns).numpy()


def stress_over_water_and_deficit(axes: Axes, block: xr.Dataset, deficit: np.ndarray) -> None:
    """Medians of the stress factor in classes of soil water and vapour pressure deficit; marks grow with the half-hours there."""
    lit = by_day(block)
    drawn = medians_in_cells(
        axes, block["soil_water_content"].values[lit], deficit[lit], block["stress"].values[lit], CLASSES
    )
    drawn.set_clim(0.0, 1.0)
    axes.set(xlabel="soil water, m$^3$ m$^{-3}$", ylabel="vapour pressure deficit, kPa")
