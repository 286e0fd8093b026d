"""Time zones by name, as offsets of their standard time."""

from __future__ import annotations

import datetime
import zoneinfo


def standard_offset(zone: str) -> float | None:
    """Hours east of UTC of the standard time of an IANA zone (`America/Chicago`: -6); None if there is no such zone."""
    try:
        info = zoneinfo.ZoneInfo(zone)
    except (ValueError, KeyError, OSError):
        return None
    offsets = [datetime.datetime(2020, month, 1, tzinfo=info).utcoffset() for month in (1, 7)]
    return min(offset.total_seconds() / 3600.0 for offset in offsets if offset is not None)
