"""Clear and cloudy sky for invented weather, in NumPy: independent of the equations that the canopy model uses."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ..io.arrays import Numbers


def clear_sky_shortwave(sine: ArrayLike) -> Numbers:
    """Global radiation under a clear sky, W m-2: `1098 s exp(-0.057 / s)` [Haurwitz1945]; 0 below the horizon."""
    up = np.maximum(np.asarray(sine), 1e-6)
    return np.where(np.asarray(sine) > 1e-6, 1098.0 * up * np.exp(-0.057 / up), 0.0)


def cloud_transmission(cloud: ArrayLike) -> Numbers:
    """Share of clear-sky radiation that passes a cloud cover of 0..1: `1 - 0.75 c**3.4` [Kasten1980]."""
    return 1.0 - 0.75 * np.asarray(cloud) ** 3.4


def sky_longwave(air_temperature: ArrayLike, vapour_pressure: ArrayLike, cloud: ArrayLike) -> Numbers:
    """Incoming long-wave radiation, W m-2: clear-sky emissivity `1.24 (e/T)**(1/7)` [Brutsaert1975], raised by cloud.

    Args:
        air_temperature: degC.
        vapour_pressure: kPa.
        cloud: 0..1; adds 22 % of the emissivity under overcast, up to 1.
    """
    kelvin = np.asarray(air_temperature) + 273.15
    clear = 1.24 * (10.0 * np.asarray(vapour_pressure) / kelvin) ** (1.0 / 7.0)
    return np.minimum(clear * (1.0 + 0.22 * np.asarray(cloud) ** 2.75), 1.0) * 5.670374419e-8 * kelvin**4
