"""Clock and place of a file, judged by its shortwave."""

import numpy as np
import pandas as pd
import pytest

from canveg_jax import Site
from canveg_jax.io import TowerDataWarning, TowerFileError, read_tower
from canveg_jax.io.clock import check_clock, clock_of
from canveg_jax.io.sun import Place, sine_of_elevation
from canveg_jax.io.time_zone import standard_offset
from canveg_jax.io.timestamps import middle_of_interval
from tests.io import lookalikes
from tests.io.lookalikes import weather

STEP = pd.Timedelta(minutes=30)
HELSINKI = (60.0, 24.0, 2.0)


def site(**changes):
    constants = dict(name="X", latitude=60.0, longitude=24.0, utc_offset=2.0, canopy_height=1.0, measurement_height=5.0)
    return Site(**{**constants, **changes})


@pytest.fixture(scope="module")
def north():
    return weather(10, place=HELSINKI)


@pytest.fixture
def path(tmp_path, north):
    file = tmp_path / "tower.csv"
    file.write_text(lookalikes.fluxnet(north))
    return file


def test_a_right_clock_says_nothing(path):
    read_tower(path, lai=2.0, site=site())
    read_tower(path, lai=2.0)  # and without a site there is nothing to compare with


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"utc_offset": 0.0}, "2.0 h later than the sun at .*utc_offset 0. utc_offset = 2 would fit"),
        ({"utc_offset": -2.0}, "4.0 h later .* utc_offset = 2 would fit"),
        ({"longitude": -24.0}, r"3.2 h earlier .* utc_offset = -1 would fit, or longitude = 24 \(degrees east\)"),
    ],
)
def test_a_wrong_offset_or_longitude_is_refused_with_the_one_that_fits(path, changes, message):
    with pytest.raises(TowerFileError, match=message):
        read_tower(path, lai=2.0, site=site(**changes))


def test_stamps_in_utc_are_named(tmp_path, north):
    utc = north.copy()
    utc.index = pd.DatetimeIndex(north.index) - pd.Timedelta(hours=2)
    file = tmp_path / "utc.csv"
    file.write_text(lookalikes.fluxnet(utc))
    with pytest.raises(TowerFileError, match="2.0 h earlier .* utc_offset = 0 would fit: the stamps are in UTC"):
        read_tower(file, lai=2.0, site=site())


def test_an_hour_off_is_a_warning(path):
    with pytest.warns(TowerDataWarning, match="1.0 h later than the sun at .* utc_offset = 2 would fit"):
        read_tower(path, lai=2.0, site=site(utc_offset=1.0))


def test_the_wrong_hemisphere_shows_at_night(path):
    with pytest.warns(
        TowerDataWarning, match="the days are as long as at latitude 60, not at latitude -60.*sign of the latitude"
    ):
        read_tower(path, lai=2.0, site=site(latitude=-60.0))


def test_a_part_on_daylight_saving_time_is_found():
    data = weather(180, start="2019-02-01", place=HELSINKI)
    shortwave, start = data["SW"].to_numpy().copy(), pd.DatetimeIndex(data.index)
    assert check_clock(shortwave, start, STEP, Place(*HELSINKI), "t.csv") == []
    shortwave[90 * 48 : 150 * 48] = np.roll(shortwave[90 * 48 : 150 * 48], 2)
    (text,) = check_clock(shortwave, start, STEP, Place(*HELSINKI), "t.csv")
    assert "1.0 h later from 2019-05-02 to 2019-06-30. Was the clock on daylight saving time" in text


def test_too_little_or_no_sun_is_not_judged():
    data, place = weather(1), Place(38.1, 60.0, -8.0)
    start = pd.DatetimeIndex(data.index)
    assert clock_of(data["SW"].to_numpy(), start, STEP, place) is None
    noise = np.random.default_rng(3).uniform(0, 600, 960)
    assert check_clock(noise, pd.date_range("2019-01-01", periods=960, freq="30min"), STEP, place, "t.csv") == []
    assert clock_of(np.full(960, np.nan), pd.date_range("2019-01-01", periods=960, freq="30min"), STEP, place) is None


@pytest.mark.parametrize(
    ("zone", "offset"),
    [("America/Chicago", -6.0), ("Australia/Sydney", 10.0), ("UTC", 0.0), ("", None), ("Nowhere", None)],
)
def test_standard_time_of_a_zone(zone, offset):
    assert standard_offset(zone) == offset


def test_gaps_and_other_steps_do_not_hide_a_wrong_clock():
    """A tenth of the half-hours missing at random, so that no day is complete; the same as hours."""
    data, place = weather(20, place=HELSINKI), Place(*HELSINKI)
    shortwave, start = data["SW"].to_numpy().copy(), pd.DatetimeIndex(data.index)
    shortwave[np.random.default_rng(1).random(shortwave.size) < 0.1] = np.nan
    late = start + pd.Timedelta(hours=3)
    assert check_clock(shortwave, start, STEP, place, "t.csv") == []
    with pytest.raises(TowerFileError, match="3.0 h later than the sun .* utc_offset = 5 would fit"):
        check_clock(shortwave, late, STEP, place, "t.csv")
    hourly = shortwave.reshape(-1, 2).mean(axis=1)
    clock = clock_of(hourly, late[::2], pd.Timedelta(hours=1), place)
    assert clock is not None and clock.shift == pytest.approx(3.0, abs=0.05)


def test_offsets_beyond_twelve_hours_are_named_as_they_are_used():
    data, auckland = weather(10, place=(-37.0, 175.0, 13.0)), Place(-37.0, 175.0, 0.0)
    with pytest.raises(TowerFileError, match=r"utc_offset = 13 would fit"):
        check_clock(data["SW"].to_numpy(), pd.DatetimeIndex(data.index), STEP, auckland, "t.csv")


@pytest.mark.parametrize(("latitude", "start"), [(38.0, "2019-01-01"), (38.0, "2019-12-01"), (-25.0, "2019-05-01")])
@pytest.mark.parametrize("dull", [False, True])
def test_the_sign_of_the_latitude_is_told_by_the_length_of_days(latitude, start, dull):
    """In winter too, where none of the sun falls into the night; and in a monsoon, whose summers have less sun than winters."""
    days = 365 if start == "2019-01-01" else 60
    time = pd.date_range(start, periods=48 * days, freq="30min")
    rng = np.random.default_rng(0)
    day, hour = middle_of_interval(time, STEP)
    sky = np.repeat(rng.uniform(0.5, 1.0, days), 48) * rng.uniform(0.8, 1.0, len(time))
    sky *= np.where(dull & (np.abs(day - 196) < 91), 0.4, 1.0)
    sun = 1000.0 * sky * np.maximum(sine_of_elevation(day, hour, Place(latitude, 30.0, 2.0)), 0.0)
    assert check_clock(sun, time, STEP, Place(latitude, 30.0, 2.0), "X") == []
    (said,) = check_clock(sun, time, STEP, Place(-latitude, 30.0, 2.0), "X")
    assert f"as long as at latitude {latitude:g}, not at latitude {-latitude:g}. Correct the sign" in said
    with pytest.raises(TowerFileError, match=f"latitude {latitude:g}.*3.0 h later.*utc_offset = 2 would fit"):
        check_clock(sun, time, STEP, Place(-latitude, 30.0, -1.0), "X")


def test_near_the_equator_nothing_is_said_of_the_hemisphere():
    """Days are as long on both sides."""
    time = pd.date_range("2019-05-01", periods=48 * 60, freq="30min")
    day, hour = middle_of_interval(time, STEP)
    sky = np.repeat(np.random.default_rng(0).uniform(0.5, 1.0, 60), 48)
    sun = 1000.0 * sky * np.maximum(sine_of_elevation(day, hour, Place(3.0, 30.0, 2.0)), 0.0)
    for latitude in (3.0, -3.0):
        assert check_clock(sun, time, STEP, Place(latitude, 30.0, 2.0), "X") == []
