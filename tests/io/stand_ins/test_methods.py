"""Wind, CO2, pressure and soil temperature: limits that can be written down."""

import numpy as np
import pytest

from canveg_jax.io.stand_ins import STAND_INS, StandInError
from canveg_jax.io.stand_ins.co2_table import ANNUAL_MEANS, FIRST_YEAR, GROWTH, annual_mean
from canveg_jax.io.stand_ins.damped import damped_temperature
from canveg_jax.io.stand_ins.elevation import pressure
from canveg_jax.io.stand_ins.log_profile import friction_velocity
from tests.io.stand_ins.records import SITE, record


def made(variable, method, data, **parameters):
    stand_in = STAND_INS[variable][method]
    return stand_in.make(data, **{**stand_in.parameters, **parameters})


def test_log_profile_is_exact_for_a_neutral_wind():
    known, height, z = np.array([0.0, 0.05, 0.3, 1.2]), 2.0, 10.0
    wind = known / 0.4 * np.log((z - 0.6 * height) / (0.1 * height))
    np.testing.assert_allclose(friction_velocity(wind, height, z), known, rtol=1e-14)
    np.testing.assert_allclose(
        made("friction_velocity", "log_profile", record(1, wind_speed=np.resize(wind, 48))).values,
        np.resize(known, 48), rtol=1e-14,
    )  # fmt: skip


def test_co2_of_the_year():
    years = np.array([1970, FIRST_YEAR, 2000, 2015, 2024, 2026])
    expected = [np.nan, 336.9, 369.0, 399.7, 422.8, 422.8 + 2 * GROWTH]
    np.testing.assert_allclose(annual_mean(years), expected)
    assert len(ANNUAL_MEANS) == 2024 - FIRST_YEAR + 1
    growth = np.diff(ANNUAL_MEANS)
    assert growth.min() > 0.5 and growth.max() < 3.6 and abs(growth[-10:].mean() - GROWTH) < 0.06
    assert made("co2", "annual_table", record(2, "2015-12-31")).values[[0, -1]].tolist() == [399.7, 403.1]
    assert made("co2", "annual_table", record(2, "2030-01-01")).remarks == ("years after 2024 are extrapolated",)


def test_pressure_of_the_standard_atmosphere():
    assert pressure(0.0) == 101.3
    assert pressure(1800.0) == pytest.approx(81.8, abs=0.05)  # the example of the source
    assert np.unique(made("pressure", "elevation", record(1)).values).tolist() == [pressure(400.0)]


@pytest.mark.parametrize("period", [365.0, 30.0, 1.0])
@pytest.mark.parametrize(("days", "amplitude", "lag"), [(12.0, 1.0, 0.0), (3.0, 0.7, 1.5)])
def test_a_sine_is_damped_and_delayed_as_the_filter_says(period, days, amplitude, lag):
    step, w = 1.0 / 48.0, 2 * np.pi / period
    t = (np.arange(round(6 * max(period, 40.0) * 48)) + 0.5) * step
    soil = damped_temperature(10.0 + 8.0 * np.sin(w * t), step, days=days, amplitude=amplitude, lag=lag)
    expected_amplitude = 8.0 * amplitude / np.hypot(1.0, w * days)
    expected = expected_amplitude * np.sin(w * (t - lag) - np.arctan(w * days))
    settled = t > 4 * max(period, 40.0)
    np.testing.assert_allclose(soil[settled] - 10.0, expected[settled], atol=2e-3 * expected_amplitude)


def test_the_filter_stays_at_a_constant_and_passes_gaps():
    air = np.full(2000, 7.0)
    air[100:300] = np.nan
    np.testing.assert_allclose(damped_temperature(air, 1 / 48), 7.0, rtol=1e-14)
    rising = damped_temperature(np.r_[np.full(1440, 0.0), np.full(1, np.nan), np.full(600, 10.0)], 1 / 48)
    assert rising[1440] == rising[1439] == 0.0 and (np.diff(rising[1441:]) > 0).all() and rising[-1] < 10.0


@pytest.mark.parametrize(
    ("variable", "method", "data", "message"),
    [
        ("friction_velocity", "log_profile", record(1, site=None), "needs the site: give site="),
        ("friction_velocity", "log_profile", record(1, wind_speed=np.full(48, np.nan)), "needs wind_speed, which"),
        ("pressure", "elevation", record(1, site=SITE.model_copy(update={"elevation": None})), "give elevation .m."),
        ("soil_temperature", "damped", record(1, air_temperature=np.full(48, np.nan)), "needs air_temperature"),
        ("soil_water_content", "bucket", record(1)._replace(precipitation=None), "needs precipitation, which"),
        ("soil_water_content", "bucket", record(1, site=None), "needs the site"),
    ],
)  # fmt: skip
def test_what_cannot_be_made_says_what_it_needs(variable, method, data, message):
    with pytest.raises(StandInError, match=message):
        made(variable, method, data)
