"""FLUXNET / ONEFlux CSVs, half-hourly (HH) or hourly (HR), SUBSET or FULLSET: quality flags become masks.

Flags of filled variables: 0 measured, 1 filled with good quality, 2 medium or reanalysis (ERA), 3 poor.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from .. import humidity
from ..arrays import Mask, Series
from ..measured import interpolated_samples
from ..tower_dataset import Column, Target, TowerTable
from ..units import co2_mole_fraction, deficit_in_hpa, percent_to_fraction
from .base import ReadOptions, TowerFormat, co2_from_option
from .csv import CsvHeader, TowerCsv, read_header
from .leaf_area import lai_column, leaf_area

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
    """FLUXNET2015, ONEFlux and FLUXMET files (AmeriFlux, ICOS, FLUXNET) with filled variables and their flags.

    Formats with other names of columns subclass it and replace the tables.
    """

    name = "fluxnet"
    expects = "TIMESTAMP_START and TIMESTAMP_END, filled columns such as TA_F or LE_F_MDS, no comment lines"
    driver_columns: ClassVar[Mapping[str, tuple[str, ...]]] = DRIVER_COLUMNS
    target_columns: ClassVar[Mapping[str, tuple[str, ...]]] = TARGET_COLUMNS

    def recognises(self, path: Path) -> bool:
        """Both stamps of a row, filled variables, and nothing above the header."""
        header = read_header(path)
        return header is not None and header.both_stamps and is_filled(header) and not has_raw_beside_filled(header)

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
            TowerFileError: LAI is missing, a chosen column does not exist, a unit cannot be right.
            ValueError: the time stamps are no regular series.
        """
        file = TowerCsv(path, options.utc_offset)
        names = file.names
        tables = {**self.driver_columns, **self.target_columns, "precipitation": PRECIPITATION_COLUMNS}
        candidates = {
            name: [file.require(options.columns[name])] if name in options.columns else _expanded(columns, names)
            for name, columns in tables.items()
        }
        possible = [column for columns in candidates.values() for column in columns]
        flag_columns = {column: flag_column(column, names) for column in possible}
        raw_columns = {column: raw_column(column, names) for column in possible}
        sigma_columns = {
            column: sigma_column(column, names) for name in self.target_columns for column in candidates[name]
        }
        lai = lai_column(options, file.require)
        humidity_check = "RH" if "RH" in names else None

        table = file.read(
            [*possible, *flag_columns.values(), *raw_columns.values(), *sigma_columns.values(), humidity_check, lai]
        )
        start, step = table.intervals()
        chosen = table.with_data(candidates)
        drivers = {name: chosen[name] for name in self.driver_columns if name in chosen}
        targets = {name: chosen[name] for name in self.target_columns if name in chosen}
        flags = {column: flag_columns[column] for column in chosen.values()}
        raws = {column: raw_columns[column] for column in targets.values()}
        sigmas = {name: sigma_columns[column] for name, column in targets.items()}
        numbers = table.numbers(
            [*chosen.values(), *flags.values(), *raws.values(), *sigmas.values(), humidity_check, lai]
        )

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
        _in_our_units(forcing, numbers.get("RH"), path.name)
        co2_from_option(forcing, options, len(start))
        forcing["lai"] = leaf_area(options, lai, numbers, f"{file.label} ({self.name})", start, step)
        observed = {
            name: Target(
                values=numbers[column],
                measured=_measured(
                    column, numbers[column], numbers[flag] if (flag := flags[column]) else None,
                    numbers[raw] if (raw := raws[column]) else None, _never_filled(column, names),
                ),
                source=column,
                sigma=numbers[sigma] if (sigma := sigmas[name]) else None,
            )
            for name, column in targets.items()
        }  # fmt: skip
        unflagged = [
            column
            for column in targets.values()
            if not flags[column] and not raws[column] and not _never_filled(column, names)
        ]
        rain = chosen.get("precipitation")
        return TowerTable(
            start=start,
            step=step,
            forcing=forcing,
            targets=observed,
            precipitation=Column(numbers[rain], rain) if rain else None,
            forcing_good=good,
            warnings=_warnings(forcing, unflagged, file.label),
            attributes={"time_stamp": "start and end in file", "choices": table.choices(chosen, candidates)},
            looked_for={name: ", ".join(c) for name, c in self.driver_columns.items() if name not in OPTIONAL},
        )


def _in_our_units(forcing: dict[str, Column], relative_humidity: Series | None, what: str) -> None:
    """Soil water as a fraction, vapour pressure in kPa from the deficit, CO2 as a mole fraction; in place."""
    if "soil_water_content" in forcing:
        forcing["soil_water_content"] = percent_to_fraction(forcing["soil_water_content"], what)
    temperature, deficit = forcing.get("air_temperature"), forcing.pop("vapour_pressure", None)
    if temperature is not None and deficit is not None:
        deficit = deficit_in_hpa(deficit, temperature.values, relative_humidity)
        forcing["vapour_pressure"] = _from_deficit(temperature, deficit)
    if "co2" in forcing:
        pressure = forcing.get("pressure")
        forcing["co2"] = co2_mole_fraction(
            forcing["co2"],
            None if temperature is None else temperature.values,
            None if pressure is None else pressure.values,
            what,
        )


def is_filled(header: CsvHeader) -> bool:
    """Whether variables are gap-filled the FLUXNET way; AmeriFlux BASE, which has the same stamps, has comment lines."""
    return not header.comments and any(
        (name.endswith(("_F", "_F_MDS")) and not name.endswith("_PI_F")) or name.startswith(("NEE_VUT", "NEE_CUT"))
        for name in header.names
    )


def has_raw_beside_filled(header: CsvHeader) -> bool:
    """Whether fluxes are filled the way of FLUXNET-CH4 (LE_F), and none the way of ONEFlux (LE_F_MDS, NEE_VUT_REF)."""
    names = set(header.names)
    oneflux = ("LE_F_MDS", "H_F_MDS", "NEE_VUT_REF", "NEE_CUT_REF", "TA_F_MDS", "TS_F_MDS_1")
    return bool(names & {"LE_F", "H_F", "NEE_F", "FCH4_F"}) and not names & set(oneflux)


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


def raw_column(column: str, names: Collection[str]) -> str | None:
    """The measured column beside a filled one (LE beside LE_F) where that has no flag of its own."""
    raw = column.removesuffix("_F")
    return raw if raw != column and raw in names and f"{column}_QC" not in names else None


def flag_shares(flag: Series) -> dict[str, float]:
    """Shares of samples measured, well filled, filled otherwise (reanalysis ...), and without flag."""
    return {
        "share_flag_0": float(np.mean(flag == 0)),
        "share_flag_1": float(np.mean(flag == 1)),
        "share_flag_2_or_more": float(np.mean(flag >= 2)),
        "share_without_flag": float(np.mean(~np.isfinite(flag))),
    }


def _measured(column: str, values: Series, flag: Series | None, raw: Series | None, never_filled: bool) -> Mask:
    """Samples with flag 0; without a flag those that the raw column has too, or that no line or carried value put there.

    A filled column (`_F`) with neither a flag nor a raw one beside it has no sample that is known to be measured.
    """
    present = np.isfinite(values)
    if flag is not None:
        return (flag == 0) & present
    if raw is not None:
        return np.isfinite(raw) & present
    if never_filled:
        return present
    return present & ~interpolated_samples(values) & (not column.endswith("_F"))


def _never_filled(column: str, names: Collection[str]) -> bool:
    """Whether a column holds measurements only: it has a filled twin, or is of a kind that has none."""
    return column in NEVER_FILLED or f"{column}_F" in names or f"{column}_F_MDS" in names


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
        f"{file_name}: '{column}' has no quality flag '{column}_QC' and no column of measurements beside it; none of its samples "
        "counts as measured."
        if column.endswith("_F")
        else f"{file_name}: '{column}' has no quality flag '{column}_QC'; samples on straight lines or in runs of "
        "equal values are taken as filled, all others as measured."
        for column in unflagged
    ]
