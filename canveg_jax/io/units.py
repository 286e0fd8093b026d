"""Units at the edge: a column is judged by its distribution and by relations to others, converted and said, or refused.

A single spike decides nothing: quantiles do. What is converted carries the attribute `converted`, which `read_tower` makes a
warning.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .arrays import Series
from .humidity import oneflux_saturation_vapour_pressure, saturation_vapour_pressure_kpa
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

LARGEST_SHORTWAVE = 1361.0
"""W m-2, the sun outside the atmosphere [Kopp2011]; more than one half-hour in a hundred cannot be above."""

ENOUGH_TO_JUDGE = 480
"""Half-hours (ten days) that a judgement by the shape of a distribution needs."""

STEADIER = 0.35
"""So much steadier within a day must vapour pressure become for a deficit to be read in another unit."""

CARBON_DIOXIDE = 44.01
"""g mol-1."""

GAS_CONSTANT = 8.314462618
"""J mol-1 K-1."""


def percent_to_fraction(percent: Column, what: str) -> Column:
    """Soil water from percent by volume to m3 m-3. Fractions, which nearly all lie below one, are left as they are, and said.

    Raises:
        TowerFileError: a part of the column holds fractions, another percent.
    """
    values = percent.values
    positive = values[np.isfinite(values) & (values > 0.0)]
    if positive.size == 0:
        return percent._replace(values=values / 100.0)
    low = float(np.mean(positive <= 1.0))
    if low >= 0.95:
        return _converted(percent, values, "m3 m-3 (a fraction)", "percent", positive)
    if low > 0.05:
        first = positive[0] <= 1.0
        row = int(np.flatnonzero((values > 0.0) & ((values <= 1.0) != first))[0])
        raise TowerFileError(
            f"{what}: soil_water_content (column {percent.source}): {100 * low:.0f} % of it lies below 1, the rest "
            "above; it looks "
            f"like a fraction in one part and like percent in another (change in row {row}). Bring all of it to percent."
        )
    return percent._replace(values=values / 100.0)


def humidity_in_percent(humidity: Column) -> Column:
    """Relative humidity in percent; a fraction is multiplied by 100, and said."""
    there = humidity.values[np.isfinite(humidity.values)]
    if there.size and np.quantile(there, 0.99) <= 1.5 and np.median(there) > 0.02:
        return _converted(humidity, 100.0 * humidity.values, "a fraction", "percent", there)
    return humidity


def deficit_in_hpa(deficit: Column, temperature: Series, relative_humidity: Series | None = None) -> Column:
    """Vapour pressure deficit in hPa; one in kPa or Pa is converted, and said.

    A relative humidity of the same tower decides, where there is one. Else a deficit that mostly exceeds what saturated air holds
    is taken as Pa; and one of air that would hardly be drier than 90 % in ten days or more is taken as kPa where that makes
    the vapour pressure much steadier within a day: air keeps its vapour while its temperature changes, and only truly humid
    air follows saturation.

    Args:
        deficit: the column.
        temperature: air temperature, degC.
        relative_humidity: percent.
    """
    values = deficit.values
    saturation = 10.0 * oneflux_saturation_vapour_pressure(temperature)
    known = np.isfinite(values) & np.isfinite(saturation)
    if not known.any():
        return deficit
    if relative_humidity is not None:
        expected = saturation * (1.0 - relative_humidity / 100.0)
        both = known & np.isfinite(expected) & (expected > 2.0) & (values > 0.0)
        if both.sum() >= 24:
            factor = float(np.median(expected[both] / values[both]))
            if 5.0 < factor < 20.0:
                return _converted(deficit, 10.0 * values, "kPa", "hPa", values[known])
            if 0.005 < factor < 0.02:
                return _converted(deficit, values / 100.0, "Pa", "hPa", values[known])
            return deficit
    share = values[known] / saturation[known]
    if np.quantile(share, 0.9) > 3.0:
        return _converted(deficit, values / 100.0, "Pa", "hPa", values[known])
    enough = known.sum() >= ENOUGH_TO_JUDGE
    if enough and 0.02 < np.quantile(share, 0.99) < 0.12 and np.quantile(10.0 * share, 0.98) <= 1.0:
        as_hpa, as_kpa = saturation - values, saturation - 10.0 * values
        if _spread_within_days(as_kpa) < STEADIER * _spread_within_days(as_hpa):
            return _converted(deficit, 10.0 * values, "kPa", "hPa", values[known])
    return deficit


def _spread_within_days(values: Series) -> float:
    """Median of the standard deviations of 48 half-hours each; infinite without complete ones."""
    table = values[: len(values) // 48 * 48].reshape(-1, 48)
    spread = table[np.isfinite(table).all(axis=1)].std(axis=1)
    return float(np.median(spread)) if spread.size else np.inf


def co2_mole_fraction(co2: Column, temperature: Series | None, pressure: Series | None, what: str) -> Column:
    """CO2 in umol mol-1; a concentration in mg m-3 or mmol m-3 is converted with temperature (degC) and pressure (kPa), and said.

    Raises:
        TowerFileError: the median is none of a mole fraction or of a concentration in air.
    """
    there = co2.values[np.isfinite(co2.values)]
    if there.size == 0:
        return co2
    typical = float(np.median(there))
    if 250.0 <= typical <= 600.0:
        return co2
    if 2.5e-4 <= typical <= 6e-4:
        return _converted(co2, 1e6 * co2.values, "mol mol-1", "umol mol-1", there)
    if temperature is not None and pressure is not None:
        molar_volume = GAS_CONSTANT * (temperature + 273.15) / (1000.0 * pressure)  # m3 mol-1
        for unit, per_mol in {"mg m-3": 1000.0 / CARBON_DIOXIDE, "mmol m-3": 1000.0}.items():
            converted = co2.values * per_mol * molar_volume
            likely = converted[np.isfinite(converted)]
            if likely.size and 300.0 <= float(np.median(likely)) <= 550.0:
                return _converted(co2, converted, unit, "umol mol-1", there)
    raise TowerFileError(
        f"{what}: co2 (column {co2.source}) has the median {typical:g}; expected umol mol-1, in open air 280 to 600. Convert the "
        "column, or leave it out and give co2=<umol mol-1>."
    )


def _converted(column: Column, values: Series, found: str, expected: str, there: Series) -> Column:
    text = (
        f"column {column.source} looks like {found}, not {expected} (1 %, 50 %, 99 % of it: "
        f"{', '.join(f'{q:.4g}' for q in np.quantile(there, [0.01, 0.5, 0.99]))}); it was read as {found}"
    )
    return column._replace(values=values, attributes={**column.attributes, "converted": text})


def check_units(forcing: Mapping[str, Column], what: str) -> None:
    """Refuse magnitudes that only a wrong unit explains; single outliers are left to the range check of `Forcing`.

    Variables that are not there are not judged.

    Raises:
        TowerFileError: the message names the column, its median, the expected unit and the likely unit.
    """
    for name, (largest, unit, likely) in LARGEST_TYPICAL.items():
        if name in forcing and (typical := _median(forcing[name].values)) > largest:
            _refuse(what, name, forcing[name].source, typical, unit, likely)
    if "vapour_pressure" in forcing and "air_temperature" in forcing:
        vapour = forcing["vapour_pressure"]
        saturation = saturation_vapour_pressure_kpa(forcing["air_temperature"].values)
        if _median(vapour.values / saturation) > LARGEST_SATURATION:
            _refuse(what, "vapour_pressure", vapour.source, _median(vapour.values), "kPa", "hPa (or Pa)")
    if "shortwave_in" in forcing:
        shortwave = forcing["shortwave_in"]
        there = shortwave.values[np.isfinite(shortwave.values)]
        if there.size and (high := float(np.quantile(there, 0.99))) > LARGEST_SHORTWAVE:
            raise TowerFileError(
                f"{what}: shortwave_in (column {shortwave.source}) exceeds {high:g} W m-2 in one half-hour of a hundred; the sun "
                f"outside the atmosphere gives {LARGEST_SHORTWAVE:g}. Is it a photon flux (umol m-2 s-1)? Convert it to W m-2."
            )


def _median(values: Series) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else 0.0


def _refuse(what: str, name: str, source: str, typical: float, unit: str, likely: str) -> None:
    raise TowerFileError(
        f"{what}: {name} (column {source}) has the median {typical:g}; expected {unit}, this looks like {likely}. "
        f"Convert the column to {unit}."
    )
