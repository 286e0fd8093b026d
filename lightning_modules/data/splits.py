"""Splits by blocks of time. Neighbouring half-hours are alike, so random half-hours would leak between the parts."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")
"""The parts of the data, in the order in which files and loaders have them."""

DAY = np.timedelta64(86_400_000_000_000, "ns")


class Split(NamedTuple):
    """Row indices of the parts, each in time order; `purged` rows belong to no part."""

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray
    purged: np.ndarray


def block_split(
    time: np.ndarray,
    *,
    block_days: float = 7.0,
    val_every: int = 5,
    test_fraction: float = 0.0,
    purge_days: float = 0.0,
) -> Split:
    """Cut a record into training, validation and test parts. Deterministic.

    The last `test_fraction` of the period is the test part. The rest is cut into blocks of `block_days`; every
    `val_every`-th block (the third of the first five, ...) is validation, the others are training.

    Args:
        time: `[n]` `datetime64`, increasing.
        block_days: length of a block.
        val_every: one block in this many is validation; 0: no validation part.
        test_fraction: share of the period, in [0, 1), taken from its end.
        purge_days: training half-hours nearer than this to a validation or test block are left out (`purged`), as are
            validation half-hours nearer than this to the test part.

    Raises:
        ValueError: an argument is out of range, time is not increasing, or the training or validation part is empty.
    """
    time = np.asarray(time).astype("datetime64[ns]")
    _check(time, block_days, val_every, test_fraction, purge_days)
    test = end_of_record(time, test_fraction)
    return split_around(
        time, test, block_days=block_days, val_every=val_every, purge_days=purge_days,
        asked=f"test_fraction={test_fraction:g}",
    )  # fmt: skip


def end_of_record(time: np.ndarray, fraction: float) -> np.ndarray:
    """Which half-hours `[n]` (bool) are in the last `fraction` of the period of `time`, `[n]` increasing `datetime64[ns]`."""
    days = (time - time[0]) / DAY
    start = (days[-1] + _step(days)) * (1.0 - fraction)
    return days >= start - 1e-9 if fraction > 0 else np.zeros(len(days), dtype=bool)


def split_around(
    time: np.ndarray,
    test: np.ndarray,
    *,
    block_days: float = 7.0,
    val_every: int = 5,
    purge_days: float = 0.0,
    asked: str = "",
) -> Split:
    """Cut what is not the test part into blocks of training and validation, as `block_split` does.

    Args:
        time: `[n]` `datetime64`, increasing.
        test: `[n]` bool, the half-hours of the test part, wherever they are.
        block_days, val_every, purge_days: of `block_split`.
        asked: how the test part was chosen, for the message.

    Raises:
        ValueError: an argument is out of range, time is not increasing, or the training or validation part is empty.
    """
    time = np.asarray(time).astype("datetime64[ns]")
    _check(time, block_days, val_every, 0.0, purge_days)
    days = (time - time[0]) / DAY
    step = _step(days)
    block = np.floor(days / block_days + 1e-9).astype(np.int64)
    val = ~test & (block % val_every == val_every // 2) if val_every else np.zeros(len(days), dtype=bool)
    train = ~test & ~val
    near_test = _nearer(days, test, purge_days, step)
    near_val = _nearer(days, val, purge_days, step)
    purged = (train & (near_test | near_val)) | (val & near_test)
    parts = Split(*(np.flatnonzero(mask) for mask in (train & ~purged, val & ~purged, test, purged)))
    for name, part, wanted in (("training", parts.train, True), ("validation", parts.val, bool(val_every))):
        if wanted and not len(part):
            begin = val_every // 2 * block_days
            why = f" (the first validation block begins after {begin:g} days)" if not val.any() and val_every else ""
            raise ValueError(
                f"the {name} part is empty: {days[-1] + step:.3g} days of data, block_days={block_days:g}, "
                f"val_every={val_every}, {asked}, purge_days={purge_days:g}{why}. Use shorter "
                "blocks or more data (val_every=0: no validation)."
            )
    return parts


def _step(days: np.ndarray) -> float:
    return float(days[1] - days[0]) if len(days) > 1 else 0.0


def _nearer(days: np.ndarray, part: np.ndarray, limit: float, step: float) -> np.ndarray:
    """Rows less than `limit` days away from the nearest row of `part` (gap between the intervals, not their starts)."""
    inside = days[part]
    if limit <= 0 or not len(inside):
        return np.zeros(len(days), dtype=bool)
    after = np.clip(np.searchsorted(inside, days), 0, len(inside) - 1)
    before = np.clip(after - 1, 0, len(inside) - 1)
    distance = np.minimum(np.abs(inside[after] - days), np.abs(inside[before] - days)) - step
    return distance < limit - 1e-9


def _check(time: np.ndarray, block_days: float, val_every: int, test_fraction: float, purge_days: float) -> None:
    if not len(time) or (np.diff(time) <= np.timedelta64(0, "ns")).any():
        raise ValueError(
            "block_split: time must have at least one entry and increase; sort the record and drop duplicates."
        )
    if not block_days > 0:
        raise ValueError(f"block_days must be positive; got {block_days!r}.")
    if val_every < 0 or val_every == 1:
        raise ValueError(
            f"val_every must be 0 (no validation) or at least 2 (1 would leave no training); got {val_every!r}."
        )
    if not 0.0 <= test_fraction < 1.0:
        raise ValueError(f"test_fraction must be in [0, 1); got {test_fraction!r}.")
    if purge_days < 0:
        raise ValueError(f"purge_days must not be negative; got {purge_days!r}.")
