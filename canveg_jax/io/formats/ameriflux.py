"""AmeriFlux BASE CSVs: measured, not gap-filled, not filtered for friction velocity; names carry sensor positions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from .. import humidity
from ..arrays import Series
from ..lai import leaf_area_index
from ..tower_dataset import Column, Target, TowerFileError, TowerTable
from ..units import percent_to_fraction
from .base import ReadOptions, TowerFormat
from .csv import TowerCsv, read_header
from .fluxnet import is_filled

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
    "gpp": "GPP",
    "shortwave_out": "SW_OUT",
    "longwave_out": "LW_OUT",
}

HUMIDITY_BASES: dict[str, str] = {"RH": "relative humidity", "VPD": "deficit", "H2O": "mole fraction of water"}
"""What vapour pressure may come from, in order of preference."""

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
                SensorColumn(
                    filled=bool(match["filled"]), processed=bool(match["pi"]), vertical=vertical,
                    horizontal=int(match["h"] or 0), replicate=replicate, name=name,
                )
            )  # fmt: skip
    return sorted(found)


class TargetChoice(NamedTuple):
    """The columns of one observed flux, and what is made of them.

    `best`: the first with data. `mean`: of all. `sum`: the first, a flux, plus the second, its storage, if there is one.
    """

    columns: list[str]
    rule: Literal["best", "mean", "sum"] = "best"
    filled: bool = False


class AmerifluxBase(TowerFormat):
    """BASE files of AmeriFlux, half-hourly or hourly."""

    name = "ameriflux-base"
    expects = "TIMESTAMP_START and TIMESTAMP_END, usually below comment lines"

    def recognises(self, path: Path) -> bool:
        """Both stamps of a row, and comment lines or no filled variables."""
        header = read_header(path)
        return header is not None and header.both_stamps and not is_filled(header)

    def read(self, path: Path, options: ReadOptions) -> TowerTable:
        """Read one file; see `TowerFormat.read`. A column chosen for `vapour_pressure` is of RH, VPD or H2O.

        Raises:
            TowerFileError: a driver, humidity or LAI is missing, a chosen column does not exist, soil water is no percentage.
            ValueError: the time stamps are no regular series.
        """
        file = TowerCsv(path)
        drivers = _choose_drivers(file, options)
        photon_flux = [] if drivers["shortwave_in"] else _best_first("PPFD_IN", file)[:1]
        humidities = _choose_humidity(file, options)
        targets = _choose_targets(file, options)
        rain = _best_first("P", file)[:1]
        lai = options.columns.get("lai") if options.lai is None else options.lai
        lai_column = file.require(lai) if isinstance(lai, str) else None
        chosen = [*drivers.values(), photon_flux, *humidities.values(), *(c.columns for c in targets.values()), rain]

        table = file.read([*(column for columns in chosen for column in columns), lai_column])
        start, step = table.intervals()
        best = table.with_data(
            {**drivers, **humidities, **{n: c.columns for n, c in targets.items() if c.rule == "best"}}
        )
        combined = [column for choice in targets.values() if choice.rule != "best" for column in choice.columns]
        numbers = table.numbers([*best.values(), *photon_flux, *combined, *rain, lai_column])
        forcing = {name: Column(numbers[best[name]], best[name]) for name in drivers if name in best}
        for column in photon_flux:
            values = numbers[column] / PAR_PER_SHORTWAVE
            forcing["shortwave_in"] = Column(values, column, {"method": "photon flux / 2.3 umol J-1"})
        if options.co2 is not None and ("co2" not in forcing or not np.isfinite(forcing["co2"].values).any()):
            forcing["co2"] = Column(np.full(len(start), float(options.co2)), f"constant {options.co2:g}")
        _require_drivers(forcing, options, path.name)
        if "soil_water_content" in forcing:
            forcing["soil_water_content"] = percent_to_fraction(forcing["soil_water_content"], path.name)
        kind = next((base for base in HUMIDITY_BASES if base in best), None)
        if kind is None and "vapour_pressure" not in options.may_lack:
            looked_for = options.columns.get("vapour_pressure")
            raise TowerFileError(
                f"{path.name}: no humidity; looked for "
                f"{f'the chosen {looked_for}' if looked_for else ', '.join(HUMIDITY_BASES)} (with qualifiers such as "
                "_PI, _1_1_1). Give columns={'vapour_pressure': '<RH, VPD or H2O column>'}."
            )
        other = forcing.get("pressure" if kind == "H2O" else "air_temperature")
        if kind is not None and other is not None:
            forcing["vapour_pressure"] = _vapour_pressure(kind, Column(numbers[best[kind]], best[kind]), other)
        forcing["lai"] = leaf_area_index(
            Column(numbers[lai], lai) if isinstance(lai, str) else lai,
            f"{path.name} ({self.name})", start, step,
        )  # fmt: skip
        observed = {name: _target(choice, best.get(name), numbers) for name, choice in targets.items()}
        filled = [observed[name].source for name, choice in targets.items() if choice.filled]
        return TowerTable(
            start=start,
            step=step,
            forcing=forcing,
            targets=observed,
            precipitation=Column(numbers[rain[0]], rain[0]) if rain else None,
            warnings=[
                f"{path.name}: '{column}' was gap-filled by the site team and BASE files carry no flags; none of its "
                "samples counts as measured."
                for column in filled
            ],
            attributes={"time_stamp": "start and end in file"},
        )


def _best_first(base: str, file: TowerCsv) -> list[str]:
    return [column.name for column in columns_of(base, file.header.names)]


def _choose_drivers(file: TowerCsv, options: ReadOptions) -> dict[str, list[str]]:
    """Candidates for each driver: the user's choice, else the columns of its base name."""
    return {
        name: [file.require(options.columns[name])] if name in options.columns else _best_first(base, file)
        for name, base in DRIVER_BASES.items()
    }


def _require_drivers(forcing: Mapping[str, Column], options: ReadOptions, file_name: str) -> None:
    for name, base in DRIVER_BASES.items():
        if name not in forcing and name not in OPTIONAL and name not in options.may_lack:
            advice = " or co2=<umol mol-1>" if name == "co2" else ""
            raise TowerFileError(
                f"{file_name}: no column for {name}; looked for {base}, {base}_1_1_1 and the like. Give "
                f"columns={{'{name}': '<column>'}}{advice}."
            )


def _choose_humidity(file: TowerCsv, options: ReadOptions) -> dict[str, list[str]]:
    """Candidates by kind of humidity (`HUMIDITY_BASES`): the user's choice, else all columns."""
    given = options.columns.get("vapour_pressure")
    names = file.header.names if given is None else [file.require(given)]
    return {base: [column.name for column in columns_of(base, names)] for base in HUMIDITY_BASES}


def _vapour_pressure(kind: str, sensor: Column, other: Column) -> Column:
    """Vapour pressure, kPa, from a sensor of one of `HUMIDITY_BASES`: RH (%) or VPD (hPa) with the temperature (degC), H2O (mmol
    mol-1) with the pressure (kPa)."""
    if kind == "RH":
        vapour, count = humidity.from_relative_humidity(other.values, sensor.values)
    elif kind == "VPD":
        vapour, count = humidity.from_deficit(other.values, sensor.values)
    else:
        vapour, count = humidity.from_mole_fraction(sensor.values, other.values)
    attributes = {"samples_floored": count, "method": f"from {HUMIDITY_BASES[kind]}"}
    return Column(vapour, f"{other.source}, {sensor.source}", attributes)


def _choose_targets(file: TowerCsv, options: ReadOptions) -> dict[str, TargetChoice]:
    """The columns of each observed flux that the file has; those not filled by the site team where there are any."""
    choices: dict[str, TargetChoice] = {}
    for name, base in TARGET_BASES.items():
        if name in options.columns:
            given = file.require(options.columns[name])
            filled = any(column.filled for column in columns_of(base, [given]))
            choices[name] = TargetChoice([given], filled=filled)
            continue
        found = columns_of(base, file.header.names)
        unfilled = [column.name for column in found if not column.filled]
        flux_and_storage = [*_best_first("FC", file)[:1], *_best_first("SC", file)[:1]]
        if name == "ground_heat":
            if unfilled:
                choices[name] = TargetChoice(unfilled, rule="mean")
        elif name == "nee" and not unfilled and _best_first("FC", file):
            choices[name] = TargetChoice(flux_and_storage, rule="sum")
        elif found:
            choices[name] = TargetChoice(unfilled or [column.name for column in found], filled=not unfilled)
    return choices


def _target(choice: TargetChoice, best: str | None, numbers: Mapping[str, Series]) -> Target:
    """One observed flux; none of its samples counts as measured where the site team filled it."""
    columns = {column: numbers[column] for column in choice.columns if best in (None, column)}
    if choice.rule == "mean":
        return _mean_of_plates(columns)
    if choice.rule == "sum":
        return _flux_and_storage(columns)
    ((source, values),) = columns.items()
    return Target(values=values, measured=np.isfinite(values) & (not choice.filled), source=source)


def _mean_of_plates(plates: Mapping[str, Series]) -> Target:
    """Mean of all heat-flux plates; measured where every plate that ever reports did report."""
    stacked = np.stack(list(plates.values()))
    present = np.isfinite(stacked)
    working = present.any(axis=1)
    count = present.sum(axis=0)
    total = np.where(present, stacked, 0.0).sum(axis=0)
    values = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return Target(values=values, measured=(count > 0) & (count == working.sum()), source=", ".join(plates))


def _flux_and_storage(columns: Mapping[str, Series]) -> Target:
    """CO2 flux, plus the storage term (the second column, if there is one) where both exist."""
    (source, values), *storage = columns.items()
    for column, stored in storage:
        both = np.isfinite(values) & np.isfinite(stored)
        values = values + np.where(both, stored, 0.0)
        source = f"{source} + {column} (storage in {100 * both.sum() / max(np.isfinite(values).sum(), 1):.0f} %)"
    return Target(values=values, measured=np.isfinite(values), source=source)
