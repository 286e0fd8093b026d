"""FLUXNET / ONEFlux CSVs, half-hourly (HH) or hourly (HR), SUBSET or FULLSET: quality flags become masks.

Flags of filled variables: 0 measured, 1 filled with good quality, 2 medium or reanalysis (ERA), 3 poor.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping

import numpy as np

from .. import humidity
from ..lai import Lai, leaf_area_index
from ..measured import interpolated_samples
from ..tower_dataset import Column, Target, TowerDataWarning, TowerFileError, TowerTable
from ..units import percent_to_fraction
from .csv import TowerCsv

DRIVER_COLUMNS: dict[str, tuple[str, ...]] = {
    "air_temperature": ("TA_F", "TA_F_MDS"),
    "shortwave_in": ("SW_IN_F", "SW_IN_F_MDS"),
    "longwave_in": ("LW_IN_F", "LW_IN_JSB_F", "LW_IN_F_MDS"),
    "vapour_pressure": ("VPD_F", "VPD_F_MDS"),
    "wind_speed": ("WS_F", "WS"),
    "co2": ("CO2_F_MDS", "CO2"),
    "pressure": ("PA_F", "PA"),
    "friction_velocity": ("USTAR",),
    "soil_temperature": ("TS_F_MDS_#",),
    "soil_water_content": ("SWC_F_MDS_#",),
}
"""File columns in order of preference; `#` is the sensor number, 1 = shallowest, of which the lowest is taken."""

OPTIONAL = ("longwave_in",)

TARGET_COLUMNS: dict[str, tuple[str, ...]] = {
    "latent_heat": ("LE_F_MDS",),
    "sensible_heat": ("H_F_MDS",),
    "ground_heat": ("G_F_MDS",),
    "net_radiation": ("NETRAD",),
    "nee": ("NEE_VUT_REF", "NEE_CUT_REF"),
    "soil_respiration": (),
}

NEVER_FILLED = ("NETRAD", "USTAR")
"""Variables without flag because they are never filled: what is there was measured."""

BEST_DRIVER_FLAG = 1
"""A driver value with a flag up to this one counts as good (`forcing_good`)."""


def read_fluxnet(file: TowerCsv, *, lai: Lai | None, co2: float | None, columns: Mapping[str, str]) -> TowerTable:
    """Read one file (`read_tower` describes the arguments)."""
    start, step = file.intervals()
    drivers = _choose(file, DRIVER_COLUMNS, columns)
    for name, column in drivers.items():
        if column is None and name not in OPTIONAL and not (name == "co2" and co2 is not None):
            advice = " or co2=<umol mol-1>" if name == "co2" else ""
            raise TowerFileError(
                f"{file.path.name}: no column for {name}; looked for {', '.join(DRIVER_COLUMNS[name])}. Give "
                f"columns={{'{name}': '<column>'}}{advice}."
            )
    drivers = {name: column for name, column in drivers.items() if column}
    targets = {name: column for name, column in _choose(file, TARGET_COLUMNS, columns).items() if column}
    flags = {column: flag_column(column, file) for column in [*drivers.values(), *targets.values()]}
    sigmas = {name: sigma_column(column, file) for name, column in targets.items()}
    rain = file.first(("P_F", "P"))
    wanted = [*drivers.values(), *targets.values(), *flags.values(), *sigmas.values(), rain]
    numbers = file.numbers(column for column in wanted if column)

    flag_of = {name: numbers[flags[column]] for name, column in drivers.items() if flags[column]}
    good = np.all([flag <= BEST_DRIVER_FLAG for flag in flag_of.values()], axis=0) if flag_of else None
    if {"air_temperature", "vapour_pressure"} <= flag_of.keys():
        flag_of["vapour_pressure"] = np.maximum(flag_of["air_temperature"], flag_of["vapour_pressure"])
    forcing = {
        name: Column(numbers[column], column, flag_shares(flag_of[name]) if name in flag_of else {})
        for name, column in drivers.items()
    }
    forcing["soil_water_content"] = percent_to_fraction(forcing["soil_water_content"], file.path.name)
    forcing["vapour_pressure"] = _from_deficit(forcing["air_temperature"], forcing["vapour_pressure"])
    if co2 is not None and ("co2" not in forcing or not np.isfinite(forcing["co2"].values).any()):
        forcing["co2"] = Column(np.full(len(start), float(co2)), f"constant {co2:g}")
    forcing["lai"] = leaf_area_index(columns.get("lai") if lai is None else lai, file, start, step)
    _warn_about_drivers(forcing, file)

    observed = {}
    for name, column in targets.items():
        measured = _measured(column, numbers[column], flags[column] and numbers[flags[column]], file)
        sigma = numbers[sigmas[name]] if sigmas[name] else None
        observed[name] = Target(numbers[column], measured, column, sigma)
    return TowerTable(start, step, forcing, observed, Column(numbers[rain], rain) if rain else None, good)


def _choose(file: TowerCsv, table: Mapping[str, tuple[str, ...]], own: Mapping[str, str]) -> dict[str, str | None]:
    """The file column of each variable: the user's choice, else the first candidate with data."""
    chosen: dict[str, str | None] = {}
    for name, candidates in table.items():
        expanded: list[str] = []
        for candidate in candidates:
            if candidate.endswith("#"):
                pattern = re.compile(re.escape(candidate[:-1]) + r"(\d+)")
                numbered = [(int(m[1]), n) for n in file.names if (m := pattern.fullmatch(n))]
                expanded += [column for _, column in sorted(numbered)]
            else:
                expanded.append(candidate)
        chosen[name] = file.require(own[name]) if name in own else file.first_with_data(expanded)
    return chosen


def flag_column(column: str, file: TowerCsv) -> str | None:
    """The quality flag of a column; closure-corrected fluxes (LE_CORR, H_CORR_25 ...) use that of LE_F_MDS, H_F_MDS."""
    corrected = re.fullmatch(r"(LE|H)_CORR(_25|_75)?", column)
    return file.first([f"{column}_QC", *([f"{corrected[1]}_F_MDS_QC"] if corrected else [])])


def sigma_column(column: str, file: TowerCsv) -> str | None:
    """The random uncertainty of a target column (LE_RANDUNC, NEE_VUT_REF_RANDUNC, LE_CORR_JOINTUNC ...), if there."""
    return file.first([f"{column}_JOINTUNC" if "_CORR" in column else f"{column.removesuffix('_F_MDS')}_RANDUNC"])


def flag_shares(flag: np.ndarray) -> dict[str, float]:
    """Shares of samples measured, well filled, filled otherwise (reanalysis ...), and without flag."""
    return {
        "share_flag_0": float(np.mean(flag == 0)),
        "share_flag_1": float(np.mean(flag == 1)),
        "share_flag_2_or_more": float(np.mean(flag >= 2)),
        "share_without_flag": float(np.mean(~np.isfinite(flag))),
    }


def _measured(column: str, values: np.ndarray, flag: np.ndarray | None, file: TowerCsv) -> np.ndarray:
    if flag is not None:
        return (flag == 0) & np.isfinite(values)
    if column not in NEVER_FILLED:
        warnings.warn(
            f"{file.path.name}: '{column}' has no quality flag '{column}_QC'; samples on straight lines or in runs of "
            "equal values are taken as filled, all others as measured.",
            TowerDataWarning, stacklevel=4,
        )  # fmt: skip
        return np.isfinite(values) & ~interpolated_samples(values)
    return np.isfinite(values)


def _from_deficit(temperature: Column, deficit: Column) -> Column:
    values, count = humidity.from_deficit(temperature.values, deficit.values)
    attributes = {
        **deficit.attributes, "samples_floored": count, "method": "ONEFlux saturation vapour pressure minus deficit"
    }  # fmt: skip
    return Column(values, f"{temperature.source}, {deficit.source}", attributes)


def _warn_about_drivers(forcing: Mapping[str, Column], file: TowerCsv) -> None:
    poor = {name: column.attributes.get("share_flag_2_or_more", 0.0) for name, column in forcing.items()}
    worst = ", ".join(f"{name} {100 * share:.1f} %" for name, share in poor.items() if share > 0)
    if worst:
        warnings.warn(
            f"{file.path.name}: drivers filled by reanalysis or with medium quality (flag 2 or more): {worst}. The "
            "values are kept; 'forcing_good' is false in these rows.",
            TowerDataWarning, stacklevel=4,
        )  # fmt: skip
