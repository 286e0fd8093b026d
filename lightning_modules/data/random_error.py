"""The random error of observed fluxes: how large it is, learned from pairs of days that were alike."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from .dataset import TowerDataset

ALIKE = {"air_temperature": 3.0, "wind_speed": 1.0, "shortwave_in": 35.0}
"""How far two half-hours a day apart may differ (K, m s-1, W m-2, the last of them about 75 umol m-2 s-1 of photons)
[Hollinger2005]."""

DAY = 86_400
NEIGHBOURS = (-3_600, -1_800, 1_800, 3_600)
"""Seconds."""

FEWEST_PAIRS = 100
CLASSES = 10
MAGNITUDES = 40
"""Classes of magnitude that the line is fitted to, and quantiles of the magnitude that are kept."""


@dataclasses.dataclass(frozen=True)
class RandomError:
    """Standard deviation of the random error of one flux: `offset + slope |flux|`.

    Args:
        offset: in the unit of the flux, positive; None where too few pairs of days were alike.
        slope: without unit, not negative; None likewise.
        pairs: how many pairs it rests on.
        magnitudes: quantiles of the measured `|flux|` of the training part, equally probable.
        from_file: root mean square of 1 / sigma over the measured samples to which the file gives one; None without such.
        share_from_file: share of the measured samples that have one.
    """

    offset: float | None
    slope: float | None
    pairs: int
    magnitudes: tuple[float, ...]
    from_file: float | None = None
    share_from_file: float = 0.0

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> RandomError:
        """From plain numbers, as `dataclasses.asdict` makes them."""
        return cls(**{**content, "magnitudes": tuple(content["magnitudes"])})


def random_error(dataset: TowerDataset, target: str) -> RandomError | None:
    """The random error of a flux, all sites together, over the measured samples of a training part; None without any.

    Two half-hours of one site exactly a day apart, whose weather was alike (`ALIKE`), differ by their errors alone:
    `sigma = sd(x_1 - x_2) / sqrt(2)` [Hollinger2005], here in 10 equally filled classes of the magnitude of the flux, through
    which a line is drawn by least squares, not falling and not below a tenth of the smallest sigma at zero. The magnitude is that
    of the mean of the samples within an hour of either, without the two: by their own mean, large errors would choose their
    class.
    """
    values, measured = dataset.target[target].double().numpy(), dataset.measured[target].numpy()
    samples = np.abs(values[measured])
    if not len(samples):
        return None
    at = (np.arange(MAGNITUDES) + 0.5) / MAGNITUDES
    magnitudes = tuple(float(quantile) for quantile in np.quantile(samples, at))
    difference, magnitude = _pairs(dataset, values, measured)
    offset, slope = (None, None) if len(difference) < FEWEST_PAIRS else sigma_line(difference**2 / 2.0, magnitude)
    from_file, share = None, 0.0
    if target in dataset.sigma:
        sigma = dataset.sigma[target].double().numpy()[measured]
        given = sigma[np.isfinite(sigma) & (sigma > 0.0)]
        if len(given):
            from_file, share = float(np.sqrt(np.mean(given**-2.0))), len(given) / len(sigma)
    return RandomError(offset, slope, len(difference), magnitudes, from_file, share)


def _pairs(dataset: TowerDataset, values: np.ndarray, measured: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Differences of half-hours and those a day later that were alike, and the magnitude of the flux about them.

    Each half-hour is in one pair at most; pairs without a measured sample within an hour are left out.
    """
    site, seconds = dataset.site.numpy(), dataset.time.astype("datetime64[s]").astype(np.int64)
    where = {(int(s), int(t)): i for i, (s, t) in enumerate(zip(site, seconds, strict=True)) if measured[i]}
    weather = {name: dataset.forcing[name].double().numpy() for name in ALIKE}
    differences, magnitudes, taken = [], [], set()
    for (s, t), i in sorted(where.items()):
        j = where.get((s, t + DAY))
        if j is None or i in taken:
            continue
        if any(abs(weather[name][i] - weather[name][j]) > limit for name, limit in ALIKE.items()):
            continue
        near = [where.get((s, t + day + apart)) for day in (0, DAY) for apart in NEIGHBOURS]
        about = [values[k] for k in near if k is not None]
        if about:
            taken.add(j)
            differences.append(values[i] - values[j])
            magnitudes.append(abs(np.mean(about)))
    return np.array(differences), np.array(magnitudes)


def sigma_line(squares: np.ndarray, magnitude: np.ndarray) -> tuple[float, float]:
    """Offset (positive) and slope (not negative) of `sigma = offset + slope magnitude`.

    A line by least squares through the root mean squares of 10 equally filled classes of the magnitude.

    Args:
        squares: `[n]`, at least 10, whose mean is the variance: squared errors, or halves of squared differences.
        magnitude: `[n]`, in the unit of the error.
    """
    classes = np.array_split(np.argsort(magnitude, kind="stable"), CLASSES)
    x = np.array([magnitude[c].mean() for c in classes])
    sigma = np.array([np.sqrt(np.mean(squares[c])) for c in classes])
    slope, offset = np.polyfit(x, sigma, 1) if np.ptp(x) > 0.0 else (-1.0, 0.0)
    if slope < 0.0:
        slope, offset = 0.0, float(np.sqrt(np.mean(squares)))
    return max(float(offset), 0.1 * float(sigma.min())), float(slope)
