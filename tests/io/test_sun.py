"""The sun for the half-hours of a record."""

import numpy as np
import pandas as pd
import pvlib
import pytest

from canveg_jax import Site
from canveg_jax.io.sun import Place, sine_of_elevation
from canveg_jax.io.timestamps import middle_of_interval


def test_the_sun_agrees_with_an_almanac():
    time = pd.date_range("2020-01-01", "2020-12-31", freq="97min")
    day, hour = middle_of_interval(time, pd.Timedelta(0))
    for place in (Place(38.1, -121.5, -8.0), Place(-33.0, 150.0, 10.0), Place(68.0, 27.0, 2.0)):
        utc = time - pd.Timedelta(hours=place.utc_offset)
        almanac = pvlib.solarposition.get_solarposition(utc, place.latitude, place.longitude)
        expected = np.sin(np.radians(almanac["elevation"].to_numpy()))
        # 0.003 of the series, and half a day of the calendar, in which the declination changes by up to 0.0035
        np.testing.assert_allclose(sine_of_elevation(day, hour, place), expected, atol=0.0065)


def test_hours_beyond_midnight_are_those_of_the_next_day_and_a_site_is_a_place():
    hour = np.linspace(-12.0, 0.0, 25)
    place = Place(38.1, -121.5, -8.0)
    before = sine_of_elevation(np.full(25, 99.0), hour + 24.0, place)
    site = Site(name="X", canopy_height=1.0, measurement_height=5.0, **place._asdict())
    assert sine_of_elevation(np.full(25, 100.0), hour, site) == pytest.approx(before, abs=1e-12)
