"""Potential evaporation of a day, from radiation and temperature (NumPy)."""

from __future__ import annotations

import numpy as np

from ...physics.constants import STEFAN_BOLTZMANN, ZERO_CELSIUS
from ..arrays import Numbers, Series

ALBEDO = 0.23
ADVECTION = 1.26
"""Factor of Priestley and Taylor."""

SOLAR_CONSTANT_MJ = 0.0820
"""MJ m-2 min-1 [Allen1998]."""

MEGAJOULES_A_DAY = 0.0864
"""MJ m-2 d-1 per W m-2."""


def extraterrestrial_radiation(day_of_year: Series, latitude: float) -> Numbers:
    """Radiation above the atmosphere, daily mean, W m-2: eq. 21 to 25 of [Allen1998].

    Args:
        day_of_year: `[day]`.
        latitude: degrees north.
    """
    angle = 2.0 * np.pi * np.asarray(day_of_year) / 365.0
    distance = 1.0 + 0.033 * np.cos(angle)
    declination = 0.409 * np.sin(angle - 1.39)
    phi = np.radians(latitude)
    sunset = np.arccos(np.clip(-np.tan(phi) * np.tan(declination), -1.0, 1.0))
    daily = (24.0 * 60.0 / np.pi) * SOLAR_CONSTANT_MJ * distance * (
        sunset * np.sin(phi) * np.sin(declination) + np.cos(phi) * np.cos(declination) * np.sin(sunset)
    )  # fmt: skip
    return np.maximum(daily, 0.0) / MEGAJOULES_A_DAY


def net_radiation(
    shortwave_in: Series, air_temperature: Series, vapour_pressure: Series, extraterrestrial: Series, elevation: float
) -> Numbers:
    """Net radiation of a grass, daily mean, W m-2, from what is always measured: eq. 37 to 40 of [Allen1998].

    `(1 - 0.23) S - sigma T**4 (0.34 - 0.14 sqrt(e)) (1.35 S / S0 - 0.35)`, `S0 = (0.75 + 2e-5 z) Sa` under a clear sky, with
    `S / S0` within 0.25 .. 1.

    Args:
        shortwave_in: `S`, `[day]`, daily mean, W m-2.
        air_temperature: `T`, degC.
        vapour_pressure: `e`, kPa.
        extraterrestrial: `Sa`, W m-2.
        elevation: `z`, m.
    """
    clear = np.maximum((0.75 + 2e-5 * elevation) * extraterrestrial, 1e-6)
    relative = np.clip(shortwave_in / clear, 0.25, 1.0)
    emitted = STEFAN_BOLTZMANN * (air_temperature + ZERO_CELSIUS) ** 4
    outgoing = emitted * (0.34 - 0.14 * np.sqrt(vapour_pressure)) * (1.35 * relative - 0.35)
    return (1.0 - ALBEDO) * shortwave_in - outgoing


def potential_evaporation(available: Series, air_temperature: Series, pressure: float) -> Numbers:
    """Potential evaporation, mm a day, of a wet surface without advection [Priestley1972].

    `1.26 s / (s + g) R / L`, the slope `s` of the saturation curve, the psychrometric constant `g = 0.000665 p` and `L` =
    2.45 MJ kg-1 as in [Allen1998]; not below zero.

    Args:
        available: `R`, `[day]`, net radiation less ground heat, daily mean, W m-2.
        air_temperature: `[day]`, degC.
        pressure: `p`, kPa.
    """
    saturation = 0.6108 * np.exp(17.27 * air_temperature / (air_temperature + 237.3))
    slope = 4098.0 * saturation / (air_temperature + 237.3) ** 2
    rate = ADVECTION * slope / (slope + 0.000665 * pressure) * available * MEGAJOULES_A_DAY / 2.45
    return np.maximum(rate, 0.0)
