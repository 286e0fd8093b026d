"""Splits by blocks of time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_modules import block_split


def half_hours(days: float) -> np.ndarray:
    return np.datetime64("2019-01-01") + np.arange(int(days * 48)) * np.timedelta64(30, "m")


@given(
    days=st.integers(20, 90),
    block=st.sampled_from([1.0, 3.5, 7.0]),
    every=st.integers(2, 6),
    test=st.sampled_from([0.0, 0.2, 0.33]),
    purge=st.sampled_from([0.0, 0.25, 0.9]),
)
def test_parts_are_disjoint_complete_and_apart(days, block, every, test, purge):
    time = half_hours(days)
    if block * every > days * (1 - test):
        return
    split = block_split(time, block_days=block, val_every=every, test_fraction=test, purge_days=purge)
    np.testing.assert_array_equal(np.sort(np.concatenate(split)), np.arange(len(time)))
    if test:
        assert split.test.min() > max(split.train.max(), split.val.max())
    held_out = np.concatenate([split.val, split.test])
    distance = np.abs(split.train[:, None] - held_out[None, :]).min()
    assert distance - 1 >= purge * 48 - 1e-9
    if purge == 0:
        assert len(split.purged) == 0


def test_every_fifth_week_is_validation():
    split = block_split(half_hours(70))
    weeks = np.arange(10)
    assert [bool(np.isin(w * 336, split.val)) for w in weeks] == [w % 5 == 2 for w in weeks]
    assert len(split.val) == 2 * 336 and len(split.train) == 8 * 336 and len(split.test) == 0


def test_blocks_are_cut_in_time_not_in_rows():
    time = half_hours(35)
    gap = np.r_[0:100, 700 : len(time)]
    whole, gappy = block_split(time), block_split(time[gap])
    assert set(time[gap][gappy.val]) == set(time[whole.val]) & set(time[gap])


def test_same_split_every_time():
    for a, b in zip(block_split(half_hours(40)), block_split(half_hours(40)), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"block_days": 0}, "block_days must be positive"),
        ({"val_every": 1}, "would leave no training"),
        ({"test_fraction": 1.0}, r"in \[0, 1\)"),
        ({"purge_days": -1}, "must not be negative"),
        ({"block_days": 100}, "validation part is empty"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(ValueError, match=message):
        block_split(half_hours(20), **options)


def test_a_short_record_is_told_where_validation_begins():
    with pytest.raises(
        ValueError, match=r"validation part is empty: 10 days .* begins after 10 days\)\. Use shorter blocks"
    ):
        block_split(half_hours(10), block_days=5)
    assert len(block_split(half_hours(11), block_days=5).val) == 48


def test_unsorted_time_is_refused():
    with pytest.raises(ValueError, match="must have at least one entry and increase"):
        block_split(half_hours(20)[::-1])
