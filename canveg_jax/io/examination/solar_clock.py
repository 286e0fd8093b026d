"""Whether a record's clock and place fit the sun: measured short-wave radiation against the computed solar elevation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from ...site import Site
from ..arrays import Mask
from ..sun import sine_of_elevation

TOLERATED_HOURS = 0.34
"""A shift up to here (20 min) is that of clouds, of the time step and of the sensor's level."""

TOLERATED_OF_A_FEW_DAYS = 1.0
ENOUGH_SUNNY = 200
"""Half-hours of daylight (more than 20 W m-2): of fewer, the clouds of one morning decide."""

REFUSED_HOURS = 1.5
"""A larger shift is a wrong clock or place: the model's sun would be in another part of the sky."""

COARSE = np.arange(-12.0, 12.0, 0.25)
FINE = np.arange(-0.5, 0.501, 1.0 / 12.0)
FEWEST_SUNNY = 24
LOWEST_CORRELATION = 0.5
MOST_ROWS = 40_000


class ClockFit(NamedTuple):
    """How the daily course of short-wave fits the sun of the site.

    Args:
        shift: hours by which the record comes after the sun (positive: its clock is ahead).
        correlation: between short-wave and the sine of the solar elevation after that shift.
        fitting_offset: hours east of UTC with which the site would fit, to the quarter of an hour.
        remedy: what may be wrong; empty within `TOLERATED_HOURS` (an hour, for a record of a few days).
    """

    shift: float
    correlation: float
    fitting_offset: float
    remedy: str

    @property
    def grave(self) -> bool:
        """Whether the record must not be used like this."""
        return abs(self.shift) > REFUSED_HOURS


def fit_clock(dataset: xr.Dataset, site: Site, not_measured: Mask | None = None) -> ClockFit | None:
    """The shift of a record against the sun that correlates best.

    The sine of the elevation at a shifted hour is `A + B cos(a - b)`, with `b` the angle of the shift, so three
    evaluations suffice for all shifts. A shift that is as right for the other sign of the longitude, or of the offset, is said.

    Args:
        dataset: of `read_tower`, with shortwave_in.
        site: latitude, longitude and offset.
        not_measured: `[time]`, half-hours to leave out.

    Returns:
        None without enough daylight, or if short-wave has no daily course.
    """
    shortwave = dataset["shortwave_in"].values
    used = np.isfinite(shortwave) if not_measured is None else np.isfinite(shortwave) & ~not_measured
    rows = np.flatnonzero(used)
    rows = rows[: (len(rows) // MOST_ROWS + 1) * MOST_ROWS : len(rows) // MOST_ROWS + 1]
    measured = np.maximum(shortwave[rows], 0.0)
    sunlit = int((measured > 20.0).sum())
    if sunlit < FEWEST_SUNNY:
        return None
    day, hour = dataset["day_of_year"].values[rows], dataset["hour"].values[rows]
    now, quarter, half = (sine_of_elevation(day, hour + later, site) for later in (0.0, 6.0, 12.0))
    middle = 0.5 * (now + half)
    cosine, sine = 0.5 * (now - half), middle - quarter

    def correlation(shift: float) -> float:
        angle = np.pi * shift / 12.0
        height = np.maximum(middle + cosine * np.cos(angle) + sine * np.sin(angle), 0.0)
        return float(np.corrcoef(measured, height)[0, 1]) if height.any() else -1.0

    best = max(COARSE, key=correlation)
    best = float(max(best + FINE, key=correlation))
    best = (best + 12.0) % 24.0 - 12.0
    fit = ClockFit(best, correlation(best), site.utc_offset + round(4.0 * best) / 4.0, "")
    if fit.correlation < LOWEST_CORRELATION:
        return None
    tolerated = TOLERATED_HOURS if sunlit >= ENOUGH_SUNNY else TOLERATED_OF_A_FEW_DAYS
    return fit if abs(fit.shift) <= tolerated else fit._replace(remedy=_remedy(fit, site))


def _remedy(fit: ClockFit, site: Site) -> str:
    causes = []
    if fit.grave:
        if abs(_around_noon(fit.shift - 2.0 * site.longitude / 15.0)) < 0.5 and site.longitude:
            causes.append(f"longitude {-site.longitude:g} (the other sign)")
        if abs(_around_noon(fit.shift + 2.0 * site.utc_offset)) < 0.5 and site.utc_offset:
            causes.append(f"utc_offset {-site.utc_offset:g} (the other sign)")
        causes.append(f"utc_offset {fit.fitting_offset:g}")
    else:
        end = "end" if fit.shift > 0 else "start"
        causes += [
            f"time_stamp: {end}, if the stamps mark the {end} of the interval",
            f"utc_offset {fit.fitting_offset:g}",
        ]
    return "would fit: " + "; or ".join(causes)


def _around_noon(hours: float) -> float:
    return (hours + 12.0) % 24.0 - 12.0
