"""Clock and place of a tower file: measured shortwave against the computed sun."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from ..site import Site
from .arrays import Series
from .sun import Place, sine_of_elevation
from .timestamps import middle_of_interval
from .tower_dataset import TowerFileError

LEAST_DAYS = 2
"""Days with sunshine that a judgement needs."""

ENOUGH_DAYS = 5
"""Of fewer, the clouds of one morning decide, and an hour is tolerated (`WARN_HOURS_OF_FEW_DAYS`)."""

MOST_DAYS = 120
"""Days that are looked at, spread over the record."""

LEAST_PRESENT = 0.7
"""Share of a day's half-hours that must be there."""

LEAST_CORRELATION = 0.75
"""Between measured and computed sun; a file that never reaches it is not judged."""

WARN_HOURS, WARN_HOURS_OF_FEW_DAYS, REFUSE_HOURS = 1.0 / 3.0, 1.0, 1.5
SHIFTS = np.arange(-12.0, 12.0, 0.25)
"""Hours that are tried."""

PIECE_DAYS, PIECE_HOURS, LEAST_CORRELATION_OF_PIECE = 30, 0.6, 0.85
NEAR_SHIFTS = np.arange(-2.0, 2.25, 0.25)
"""For pieces of the record, of which one may be on daylight saving time."""

CLEARLY_BETTER, STANDARD_ERRORS = 0.01, 5.0
"""By how much the days must fit the mirrored latitude better in the mean (correlation), and how sure that must be."""

NIGHT = -0.1
"""Sine of the elevation (6 degrees below the horizon) under which no sunlight is measured."""

LARGEST_SHARE_AT_NIGHT = 0.02


class Clock(NamedTuple):
    """What the sun says about the clock of a file.

    Args:
        shift: hours by which the measured sun is later than the computed one.
        correlation: of the two when the shift is taken away.
        at_night: the share of the measured shortwave that falls into the computed night when the shift is taken away.
        days: how many were looked at.
    """

    shift: float
    correlation: float
    at_night: float
    days: int


class Judgement(NamedTuple):
    """The clock of a file, what is wrong with it in words (empty: nothing), and whether the file must not be used like this."""

    clock: Clock
    text: str
    grave: bool


def clock_of(
    shortwave: Series,
    start: pd.DatetimeIndex,
    step: pd.Timedelta,
    place: Place | Site,
    shifts: np.ndarray = SHIFTS,
    days: int = MOST_DAYS,
) -> Clock | None:
    """Compare measured shortwave (W m-2, `[time]`) with the sun at a place; None where too few days have sun.

    The shift is where the correlation of both is largest, by a parabola through the three best quarters of an hour. Days
    are weighed by their sunshine, so overcast ones count little; gaps are left out. The sine of the elevation at a shifted
    hour is `A + B cos(a - b)` with `b` the angle of the shift, so that three evaluations suffice for all shifts.
    """
    rows, count = _sunny_days(shortwave, step, days)
    if count < LEAST_DAYS:
        return None
    measured = np.maximum(shortwave[rows], 0.0)
    day, hour = middle_of_interval(pd.DatetimeIndex(start[rows]), step)
    now, quarter, half = (sine_of_elevation(day, hour + later, place) for later in (0.0, 6.0, 12.0))
    middle = 0.5 * (now + half)
    cosine, sine = 0.5 * (now - half), middle - quarter

    def computed(shift: float) -> Series:
        angle = np.pi * shift / 12.0
        return middle + cosine * np.cos(angle) + sine * np.sin(angle)

    correlation = np.array([_correlation(measured, np.maximum(computed(s), 0.0)) for s in shifts])
    best = int(np.argmax(correlation))
    around = correlation[[(best - 1) % len(shifts), best, (best + 1) % len(shifts)]]
    curvature = around[0] - 2.0 * around[1] + around[2]
    fine = 0.5 * (around[0] - around[2]) / curvature if curvature < 0.0 else 0.0
    shift = float((shifts[best] + 0.25 * np.clip(fine, -0.5, 0.5) + 12.0) % 24.0 - 12.0)
    at_night = float(measured[computed(shift) < NIGHT].sum() / max(measured.sum(), 1e-9))
    return Clock(shift, float(correlation[best]), at_night, count)


def judge_clock(
    shortwave: Series, start: pd.DatetimeIndex, step: pd.Timedelta, place: Place | Site
) -> Judgement | None:
    """Whether clock and place of a file agree with the sun; None where they cannot be judged."""
    clock = clock_of(shortwave, start, step, place)
    if clock is None:
        return None
    if (other := _other_hemisphere(shortwave, start, step, place, clock)) is not None:
        return other
    where = f"latitude {place.latitude:g}, longitude {place.longitude:g}, utc_offset {place.utc_offset:g}"
    at_night = (
        f"{100 * clock.at_night:.0f} % of the measured shortwave fall into the night at {where}. Check the sign of the "
        "latitude, and the dates."
    )
    enough = clock.days >= ENOUGH_DAYS
    if clock.correlation < LEAST_CORRELATION:
        dark = enough and clock.correlation > LEAST_CORRELATION / 2 and clock.at_night > 5 * LARGEST_SHARE_AT_NIGHT
        return Judgement(clock, at_night, grave=False) if dark else None
    text = (
        f"the measured shortwave comes {_in_words(clock.shift)} than the sun at {where}. {_advice(clock.shift, place)}"
    )
    if abs(clock.shift) > REFUSE_HOURS:
        return Judgement(clock, text, grave=True)
    if pieces := _shifted_pieces(shortwave, start, step, place):
        text = (
            f"in a part of the record the measured shortwave is not where the sun is at {where}: {'; '.join(pieces)}. Was the "
            "clock on daylight saving time, or set? Correct the stamps there, or leave that part out."
        )
        return Judgement(clock, text, grave=False)
    if abs(clock.shift) > (WARN_HOURS if enough else WARN_HOURS_OF_FEW_DAYS):
        return Judgement(clock, text, grave=False)
    return Judgement(clock, at_night if enough and clock.at_night > LARGEST_SHARE_AT_NIGHT else "", grave=False)


def _other_hemisphere(
    shortwave: Series, start: pd.DatetimeIndex, step: pd.Timedelta, place: Place | Site, clock: Clock
) -> Judgement | None:
    """What to say where the days are clearly as long as those of the mirrored latitude; None where they are not.

    Each day is compared with the computed one by itself, since seasons differ in their clouds as well. Both are taken at the
    hour at which they fit best.
    """
    mirrored = Place(-place.latitude, place.longitude, place.utc_offset)
    there = clock_of(shortwave, start, step, mirrored)
    if there is None or clock.days < ENOUGH_DAYS or there.correlation < LEAST_CORRELATION:
        return None
    better = _fit_by_day(shortwave, start, step, mirrored, there.shift) - _fit_by_day(
        shortwave, start, step, place, clock.shift
    )
    mean, error = float(better.mean()), float(better.std(ddof=1) / np.sqrt(len(better)))
    if mean < CLEARLY_BETTER or mean < STANDARD_ERRORS * error:
        return None
    text = (
        f"the days are as long as at latitude {-place.latitude:g}, not at latitude {place.latitude:g}. Correct the sign of the "
        "latitude (degrees north), or the dates."
    )
    if abs(there.shift) > WARN_HOURS:
        text += f" With it the shortwave comes {_in_words(there.shift)} than the sun. {_advice(there.shift, mirrored)}"
    return Judgement(there, text, grave=abs(there.shift) > REFUSE_HOURS)


def _fit_by_day(
    shortwave: Series, start: pd.DatetimeIndex, step: pd.Timedelta, place: Place | Site, shift: float
) -> np.ndarray:
    """Correlation of measured and computed sun of each of the days that are looked at."""
    rows, _ = _sunny_days(shortwave, step, MOST_DAYS)
    day, hour = middle_of_interval(pd.DatetimeIndex(start[rows]), step)
    computed = np.maximum(sine_of_elevation(day, hour - shift, place), 0.0)
    which = rows // round(pd.Timedelta(days=1) / step)
    return np.array([_correlation(shortwave[rows[which == d]], computed[which == d]) for d in np.unique(which)])


def check_clock(
    shortwave: Series, start: pd.DatetimeIndex, step: pd.Timedelta, place: Place | Site, what: str
) -> list[str]:
    """Warnings about clock and place; none where they agree with the sun or cannot be judged.

    Raises:
        TowerFileError: the sun of the file is more than 1.5 hours away from that of the place; the message has the offset
            that fits.
    """
    judgement = judge_clock(shortwave, start, step, place)
    if judgement is None or not judgement.text:
        return []
    if judgement.grave:
        raise TowerFileError(f"{what}: {judgement.text}")
    return [f"{what}: {judgement.text}"]


def _in_words(shift: float) -> str:
    return f"{abs(shift):.1f} h {'later' if shift > 0 else 'earlier'}"


def _shifted_pieces(shortwave: Series, start: pd.DatetimeIndex, step: pd.Timedelta, place: Place | Site) -> list[str]:
    """Pieces of `PIECE_DAYS` that are off while most of the record is not, in words; neighbours are one."""
    rows = round(PIECE_DAYS * (pd.Timedelta(days=1) / step))
    judged: list[tuple[int, int, float]] = []
    for first in range(0, len(shortwave), rows):
        part = slice(first, min(first + rows, len(shortwave)))
        clock = clock_of(shortwave[part], start[part], step, place, NEAR_SHIFTS, PIECE_DAYS)
        if clock is not None and clock.days >= ENOUGH_DAYS and clock.correlation >= LEAST_CORRELATION_OF_PIECE:
            judged.append((part.start, part.stop - 1, clock.shift))
    off = [piece for piece in judged if abs(piece[2]) > PIECE_HOURS]
    if not off or len(off) > len(judged) / 2:
        return []
    joined: list[list[tuple[int, int, float]]] = []
    for piece in off:
        if joined and joined[-1][-1][1] + 1 == piece[0] and joined[-1][-1][2] * piece[2] > 0:
            joined[-1].append(piece)
        else:
            joined.append([piece])
    texts = [
        f"{_in_words(float(np.mean([p[2] for p in group])))} from {start[group[0][0]]:%Y-%m-%d} to {start[group[-1][1]]:%Y-%m-%d}"
        for group in joined
    ]
    return texts if len(texts) <= 5 else [*texts[:5], f"and in {len(texts) - 5} more pieces"]


def _advice(shift: float, place: Place | Site) -> str:
    """What would bring the sun of the file and that of the place together."""
    solar = place.longitude / 15.0  # offsets reach from -12 to 14: of those a day apart, the one near the sun's own
    fitting = solar + (place.utc_offset + shift - solar + 12.0) % 24.0 - 12.0
    advice = f"utc_offset = {round(2.0 * fitting) / 2.0:g} would fit"
    mirrored = (shift - 2.0 * place.longitude / 15.0 + 12.0) % 24.0 - 12.0
    if abs(mirrored) < WARN_HOURS and abs(place.longitude) > 7.5:
        advice += f", or longitude = {-place.longitude:g} (degrees east)"
    if abs(abs(shift) - 0.5) < 0.15:
        advice += "; half an hour is also what end stamps read as start stamps make, or the reverse (time_stamp)"
    if abs(fitting) < 0.25 < abs(place.utc_offset):
        advice += ": the stamps are in UTC. Write them in local standard time, or give the offset of the stamps"
    return advice + "."


def _sunny_days(shortwave: Series, step: pd.Timedelta, most: int) -> tuple[np.ndarray, int]:
    """Rows with values of up to `most` days that have sun, and how many days these are."""
    in_a_day = round(pd.Timedelta(days=1) / step)
    days = len(shortwave) // in_a_day
    table = shortwave[: days * in_a_day].reshape(days, in_a_day)
    present = np.isfinite(table)
    highest = np.where(present, table, 0.0).max(axis=1, initial=0.0)
    chosen = np.flatnonzero((present.mean(axis=1) >= LEAST_PRESENT) & (highest > 100.0))
    if chosen.size > most:
        chosen = chosen[np.unique(np.linspace(0, chosen.size - 1, most).astype(int))]
    rows = (chosen[:, None] * in_a_day + np.arange(in_a_day)).ravel()
    return rows[np.isfinite(shortwave[rows])], chosen.size


def _correlation(a: Series, b: Series) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0.0 else -1.0
