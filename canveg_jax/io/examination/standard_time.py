"""The offset of local standard time from UTC, from coordinates. Needs tzfpy (`pip install 'canveg-torch[places]'`)."""

from __future__ import annotations

import datetime
import zoneinfo
from typing import NamedTuple


class StandardTime(NamedTuple):
    """Name of the time zone, and hours east of UTC of its standard time."""

    zone: str
    utc_offset: float


def standard_time(latitude: float, longitude: float, year: int = 2020) -> StandardTime | None:
    """Standard time where a point lies: the smaller of the offsets of January and July; None without tzfpy.

    Args:
        latitude, longitude: degrees, north and east positive.
        year: the rules of which year count.
    """
    try:
        from tzfpy import get_tz
    except ImportError:
        return None
    name = get_tz(longitude, latitude)
    try:
        zone = zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        return None
    offsets = [datetime.datetime(year, month, 1, tzinfo=zone).utcoffset() for month in (1, 7)]
    hours = [offset.total_seconds() / 3600.0 for offset in offsets if offset is not None]
    return StandardTime(name, min(hours)) if hours else None
