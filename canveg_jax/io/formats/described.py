"""Any CSV, described by a YAML: which column is what, in which unit, how time is written, what is missing, what is measured.

file: tower.csv                       # beside the YAML
time: {columns: [date, time], format: "%d.%m.%Y %H:%M", marks: end, utc_offset: 0}
missing: [-999, n.d.]
columns:
  air_temperature: {name: Ta, unit: K}
  relative_humidity: {name: RH, unit: "%"}
  latent_heat: {name: LE, unit: W/m2, flag: LE_qc, measured: [0, 1]}
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
import pydantic
import yaml

from ...files import sha256
from ...forcing import FORCING_TABLE
from ...records import Record
from ...spelling import unknown
from .. import humidity
from ..conversion import converted
from ..requirements import DERIVED
from ..timestamps import check_step, parse_stamps
from ..tower_dataset import TARGET_TABLE, Column, Target, TowerFileError, TowerTable
from .base import ReadOptions, TowerFormat, co2_from_option
from .csv import CsvColumns, TowerCsv
from .leaf_area import leaf_area

HUMIDITIES = {"relative_humidity": "%", "vapour_pressure_deficit": "hPa"}
"""What vapour pressure may be made from, with air temperature."""

MOST_FLAGS = 8
"""Different flags that a message names."""

UNITS = {
    **{name: info.unit for name, info in FORCING_TABLE.items() if name not in DERIVED},
    **HUMIDITIES,
    "precipitation": "mm",
    **{name: info.unit for name, info in TARGET_TABLE.items()},
}
"""The variables that a description may name, and the unit that each becomes."""


class DescribedColumn(Record):
    """One column.

    Args:
        name: in the header of the CSV.
        unit: of its numbers.
        flag: the column of its quality flags.
        measured: flags with which a flux counts as measured.
    """

    name: str
    unit: str
    flag: str | None = None
    measured: tuple[float, ...] = (0.0,)


class DescribedTime(Record):
    """How time is written.

    Args:
        columns: one column, or several that are joined by a blank (date, time).
        format: as `strptime` takes it; default: YYYYMMDDHHMM or ISO.
        marks: which end of the interval a stamp marks.
        utc_offset: hours east of UTC of the stamps; default: they are in the site's local standard time.
    """

    columns: tuple[str, ...] = pydantic.Field(min_length=1)
    format: str | None = None
    marks: Literal["start", "end"]
    utc_offset: float | None = pydantic.Field(default=None, ge=-12, le=14, multiple_of=0.25)

    @pydantic.field_validator("columns", mode="before")
    @classmethod
    def _several(cls, columns: Any) -> Any:
        return (columns,) if isinstance(columns, str) else columns


class Description(Record):
    """A CSV in words; see the module."""

    file: str
    time: DescribedTime
    columns: dict[str, DescribedColumn]
    missing: tuple[str | float, ...] = ()

    @pydantic.field_validator("columns")
    @classmethod
    def _variables(cls, columns: dict[str, DescribedColumn]) -> dict[str, DescribedColumn]:
        for name in columns:
            if name not in UNITS:
                raise ValueError(unknown("variable", name, UNITS))
        seen: dict[str, str] = {}
        for name, column in columns.items():
            if (other := seen.setdefault(column.name, name)) != name:
                raise ValueError(
                    f"column {column.name!r} stands for both {other} and {name}. Leave out what it is not."
                )
        return columns


class Described(TowerFormat):
    """A YAML that describes a CSV."""

    name = "described"
    expects = "a YAML with file, time and columns, which describes a CSV"
    suffixes: ClassVar[tuple[str, ...]] = (".yaml", ".yml")

    def recognises(self, path: Path) -> bool:
        """By the suffix: a YAML is never data itself."""
        return path.suffix.lower() in self.suffixes

    def read(self, path: Path, options: ReadOptions) -> TowerTable:
        """Read the CSV as described; see `TowerFormat.read`.

        Raises:
            TowerFileError: the description is none, or does not fit the file.
            ValueError: the time stamps are no regular series.
        """
        description = read_description(path)
        data = path.parent / description.file
        if not data.is_file():
            raise TowerFileError(
                f"{path.name}: file: there is no '{data}'. Its path starts from the folder of the YAML."
            )
        if options.columns:
            raise TowerFileError(f"{path.name}: columns stand in the description; leave out `columns`.")
        csv = TowerCsv(data)
        columns = description.columns
        lai_given = options.lai is not None
        used = {name: column for name, column in columns.items() if not (name == "lai" and lai_given)}
        wanted = [csv.require(name) for c in used.values() for name in (c.name, c.flag) if name]
        times = [csv.require(name) for name in description.time.columns]
        table = csv.read(wanted, text=times, missing=[str(code) for code in description.missing])
        start, step = _intervals(table, description.time, options, csv.label)
        numbers = table.numbers(wanted)

        def column(name: str) -> Column:
            one = columns[name]
            values = converted(numbers[one.name], one.unit, UNITS[name], f"{path.name}: {name}", step.total_seconds())
            return Column(values, one.name, {"file_unit": one.unit})

        forcing = {name: column(name) for name in used if name in FORCING_TABLE and name != "lai"}
        humidities = {name: column(name) for name in used if name in HUMIDITIES}
        unused = list(humidities)[0 if "vapour_pressure" in forcing else 1 :]
        _with_vapour_pressure(forcing, humidities)
        co2_from_option(forcing, options, len(start))
        lai = {"lai": column("lai").values} if "lai" in used else {}
        forcing["lai"] = leaf_area(options, "lai" if lai else None, lai, f"{path.name} ({self.name})", start, step)
        targets: dict[str, Target] = {}
        texts = [f"{path.name}: {name} is not used, as vapour pressure is known without it." for name in unused]
        for name in (name for name in used if name in TARGET_TABLE):
            values, flag = column(name), columns[name].flag
            measured = np.isfinite(values.values)
            if flag is None:
                texts.append(f"{path.name}: {name} has no flag; all of its samples count as measured.")
            else:
                chosen = np.isin(numbers[flag], columns[name].measured)
                if measured.any() and not (measured & chosen).any():
                    there = sorted({float(f) for f in numbers[flag][np.isfinite(numbers[flag])]})[:MOST_FLAGS]
                    texts.append(
                        f"{path.name}: none of the {int(measured.sum())} samples of {name} counts as measured: column {flag} has "
                        f"{', '.join(f'{f:g}' for f in there) or 'no number'}, `measured` names "
                        f"{', '.join(f'{f:g}' for f in columns[name].measured) or 'none'}."
                    )
                measured &= chosen
            targets[name] = Target(values=values.values, measured=measured, source=values.source)
        return TowerTable(
            start=start,
            step=step,
            forcing=forcing,
            targets=targets,
            precipitation=column("precipitation") if "precipitation" in used else None,
            warnings=texts,
            attributes={
                "time_stamp": description.time.marks, "data_file": data.name, "data_sha256": sha256(data),
                "choices": [f"{name}: {one.name} ({one.unit})" for name, one in columns.items()],
            },
            looked_for={name: f"{name}: {{name: <column>, unit: {unit}}} under columns" for name, unit in UNITS.items()},
        )  # fmt: skip


class _Twice(Exception):
    """A key that a mapping has twice, of which YAML would keep the last."""

    def __init__(self, key: object, line: int):
        super().__init__(key, line)
        self.key, self.line = key, line


class _EachKeyOnce(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if (value := key.value) in seen and isinstance(key, yaml.ScalarNode):
                raise _Twice(value, key.start_mark.line + 1)
            seen.add(value) if isinstance(key, yaml.ScalarNode) else None
        return super().construct_mapping(node, deep)


def read_description(path: Path) -> Description:
    """The description in a YAML.

    Raises:
        TowerFileError: no YAML of this form; the message says what is wrong where, and the nearest known key.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_EachKeyOnce)  # a SafeLoader
    except _Twice as error:
        raise TowerFileError(
            f"{path.name}, line {error.line}: the key {error.key!r} is there twice. Leave out one."
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        place = getattr(error, "problem_mark", None)
        where = "" if place is None else f", line {place.line + 1}"
        raise TowerFileError(f"{path.name}{where}: this is no YAML. Compare it with docs/tower-data.md.") from None
    if not isinstance(content, dict):
        raise TowerFileError(
            f"{path.name}: expected a YAML with the keys file, time and columns. See docs/tower-data.md."
        )
    try:
        return Description(**content)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        text = first["msg"].removeprefix("Value error, ")
        raise TowerFileError(f"{path.name}: {f'{where}: ' if where else ''}{text}") from None


def _with_vapour_pressure(forcing: dict[str, Column], humidities: dict[str, Column]) -> None:
    """Vapour pressure from relative humidity or the deficit, where it is no column itself; in place."""
    temperature = forcing.get("air_temperature")
    if "vapour_pressure" in forcing or temperature is None or not humidities:
        return
    name, column = next(iter(humidities.items()))
    make = humidity.from_relative_humidity if name == "relative_humidity" else humidity.from_deficit
    values, count = make(temperature.values, column.values)
    forcing["vapour_pressure"] = Column(values, f"{temperature.source}, {column.source}", {"samples_floored": count})


def _intervals(
    table: CsvColumns, time: DescribedTime, options: ReadOptions, what: str
) -> tuple[pd.DatetimeIndex, pd.Timedelta]:
    """Start of every interval, local standard time, and the step."""
    joined = pd.Series([" ".join(parts) for parts in zip(*(table.texts(name) for name in time.columns), strict=True)])
    where = f"{what}, {' '.join(time.columns)}"
    if time.format is None:
        stamps = parse_stamps(joined, where, options.utc_offset)
    else:
        moments = pd.to_datetime(joined, format=time.format, errors="coerce")
        bad = np.flatnonzero(moments.isna().to_numpy())
        if bad.size:
            raise TowerFileError(
                f"{where}: row {bad[0]} has the time {joined.iloc[bad[0]]!r}; expected the format {time.format!r}. Correct "
                f"the format, or the {bad.size} row(s)."
            )
        stamps = pd.DatetimeIndex(moments)
    step = check_step(stamps, what)
    if time.utc_offset is not None:
        if options.utc_offset is None:
            raise TowerFileError(
                f"{what}: the stamps are at UTC{time.utc_offset:+g} h; give the site, with its utc_offset."
            )
        stamps = stamps + pd.Timedelta(hours=options.utc_offset - time.utc_offset)
    return (stamps if (options.time_stamp or time.marks) == "start" else stamps - step), step
