"""Time stamps: parsing, the step, the middle of the interval over midnight and new year."""

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given

from canveg_jax.io.timestamps import check_step, middle_of_interval, parse_stamps, stamps_from_day_and_hour

HALF_HOUR = pd.Timedelta(minutes=30)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("201812312330", "2018-12-31 23:30"),
        ("201901010000", "2019-01-01 00:00"),
        ("2019-01-01 00:30:00", "2019-01-01 00:30"),
        ("2019-01-01T00:30", "2019-01-01 00:30"),
        (" 201901010000 ", "2019-01-01 00:00"),
    ],
)
def test_both_ways_of_writing_stamps(text, expected):
    assert parse_stamps(pd.Series([text]), "file.csv")[0] == pd.Timestamp(expected)


def test_an_unreadable_stamp_is_named_with_its_row():
    with pytest.raises(
        ValueError, match=r"file.csv: row 1 has the time stamp '31/12/2018 0:00'; expected YYYYMMDDHHMM"
    ):
        parse_stamps(pd.Series(["201812310000", "31/12/2018 0:00"]), "file.csv")


@pytest.mark.parametrize(
    ("end", "day", "hour"),
    [
        ("2019-01-01 00:00", 365, 23.75),  # belongs to the old year
        ("2017-01-01 00:00", 366, 23.75),  # ... and the old year was a leap year
        ("2019-01-01 00:30", 1, 0.25),
        ("2020-03-01 00:00", 60, 23.75),  # 29 February
        ("2019-07-02 12:00", 183, 11.75),
    ],
)
def test_day_and_hour_are_those_of_the_middle(end, day, hour):
    start = pd.DatetimeIndex([pd.Timestamp(end) - HALF_HOUR])
    days, hours = middle_of_interval(start, HALF_HOUR)
    assert (days[0], hours[0]) == (day, hour)


def test_hourly_middle():
    days, hours = middle_of_interval(pd.DatetimeIndex(["2018-12-31 23:00", "2019-01-01 00:00"]), pd.Timedelta(hours=1))
    np.testing.assert_array_equal(days, [365, 1])
    np.testing.assert_array_equal(hours, [23.5, 0.5])


@given(st.datetimes(pd.Timestamp("1990-01-01").to_pydatetime(), pd.Timestamp("2060-01-01").to_pydatetime()))
def test_stamp_from_day_and_hour_inverts_the_calendar(moment):
    stamp = pd.Timestamp(moment).floor("30min")
    hour = stamp.hour + stamp.minute / 60
    assert stamps_from_day_and_hour([stamp.year], [stamp.day_of_year], [hour])[0] == stamp


def test_hour_24_is_midnight_of_the_next_day():
    assert stamps_from_day_and_hour([2018], [365], [24.0])[0] == pd.Timestamp("2019-01-01")


def stamps(count=6, freq="30min"):
    return pd.date_range("2019-03-30 23:00", periods=count, freq=freq)


def test_the_step_is_inferred():
    assert check_step(stamps(), "f") == HALF_HOUR
    assert check_step(stamps(freq="60min"), "f") == pd.Timedelta(hours=1)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (stamps(1), "1 row.*at least two"),
        (stamps().insert(3, stamps()[2]), r"2019-03-31 00:00:00 is there twice \(again in row 3; 1 duplicate"),
        (
            stamps().delete(2),
            r"row 2 comes 0 days 01:00:00 after 2019-03-30 23:30:00, other rows 0 days 00:30:00.*Insert",
        ),
        (stamps()[[0, 2, 1, 3]], r"row 2 \(2019-03-30 23:30:00\) is earlier than the row before it. Sort"),
        (stamps(freq="1D"), "the time step is 1 days 00:00:00; expected 30 or 60 minutes"),
        (stamps(freq="10min"), "expected 30 or 60 minutes"),
    ],
)
def test_stamps_that_are_not_a_regular_series_are_refused(index, message):
    with pytest.raises(ValueError, match=message):
        check_step(index, "f")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("201812312400", "2019-01-01 00:00"),  # midnight as the end of the old day
        ("20190101003000", "2019-01-01 00:30"),
        ("2.01901010030e+11", "2019-01-01 00:30"),
        ("201901010030.0", "2019-01-01 00:30"),
        ("2019-01-01T00:30Z", "2018-12-31 16:30"),
        ("2019-07-01T00:30:00-07:00", "2019-06-30 23:30"),  # daylight saving time becomes standard time
    ],
)
def test_other_ways_of_writing_stamps(text, expected):
    assert parse_stamps(pd.Series([text]), "file.csv", -8.0)[0] == pd.Timestamp(expected)


def test_a_zone_without_a_known_offset_is_refused_with_the_remedy():
    with pytest.raises(
        ValueError, match=r"row 1 has the time stamp '2019-01-01T00:30\+01:00' with a time zone; .* Give the site"
    ):
        parse_stamps(pd.Series(["201901010000", "2019-01-01T00:30+01:00"]), "file.csv")


@pytest.mark.parametrize(
    "text", ["2.019010e+11", "201902300000", "-9999", "201913010000", "2019-01-32 00:00", "20190101 0030", ""]
)
def test_stamps_that_cannot_be_read(text):
    with pytest.raises(ValueError, match="file.csv: row 1 has the time stamp"):
        parse_stamps(pd.Series(["201901010000", text, "201901010100"]), "file.csv")


def test_a_day_of_the_year_with_decimals(tmp_path):
    from canveg_jax.io import read_tower
    from tests.io.formats.test_prepared import forcing_frame

    frame = forcing_frame().drop(columns="TIMESTAMP_END")
    path = tmp_path / "forcings.csv"
    frame.to_csv(path, index=False)
    expected = read_tower(path)["time"]
    frame.assign(DoY=frame["DoY"] + frame["Hour"] / 24.0).to_csv(path, index=False)
    np.testing.assert_array_equal(read_tower(path)["time"], expected)
    frame.assign(DoY=frame["DoY"] + 0.3).to_csv(path, index=False)
    with pytest.raises(ValueError, match="the decimals of the day are not that hour. Give DoY as whole days"):
        read_tower(path)
