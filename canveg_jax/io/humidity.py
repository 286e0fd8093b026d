"""Vapour pressure from what towers report: vapour pressure deficit, relative humidity or mole fraction (NumPy)."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from ..physics.saturation import saturation_vapour_pressure_hpa
from .arrays import Numbers, Series

LOWEST_VAPOUR_PRESSURE = 0.001
"""kPa; a vapour pressure computed from a deficit is not allowed below (the lower end of the forcing's range)."""


def saturation_vapour_pressure_kpa(air_temperature: ArrayLike) -> Numbers:
    """Saturation vapour pressure of the model, kPa, of a temperature in degC (both of any shape), in NumPy."""
    kelvin = np.asarray(air_temperature, dtype=np.float64) + 273.15
    return 0.1 * saturation_vapour_pressure_hpa(kelvin, exp=np.exp, log=np.log)


def oneflux_saturation_vapour_pressure(air_temperature: ArrayLike) -> Numbers:
    """Saturation vapour pressure of the ONEFlux processing [Pastorello2020], kPa, of a temperature in degC.

    `0.611 exp(17.26938818 T / (237.3 + T))`. Deficits in FLUXNET files were made with it, so only its inverse returns
    the vapour pressure that the tower measured.
    """
    temperature = np.asarray(air_temperature, dtype=np.float64)
    return 0.611 * np.exp(17.26938818 * temperature / (237.3 + temperature))


def floored(vapour_pressure: Series) -> tuple[Series, int]:
    """Raise vapour pressure (kPa) to `LOWEST_VAPOUR_PRESSURE`; also how many samples that touched. NaN stays NaN."""
    low = vapour_pressure < LOWEST_VAPOUR_PRESSURE
    return np.where(low, LOWEST_VAPOUR_PRESSURE, vapour_pressure), int(low.sum())


def from_deficit(air_temperature: Series, deficit_hpa: Series) -> tuple[Series, int]:
    """Vapour pressure (kPa) from air temperature (degC) and deficit (hPa), and the number of floored samples."""
    return floored(oneflux_saturation_vapour_pressure(air_temperature) - deficit_hpa / 10.0)


def from_relative_humidity(air_temperature: Series, relative_humidity: Series) -> tuple[Series, int]:
    """Vapour pressure (kPa) from air temperature (degC) and relative humidity (%), with the model's saturation formula.

    With that formula 100 % means a deficit of zero in the model. Also the number of floored samples.
    """
    return floored(saturation_vapour_pressure_kpa(air_temperature) * relative_humidity / 100.0)


def from_mole_fraction(mole_fraction: Series, pressure: Series) -> tuple[Series, int]:
    """Vapour pressure (kPa) from the wet mole fraction of water (mmol mol-1) and pressure (kPa); floored samples."""
    return floored(mole_fraction * pressure / 1000.0)


def vapour_pressure_deficit(tower: xr.Dataset) -> xr.DataArray:
    """Vapour pressure deficit (kPa, not below 0) of a dataset made by `read_tower`; saturation as in the model."""
    saturation = saturation_vapour_pressure_kpa(tower["air_temperature"].values)
    deficit = np.maximum(saturation - tower["vapour_pressure"].values, 0.0)
    return tower["air_temperature"].copy(data=deficit).assign_attrs(
        units="kPa", long_name="vapour pressure deficit of the air",
        standard_name="water_vapor_saturation_deficit_in_air",
    ).rename("vapour_pressure_deficit")  # fmt: skip
