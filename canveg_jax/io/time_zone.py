"""Time zones as offsets of their standard time: by name, or by coordinates.

Coordinates need tzfpy (`pip install 'canveg-torch[places]'`).
"""

from __future__ import annotations

import datetime
import zoneinfo
from typing import NamedTuple


class StandardTime(NamedTuple):
    """Name of the time zone, and hours east of UTC of its standard time."""

    zone: str
    utc_offset: float


def standard_offset(zone: str) -> float | None:
    """Hours east of UTC of the standard time of an IANA zone (`America/Chicago`: -6); None if there is no such zone.

    Standard time is the smaller of the offsets of January and July.
    """
    try:
        info = zoneinfo.ZoneInfo(zone)
    except (ValueError, KeyError, OSError):
        return None
    offsets = [datetime.datetime(2020, month, 1, tzinfo=info).utcoffset() for month in (1, 7)]
    return min(offset.total_seconds() / 3600.0 for offset in offsets if offset is not None)


def standard_time(latitude: float, longitude: float) -> StandardTime | None:
    """Standard time where a point lies (degrees north and east); None without tzfpy."""
    try:
        from tzfpy import get_tz
    except ImportError:
        return None
    name = get_tz(longitude, latitude)
    offset = standard_offset(name)
    return None if offset is None else StandardTime(name, offset)
