"""Scores against numbers made by hand, and the means they are taken over."""

import numpy as np
import pytest

pytest.importorskip("scores", reason="needs the extra `experiments`")

from lightning_modules.experiments.scores import COLUMNS, means_by_scale, scores_of_pairs, scores_of_sets

OBSERVED = np.array([1.0, 2.0, 3.0, 6.0])
MODELLED = np.array([2.0, 2.0, 4.0, 4.0])


def test_scores_by_hand():
    # errors 1, 0, 1, -2; deviations of o from its mean 3: -2, -1, 0, 3; of s: -1, -1, 1, 1
    scores = scores_of_pairs(MODELLED, OBSERVED)
    assert scores["n"] == 4 and scores["bias"] == pytest.approx(0.0, abs=1e-12)
    assert scores["NSE"] == pytest.approx(1 - 6 / 14)
    assert scores["RMSE"] == pytest.approx(np.sqrt(6 / 4))
    assert scores["NME"] == pytest.approx(4 / 6)
    assert scores["r"] == pytest.approx(6 / np.sqrt(4 * 14))
    assert scores["sd_ratio"] == pytest.approx(np.sqrt(4 / 14))
    r, alpha = 6 / np.sqrt(56), np.sqrt(4 / 14)
    assert scores["KGE"] == pytest.approx(1 - np.sqrt((r - 1) ** 2 + (alpha - 1) ** 2))  # the means are equal
    assert scores["q05_error"] == pytest.approx(2.0 - 1.15) and scores["q95_error"] == pytest.approx(4.0 - 5.55)


def test_many_sets_at_once_are_each_alone():
    rng = np.random.default_rng(0)
    sets = [(rng.normal(size=n), 2.0 + rng.normal(size=n), kge) for n, kge in ((5, True), (3000, True), (40, False))]
    sets += [(np.zeros(0), np.zeros(0), True), (MODELLED, OBSERVED, True), (np.ones(3), OBSERVED[:3], True)]
    for together, one in zip(scores_of_sets(sets), sets, strict=True):
        s, o, kge = one
        alone = scores_of_sets([one])[0]
        assert together == pytest.approx(alone, nan_ok=True)
        if len(o) > 1:
            assert together["NSE"] == pytest.approx(1 - np.mean((s - o) ** 2) / np.var(o))
            assert np.isfinite(together["KGE"]) == (kge and np.ptp(s) > 0)
            assert np.isnan(together["r"]) or together["r"] == pytest.approx(np.corrcoef(s, o)[0, 1])


def test_scores_that_are_undefined_are_no_numbers():
    assert np.isnan(scores_of_pairs(MODELLED, OBSERVED, kge=False)["KGE"])
    nothing = scores_of_pairs(np.zeros(0), np.zeros(0))
    assert nothing["n"] == 0 and all(np.isnan(nothing[name]) for name in COLUMNS[1:])
    constant = scores_of_pairs(MODELLED, np.full(4, 2.0))
    assert np.isnan(constant["NSE"]) and np.isnan(constant["r"]) and constant["bias"] == 1.0
    flat = scores_of_pairs(np.full(4, 3.0), OBSERVED)
    assert flat["NSE"] == pytest.approx(0.0) and np.isnan(flat["r"]) and np.isnan(flat["KGE"])


def test_means_over_days_weeks_and_months():
    time = np.datetime64("2019-01-01", "ns") + np.arange(59 * 48) * np.timedelta64(30, "m")
    day = np.arange(len(time)) // 48
    observed = day.astype(float)
    kept = (day != 3) | (np.arange(len(time)) % 48 < 11)  # 11 of 48 half-hours are less than a quarter
    tables = means_by_scale(time, time[kept], (observed + 1)[kept], observed[kept])
    daily = np.setdiff1d(np.arange(59.0), [3.0])
    np.testing.assert_allclose(tables["day"][1], daily)
    np.testing.assert_allclose(tables["day"][0], daily + 1)
    assert len(tables["week"][1]) == 9 and tables["week"][1][1] == pytest.approx(10.0)
    january, february = daily[daily < 31].mean(), daily[daily >= 31].mean()
    np.testing.assert_allclose(tables["season"][1], [january, february])
    np.testing.assert_allclose(tables["anomaly"][1], np.where(daily < 31, daily - january, daily - february))
    np.testing.assert_allclose(tables["anomaly"][0], tables["anomaly"][1])  # a constant bias is no anomaly
