"""Intervals of the difference of two rows: on known cases, and how often they cover the truth."""

import numpy as np
import pytest

from lightning_modules.experiments.bootstrap import DailySums, daily_sums, paired_difference

HALF_HOURS = 4


def sums_of(errors_a: np.ndarray, errors_b: np.ndarray, observed: np.ndarray) -> DailySums:
    """Sums of errors `[seed, day, half-hour]` and observations `[day, half-hour]`."""
    return DailySums(
        (errors_a**2).sum(axis=-1), (errors_b**2).sum(axis=-1), np.full(len(observed), float(observed.shape[1])),
        observed.sum(axis=-1), (observed**2).sum(axis=-1), np.zeros(len(observed), dtype=np.int64),
    )  # fmt: skip


def case(
    rng: np.random.Generator, days: int, sd_a: float, sd_b: float, persistence: float = 0.0, seeds: int = 1
) -> DailySums:
    """Errors whose size in a day persists; the observations are white with variance 1."""
    observed = rng.normal(size=(days, HALF_HOURS))
    shape = rng.normal(size=days)
    for i in range(1, days):
        shape[i] = persistence * shape[i - 1] + np.sqrt(1 - persistence**2) * shape[i]
    size = np.exp(0.5 * shape - 0.25)[None, :, None]  # the mean of its square is 1
    errors = [sd * size * rng.normal(size=(seeds, days, HALF_HOURS)) for sd in (sd_a, sd_b)]
    return sums_of(*errors, observed)


def test_the_difference_is_that_of_the_scores():
    rng = np.random.default_rng(0)
    observed = rng.normal(size=(50, HALF_HOURS))
    errors_a, errors_b = 0.3 * rng.normal(size=(2, 50, HALF_HOURS)), 0.5 * rng.normal(size=(1, 50, HALF_HOURS))
    d = paired_difference(sums_of(errors_a, errors_b, observed - observed.mean()), samples=200)
    assert d.nse_a == pytest.approx(1 - np.mean(errors_a**2) / observed.var())
    assert d.nse_b == pytest.approx(1 - np.mean(errors_b**2) / observed.var())
    assert d.lower < d.difference < d.upper and (d.n, d.days, d.seeds) == (200, 50, (2, 1))


def test_equal_rows_do_not_differ_at_all():
    sums = case(np.random.default_rng(1), 40, 0.4, 0.4)
    same = sums._replace(squares_b=sums.squares_a)
    d = paired_difference(same, samples=200)
    assert (d.difference, d.lower, d.upper) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("persistence", [0.0, 0.5])
def test_nine_of_ten_intervals_cover_the_truth(persistence):
    # Of 300 intervals of level .9, 270 are to cover; binomial sd 5.2. Percentiles of a persistent series cover somewhat less.
    rng = np.random.default_rng(2)
    truth = 0.5**2 - 0.4**2
    covered = 0
    for i in range(300):
        d = paired_difference(case(rng, 150, 0.4, 0.5, persistence), samples=200, seed=i)
        covered += d.lower <= truth <= d.upper
    assert 0.83 <= covered / 300 <= 0.95


def test_days_drawn_one_by_one_are_too_sure_of_a_persistent_series():
    rng = np.random.default_rng(3)
    sums = case(rng, 300, 0.4, 0.8, 0.9)
    widths = [np.diff(paired_difference(sums, samples=400, block_days=n)[3:5])[0] for n in (1, 14)]
    assert widths[1] > 1.3 * widths[0]


def test_seeds_widen_the_interval():
    rng = np.random.default_rng(4)
    sums = case(rng, 100, 0.4, 0.5, seeds=3)
    restless = sums._replace(squares_a=sums.squares_a * np.array([[0.5], [1.0], [1.5]]))
    means = [np.repeat(squares.mean(axis=0, keepdims=True), 3, axis=0) for squares in restless[:2]]
    calm = restless._replace(squares_a=means[0], squares_b=means[1])
    wide, narrow = (paired_difference(s, samples=500) for s in (restless, calm))
    assert wide.difference == pytest.approx(narrow.difference)
    assert wide.upper - wide.lower > 1.2 * (narrow.upper - narrow.lower)
    assert narrow.by_seeds < 1e-12 and wide.by_days == narrow.by_days and wide.by_seeds > 0.01


def test_blocks_stay_within_a_site():
    rng = np.random.default_rng(5)
    sums = case(rng, 60, 0.4, 0.5)
    one_site_empty = sums._replace(
        site=np.repeat([0, 1], 30), count=np.where(np.arange(60) < 30, sums.count, 0.0),
        squares_a=sums.squares_a * (np.arange(60) < 30), squares_b=sums.squares_b * (np.arange(60) < 30),
        first=sums.first * (np.arange(60) < 30), second=sums.second * (np.arange(60) < 30),
    )  # fmt: skip
    alone = DailySums(*(x[..., :30] for x in sums))
    a, b = (paired_difference(s, samples=4000) for s in (one_site_empty, alone))
    assert a.days == 30 and a.upper - a.lower == pytest.approx(b.upper - b.lower, rel=0.15)


def test_nothing_to_compare_is_refused():
    sums = case(np.random.default_rng(6), 5, 0.4, 0.5)
    with pytest.raises(ValueError, match="at least two half-hours"):
        paired_difference(sums._replace(count=sums.count * 0, first=sums.first * 0, second=sums.second * 0))


def test_daily_sums_count_what_both_rows_have():
    import xarray as xr

    time = np.datetime64("2019-01-01", "ns") + np.arange(96) * np.timedelta64(30, "m")
    base = xr.Dataset(
        {
            "LE": ("row", np.full(96, 2.0)), "LE_observed": ("row", np.arange(96.0)),
            "LE_measured": ("row", np.arange(96) != 5), "converged": ("row", np.ones(96, dtype=bool)),
            "split": ("row", np.where(np.arange(96) < 48, 1, 2)), "time": ("row", time), "site_index": ("row", np.zeros(96, int)),
        }
    )  # fmt: skip
    other = base.assign(converged=("row", np.arange(96) != 60))
    sums = daily_sums([base], [other], "LE")
    assert sums.count.tolist() == [47.0]  # the second day without half-hour 60
    rows = np.setdiff1d(np.arange(48, 96), [60])
    np.testing.assert_allclose(sums.squares_a, [[((2.0 - rows) ** 2).sum()]])
    np.testing.assert_allclose(sums.second, ((rows - rows.mean()) ** 2).sum())
    with pytest.raises(ValueError, match="different half-hours"):
        daily_sums([base], [base.isel(row=slice(1, None))], "LE")
