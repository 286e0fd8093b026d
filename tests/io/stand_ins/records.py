"""Invented records that stand-ins are made of."""

import numpy as np
import pandas as pd

from canveg_jax import Site
from canveg_jax.io.stand_ins import Record

SITE = Site(
    name="XX-Fak",
    latitude=47.0,
    longitude=8.0,
    utc_offset=1,
    elevation=400.0,
    canopy_height=2.0,
    measurement_height=10.0,
)
HALF_HOUR = pd.Timedelta(minutes=30)


def record(days=400, start="2018-03-01", site: Site | None = SITE, seed=3, **columns) -> Record:
    """Mid-latitude weather: sinusoidal year and day, showers on every third day on average."""
    index = pd.date_range(start, periods=48 * days, freq="30min")
    rng = np.random.default_rng(seed)
    day = (index.day_of_year + (index.hour + 0.5 * (index.minute > 0) + 0.25) / 24.0).to_numpy(float)
    year, hour = 2 * np.pi * (day - 105.0) / 365.0, 2 * np.pi * (day % 1.0 - 0.25)
    temperature = 8.0 + 11.0 * np.sin(year) + 4.0 * np.sin(hour)
    forcing = {
        "air_temperature": temperature,
        "shortwave_in": np.maximum(0.0, np.sin(hour)) * (400.0 + 300.0 * np.sin(year)),
        "vapour_pressure": 0.6 * 0.6108 * np.exp(17.27 * temperature / (temperature + 237.3)),
        "wind_speed": 1.0 + rng.random(len(index)),
        "pressure": np.full(len(index), 96.0),
    }
    rain = np.where(rng.random(len(index)) < 0.02, rng.exponential(2.0, len(index)), 0.0)
    return Record(
        start=index, step=HALF_HOUR, forcing={**forcing, **columns}, precipitation=rain, net_radiation=None, site=site
    )  # fmt: skip
