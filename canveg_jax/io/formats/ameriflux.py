"""AmeriFlux BASE CSVs: measured, not gap-filled, not filtered for friction velocity; names carry sensor positions."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from .. import humidity
from ..lai import Lai, leaf_area_index
from ..tower_dataset import Column, Target, TowerDataWarning, TowerFileError, TowerTable
from ..units import percent_to_fraction
from .csv import TowerCsv

DRIVER_BASES: dict[str, str] = {
    "air_temperature": "TA",
    "shortwave_in": "SW_IN",
    "longwave_in": "LW_IN",
    "wind_speed": "WS",
    "co2": "CO2",
    "pressure": "PA",
    "friction_velocity": "USTAR",
    "soil_temperature": "TS",
    "soil_water_content": "SWC",
}

TARGET_BASES: dict[str, str] = {
    "latent_heat": "LE",
    "sensible_heat": "H",
    "ground_heat": "G",
    "net_radiation": "NETRAD",
    "nee": "NEE",
    "soil_respiration": "RS",
}

OPTIONAL = ("longwave_in",)
PAR_PER_SHORTWAVE = 4.6 / 2.0
"""umol J-1: photosynthetic photon flux per global radiation (half of it, 4.6 umol per joule)."""

QUALIFIERS = re.compile(
    r"(?P<pi>_PI)?(?P<filled>_F)?(?:_(?P<h>\d+)_(?P<v>\d+)_(?P<r>\d+|A)|_(?P<layer>\d+))?", re.ASCII
)  # fmt: skip


class SensorColumn(NamedTuple):
    """A column name taken apart. Sorting puts the column to prefer first."""

    filled: bool
    processed: bool
    vertical: int
    horizontal: int
    replicate: int
    name: str


def columns_of(base: str, names: Iterable[str]) -> list[SensorColumn]:
    """Columns of one base name, best first: not gap-filled, not processed by the site team, highest sensor.

    Names follow `BASE[_PI][_F][_H_V_R | _H_V_A | _layer]` (horizontal, vertical with 1 = highest, replicate; A =
    mean of replicates). A name that does not match in full (`T_SONIC_SIGMA` for base `T_SONIC`; `_SD`, `_N`, `_QC`)
    is another variable. Means (no position, layer mean, A) come before single sensors of the same height.
    """
    found = []
    for name in names:
        match = QUALIFIERS.fullmatch(name, len(base)) if name.startswith(base) else None
        if match:
            replicate = 0 if match["r"] in (None, "A") else int(match["r"])
            vertical = int(match["v"] or match["layer"] or 0)
            found.append(
                SensorColumn(bool(match["filled"]), bool(match["pi"]), vertical, int(match["h"] or 0), replicate, name)
            )
    return sorted(found)


def read_ameriflux(file: TowerCsv, *, lai: Lai | None, co2: float | None, columns: Mapping[str, str]) -> TowerTable:
    """Read one file (`read_tower` describes the arguments)."""
    start, step = file.intervals()
    bases = (*DRIVER_BASES.values(), *TARGET_BASES.values(), "RH", "VPD", "H2O", "FC", "SC", "P", "PPFD_IN")
    file.numbers(column.name for base in bases for column in columns_of(base, file.names))  # one pass over the file
    forcing: dict[str, Column] = {}
    for name, base in DRIVER_BASES.items():
        column = _driver(file, name, base, columns)
        if column is not None:
            forcing[name] = column
    if "shortwave_in" not in forcing and (par := columns_of("PPFD_IN", file.names)):
        values = file.numbers([par[0].name])[par[0].name] / PAR_PER_SHORTWAVE
        forcing["shortwave_in"] = Column(values, par[0].name, {"method": "photon flux / 2.3 umol J-1"})
    if co2 is not None and ("co2" not in forcing or not np.isfinite(forcing["co2"].values).any()):
        forcing["co2"] = Column(np.full(len(start), float(co2)), f"constant {co2:g}")
    for name, base in DRIVER_BASES.items():
        if name not in forcing and name not in OPTIONAL:
            advice = " or co2=<umol mol-1>" if name == "co2" else ""
            raise TowerFileError(
                f"{file.path.name}: no column for {name}; looked for {base}, {base}_1_1_1 and the like. Give "
                f"columns={{'{name}': '<column>'}}{advice}."
            )
    forcing["soil_water_content"] = percent_to_fraction(forcing["soil_water_content"], file.path.name)
    forcing["vapour_pressure"] = _vapour_pressure(file, forcing, columns)
    forcing["lai"] = leaf_area_index(columns.get("lai") if lai is None else lai, file, start, step)
    targets = {
        name: target
        for name, base in TARGET_BASES.items()
        if (target := _target(file, name, base, columns)) is not None
    }
    rain = columns_of("P", file.names)
    precipitation = Column(file.numbers([rain[0].name])[rain[0].name], rain[0].name) if rain else None
    return TowerTable(start, step, forcing, targets, precipitation)


def _driver(file: TowerCsv, name: str, base: str, own: Mapping[str, str]) -> Column | None:
    found = columns_of(base, file.names)
    if name not in own and not found:
        return None
    column = file.require(own[name]) if name in own else file.first_with_data(c.name for c in found)
    return Column(file.numbers([column])[column], column)


def _vapour_pressure(file: TowerCsv, forcing: Mapping[str, Column], own: Mapping[str, str]) -> Column:
    """From relative humidity, else from the deficit, else from the mole fraction of water."""
    chosen = file.require(own["vapour_pressure"]) if "vapour_pressure" in own else None
    temperature, pressure = forcing["air_temperature"], forcing["pressure"]
    for base, method in (("RH", "relative humidity"), ("VPD", "deficit"), ("H2O", "mole fraction of water")):
        column = file.first_with_data(c.name for c in columns_of(base, [chosen] if chosen else file.names))
        if column is None:
            continue
        values = file.numbers([column])[column]
        if base == "RH":
            vapour, count = humidity.from_relative_humidity(temperature.values, values)
        elif base == "VPD":
            vapour, count = humidity.from_deficit(temperature.values, values)
        else:
            vapour, count = humidity.from_mole_fraction(values, pressure.values)
        other = pressure.source if base == "H2O" else temperature.source
        return Column(vapour, f"{other}, {column}", {"samples_floored": count, "method": f"from {method}"})
    raise TowerFileError(
        f"{file.path.name}: no humidity; looked for {'the chosen ' + chosen if chosen else 'RH, VPD, H2O'} (with "
        "qualifiers such as _PI, _1_1_1). Give columns={'vapour_pressure': '<RH, VPD or H2O column>'}."
    )


def _target(file: TowerCsv, name: str, base: str, own: Mapping[str, str]) -> Target | None:
    if name in own:
        filled = any(column.filled for column in columns_of(base, [own[name]]))
        values = file.numbers([file.require(own[name])])[own[name]]
        return _one_column(file, own[name], values, filled)
    if name == "ground_heat":
        return _mean_of_plates(file, base)
    found = columns_of(base, file.names)
    measured = [c for c in found if not c.filled]
    if name == "nee" and not measured and (flux := columns_of("FC", file.names)):
        return _flux_and_storage(file, flux[0].name)
    if not found:
        return None
    best = file.first_with_data(c.name for c in (measured or found))
    return _one_column(file, best, file.numbers([best])[best], not measured)


def _one_column(file: TowerCsv, column: str, values: np.ndarray, filled: bool) -> Target:
    if filled:
        warnings.warn(
            f"{file.path.name}: '{column}' was gap-filled by the site team and BASE files carry no flags; none of its "
            "samples counts as measured.",
            TowerDataWarning, stacklevel=5,
        )  # fmt: skip
    return Target(values, np.isfinite(values) & (not filled), column)


def _mean_of_plates(file: TowerCsv, base: str) -> Target | None:
    """Mean of all heat-flux plates; measured where every plate that ever reports did report."""
    plates = [c.name for c in columns_of(base, file.names) if not c.filled]
    if not plates:
        return None
    stacked = np.stack(list(file.numbers(plates).values()))
    present = np.isfinite(stacked)
    working = present.any(axis=1)
    count = present.sum(axis=0)
    total = np.where(present, stacked, 0.0).sum(axis=0)
    values = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return Target(values, (count > 0) & (count == working.sum()), ", ".join(plates))


def _flux_and_storage(file: TowerCsv, flux: str) -> Target:
    """CO2 flux, plus the storage term SC where both exist."""
    values = file.numbers([flux])[flux]
    storage = columns_of("SC", file.names)
    source = flux
    if storage:
        stored = file.numbers([storage[0].name])[storage[0].name]
        both = np.isfinite(values) & np.isfinite(stored)
        values = values + np.where(both, stored, 0.0)
        source = f"{flux} + {storage[0].name} (storage in {100 * both.sum() / max(np.isfinite(values).sum(), 1):.0f} %)"
    return Target(values, np.isfinite(values), source)
