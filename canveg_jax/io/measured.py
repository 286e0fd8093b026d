"""Which samples were measured, for files that were gap-filled by straight lines and carry no quality flags."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
from numpy.typing import ArrayLike

from .arrays import Mask, Series

CHANCE = 1e-3
"""Share of the measured samples that may be marked because they show a pattern by chance."""


def interpolated_samples(values: ArrayLike, *, tolerance: float = 1e-9) -> Mask:
    """Mark samples that a linear interpolation or a carried value put there.

    A sample is marked when

    * it lies on the straight line through its two neighbours,
      `|x[i-1] - 2 x[i] + x[i+1]| <= tolerance (|x[i-1]| + 2 |x[i]| + |x[i+1]|)`. In a filled gap that holds for every
      filled sample and for none of the two measured samples that the line connects; or
    * it belongs to a run of equal values other than zero. A run that reaches the end (start) of the series is the last
      (first) measurement carried on, so that its first (last) sample stays unmarked; in a run inside the series all
      samples are marked, because a look-up table that fills a gap repeats one number.

    Files printed with few digits hold such patterns by chance. From the number of printed decimals and the
    distribution of first and second differences the probability `p` of one chance pattern is estimated, and only runs
    of `k` patterns with `(k + 1) p**k <= 1e-3` are marked: `k = 1` for fluxes printed with six digits or more.

    Runs of exact zeros are never marked: zero is a natural value (a chamber that reads nothing, a dark sensor), and a
    line between two zeros cannot be told from it.

    Args:
        values: `[time]`, equally spaced; NaN = missing (never marked, and no line is drawn through it).
        tolerance: relative; covers the rounding of double-precision numbers written with 9 digits or more.

    Returns:
        Boolean `[time]`.

    Raises:
        ValueError: not one series.
    """
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1:
        raise ValueError(f"interpolated_samples: expected one series [time], got an array of shape {x.shape}.")
    if x.size < 3:
        return np.zeros(x.shape, dtype=bool)
    x = np.where(np.isfinite(x), x, np.nan)
    on_line = _on_line(x, tolerance)
    equal = (x[:-1] == x[1:]) & (x[:-1] != 0.0)
    resolution = _printed_resolution(x[np.isfinite(x) & ~on_line & (x != 0.0)])
    second = x[:-2] - 2.0 * x[1:-1] + x[2:]
    shortest_line = _shortest_run(_chance_of_zero(second[~on_line[1:-1]], resolution))
    shortest_equal = _shortest_run(_chance_of_zero(np.diff(x)[~equal], resolution))

    marked = np.zeros(x.shape, dtype=bool)
    for first, last in _spans(on_line):
        if last - first + 1 >= shortest_line:
            marked[first : last + 1] = True
    for first, last_pair in _spans(equal):
        if last_pair - first + 1 < shortest_equal:
            continue
        last = last_pair + 1  # x[first] == ... == x[last]
        carried_back, carried_on = first == 0, last == x.size - 1
        if carried_on and not carried_back:
            first += 1  # the measurement that is carried to the end
        elif carried_back and not carried_on:
            last -= 1  # the measurement that is carried to the start
        marked[first : last + 1] = True
    return marked


def _on_line(x: Series, tolerance: float) -> Mask:
    """Samples on the line through their neighbours; False at both ends, beside NaN and amid zeros."""
    scale = np.abs(x[:-2]) + 2.0 * np.abs(x[1:-1]) + np.abs(x[2:])
    on_line = np.zeros(x.shape, dtype=bool)
    on_line[1:-1] = (np.abs(x[:-2] - 2.0 * x[1:-1] + x[2:]) <= tolerance * scale) & (scale > 0.0)
    return on_line


def _printed_resolution(x: Series) -> float:
    """The last printed digit: median over (at most 2000 of) the samples; 0 where there are none."""
    if x.size == 0:
        return 0.0
    sample = x[:: max(1, x.size // 2000)]
    exponents = [min(int(Decimal(repr(float(v))).normalize().as_tuple().exponent), 0) for v in sample]
    return float(10.0 ** np.median(exponents))


def _chance_of_zero(differences: Series, resolution: float) -> float:
    """Probability that measured samples, printed at this resolution, differ by exactly zero.

    Args:
        differences: those that are not zero. The smallest (within `k` units of the last printed digit, `k` at least 1
            and the lowest fifth) show how often one particular small value occurs.
    """
    size = np.abs(differences[np.isfinite(differences)])
    if size.size == 0 or resolution == 0.0:
        return 0.0
    k = max(1.0, np.rint(np.quantile(size, 0.2) / resolution))
    each = float(np.mean(size <= (k + 0.5) * resolution)) / (2.0 * k)
    return each / (1.0 + each)


def _shortest_run(chance: float) -> int:
    """Fewest patterns in a row that mark at most the share `CHANCE` of the measured samples."""
    run = 1
    while (run + 1) * chance**run > CHANCE:
        run += 1
    return run


def _spans(flags: Mask) -> list[tuple[int, int]]:
    """First and last index of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(np.int8), [0]))))
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]
