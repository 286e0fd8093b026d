"""Medians in equally filled classes of one or two drivers, drawn where half-hours were."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection


def classes(column: np.ndarray, n: int) -> tuple[np.ndarray, int]:
    """Class of each number, about equally filled, and how many classes there are: fewer than `n` where many are the same."""
    edges = np.unique(np.quantile(column, np.linspace(0.0, 1.0, n + 1)))
    index = np.clip(np.searchsorted(edges, column, side="right") - 1, 0, max(0, len(edges) - 2))
    present, index = np.unique(index, return_inverse=True)
    return index, len(present)


def medians_in_cells(axes: Axes, x: np.ndarray, y: np.ndarray, values: np.ndarray, n: int) -> PathCollection:
    """A mark for each pair of classes of two drivers: its colour the median of `values`, its size the root of their number."""
    cell = classes(x, n)[0] * n + classes(y, n)[0]
    marks = [
        (np.median(x[member]), np.median(y[member]), np.median(values[member]), member.sum())
        for member in (cell == c for c in np.unique(cell))
    ]
    across, up, middle, count = np.array(marks).T
    drawn = axes.scatter(across, up, c=middle, s=80.0 * np.sqrt(count / count.max()), cmap="viridis", edgecolors="none")
    axes.figure.colorbar(drawn, ax=axes)
    return drawn
