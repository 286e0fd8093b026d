"""What eddy covariance adds to the truth: double-exponential noise that grows with the flux, and gaps."""

from __future__ import annotations

import numpy as np

from ..io.arrays import Mask, Series

NOISE: dict[str, tuple[float, float]] = {
    "latent_heat": (8.8, 0.13),
    "sensible_heat": (8.8, 0.13),
    "nee": (0.6, 0.13),
    "net_radiation": (5.0, 0.01),
    "ground_heat": (3.0, 0.05),
    "soil_respiration": (0.2, 0.05),
    "gpp": (0.6, 0.13),
    "shortwave_out": (2.0, 0.01),
    "longwave_out": (3.0, 0.0),
}
"""Standard deviation `a + b |flux|` by target. Form after [Hollinger2005]; the numbers of latent heat are
a published fit (PMC3898020, fig. 5), the others are of plausible size for a low canopy."""

TURBULENT = ("latent_heat", "sensible_heat", "nee", "gpp")
CALM = 0.15
"""m s-1; nights with less friction velocity mostly yield no turbulent flux."""


def random_error(target: str, truth: Series) -> Series:
    """Standard deviation `[time]` of the random error of each sample, in the unit of the target, from its true value `[time]`."""
    offset, slope = NOISE[target]
    return offset + slope * np.abs(truth)


def laplace_noise(rng: np.random.Generator, sigma: Series) -> Series:
    """Double-exponential noise `[time]` of the given standard deviation `[time]`."""
    return rng.laplace(0.0, np.asarray(sigma) / np.sqrt(2.0))


def gap_mask(rng: np.random.Generator, night: Mask, friction_velocity: Series, steps_per_day: int) -> dict[str, Mask]:
    """Which samples are lost: `power` (all instruments) and `turbulence` (the sonic and gas analyser as well).

    Power fails in blocks of hours (one per ten days) and days (one per 90 days). Turbulent fluxes are also lost singly
    (4 % by day, 20 % at night), in blocks of hours (one per five days), and in 70 % of calm nights' half-hours.

    Args:
        night: `[time]`.
        friction_velocity: `[time]`, m s-1.
        steps_per_day: intervals in a day.
    """
    size = len(night)
    power = _blocks(rng, size, steps_per_day / 2, 0.1 / steps_per_day)
    power |= _blocks(rng, size, 4.0 * steps_per_day, 1.0 / (90.0 * steps_per_day))
    turbulence = power | _blocks(rng, size, steps_per_day / 8, 0.2 / steps_per_day)
    turbulence |= rng.random(size) < np.where(night, 0.20, 0.04)
    turbulence |= night & (friction_velocity < CALM) & (rng.random(size) < 0.7)
    return {"power": power, "turbulence": turbulence}


def _blocks(rng: np.random.Generator, size: int, mean_length: float, rate: float) -> Mask:
    lost = np.zeros(size, dtype=bool)
    for start in np.flatnonzero(rng.random(size) < rate):
        lost[start : start + int(rng.geometric(1.0 / mean_length))] = True
    return lost
