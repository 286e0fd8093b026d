"""Samples that a gap filler put on a straight line are found; measured ones are left alone."""

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given

from canveg_jax.io import interpolated_samples


def fill_linearly(values, gaps, digits=None):
    """What a preparation script does: linear interpolation over the index, ends carried; optionally printed."""
    series = pd.Series(np.where(gaps, np.nan, values)).interpolate(limit_direction="both")
    return series.to_numpy() if digits is None else np.array([float(f"{v:.{digits}g}") for v in series])


@st.composite
def gappy_series(draw):
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    n = draw(st.integers(20, 400))
    values = 50.0 * rng.standard_normal(n) + 30.0 * np.sin(np.arange(n) / 8.0)
    gaps = rng.random(n) < draw(st.floats(0.0, 0.7))
    gaps[[0, -1]] = False
    return values, gaps


@given(gappy_series())
def test_exactly_the_filled_samples_are_marked(case):
    values, gaps = case
    np.testing.assert_array_equal(interpolated_samples(fill_linearly(values, gaps)), gaps)


@given(gappy_series(), st.sampled_from([1e-6, 1.0, 1e6]))
def test_marks_do_not_depend_on_the_unit(case, factor):
    values, gaps = case
    np.testing.assert_array_equal(interpolated_samples(factor * fill_linearly(values, gaps)), gaps)


def test_values_carried_to_the_ends_are_marked_but_not_the_measurement_they_come_from():
    values = np.random.default_rng(0).standard_normal(60)
    gaps = np.zeros(60, dtype=bool)
    gaps[:5], gaps[50:] = True, True
    marked = interpolated_samples(fill_linearly(values, gaps))
    np.testing.assert_array_equal(marked, gaps)


def test_a_single_repeated_last_value_is_marked():
    x = np.random.default_rng(1).standard_normal(30)
    x[-1] = x[-2]
    np.testing.assert_array_equal(np.flatnonzero(interpolated_samples(x)), [29])


def test_repeated_look_up_values_are_marked_inside_the_series():
    x = np.random.default_rng(2).standard_normal(40)
    x[10:14] = x[10]
    np.testing.assert_array_equal(np.flatnonzero(interpolated_samples(x)), [10, 11, 12, 13])


def test_runs_of_zeros_are_measured():
    x = np.abs(np.random.default_rng(3).standard_normal(100))
    x[40:60], x[-10:] = 0.0, 0.0
    assert not interpolated_samples(x).any()


def test_missing_samples_are_never_marked_and_no_line_is_drawn_through_them():
    x = np.random.default_rng(4).standard_normal(30)
    x[[5, 6, 7, 20]] = np.nan
    x[29] = np.inf
    assert not interpolated_samples(x).any()


@pytest.mark.parametrize("digits", [6, 9, 15])
def test_numbers_printed_with_six_digits_or_more(digits):
    rng = np.random.default_rng(5)
    n = 4000
    values = np.array([float(f"{v:.{digits}g}") for v in 80 * rng.standard_normal(n) + 100])
    assert interpolated_samples(values).mean() < 1e-3  # chance patterns only
    gaps = rng.random(n) < 0.4
    gaps[[0, -1]] = False
    filled = fill_linearly(values, gaps)
    found = interpolated_samples(filled)
    assert found[gaps].all()
    assert found[~gaps].mean() < 2e-3


def test_chance_patterns_of_coarse_numbers_are_not_marked_but_long_lines_are():
    rng = np.random.default_rng(6)
    values = np.round(2.0 + 0.03 * np.cumsum(rng.standard_normal(5000)), 2)
    naive = np.abs(values[:-2] - 2 * values[1:-1] + values[2:]) < 1e-9
    assert naive.mean() > 0.02  # single patterns are common here
    assert interpolated_samples(values).mean() < 0.003
    gaps = np.zeros(5000, dtype=bool)
    gaps[1000:1040], gaps[3000:3100] = True, True
    found = interpolated_samples(fill_linearly(values, gaps))
    assert found[1000:1040].all() and found[3000:3100].all()


def test_short_series_and_wrong_shapes():
    assert not interpolated_samples([1.0, 1.0]).any()
    assert interpolated_samples([]).shape == (0,)
    with pytest.raises(ValueError, match=r"expected one series \[time\], got an array of shape \(2, 3\)"):
        interpolated_samples(np.ones((2, 3)))


@pytest.mark.parametrize(
    ("file", "column", "on_line", "carried"),
    [
        ("US-Hn1-fluxes-nonegle.csv", "LE", 0.44, 0.0),
        ("US-Hn1-fluxes-nonegle.csv", "FC", 0.27, 0.0),
        ("US-Hn1-fluxes-nonegle.csv", "H", 0.17, 0.0),
        ("US-Hn1-fluxes-nonegle-test.csv", "LE", 0.54, 0.06),
        ("US-Hn1-fluxes-nonegle-test.csv", "FC", 0.36, 0.06),
        ("US-Hn1-fluxes-nonegle-test.csv", "H", 0.20, 0.0),
    ],
)
def test_shares_of_the_published_files(shared, file, column, on_line, carried):
    path = shared / "data" / "US-Hn1" / file
    if not path.is_file():
        pytest.skip(f"needs the tower file {file}")
    values = pd.read_csv(path)[column].to_numpy(float)
    marked = interpolated_samples(values)
    tail = np.zeros(values.size, dtype=bool)
    tail[1:] = np.cumprod((np.diff(values) == 0)[::-1])[::-1].astype(bool)
    assert round(float((marked & ~tail).mean()), 2) == on_line
    assert round(float(tail.mean()), 2) == carried
    assert marked[tail].all()
