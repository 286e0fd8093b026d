"""Units at the edge: conversions, and the refusal of magnitudes that only a wrong unit explains."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .arrays import Series
from .humidity import saturation_vapour_pressure_kpa
from .tower_dataset import Column, TowerFileError

LARGEST_TYPICAL = {
    "pressure": (200.0, "kPa", "hPa (or Pa)"),
    "air_temperature": (150.0, "degC", "K"),
    "soil_temperature": (150.0, "degC", "K"),
    "soil_water_content": (1.0, "m3 m-3", "percent"),
}
"""Variable -> median above which the unit must be wrong, expected unit, likely unit."""

LARGEST_SATURATION = 2.0
"""Median of vapour pressure / saturation vapour pressure above which vapour pressure is not in kPa."""


def percent_to_fraction(percent: Column, what: str) -> Column:
    """Soil water from percent by volume to m3 m-3.

    Raises:
        TowerFileError: no value reaches 1 %, so that the column must hold fractions.
    """
    largest = float(np.max(percent.values, initial=0.0, where=np.isfinite(percent.values)))
    if 0.0 < largest < 1.0:
        raise TowerFileError(
            f"{what}: soil_water_content (column {percent.source}) never exceeds {largest:g}; expected percent by "
            "volume, this looks like a fraction (m3 m-3). Multiply the column by 100."
        )
    return percent._replace(values=percent.values / 100.0)


def check_units(forcing: Mapping[str, Column], what: str) -> None:
    """Refuse magnitudes that only a wrong unit explains; single outliers are left to the range check of `Forcing`.

    Raises:
        TowerFileError: the message names the column, its median, the expected unit and the likely unit.
    """
    for name, (largest, unit, likely) in LARGEST_TYPICAL.items():
        typical = _median(forcing[name].values) if name in forcing else 0.0
        if typical > largest:
            _refuse(what, name, forcing[name].source, typical, unit, likely)
    if not {"vapour_pressure", "air_temperature"} <= forcing.keys():
        return
    vapour = forcing["vapour_pressure"]
    saturation = saturation_vapour_pressure_kpa(forcing["air_temperature"].values)
    if _median(vapour.values / saturation) > LARGEST_SATURATION:
        _refuse(what, "vapour_pressure", vapour.source, _median(vapour.values), "kPa", "hPa (or Pa)")


def _median(values: Series) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else 0.0


def _refuse(what: str, name: str, source: str, typical: float, unit: str, likely: str) -> None:
    raise TowerFileError(
        f"{what}: {name} (column {source}) has the median {typical:g}; expected {unit}, this looks like {likely}. "
        f"Convert the column to {unit}."
    )
