"""AmeriFlux BASE CSVs: measured, not gap-filled, not filtered for friction velocity; names carry sensor positions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from .. import humidity
from ..arrays import Series
from ..bif import read_bif
from ..opening import archive_members
from ..tower_dataset import Column, Target, TowerTable
from ..units import co2_mole_fraction, deficit_in_hpa, humidity_in_percent, percent_to_fraction
from .base import ReadOptions, TowerFormat, co2_from_option
from .choices import AS_GOOD_AS, Reader, choose_by_share, shares
from .csv import TowerCsv, read_header
from .fluxnet import is_filled
from .leaf_area import lai_column, leaf_area
from .pair import CsvPair
from .sensor_names import columns_of, is_filled_name, ssitc_flag

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


class TargetChoice(NamedTuple):
    """The columns of one observed flux, and what is made of them.

    `best`: the one with most data. `mean`: of all. `sum`: NEE if there is enough of it, else the flux FC plus its storage SC.
    """

    columns: list[str]
    rule: Literal["best", "mean", "sum"] = "best"
    filled: bool = False


class AmerifluxBase(TowerFormat):
    """BASE files of AmeriFlux, half-hourly or hourly, as CSV or in the zip with their metadata."""

    name = "ameriflux-base"
    expects = "TIMESTAMP_START and TIMESTAMP_END, usually below comment lines"

    def recognises(self, path: Path) -> bool:
        """Both stamps of a row, and comment lines or no filled variables."""
        header = read_header(path)
        return header is not None and header.both_stamps and not is_filled(header)

    def read(self, path: Path, options: ReadOptions) -> TowerTable:
        """Read one file; see `TowerFormat.read`. A column chosen for `vapour_pressure` is of RH, VPD or H2O.

        Raises:
            TowerFileError: humidity or LAI is missing, a chosen column does not exist, a unit cannot be right.
            ValueError: the time stamps are no regular series.
        """
        table = read_sensors(TowerCsv(path, options.utc_offset), options, self.name)
        return table._replace(attributes={**table.attributes, **_citation(path)})


def _citation(path: Path) -> dict[str, str]:
    """DOI and citation from the metadata that the networks' zip holds beside the data."""
    if not any("_BIF_" in member for member in archive_members(path)):
        return {}
    bif = read_bif(path)
    found = {"doi": bif.first("GRP_DOI", "DOI"), "citation": bif.first("GRP_DOI", "DOI_CITATION")}
    return {name: text for name, text in found.items() if text}


def read_sensors(file: TowerCsv | CsvPair, options: ReadOptions, format_name: str) -> TowerTable:
    """Read columns with the names of AmeriFlux BASE, from one file or from two."""
    names = file.names
    drivers = _choose_drivers(file, options)
    photon_flux = [] if "shortwave_in" in options.columns else _best_first("PPFD_IN", names)
    humidities = _choose_humidity(file, options)
    targets = _choose_targets(file, options)
    flags = {
        column: flag for choice in targets.values() for column in choice.columns if (flag := ssitc_flag(column, names))
    }
    rain = _best_first("P", names)
    lai = lai_column(options, file.require)
    table = file.read(
        [
            *(column for columns in drivers.values() for column in columns), *photon_flux,
            *(column for columns in humidities.values() for column in columns),
            *(column for choice in targets.values() for column in choice.columns), *flags.values(), *rain, lai,
        ]
    )  # fmt: skip
    start, step = table.intervals()
    numbers = table.numbers

    candidates = {**drivers, "precipitation": rain, "photon_flux": photon_flux, **humidities}
    best = {name: _fullest(columns, numbers) for name, columns in candidates.items() if columns}
    forcing = {name: Column(numbers([best[name]])[best[name]], best[name]) for name in drivers if name in best}
    _use_photon_flux(forcing, best, numbers)
    co2_from_option(forcing, options, len(start))
    if "soil_water_content" in forcing:
        forcing["soil_water_content"] = percent_to_fraction(forcing["soil_water_content"], file.label)
    if "co2" in forcing:
        forcing["co2"] = co2_mole_fraction(
            forcing["co2"], _values(forcing, "air_temperature"), _values(forcing, "pressure"), file.label
        )
    kinds = {base: Column(numbers([best[base]])[best[base]], best[base]) for base in HUMIDITY_BASES if base in best}
    if vapour := _best_humidity(kinds, forcing):
        forcing["vapour_pressure"] = vapour
    forcing["lai"] = leaf_area(options, lai, numbers([lai]), f"{file.label} ({format_name})", start, step)

    observed, sources = {}, {}
    for name, choice in targets.items():
        observed[name] = _target(choice, flags, numbers, options.highest_flag)
        sources[name] = [c for c in choice.columns if c not in observed[name].source]
    filled = [observed[name].source for name, choice in targets.items() if choice.filled]
    chosen = {name: best[name] for name in best if name in DRIVER_BASES or name == "precipitation"}
    choices = table.choices(chosen, candidates) + [
        f"{name}: {target.source} ({100 * np.isfinite(target.values).mean():.0f} %)"
        + (f"; not {', '.join(sources[name])}" if sources[name] else "")
        for name, target in observed.items()
    ]
    return TowerTable(
        start=start,
        step=step,
        forcing=forcing,
        targets=observed,
        precipitation=Column(numbers(rain)[best["precipitation"]], best["precipitation"]) if rain else None,
        warnings=[
            f"{file.label}: '{column}' was gap-filled by the site team and BASE files carry no flags of filling; none of its "
            "samples counts as measured."
            for column in filled
        ]
        + table.left_out_text(),
        attributes={
            "time_stamp": "start and end in file",
            "choices": choices,
            "flags_used": sorted(set(flags.values())),
        },
        looked_for={**LOOKED_FOR, **_looked_for_humidity(options)},
    )


LOOKED_FOR = {name: f"{base}, {base}_1_1_1 and the like" for name, base in DRIVER_BASES.items() if name not in OPTIONAL}
FILLED_IF_TWICE = 0.5
"""A gap-filled column stands for a driver only where all unfilled ones together hold less than this share of its half-hours."""

PROCESSED_AS_GOOD_AS = 0.5
"""A flux of the site team, filtered for calm nights, is preferred while it has this share of the half-hours of the raw one."""


def _fullest(columns: Sequence[str], numbers: Reader, as_good_as: float = AS_GOOD_AS) -> str:
    """The column with most half-hours; gap-filled ones, which come last, only where the others are much emptier."""
    unfilled = [name for name in columns if not is_filled_name(name)]
    first = choose_by_share(numbers, {"": unfilled}, as_good_as).get("")
    last = choose_by_share(numbers, {"": [name for name in columns if name not in unfilled]}, as_good_as).get("")
    if first is None or last is None:
        return first or last or columns[0]
    share = shares(numbers, [first, last])
    return first if share[first] >= FILLED_IF_TWICE * share[last] else last


def _use_photon_flux(forcing: dict[str, Column], best: Mapping[str, str], numbers: Reader) -> None:
    """Photon flux in the place of global radiation where the file has none, or hardly any."""
    if (column := best.get("photon_flux")) is None:
        return
    photons = numbers([column])[column]
    there, photons_there = 0, int(np.isfinite(photons).sum())
    if "shortwave_in" in forcing:
        there = int(np.isfinite(forcing["shortwave_in"].values).sum())
    if there < FILLED_IF_TWICE * photons_there:
        forcing["shortwave_in"] = Column(photons / PAR_PER_SHORTWAVE, column, {"method": "photon flux / 2.3 umol J-1"})


def _values(forcing: Mapping[str, Column], name: str) -> Series | None:
    return forcing[name].values if name in forcing else None


def _best_first(base: str, names: Iterable[str]) -> list[str]:
    return [column.name for column in columns_of(base, names)]


def _choose_drivers(file: TowerCsv | CsvPair, options: ReadOptions) -> dict[str, list[str]]:
    """Candidates for each driver: the user's choice, else the columns of its base name."""
    return {
        name: [file.require(options.columns[name])] if name in options.columns else _best_first(base, file.names)
        for name, base in DRIVER_BASES.items()
    }


def _choose_humidity(file: TowerCsv | CsvPair, options: ReadOptions) -> dict[str, list[str]]:
    """Candidates by kind of humidity (`HUMIDITY_BASES`): the user's choice, else all columns."""
    given = options.columns.get("vapour_pressure")
    names = file.names if given is None else [file.require(given)]
    return {base: [column.name for column in columns_of(base, names)] for base in HUMIDITY_BASES}


def _looked_for_humidity(options: ReadOptions) -> dict[str, str]:
    given = options.columns.get("vapour_pressure")
    wanted = f"the chosen {given}" if given else ", ".join(HUMIDITY_BASES)
    return {"vapour_pressure": f"{wanted} (with qualifiers such as _PI, _1_1_1) beside air temperature and pressure"}


def _best_humidity(kinds: Mapping[str, Column], forcing: Mapping[str, Column]) -> Column | None:
    """Vapour pressure from the kind of humidity that gives most half-hours; of nearly equal ones the first of the table."""
    vapours: dict[str, Column] = {}
    for kind, sensor in kinds.items():
        other = forcing.get("pressure" if kind == "H2O" else "air_temperature")
        if other is not None:
            relative = humidity_in_percent(kinds["RH"]).values if kind == "VPD" and "RH" in kinds else None
            vapours[kind] = _vapour_pressure(kind, sensor, other, relative)
    if not vapours:
        return None
    counts = {kind: int(np.isfinite(vapour.values).sum()) for kind, vapour in vapours.items()}
    return next(vapours[kind] for kind in vapours if counts[kind] >= AS_GOOD_AS * max(counts.values()))


def _vapour_pressure(kind: str, sensor: Column, other: Column, relative_humidity: Series | None) -> Column:
    """Vapour pressure, kPa, from a sensor of one of `HUMIDITY_BASES` (%, hPa, mmol mol-1).

    Args:
        kind: which of them.
        sensor: its column.
        other: air temperature (degC), for a mole fraction pressure (kPa).
        relative_humidity: of another sensor (%), by which the unit of a deficit is judged.
    """
    if kind == "RH":
        sensor = humidity_in_percent(sensor)
        vapour, count = humidity.from_relative_humidity(other.values, sensor.values)
    elif kind == "VPD":
        sensor = deficit_in_hpa(sensor, other.values, relative_humidity)
        vapour, count = humidity.from_deficit(other.values, sensor.values)
    else:
        vapour, count = humidity.from_mole_fraction(sensor.values, other.values)
    attributes = {**sensor.attributes, "samples_floored": count, "method": f"from {HUMIDITY_BASES[kind]}"}
    return Column(vapour, f"{other.source}, {sensor.source}", attributes)


def _choose_targets(file: TowerCsv | CsvPair, options: ReadOptions) -> dict[str, TargetChoice]:
    """The columns of each observed flux that the file has; those not filled by the site team where there are any."""
    choices: dict[str, TargetChoice] = {}
    for name, base in TARGET_BASES.items():
        if name in options.columns:
            given = file.require(options.columns[name])
            filled = is_filled_name(given)
            choices[name] = TargetChoice([given], filled=filled)
            continue
        found = columns_of(base, file.names)
        unfilled = [column.name for column in found if not column.filled]
        if name == "ground_heat":
            if unfilled:
                choices[name] = TargetChoice(unfilled, rule="mean")
            continue
        flux = [c.name for c in columns_of("FC", file.names) if not c.filled] if name == "nee" else []
        if flux:
            storage = [c.name for c in columns_of("SC", file.names) if not c.filled]
            choices[name] = TargetChoice([*unfilled, *flux, *storage], rule="sum")
        elif found:
            choices[name] = TargetChoice(unfilled or [column.name for column in found], filled=not unfilled)
    return choices


def _target(choice: TargetChoice, flags: Mapping[str, str], numbers: Reader, highest_flag: int) -> Target:
    """One observed flux. None of its samples counts as measured where the site team filled it, or where its flag is too high."""
    if choice.rule == "mean":
        return _mean_of_plates(numbers(choice.columns))
    if choice.rule == "sum":
        column, target = _exchange(choice.columns, numbers)
    else:
        column = _fullest(choice.columns, numbers)
        values = numbers([column])[column]
        target = Target(values=values, measured=np.isfinite(values) & (not choice.filled), source=column)
    if (flag := flags.get(column)) is None:
        return target
    discarded = numbers([flag])[flag] > highest_flag  # a flag that is missing discards nothing
    return target._replace(measured=target.measured & ~discarded, flagged=int((discarded & target.measured).sum()))


def _exchange(columns: Sequence[str], numbers: Reader) -> tuple[str, Target]:
    """NEE as the site team gives it where it is there for long enough, else the flux FC with its storage SC."""
    team = [name for name in columns if name.startswith("NEE")]
    flux = [name for name in columns if name.startswith("FC")]
    storage = [name for name in columns if name.startswith("SC")]
    best_flux = _fullest(flux, numbers)
    if team:
        best_team = _fullest(team, numbers)
        share = shares(numbers, [best_team, best_flux])
        if share[best_team] > 0.0 and share[best_team] >= PROCESSED_AS_GOOD_AS * share[best_flux]:
            values = numbers([best_team])[best_team]
            return best_team, Target(values=values, measured=np.isfinite(values), source=best_team)
    names = [best_flux, *([_fullest(storage, numbers)] if storage else [])]
    found = numbers(names)
    return best_flux, _flux_and_storage({name: found[name] for name in names})


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
        if not np.isfinite(stored).any():
            continue
        both = np.isfinite(values) & np.isfinite(stored)
        values = values + np.where(both, stored, 0.0)
        source = f"{source} + {column} (storage in {100 * both.sum() / max(np.isfinite(values).sum(), 1):.0f} %)"
    return Target(values=values, measured=np.isfinite(values), source=source)
