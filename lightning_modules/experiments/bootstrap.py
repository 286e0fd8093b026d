"""How sure a difference between two rows is: moving blocks of days, drawn together for both, and seeds drawn as well.

Half-hours that follow each other are alike, and so are days of one week. So whole blocks of days are drawn, at any day, the ends
of the record joined [Kunsch1989] [Politis1992]; the two rows are compared on the same days.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from ..data.splits import PARTS
from .scores import seen, used


class DailySums(NamedTuple):
    """Sums over the half-hours of each day that count in both rows.

    Args:
        squares_a, squares_b: squared errors, `[seed, day]`.
        count, first, second: number of half-hours, sum and sum of squares of the observations (minus their mean), `[day]`.
        site: index of the site of each day; days of a site stand in order.
    """

    squares_a: np.ndarray
    squares_b: np.ndarray
    count: np.ndarray
    first: np.ndarray
    second: np.ndarray
    site: np.ndarray


class Difference(NamedTuple):
    """NSE of row a minus NSE of row b, means over the seeds.

    Args:
        nse_a, nse_b: over the half-hours that count in both.
        difference: a - b.
        lower, upper: interval.
        n, days: half-hours, and days with any.
        seeds: of a and of b.
        by_seeds, by_days: standard deviations of the difference when only the seeds, or only the days, are drawn.
    """

    nse_a: float
    nse_b: float
    difference: float
    lower: float
    upper: float
    n: int
    days: int
    seeds: tuple[int, int]
    by_seeds: float
    by_days: float


def daily_sums(a: Sequence[xr.Dataset], b: Sequence[xr.Dataset], flux: str, part: str = "test") -> DailySums:
    """Sums of a flux of the predictions of two rows, one dataset for each seed.

    Raises:
        ValueError: the rows do not have the same half-hours.
    """
    first = a[0]
    chosen = first["split"].values == PARTS.index(part)
    time, site = first["time"].values, first["site_index"].values
    counted = chosen.copy()
    for other in (*a, *b):
        if not (np.array_equal(other["time"].values, time) and np.array_equal(other["site_index"].values, site)):
            raise ValueError(
                "the predictions of two rows have different half-hours; they belong to different splits or data."
            )
        counted &= used(other, flux)
    observed = np.asarray(first[f"{flux}_observed"].values, float)
    centred = observed - (observed[counted].mean() if counted.any() else 0.0)
    labels = np.stack([site[chosen].astype(np.int64), time[chosen].astype("datetime64[D]").astype(np.int64)])
    days, index = np.unique(labels, axis=1, return_inverse=True)
    index, within = index.ravel(), counted[chosen]

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(index[within], weights=values[chosen][within], minlength=days.shape[1])

    def squares(row: Sequence[xr.Dataset]) -> np.ndarray:
        return np.array([total((seen(predictions, flux) - observed) ** 2) for predictions in row])

    count = total(np.ones(len(time)))
    return DailySums(squares(a), squares(b), count, total(centred), total(centred**2), days[0])


def paired_difference(
    sums: DailySums, *, samples: int = 2000, block_days: int = 7, level: float = 0.9, seed: int = 0
) -> Difference:
    """The difference in NSE with its interval (percentiles).

    Each sample draws blocks of `block_days` days in each site's record, the same ones for both rows, and as many seeds of each
    row as it has, with replacement.

    Args:
        sums: of `daily_sums`.
        samples: how many are drawn.
        block_days: length of a block.
        level: of the interval.
        seed: of the drawing.

    Raises:
        ValueError: fewer than two half-hours count, or the observations do not vary.
    """
    ones = np.ones((1, len(sums.count)))
    mean_a, mean_b = (squares.mean(axis=0, keepdims=True) for squares in (sums.squares_a, sums.squares_b))
    nse_a, nse_b = (float(_nse(ones, squares, sums)[0]) for squares in (mean_a, mean_b))
    if not np.isfinite(nse_a - nse_b):
        raise ValueError(
            "a difference needs at least two half-hours with different observations that count in both rows."
        )
    times = _times_drawn(sums.site.tobytes(), samples, block_days, seed)
    rng = np.random.default_rng([seed, 1])
    drawn = [_seeds_drawn(len(squares), samples, rng) for squares in (sums.squares_a, sums.squares_b)]
    both = _nse(times, drawn[0] @ sums.squares_a, sums) - _nse(times, drawn[1] @ sums.squares_b, sums)
    days_alone = _nse(times, mean_a, sums) - _nse(times, mean_b, sums)
    seeds_alone = _nse(ones, drawn[0] @ sums.squares_a, sums) - _nse(ones, drawn[1] @ sums.squares_b, sums)
    lower, upper = np.quantile(both, [0.5 - level / 2, 0.5 + level / 2])
    return Difference(
        nse_a, nse_b, nse_a - nse_b, float(lower), float(upper), int(sums.count.sum()), int((sums.count > 0).sum()),
        (len(sums.squares_a), len(sums.squares_b)), float(seeds_alone.std()), float(days_alone.std()),
    )  # fmt: skip


def _nse(times: np.ndarray, squares: np.ndarray, sums: DailySums) -> np.ndarray:
    """NSE `[sample]` where each day counts `times[sample, day]` times; `squares` `[sample or 1, day]`."""
    with np.errstate(invalid="ignore", divide="ignore"):
        n, first, second = times @ sums.count, times @ sums.first, times @ sums.second
        return 1.0 - (times * squares).sum(axis=1) / (second - first**2 / n)


@functools.lru_cache(maxsize=2)
def _times_drawn(sites: bytes, samples: int, block: int, seed: int) -> np.ndarray:
    """How often each day is drawn, `[sample, day]`: blocks of each site's days, as many days as it has. Many pairs of rows share
    it, so the last ones are kept."""
    site, rng = np.frombuffer(sites, dtype=np.int64), np.random.default_rng(seed)
    times = np.zeros((samples, len(site)))
    for label in np.unique(site):
        days = np.flatnonzero(site == label)
        n = len(days)
        length = min(block, n)
        starts = rng.integers(0, n, size=(samples, -(-n // length)))
        offsets = (starts[:, :, None] + np.arange(length)).reshape(samples, -1)[:, :n] % n
        place = np.arange(samples)[:, None] * len(site) + days[offsets]
        times += np.bincount(place.ravel(), minlength=times.size).reshape(times.shape)
    return times


def _seeds_drawn(n: int, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Weights `[sample, seed]` of the mean over seeds drawn with replacement."""
    return rng.multinomial(n, np.full(n, 1.0 / n), size=samples) / n
