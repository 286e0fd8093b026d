"""FLUXNET / ONEFlux CSVs, half-hourly (HH) or hourly (HR), SUBSET or FULLSET: quality flags become masks.

Flags of filled variables: 0 measured, 1 filled with good quality, 2 medium or reanalysis (ERA), 3 poor.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import numpy as np

from .. import humidity
from ..arrays import Mask, Series
from ..lai import leaf_area_index
from ..measured import interpolated_samples
from ..tower_dataset import Column, Target, TowerFileError, TowerTable
from ..units import percent_to_fraction
from .base import ReadOptions, TowerFormat
from .csv import CsvHeader, TowerCsv, read_header

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

PRECIPITATION_COLUMNS = ("P_F", "P")

OPTIONAL = ("longwave_in",)

TARGET_COLUMNS: dict[str, tuple[str, ...]] = {
    "latent_heat": ("LE_F_MDS",),
    "sensible_heat": ("H_F_MDS",),
    "ground_heat": ("G_F_MDS",),
    "net_radiation": ("NETRAD",),
    "nee": ("NEE_VUT_REF", "NEE_CUT_REF"),
    "soil_respiration": (),
    "gpp": ("GPP_NT_VUT_REF", "GPP_DT_VUT_REF", "GPP_NT_CUT_REF", "GPP_DT_CUT_REF"),
    "shortwave_out": ("SW_OUT",),
    "longwave_out": ("LW_OUT",),
}

NEVER_FILLED = ("NETRAD", "USTAR", "SW_OUT", "LW_OUT")
"""Variables without flag because they are never filled: what is there was measured."""

BEST_DRIVER_FLAG = 1
"""A driver value with a flag up to this one counts as good (`forcing_good`)."""


class Fluxnet(TowerFormat):
    """FLUXNET2015, ONEFlux and FLUXNET-CH4 style files with filled variables and their flags."""

    name = "fluxnet"
    expects = "TIMESTAMP_START and TIMESTAMP_END, filled columns such as TA_F or LE_F_MDS, no comment lines"

    def recognises(self, path: Path) -> bool:
        """Both stamps of a row, filled variables, and nothing above the header."""
        header = read_header(path)
        return header is not None and header.both_stamps and is_filled(header)

    def advice(self, path: Path) -> str | None:
        """Daily to yearly files have one column TIMESTAMP."""
        header = read_header(path)
        if header is None or "TIMESTAMP" not in header.names:
            return None
        return (
            f"{path.name}: one column TIMESTAMP marks daily to yearly FLUXNET files; half-hourly (HH) "
            "or hourly (HR) files have TIMESTAMP_START and TIMESTAMP_END. Use the HH or HR file."
        )

    def read(self, path: Path, options: ReadOptions) -> TowerTable:
        """Read one file; see `TowerFormat.read`. A column chosen for `vapour_pressure` is a deficit, hPa.

        Raises:
            TowerFileError: a driver or LAI is missing, a chosen column does not exist, soil water is no percentage.
            ValueError: the time stamps are no regular series.
        """
        file = TowerCsv(path)
        names = file.header.names
        candidates = {
            name: [file.require(options.columns[name])] if name in options.columns else _expanded(columns, names)
            for name, columns in (DRIVER_COLUMNS | TARGET_COLUMNS).items()
        }
        possible = [column for columns in candidates.values() for column in columns]
        flag_columns = {column: flag_column(column, names) for column in possible}
        sigma_columns = {column: sigma_column(column, names) for name in TARGET_COLUMNS for column in candidates[name]}
        rain = _first(PRECIPITATION_COLUMNS, names)
        lai = options.columns.get("lai") if options.lai is None else options.lai
        lai_column = file.require(lai) if isinstance(lai, str) else None

        table = file.read([*possible, *flag_columns.values(), *sigma_columns.values(), rain, lai_column])
        start, step = table.intervals()
        chosen = table.with_data(candidates)
        drivers = {name: chosen[name] for name in DRIVER_COLUMNS if name in chosen}
        targets = {name: chosen[name] for name in TARGET_COLUMNS if name in chosen}
        _require_drivers(drivers, options, path.name)
        flags = {column: flag_columns[column] for column in chosen.values()}
        sigmas = {name: sigma_columns[column] for name, column in targets.items()}
        numbers = table.numbers([*chosen.values(), *flags.values(), *sigmas.values(), rain, lai_column])

        driver_flags = {name: numbers[flag] for name, column in drivers.items() if (flag := flags[column])}
        good = np.all([flag <= BEST_DRIVER_FLAG for flag in driver_flags.values()], axis=0) if driver_flags else None
        if {"air_temperature", "vapour_pressure"} <= driver_flags.keys():  # the deficit needs both
            driver_flags["vapour_pressure"] = np.maximum(
                driver_flags["air_temperature"], driver_flags["vapour_pressure"]
            )
        forcing = {
            name: Column(
                values=numbers[column],
                source=column,
                attributes=flag_shares(driver_flags[name]) if name in driver_flags else {},
            )
            for name, column in drivers.items()
        }
        if "soil_water_content" in forcing:
            forcing["soil_water_content"] = percent_to_fraction(forcing["soil_water_content"], path.name)
        if "vapour_pressure" in forcing and "air_temperature" in forcing:
            forcing["vapour_pressure"] = _from_deficit(forcing["air_temperature"], forcing["vapour_pressure"])
        else:
            forcing.pop("vapour_pressure", None)
        if options.co2 is not None and ("co2" not in forcing or not np.isfinite(forcing["co2"].values).any()):
            forcing["co2"] = Column(np.full(len(start), float(options.co2)), f"constant {options.co2:g}")
        forcing["lai"] = leaf_area_index(
            Column(numbers[lai], lai) if isinstance(lai, str) else lai, f"{path.name} ({self.name})", start, step
        )
        observed = {
            name: Target(
                values=numbers[column],
                measured=_measured(column, numbers[column], numbers[flag] if (flag := flags[column]) else None),
                source=column,
                sigma=numbers[sigma] if (sigma := sigmas[name]) else None,
            )
            for name, column in targets.items()
        }
        unflagged = [column for column in targets.values() if not flags[column] and column not in NEVER_FILLED]
        return TowerTable(
            start=start,
            step=step,
            forcing=forcing,
            targets=observed,
            precipitation=Column(numbers[rain], rain) if rain else None,
            forcing_good=good,
            warnings=_warnings(forcing, unflagged, path.name),
            attributes={"time_stamp": "start and end in file"},
        )


def is_filled(header: CsvHeader) -> bool:
    """Whether variables are gap-filled the FLUXNET way; AmeriFlux BASE, which has the same stamps, has comment lines."""
    return not header.comments and any(
        name.endswith(("_F", "_F_MDS")) or name.startswith(("NEE_VUT", "NEE_CUT")) for name in header.names
    )


def _first(candidates: Iterable[str], names: Collection[str]) -> str | None:
    """The first of the candidates that the file has."""
    return next((name for name in candidates if name in names), None)


def _expanded(candidates: Iterable[str], names: Collection[str]) -> list[str]:
    """Those of the candidates that the file has; `#` stands for every sensor number, lowest first."""
    expanded: list[str] = []
    for candidate in candidates:
        if candidate.endswith("#"):
            pattern = re.compile(re.escape(candidate[:-1]) + r"(\d+)")
            numbered = [(int(match[1]), name) for name in names if (match := pattern.fullmatch(name))]
            expanded += [column for _, column in sorted(numbered)]
        elif candidate in names:
            expanded.append(candidate)
    return expanded


def flag_column(column: str, names: Collection[str]) -> str | None:
    """The quality flag of a column; closure-corrected fluxes (LE_CORR, H_CORR_25 ...) use that of LE_F_MDS, H_F_MDS, and
    gross primary production that of the NEE it was made from."""
    corrected = re.fullmatch(r"(LE|H)_CORR(_25|_75)?", column)
    partition = re.fullmatch(r"GPP_[ND]T_([VC]UT)_REF", column)
    source = f"{corrected[1]}_F_MDS_QC" if corrected else f"NEE_{partition[1]}_REF_QC" if partition else f"{column}_QC"
    return _first([f"{column}_QC", source], names)


def sigma_column(column: str, names: Collection[str]) -> str | None:
    """The random uncertainty of a target column (LE_RANDUNC, NEE_VUT_REF_RANDUNC, LE_CORR_JOINTUNC ...), if there."""
    wanted = f"{column}_JOINTUNC" if "_CORR" in column else f"{column.removesuffix('_F_MDS')}_RANDUNC"
    return wanted if wanted in names else None


def _require_drivers(drivers: Mapping[str, str], options: ReadOptions, file_name: str) -> None:
    for name, candidates in DRIVER_COLUMNS.items():
        optional = name in OPTIONAL or name in options.may_lack
        if name not in drivers and not optional and not (name == "co2" and options.co2 is not None):
            advice = " or co2=<umol mol-1>" if name == "co2" else ""
            raise TowerFileError(
                f"{file_name}: no column for {name}; looked for {', '.join(candidates)}. Give "
                f"columns={{'{name}': '<column>'}}{advice}."
            )


def flag_shares(flag: Series) -> dict[str, float]:
    """Shares of samples measured, well filled, filled otherwise (reanalysis ...), and without flag."""
    return {
        "share_flag_0": float(np.mean(flag == 0)),
        "share_flag_1": float(np.mean(flag == 1)),
        "share_flag_2_or_more": float(np.mean(flag >= 2)),
        "share_without_flag": float(np.mean(~np.isfinite(flag))),
    }


def _measured(column: str, values: Series, flag: Series | None) -> Mask:
    """Samples with flag 0; without a flag those that no straight line or carried value put there."""
    if flag is not None:
        return (flag == 0) & np.isfinite(values)
    if column in NEVER_FILLED:
        return np.isfinite(values)
    return np.isfinite(values) & ~interpolated_samples(values)


def _from_deficit(temperature: Column, deficit: Column) -> Column:
    """Vapour pressure, kPa, from temperature, degC, and deficit, hPa."""
    values, count = humidity.from_deficit(temperature.values, deficit.values)
    attributes = {
        **deficit.attributes, "samples_floored": count, "method": "ONEFlux saturation vapour pressure minus deficit"
    }  # fmt: skip
    return Column(values, f"{temperature.source}, {deficit.source}", attributes)


def _warnings(forcing: Mapping[str, Column], unflagged: Iterable[str], file_name: str) -> list[str]:
    """Drivers of poor quality, and targets without a flag."""
    poor = {name: column.attributes.get("share_flag_2_or_more", 0.0) for name, column in forcing.items()}
    worst = ", ".join(f"{name} {100 * share:.1f} %" for name, share in poor.items() if share > 0)
    texts = [
        f"{file_name}: drivers filled by reanalysis or with medium quality (flag 2 or more): {worst}. The values are "
        "kept; 'forcing_good' is false in these rows."
    ] if worst else []  # fmt: skip
    return texts + [
        f"{file_name}: '{column}' has no quality flag '{column}_QC'; samples on straight lines or in runs of "
        "equal values are taken as filled, all others as measured."
        for column in unflagged
    ]
