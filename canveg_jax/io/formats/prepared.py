"""Prepared CSVs of JAX-CanVeg: one file of forcing, one of fluxes, gaps filled by straight lines, no quality flags."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ..lai import Lai, leaf_area_index
from ..measured import interpolated_samples
from ..timestamps import check_step
from ..tower_dataset import Column, Target, TowerFileError, TowerTable
from .csv import TowerCsv

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

OPTIONAL = ("observed_canopy_height", "longwave_in")

TARGET_COLUMNS: dict[str, tuple[str, ...]] = {
    "latent_heat": ("LE", "LE_F_MDS"),
    "sensible_heat": ("H", "H_F_MDS"),
    "ground_heat": ("G", "G_F_MDS", "G_5cm"),
    "net_radiation": ("NETRAD",),
    "nee": ("FCO2", "Fco2", "FC", "NEE_CUT_REF", "NEE_VUT_REF"),
    "soil_respiration": ("Rsoil",),
}
"""Exact column names, in order of preference."""

PRECIPITATION_COLUMNS = ("P_mm", "P_F")


def read_prepared(
    forcings: TowerCsv,
    fluxes: TowerCsv | None,
    *,
    time_stamp: str | None,
    lai: Lai | None,
    co2: float | None,
    columns: Mapping[str, str],
    mask_interpolated: bool,
) -> TowerTable:
    """Read the pair of files (`read_tower` describes the arguments)."""
    stamps, stamped = forcings.single_stamps()
    step = check_step(stamps, forcings.path.name)
    start = stamps if (time_stamp or stamped) == "start" else stamps - step

    chosen = {}
    for name, prefixes in FORCING_PREFIXES.items():
        own = columns.get(name)
        found = forcings.require(own) if own else forcings.prefixed(prefixes, "par" if name == "pressure" else None)
        if found:
            chosen[name] = found
        elif name == "co2" and co2 is not None:
            continue
        elif name not in OPTIONAL:
            raise TowerFileError(
                f"{forcings.path.name}: no column for {name}; its name must begin with {' or '.join(prefixes)} (upper "
                f"or lower case). Rename the column or give columns={{'{name}': '<column>'}}."
            )
    numbers = forcings.numbers(chosen.values())
    forcing = {name: Column(numbers[column], column) for name, column in chosen.items()}
    if "co2" not in forcing:
        forcing["co2"] = Column(np.full(len(start), float(co2)), f"constant {co2:g}")
    own_lai = columns.get("lai") or forcings.prefixed(("lai",))
    forcing["lai"] = leaf_area_index(own_lai if lai is None else lai, forcings, start, step)
    targets, precipitation = ({}, None) if fluxes is None else _read_fluxes(
        fluxes, stamps, forcings.path.name, columns, mask_interpolated
    )  # fmt: skip
    return TowerTable(start, step, forcing, targets, precipitation)


def _read_fluxes(
    file: TowerCsv, stamps: pd.DatetimeIndex, forcing_file: str, columns: Mapping[str, str], mask_interpolated: bool
) -> tuple[dict[str, Target], Column | None]:
    check_same_rows(file, stamps, forcing_file)
    chosen = {}
    for name, candidates in TARGET_COLUMNS.items():
        own = columns.get(name)
        found = file.require(own) if own else file.first(candidates)
        if found:
            chosen[name] = found
    if not chosen:
        raise TowerFileError(
            f"{file.path.name}: none of the flux columns is there; expected "
            f"{', '.join(' or '.join(names) for names in TARGET_COLUMNS.values())}."
        )
    rain = file.first(PRECIPITATION_COLUMNS)
    numbers = file.numbers([*chosen.values(), *([rain] if rain else [])])
    targets = {}
    for name, column in chosen.items():
        values = numbers[column]
        measured = np.isfinite(values)
        if mask_interpolated:
            measured &= ~interpolated_samples(values)
        targets[name] = Target(values, measured, column)
    return targets, Column(numbers[rain], rain) if rain else None


def check_same_rows(file: TowerCsv, stamps: pd.DatetimeIndex, other: str) -> None:
    """Refuse a flux file whose rows do not belong to the rows of the forcing file."""
    own = file.single_stamps()
    if own is None or len(own[0]) != len(stamps):
        raise TowerFileError(
            f"{file.path.name} and {other} must have the same rows; got "
            f"{'no time stamps' if own is None else f'{len(own[0])} rows'} and {len(stamps)} rows. Use files of one "
            "period."
        )
    different = np.flatnonzero(own[0] != stamps)
    if different.size:
        row = int(different[0])
        raise TowerFileError(
            f"{file.path.name} and {other} must have the same rows; row {row} is {own[0][row]} in one and "
            f"{stamps[row]} in the other. Use files of one period, stamped the same way."
        )
