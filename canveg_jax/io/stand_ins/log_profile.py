"""Friction velocity from wind and heights: the neutral logarithmic profile."""

from __future__ import annotations

import numpy as np

from ...physics.constants import VON_KARMAN
from ...physics.wind import DISPLACEMENT_RATIO, ROUGHNESS_RATIO
from ..arrays import Series
from .base import Made, Record, StandIn


def friction_velocity(wind_speed: Series, canopy_height: float, measurement_height: float) -> Series:
    """Friction velocity `[time]`, m s-1: `k u / ln((z - d) / z0)`, the neutral profile above a canopy [Campbell1998].

    `k` is von Karman's constant 0.4, `d` the displacement height, 0.6 of the canopy's, and `z0` the roughness length, 0.1 of
    it, as in the canopy model itself. Stability is left out: by day the true value is larger, in calm nights smaller.

    Args:
        wind_speed: `u`, `[time]`, m s-1, at measurement height.
        canopy_height: m.
        measurement_height: `z`, m above ground, above the canopy.
    """
    displacement, roughness = DISPLACEMENT_RATIO * canopy_height, ROUGHNESS_RATIO * canopy_height
    return VON_KARMAN * wind_speed / float(np.log((measurement_height - displacement) / roughness))


def make(record: Record) -> Made:
    """Of wind speed and the heights of the site; see `friction_velocity`.

    Raises:
        StandInError: no wind speed, or no site.
    """
    what = "friction_velocity by log_profile"
    site = record.place(what)
    wind = record.series("wind_speed", what)
    return Made(friction_velocity(wind, site.canopy_height, site.measurement_height))


LOG_PROFILE = StandIn(
    variable="friction_velocity",
    method="log_profile",
    meaning="neutral logarithmic profile of the wind",
    make=make,
)
