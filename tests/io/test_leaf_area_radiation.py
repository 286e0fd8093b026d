"""Leaf area from reflected light, of an invented record whose leaf area is known."""

import warnings

import numpy as np
import pandas as pd
import pytest

from canveg_jax import Site
from canveg_jax.io import TowerDataWarning, TowerFileError, read_tower
from canveg_jax.io.leaf_area_radiation import (
    Reflected,
    estimate,
    leaf_area_of_index,
    over_gaps,
    radiation_options,
    vegetation_index,
)
from canveg_jax.io.sun import sine_of_elevation
from canveg_jax.synthetic.solar import clear_sky_shortwave
from tests.io.formats.test_fluxnet import frame

SITE = Site(
    name="XX-Fak", latitude=20.0, longitude=8.0, utc_offset=1, elevation=0.0, canopy_height=0.5, measurement_height=4.0
)
STEP = pd.Timedelta(minutes=30)
LOW, HIGH = 0.1, 0.8


def index_of(lai):
    return LOW + (HIGH - LOW) * (1.0 - np.exp(-0.5 * lai))


def invented(days=365, site=SITE, largest=6.0):
    """Start of the half-hours, leaf area of each, and the light that leaves of this area reflect under a clear sky."""
    start = pd.date_range("2019-01-01", periods=48 * days, freq=STEP)
    middle = start + STEP / 2
    hour = middle.hour.to_numpy() + middle.minute.to_numpy() / 60.0
    day = middle.day_of_year.to_numpy(float)
    lai = 0.1 + 0.5 * (largest - 0.1) * (1.0 - np.cos(2 * np.pi * (day + hour / 24 - 1) / 365.0))
    shortwave = clear_sky_shortwave(sine_of_elevation(day, hour, site))
    index, visible = index_of(lai), 0.06 - 0.004 * lai
    infrared = visible * (1.0 + index) / (1.0 - index)
    photons = 2.1 * shortwave
    light = Reflected(
        photon_flux_in=photons, photon_flux_out=visible * photons, shortwave_in=shortwave,
        shortwave_out=0.5 * (visible + infrared) * shortwave,
    )  # fmt: skip
    return start, lai, light


def test_the_index_and_its_leaf_area_by_hand():
    """Reflectances of 0.05 (visible) and 0.2 (short-wave), so 0.35 in the near infrared: index 0.3 / 0.4."""
    light = Reflected(*(np.array([x]) for x in (1000.0, 50.0, 500.0, 100.0)))
    np.testing.assert_allclose(vegetation_index(light), [0.75])
    np.testing.assert_allclose(
        leaf_area_of_index(np.array([0.45, -1.0, 2.0]), 0.1, 0.8), -2 * np.log([0.5, 0.99, 0.01])
    )
    assert np.isnan(vegetation_index(Reflected(*(np.array([x]) for x in (1000.0, 1100.0, 500.0, 100.0)))))


def test_the_known_leaf_area_is_found_again():
    start, lai, light = invented()
    made = estimate(light, start, STEP, SITE, low=LOW, high=HIGH)
    daily = lai.reshape(-1, 48)[:, 24]
    assert (made.days_with_data, made.days_interpolated, made.days_missing) == (365, 0, 0)
    np.testing.assert_allclose(made.lai, daily, atol=0.02)
    doubled = estimate(light, start, STEP, SITE, low=LOW, high=HIGH, scale=2.0)
    np.testing.assert_allclose(doubled.lai, 2 * made.lai)
    own = estimate(
        light, start, STEP, SITE
    )  # bare and full from the record itself: the order is right, the top is not known
    assert (own.low, own.high) == pytest.approx((index_of(0.1), index_of(6.0)), abs=0.02)
    assert np.corrcoef(own.lai, daily)[0, 1] > 0.9


def test_noise_clouds_and_gaps():
    start, lai, light = invented()
    rng = np.random.default_rng(1)
    clouds = 0.3 + 0.7 * np.repeat(rng.random(365), 48)
    cloudy = [values * clouds for values in light]
    noisy = [values * (1.0 + 0.03 * rng.standard_normal(len(start))) for values in cloudy]
    noisy[1][48 * 50 : 48 * 60] = np.nan
    noisy[3][48 * 200 : 48 * 240] = np.nan
    made = estimate(Reflected(*noisy), start, STEP, SITE, low=LOW, high=HIGH)
    assert (made.days_with_data, made.days_interpolated, made.days_missing) == (315, 10, 40)
    known = np.isfinite(made.lai)
    assert np.flatnonzero(~known).tolist() == list(range(200, 240))
    error = made.lai[known] - lai.reshape(-1, 48)[known, 24]
    assert abs(error.mean()) < 0.1 and error.std() < 0.4


def test_over_gaps():
    days = np.full(100, np.nan)
    days[[35, 66]], days[98] = [1.0, 32.0], 5.0
    drawn = over_gaps(days)
    assert np.isnan(drawn[:5]).all() and (drawn[5:35] == 1.0).all() and (drawn[99:] == 5.0).all()
    np.testing.assert_allclose(drawn[35:67], np.arange(1.0, 33.0))
    assert np.isnan(drawn[67:98]).all()  # 31 days


def test_only_the_high_sun_of_noon_counts():
    start, _, light = invented(days=60)
    hour = (start + STEP / 2).hour.to_numpy()
    wild = [np.where((hour < 9) | (hour > 15), 1e3 * rank, values) for rank, values in enumerate(light, 1)]
    expected = estimate(light, start, STEP, SITE, low=LOW, high=HIGH)
    np.testing.assert_array_equal(estimate(Reflected(*wild), start, STEP, SITE, low=LOW, high=HIGH).lai, expected.lai)
    north = SITE.model_copy(update={"latitude": 60.0})
    with pytest.raises(TowerFileError, match="sun above 30 degrees"):
        estimate(light, start, STEP, north)


def tower_frame(days=40):
    start, lai, light = invented(days)
    data = frame(rows=48 * days, start="2019-01-01 00:00")
    columns = {
        "PPFD_IN": light.photon_flux_in, "PPFD_OUT_1_1_1": -9999.0, "PPFD_OUT_1_2_1": light.photon_flux_out,
        "SW_OUT": light.shortwave_out, "SW_IN_F": light.shortwave_in, "USTAR": 0.1 * data["WS_F"],
    }  # fmt: skip
    return data.assign(**columns), lai


def test_of_a_file(tmp_path):
    data, lai = tower_frame()
    path = tmp_path / "FLX_XX-Fak.csv"
    data.to_csv(path, index=False)
    wanted = {"radiation": {"low": LOW, "high": HIGH}}
    with pytest.warns(
        TowerDataWarning, match="lai is an estimate from reflected light, .* 40 days with data, 0 interpolated"
    ):
        tower = read_tower(path, site=SITE, lai=wanted)
    np.testing.assert_allclose(tower["lai"], lai, atol=0.1)
    assert tower["lai"].attrs["source_column"] == "radiation (PPFD_IN, PPFD_OUT_1_2_1, SW_IN_F, SW_OUT)"
    assert tower["lai"].attrs["days_with_data"] == 40 and tower["forcing_complete"].all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.isfinite(read_tower(path, site=SITE, lai="radiation")["lai"]).all()
    with pytest.raises(TowerFileError, match="needs the site, to know where the sun is"):
        read_tower(path, lai="radiation")
    data.drop(columns=["SW_OUT", "PPFD_OUT_1_1_1", "PPFD_OUT_1_2_1"]).to_csv(path, index=False)
    with pytest.raises(TowerFileError, match="the file has none of PPFD_OUT, SW_OUT. Give lai=<number>"):
        read_tower(path, site=SITE, lai="radiation")


@pytest.mark.parametrize(
    ("lai", "message"),
    [
        (
            {"radiation": {"lo": 0.1}},
            "unknown option of radiation 'lo'; there are low, high, scale. Did you mean 'low'",
        ),
        ({"radiation": {"low": "0.1"}}, "low must be a number; got '0.1'"),
        ({"radiation": {}, "modis": {}}, "expected a number, a column, `radiation` or"),
    ],
)
def test_options_that_cannot_be(lai, message):
    with pytest.raises(TowerFileError, match=message):
        radiation_options(lai)


def test_what_asks_for_no_radiation():
    assert radiation_options(None) is radiation_options(2.0) is radiation_options("LAI") is None
    assert radiation_options("radiation") == radiation_options({"radiation": None}) == {}
    start, _, light = invented(days=30, largest=0.1)
    with pytest.raises(TowerFileError, match="index of this record does not vary enough"):
        estimate(light, start, STEP, SITE)
