"""Position of the sun: printed values, the published model, an astronomical library."""

import numpy as np
import pandas as pd
import pvlib
import pytest

from canveg_jax.physics.sun import sine_of_solar_elevation
from tests.physics.checks import derivative_error, precision_error, relative_error

BI1 = (38.0991538, -121.49933, -8)
WORKED = [(182, 12.5, 0.9632488498), (300, 7.5, 0.1772226894), (182, 23.0, -0.4480293847), (15, 16.5, 0.100787306)]
"""Day, hour, sine of elevation at US-Bi1 (published, with pi = 3.14159)."""


@pytest.mark.parametrize(("day", "hour", "sine"), WORKED)
def test_worked_values(published_pi, day, hour, sine):
    assert sine_of_solar_elevation(day, hour, *BI1) == pytest.approx(sine, rel=1e-9)


@pytest.mark.parametrize(("day", "hour", "sine"), WORKED)
def test_true_pi_moves_the_sun_by_less_than_a_second_of_arc(day, hour, sine):
    assert sine_of_solar_elevation(day, hour, *BI1) == pytest.approx(sine, abs=4.8e-6)


def test_as_published_but_for_pi_and_the_floor(published, published_pi):
    record = published("sun_angle")
    place = [record.given(n) for n in ("latitude", "longitude", "time_zone")]
    sine = np.asarray(sine_of_solar_elevation(record.given("day"), record.given("hhour"), *place))
    floored = np.where(np.abs(sine) > 0.01, sine, 0.01 * np.sign(sine))
    assert relative_error(floored, record.made("sin_beta")) < 1e-10


PLACES = [("Bouldin", *BI1), ("equator", 0.0, 10.0, 1), ("Canberra", -35.3, 149.1, 10), ("Tromso", 69.6, 18.9, 1)]


@pytest.mark.parametrize(("name", "latitude", "longitude", "offset"), PLACES)
@pytest.mark.parametrize("year", [2019, 2020])
def test_against_an_astronomical_library(name, latitude, longitude, offset, year):
    """The published single-cosine declination is up to 1.5 degrees off; with the true one put in its place, 0.3 degrees."""
    times = pd.date_range(f"{year}-01-01 00:20", f"{year}-12-31 23:50", freq="97min", tz=f"Etc/GMT{-offset:+d}")
    exact = pvlib.solarposition.get_solarposition(times, latitude, longitude)
    elevation, azimuth = np.radians(exact["elevation"].to_numpy()), np.radians(exact["azimuth"].to_numpy())
    day = times.day_of_year.to_numpy().astype(float)
    hour = (times.hour + times.minute / 60).to_numpy()
    model = np.asarray(sine_of_solar_elevation(day, hour, latitude, longitude, offset))
    assert np.degrees(np.abs(np.arcsin(model) - elevation)).max() < 1.5

    sine, cosine = np.sin(np.radians(latitude)), np.cos(np.radians(latitude))
    published = np.radians(-23.45) * np.cos(2 * np.pi * (day + 10) / 365)
    cos_hour_angle = (model - sine * np.sin(published)) / (cosine * np.cos(published))
    true = np.arcsin(sine * np.sin(elevation) + cosine * np.cos(elevation) * np.cos(azimuth))
    repaired = np.arcsin(sine * np.sin(true) + cosine * np.cos(true) * cos_hour_angle)
    assert np.degrees(np.abs(repaired - elevation)).max() < 0.3


def test_noon_is_highest_and_the_day_symmetric():
    hour = np.linspace(0.0, 24.0, 24 * 60 + 1)
    sine = np.asarray(sine_of_solar_elevation(100.0, hour, *BI1))
    noon = hour[np.argmax(sine)]
    shift = np.linspace(0.1, 6.0, 30)
    around = [np.asarray(sine_of_solar_elevation(100.0, noon + s * shift, *BI1)) for s in (-1, 1)]
    assert np.abs(around[0] - around[1]).max() < 5e-3
    assert np.abs(sine).max() <= 1


def test_the_whole_day_counts():
    assert sine_of_solar_elevation(182.9, 12.5, *BI1) == sine_of_solar_elevation(182, 12.5, *BI1)


def test_longitude_and_offset_only_shift_the_clock():
    a = sine_of_solar_elevation(80, 10.0, 40.0, 15.0, 1)
    assert sine_of_solar_elevation(80, 12.0, 40.0, 15.0, 3) == pytest.approx(float(a), abs=1e-14)
    assert sine_of_solar_elevation(80, 11.0, 40.0, 0.0, 1) == pytest.approx(float(a), abs=1e-14)


def test_derivatives_and_single_precision():
    def f(hour, latitude, longitude):
        return sine_of_solar_elevation(150.0, hour, latitude, longitude, -8.0)

    rng = np.random.default_rng(0)
    inputs = {
        "hour": rng.uniform(0, 24, 20),
        "latitude": rng.uniform(-80, 80, 20),
        "longitude": rng.uniform(-130, -110, 20),
    }
    assert max(derivative_error(f, inputs).values()) < 1e-6
    assert precision_error(f, *inputs.values()) < 1e-5
