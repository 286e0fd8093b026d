"""Patterns in the forcing that no atmosphere makes: sensors that are stuck, days that are there twice, air beyond saturation."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from .arrays import Series
from .humidity import saturation_vapour_pressure_kpa
from .tower_dataset import Column

CHANGING = ("air_temperature", "vapour_pressure", "wind_speed", "friction_velocity", "shortwave_in", "longwave_in")
"""Drivers that differ from half-hour to half-hour in nature (a soil may hold its temperature for days)."""

STUCK_DAYS = 2.0
"""So long may a driver keep one value."""

LEAST_SHARE = 0.001
"""Share of the record from which stuck half-hours are reported."""

SUPERSATURATED = 1.05
LARGEST_SHARE_SUPERSATURATED = 0.05
"""Share of half-hours that may be beyond `SUPERSATURATED` times saturation; sensors drift by a few percent."""


def suspicions(forcing: Mapping[str, Column], start: pd.DatetimeIndex, step: pd.Timedelta, what: str) -> list[str]:
    """One text for each suspicion, with column, rows and what to do."""
    return [
        *_supersaturated(forcing, what),
        *_stuck(forcing, start, step, what),
        *_repeated_days(forcing, start, step, what),
    ]


def _supersaturated(forcing: Mapping[str, Column], what: str) -> list[str]:
    if not {"air_temperature", "vapour_pressure"} <= forcing.keys():
        return []
    ratio = forcing["vapour_pressure"].values / saturation_vapour_pressure_kpa(forcing["air_temperature"].values)
    known = ratio[np.isfinite(ratio)]
    share = float(np.mean(known > SUPERSATURATED)) if known.size else 0.0
    if share <= LARGEST_SHARE_SUPERSATURATED:
        return []
    return [
        f"{what}: vapour_pressure ({forcing['vapour_pressure'].source}) exceeds saturation at the air temperature by "
        "more than 5 % in "
        f"{100 * share:.0f} % of the half-hours. Check the units and the columns of humidity and temperature."
    ]


def _stuck(forcing: Mapping[str, Column], start: pd.DatetimeIndex, step: pd.Timedelta, what: str) -> list[str]:
    texts = []
    longest = STUCK_DAYS * (pd.Timedelta(days=1) / step)
    for name in CHANGING:
        if name not in forcing:
            continue
        values = forcing[name].values
        changes = np.flatnonzero(~(values[1:] == values[:-1])) + 1
        edges = np.concatenate(([0], changes, [len(values)]))
        lengths = np.diff(edges)
        stuck = lengths > longest
        rows = int(lengths[stuck].sum())
        if (
            not rows or rows < LEAST_SHARE * len(values) or rows == len(values)
        ):  # one number for all is a constant that was meant
            continue
        first = int(edges[:-1][stuck][0])
        texts.append(
            f"{what}: {name} (column {forcing[name].source}) keeps one value for more than {STUCK_DAYS:g} days: "
            f"{rows} half-hours in "
            f"{int(stuck.sum())} run(s), first {values[first]:g} from {start[first]}. Is the sensor stuck? Set these "
            "to missing (-9999)."
        )
    return texts


def _repeated_days(forcing: Mapping[str, Column], start: pd.DatetimeIndex, step: pd.Timedelta, what: str) -> list[str]:
    """Days whose air temperature and vapour pressure are those of another day, to the last digit."""
    in_a_day = round(pd.Timedelta(days=1) / step)
    first = int(np.argmax(start.normalize() == start)) if len(start) else 0
    days = (len(start) - first) // in_a_day
    if days < 2 or "air_temperature" not in forcing:
        return []

    def by_day(values: Series) -> np.ndarray:
        return values[first : first + days * in_a_day].reshape(days, in_a_day)

    names = [name for name in ("air_temperature", "vapour_pressure", "wind_speed") if name in forcing]
    table = np.concatenate([by_day(forcing[name].values) for name in names], axis=1)
    whole = np.isfinite(table).all(axis=1) & (by_day(forcing["air_temperature"].values).std(axis=1) > 0.0)
    index = np.flatnonzero(whole)
    if index.size < 2:
        return []
    duplicated = pd.Series([row.tobytes() for row in table[index]]).duplicated().to_numpy()
    if not duplicated.any():
        return []
    day = start[first + int(index[duplicated][0]) * in_a_day]
    return [
        f"{what}: {int(duplicated.sum())} day(s) repeat the weather of another day to the last digit, first "
        f"{day:%Y-%m-%d}. Was a "
        "piece of the file copied? Set such days to missing, or expect them to count twice."
    ]
