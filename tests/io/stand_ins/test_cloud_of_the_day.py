"""Long-wave from the sky: limits that can be written down, and clouds that last through the night."""

import numpy as np
import pandas as pd
import pytest

from canveg_jax.io.stand_ins import STAND_INS, StandInError, choose
from canveg_jax.io.stand_ins.cloud_of_the_day import (
    CLEAR_TRANSMISSION,
    clear_sky_emissivity,
    clearness_of_the_day,
    longwave,
)
from canveg_jax.io.sun import sine_of_elevation
from canveg_jax.io.timestamps import middle_of_interval
from canveg_jax.physics.constants import SOLAR_CONSTANT, STEFAN_BOLTZMANN
from tests.io.stand_ins.records import HALF_HOUR, SITE, record

STAND_IN = STAND_INS["longwave_in"]["cloud_of_the_day"]


def sun(start):
    return sine_of_elevation(*middle_of_interval(start, HALF_HOUR), SITE)


def sky(days, share):
    """Stamps, and the short-wave of days with a share of that of a clear sky each."""
    start = pd.date_range("2019-06-01", periods=48 * days, freq="30min")
    clear = CLEAR_TRANSMISSION * SOLAR_CONSTANT * np.maximum(sun(start), 0.0)
    return start, clear * np.repeat(share, 48)


def test_a_dry_sky_has_the_emissivity_of_its_carbon_dioxide():
    """Without water `1 - exp(-sqrt(1.2))`; with 20 cm of it next to black."""
    assert clear_sky_emissivity(np.array([285.0]), np.array([0.0]))[0] == pytest.approx(1.0 - np.exp(-np.sqrt(1.2)))
    assert 0.99 < clear_sky_emissivity(np.array([300.0]), np.array([20.0 * 300.0 / 46.5]))[0] < 1.0
    by_hand = 1.0 - (1.0 + 46.5 * 12.0 / 290.0) * np.exp(-np.sqrt(1.2 + 3.0 * 46.5 * 12.0 / 290.0))
    assert clear_sky_emissivity(np.array([290.0]), np.array([12.0]))[0] == pytest.approx(by_hand, rel=1e-14)


def test_overcast_is_black_and_clear_is_not():
    black = STEFAN_BOLTZMANN * 283.15**4
    assert longwave(np.array([10.0]), np.array([0.8]), np.array([0.0]))[0] == pytest.approx(black, rel=1e-12)
    clear = longwave(np.array([10.0]), np.array([0.8]), np.array([1.0]))[0]
    assert clear == pytest.approx(black * clear_sky_emissivity(np.array([283.15]), np.array([8.0]))[0], rel=1e-12)
    half = longwave(np.array([10.0]), np.array([0.8]), np.array([0.5]))[0]
    assert half == pytest.approx((black + clear) / 2.0, rel=1e-12)


def test_the_night_has_the_clouds_of_the_days_about_it():
    start, shortwave = sky(6, [1.0, 1.0, 0.3, 0.3, 0.3, 0.3])
    clearness = clearness_of_the_day(start, shortwave, sun(start))
    midnight = np.flatnonzero((start.hour == 0) & (start.minute == 0))
    expected = [1.0, 1.0, 0.65, 0.3, 0.3, 0.3]  # the second night is between a clear and a cloudy day
    np.testing.assert_allclose(clearness[midnight], expected, atol=0.01)
    noon = midnight + 24
    np.testing.assert_allclose(clearness[noon], [1.0, 1.0, 0.3, 0.3, 0.3, 0.3], atol=0.03)


def test_brighter_than_clear_and_darker_than_dark_are_cut():
    start, shortwave = sky(2, [1.4, 0.0])
    clearness = clearness_of_the_day(start, shortwave, sun(start), hours=6.0)
    lit = np.isfinite(clearness)
    assert clearness[lit].max() == 1.0 and clearness[lit].min() == 0.05
    assert not lit.all() and lit[24]  # six hours about midnight see no sun


def test_gaps_have_no_say_and_a_dark_record_has_none():
    start, shortwave = sky(3, [0.6, 0.6, 0.6])
    shortwave[np.arange(len(shortwave)) % 3 == 0] = np.nan
    np.testing.assert_allclose(clearness_of_the_day(start, shortwave, sun(start)), 0.6, rtol=1e-9)
    assert np.isnan(clearness_of_the_day(start, shortwave, np.full(len(start), -0.2))).all()


def test_only_where_it_is_asked_for():
    """The sky model of the canopy is what one has otherwise."""
    assert "longwave_in" not in choose()
    chosen = choose({"longwave_in": "cloud_of_the_day"})["longwave_in"]
    made = STAND_IN.make(record(20), **chosen.parameters)
    assert np.isfinite(made.values).all() and 150.0 < made.values.min() < made.values.max() < 450.0
    with pytest.raises(StandInError, match="needs the site"):
        STAND_IN.make(record(2, site=None), hours=24.0)
