"""Running means of the past: values by hand, gaps, records that follow each other, no look ahead."""

import numpy as np
import pytest

from canveg_jax.io.antecedents import ANTECEDENT_DAYS, ANTECEDENTS, with_antecedents
from canveg_jax.synthetic import SYNTHETIC_SITES, synthetic_weather
from tests.lightning.towers import boring_tower

SITE = SYNTHETIC_SITES["SYN-Ari"]
DAY = 48


@pytest.fixture(scope="module")
def weather():
    return synthetic_weather(SITE, 40, 3)


def by_hand(values, days):
    """Mean over the last `days` days, the half-hour itself included."""
    windows = [values[max(0, i + 1 - DAY * days) : i + 1] for i in range(len(values))]
    return np.array([np.mean(window[np.isfinite(window)]) for window in windows])  # gaps are skipped


@pytest.mark.parametrize("days", ANTECEDENT_DAYS)
@pytest.mark.parametrize("name", ["air_temperature", "shortwave_in", "lai", "soil_water_content"])
def test_means_of_the_past(weather, name, days):
    (record,) = with_antecedents([weather])
    expected = by_hand(np.maximum(weather[name].values, 0.0 if name == "shortwave_in" else -np.inf), days)
    np.testing.assert_allclose(record[f"{name}_{days}d"], expected, rtol=1e-9, atol=1e-9)


def test_slope_is_the_distance_from_the_mean_of_a_week(weather):
    (record,) = with_antecedents([weather])
    expected = weather["air_temperature"].values - record["air_temperature_7d"].values
    np.testing.assert_allclose(record["air_temperature_slope"], expected, rtol=1e-12)


def test_the_future_has_no_influence(weather):
    """Any change of later half-hours leaves the past of the earlier ones as it is, to the last bit."""
    changed = weather.copy(deep=True)
    for name in ("air_temperature", "shortwave_in", "vapour_pressure", "soil_water_content", "lai"):
        changed[name].values[600:] = changed[name].values[600:] * 0.5 + 0.01
    changed["precipitation"].values[600:] += 1.0
    one, other = with_antecedents([weather])[0], with_antecedents([changed])[0]
    for name in ANTECEDENTS:
        if name in one:
            np.testing.assert_array_equal(one[name].values[:600], other[name].values[:600])
            assert (one[name].values[600:] != other[name].values[600:]).any()


@pytest.mark.parametrize("missing", [np.nan, -9999.0, np.inf])
def test_gaps_and_impossible_numbers_are_skipped(weather, missing):
    holed = weather.copy(deep=True)
    holed["soil_water_content"].values[100:200] = missing
    (record,) = with_antecedents([holed])
    values = holed["soil_water_content"].values.copy()
    values[100:200] = np.nan
    np.testing.assert_allclose(record["soil_water_content_7d"], by_hand(values, 7), rtol=1e-9)
    share = record["soil_water_content_1d"].attrs["share_present"]
    assert share < record["air_temperature_1d"].attrs["share_present"] <= 1.0
    of_the_record = np.mean(np.delete(values, np.s_[100:200]))  # where a window of a day has no sample
    assert record["soil_water_content_1d"].values[180] == pytest.approx(of_the_record)
    assert all(np.isfinite(record[name].values).all() for name in ANTECEDENTS if name in record)


def test_a_record_that_follows_knows_the_one_before(weather):
    first, second = weather.isel(time=slice(0, 1000)), weather.isel(time=slice(1000, None))
    (whole,) = with_antecedents([weather])
    test, train = with_antecedents([second, first])  # in any order
    for name in ANTECEDENTS:
        if name in whole:
            np.testing.assert_allclose(
                np.concatenate([train[name], test[name]]), whole[name], rtol=1e-9, atol=1e-9, err_msg=name
            )


def test_records_that_overlap_are_kept_apart(weather):
    early, late = weather.isel(time=slice(0, 1000)), weather.isel(time=slice(500, None))
    _, second = with_antecedents([early, late])
    np.testing.assert_allclose(second["lai_7d"], with_antecedents([late])[0]["lai_7d"])


def test_a_year_between_the_records_is_no_past():
    """A window that reaches into the gap has only what the second record holds."""
    first, second = boring_tower(5), boring_tower(5, 1, start="2021-06-01")
    _, later = with_antecedents([first, second])
    np.testing.assert_allclose(later["lai_30d"], with_antecedents([second])[0]["lai_30d"], rtol=1e-9)


def test_rain_only_where_the_file_has_it(weather):
    assert "precipitation_7d" not in with_antecedents([weather.drop_vars("precipitation", errors="ignore")])[0]
    rain = np.zeros(weather.sizes["time"])
    rain[[10, 400]] = 4.8, -9999.0
    (record,) = with_antecedents([weather.assign(precipitation=("time", rain))])
    assert record["precipitation_1d"].values[10 + DAY - 1] == pytest.approx(0.1)
    assert record["precipitation_1d"].values[10 + DAY] == pytest.approx(0.0, abs=1e-15)
    assert record["precipitation_1d"].values[400 + 1] == pytest.approx(0.0, abs=1e-15)
