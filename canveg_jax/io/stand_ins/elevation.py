"""Air pressure from the elevation of the site."""

from __future__ import annotations

import numpy as np

from .base import Made, Record, StandIn, StandInError

SEA_LEVEL = 101.3
"""kPa."""


def pressure(elevation: float) -> float:
    """Air pressure, kPa, of the standard atmosphere: `101.3 ((293 - 0.0065 z) / 293)**5.26`, eq. 7 of [Allen1998].

    Args:
        elevation: `z`, m above sea level.
    """
    return SEA_LEVEL * ((293.0 - 0.0065 * elevation) / 293.0) ** 5.26


def make(record: Record) -> Made:
    """One number for the whole record; see `pressure`.

    Raises:
        StandInError: the elevation is not known.
    """
    what = "pressure by elevation"
    elevation = record.place(what).elevation
    if elevation is None:
        raise StandInError(f"{what} needs the elevation of the site: give elevation (m) among its constants")
    return Made(np.full(len(record.start), pressure(elevation)), {"elevation": elevation})


ELEVATION = StandIn(
    variable="pressure",
    method="elevation",
    meaning="standard atmosphere at the elevation of the site",
    make=make,
)
