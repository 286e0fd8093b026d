"""Prepared CSVs of JAX-CanVeg: one file of forcing, one of fluxes, gaps filled by straight lines, no quality flags."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from ..measured import interpolated_samples
from ..timestamps import check_step
from ..tower_dataset import Column, Target, TowerFileError, TowerTable
from ..units import co2_mole_fraction
from .base import ReadOptions, TowerFormat, co2_from_option
from .csv import CsvColumns, TowerCsv, read_header
from .leaf_area import lai_column, leaf_area

FORCING_PREFIXES: dict[str, tuple[str, ...]] = {
    "air_temperature": ("ta",),
    "shortwave_in": ("rg", "sw_in"),
    "vapour_pressure": ("eair",),
    "wind_speed": ("ws",),
    "co2": ("co2",),
    "pressure": ("pa",),
    "friction_velocity": ("ustar",),
    "soil_temperature": ("ts",),
    "soil_water_content": ("swc",),
    "observed_canopy_height": ("veg_ht",),
    "longwave_in": ("lw_in",),
}
"""Beginning of the column name, in lower case; the first column in file order counts."""

TARGET_COLUMNS: dict[str, tuple[str, ...]] = {
    "latent_heat": ("LE", "LE_F_MDS"),
    "sensible_heat": ("H", "H_F_MDS"),
    "ground_heat": ("G", "G_F_MDS", "G_5cm"),
    "net_radiation": ("NETRAD",),
    "nee": ("FCO2", "Fco2", "FC", "NEE_CUT_REF", "NEE_VUT_REF"),
    "soil_respiration": ("Rsoil",),
    "gpp": ("GPP_NT_VUT_REF", "GPP"),
    "shortwave_out": ("SW_OUT",),
    "longwave_out": ("LW_OUT",),
}
"""Exact column names, in order of preference."""

PRECIPITATION_COLUMNS = ("P_mm", "P_F")


class Prepared(TowerFormat):
    """A file of forcing with a single time stamp, and optionally a file of fluxes with the same rows."""

    name = "prepared"
    expects = "TIMESTAMP_END or TIMESTAMP_START, or Year, DoY, Hour"
    two_files = True

    def recognises(self, path: Path) -> bool:
        """A single stamp, or its parts."""
        header = read_header(path)
        return header is not None and not header.both_stamps and bool(header.stamp or header.calendar)

    def read(self, path: Path, options: ReadOptions) -> TowerTable:
        """Read the pair of files; see `TowerFormat.read`.

        Raises:
            TowerFileError: a driver or LAI is missing, a chosen column does not exist, the files do not belong together.
            ValueError: the time stamps are no regular series.
        """
        file = TowerCsv(path, options.utc_offset)
        chosen = _choose_forcing(file, options)
        lai = lai_column(options, file.require, default=prefixed(("lai",), file.names))
        table = file.read([*chosen.values(), lai])

        stamps, end_of_interval = _single_stamps(table, path.name)
        step = check_step(stamps, path.name)
        start = stamps if (options.time_stamp or end_of_interval) == "start" else stamps - step
        numbers = table.numbers([*chosen.values(), lai])
        forcing = {name: Column(numbers[column], column) for name, column in chosen.items()}
        co2_from_option(forcing, options, len(start))
        if "co2" in forcing and {"air_temperature", "pressure"} <= forcing.keys():
            temperature, pressure = forcing["air_temperature"].values, forcing["pressure"].values
            forcing["co2"] = co2_mole_fraction(forcing["co2"], temperature, pressure, path.name)
        forcing["lai"] = leaf_area(options, lai, numbers, f"{path.name} ({self.name})", start, step)
        targets, precipitation = _read_fluxes(stamps, path.name, options)
        return TowerTable(
            start=start,
            step=step,
            forcing=forcing,
            targets=targets,
            precipitation=precipitation,
            attributes={
                "time_stamp": options.time_stamp or "as in file",
                "choices": table.choices(chosen, {}) + [f"{name}: {target.source}" for name, target in targets.items()],
            },
            looked_for={
                name: f"a name that begins with {' or '.join(prefixes)} (upper or lower case)"
                for name, prefixes in FORCING_PREFIXES.items()
            },
        )


def _choose_forcing(file: TowerCsv, options: ReadOptions) -> dict[str, str]:
    """Column of each driver: the user's choice, else by the beginning of its name."""
    chosen = {}
    names = file.header.names
    for name, prefixes in FORCING_PREFIXES.items():
        given = options.columns.get(name)
        not_photon_flux = "par" if name == "pressure" else None
        found = file.require(given) if given else prefixed(prefixes, names, but_not=not_photon_flux)
        if found:
            chosen[name] = found
    return chosen


def prefixed(prefixes: Iterable[str], names: Iterable[str], but_not: str | None = None) -> str | None:
    """First column, in file order, whose lower-case name starts with a prefix (and not with `but_not`)."""
    for name in names:
        lower = name.lower()
        if lower.startswith(tuple(prefixes)) and not (but_not and lower.startswith(but_not)):
            return name
    return None


def _first(candidates: Iterable[str], names: Collection[str]) -> str | None:
    """The first of the candidates that the file has."""
    return next((name for name in candidates if name in names), None)


def _single_stamps(table: CsvColumns, file_name: str) -> tuple[pd.DatetimeIndex, str]:
    found = table.single_stamps()
    if found is None:
        raise TowerFileError(f"{file_name}: no time stamps; expected {Prepared.expects}.")
    return found


def _read_fluxes(
    stamps: pd.DatetimeIndex, forcing_file: str, options: ReadOptions
) -> tuple[dict[str, Target], Column | None]:
    """Targets and precipitation of the second file, nothing without one. Its rows must be those of the first."""
    if options.fluxes is None:
        return {}, None
    file = TowerCsv(options.fluxes, options.utc_offset)
    names = file.header.names
    chosen = {}
    for name, candidates in TARGET_COLUMNS.items():
        given = options.columns.get(name)
        found = file.require(given) if given else _first(candidates, names)
        if found:
            chosen[name] = found
    rain = _first(PRECIPITATION_COLUMNS, names)
    table = file.read([*chosen.values(), rain])
    check_same_rows(table, stamps, file.path.name, forcing_file)
    if not chosen:
        raise TowerFileError(
            f"{file.path.name}: none of the flux columns is there; expected "
            f"{', '.join(' or '.join(names) for names in TARGET_COLUMNS.values())}."
        )
    numbers = table.numbers([*chosen.values(), rain])
    targets = {}
    for name, column in chosen.items():
        measured = np.isfinite(numbers[column])
        if options.mask_interpolated:
            measured &= ~interpolated_samples(numbers[column])
        targets[name] = Target(values=numbers[column], measured=measured, source=column)
    return targets, Column(numbers[rain], rain) if rain else None


def check_same_rows(table: CsvColumns, stamps: pd.DatetimeIndex, file_name: str, other: str) -> None:
    """Refuse a flux file whose rows do not belong to the rows of the forcing file.

    Raises:
        TowerFileError: other stamps or another number of rows; the message names the first row.
    """
    found = table.single_stamps()
    if found is None or len(found[0]) != len(stamps):
        raise TowerFileError(
            f"{file_name} and {other} must have the same rows; got "
            f"{'no time stamps' if found is None else f'{len(found[0])} rows'} and {len(stamps)} rows. Use files of one "
            "period."
        )
    different = np.flatnonzero(found[0] != stamps)
    if different.size:
        row = int(different[0])
        raise TowerFileError(
            f"{file_name} and {other} must have the same rows; row {row} is {found[0][row]} in one and "
            f"{stamps[row]} in the other. Use files of one period, stamped the same way."
        )
