"""The examination of a tower's record: what was found of each variable, what it costs, whether clock and energy balance fit.

Findings are data here; the command `canveg doctor` prints and draws them.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from pydantic import ValidationError

from ..forcing import FORCING_TABLE
from ..site import Site
from .clock import Judgement, judge_clock
from .completeness import Cost, costs_of_forcing
from .energy_balance import Closure, closure
from .lai import Lai
from .place import read_site
from .read_tower import DERIVED, read_as_it_is
from .sun import Place, place_of
from .suspicions import Suspicion, measured, sentence, suspicions
from .time_zone import StandardTime, standard_time
from .timestamps import HALF_HOUR
from .tower_dataset import TARGET_TABLE, TowerFileError

MOSTLY_FILLED = 0.5
FEWEST_USABLE = 48
"""Half-hours: a day. Fewer are no record."""

WEATHER = ("air_temperature", "shortwave_in", "vapour_pressure", "wind_speed")
"""If none of these was ever measured, the record is one of the filling."""

CLOSURE_RANGE = (0.6, 1.15)
"""Slopes of the energy balance that towers have [Wilson2002]; beyond, a unit or a sign is more likely than the weather."""

ADVICE = {
    "lai": "lai: a number, a column, or radiation (docs/stand-ins.md)",
    "pressure": "elevation of the site, or columns",
    "friction_velocity": "canopy and measurement height of the site (a stand-in from wind), or columns",
    "soil_water_content": "a file with precipitation, and the site (a stand-in from rain), or columns",
}
"""What to do about a forcing variable that is not there, where it is not to name a column."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class VariableFinding:
    """One variable of a record. Shares are of all half-hours and add up to one.

    Args:
        variable, unit: canonical.
        column: where it came from.
        measured, filled, stand_in, missing: shares. Values of files without flags count as measured.
        low, high: 1 % and 99 % quantile of what is there, None without any.
        flags: which kind of flags decided.
        said: what looks wrong and what to do, in sentences.
    """

    variable: str
    unit: str
    column: str
    measured: float
    filled: float
    stand_in: float
    missing: float
    low: float | None
    high: float | None
    flags: str
    said: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Examination:
    """What was found in a record.

    Args:
        name: of the site, or of the file.
        period: first and last interval, in words.
        half_hours, usable: how many there are, and how many the canopy can be run for.
        variables: one finding each.
        costs: of each variable that spoils half-hours, the dearest first.
        closure: of the energy balance; None if it cannot be computed.
        clock: against the sun; None without a place or without daylight.
        standard_time: of the place, by tzfpy; None without it.
        site: None if it is not known.
        place: of the site, or of the file itself; None if neither says it.
        remarks: what the reader and the stand-ins said.
        warnings: what limits the use of the record.
        refusals: why it cannot be used.
    """

    name: str
    period: str
    half_hours: int
    usable: int
    variables: tuple[VariableFinding, ...]
    costs: Mapping[str, Cost]
    closure: Closure | None
    clock: Judgement | None
    standard_time: StandardTime | None
    site: Site | None
    place: Place | Site | None
    remarks: tuple[str, ...]
    warnings: tuple[str, ...]
    refusals: tuple[str, ...]

    @property
    def verdict(self) -> int:
        """0: usable; 1: usable, with warnings; 2: not usable."""
        return 2 if self.refusals else int(bool(self.warnings))


def examine(dataset: xr.Dataset, site: Site | None = None, remarks: tuple[str, ...] = ()) -> Examination:
    """Examine a dataset of `read_tower`; without a site, and if the file does not say where it is, neither clock nor radiation
    can be judged."""
    place = place_of(dataset, site)
    suspected = suspicions(dataset, place)
    variables = tuple(
        _finding(name, dataset, [s for s in suspected if s.variable == name]) for name in _names(dataset)
    )  # fmt: skip
    spoilt = costs_of_forcing(dataset)
    usable = int(dataset["forcing_complete"].values.sum())
    clock = None
    if place is not None and "shortwave_in" in dataset:
        step = HALF_HOUR * (dataset.attrs["step_minutes"] / 30)
        clock = judge_clock(measured(dataset, "shortwave_in"), pd.DatetimeIndex(dataset["time"]), step, place)
    zone = None if place is None else standard_time(place.latitude, place.longitude)
    balance = closure(dataset)
    time = dataset["time"].values.astype("datetime64[m]")
    caught = list(_warnings(variables, balance, clock, zone, place))
    return Examination(
        name=site.name if site is not None else str(dataset.attrs.get("source_files", ["record"])[0]),
        period=f"{time[0]} to {dataset['time_end'].values[-1].astype('datetime64[m]')}, {dataset.attrs['step_minutes']} min",
        half_hours=len(time),
        usable=usable,
        variables=variables,
        costs=spoilt,
        closure=balance,
        clock=clock,
        standard_time=zone,
        site=site,
        place=place,
        remarks=remarks,
        warnings=tuple([*caught, *remarks]),
        refusals=tuple(_refusals(len(time), usable, spoilt, clock, variables)),
    )


def examine_files(
    forcings: str | Path,
    fluxes: str | Path | None = None,
    site: Site | None = None,
    *,
    lai: Lai | Mapping[str, Any] | None = None,
    stand_ins: Mapping[str, Any] | None = None,
    columns: Mapping[str, str] | None = None,
) -> tuple[Examination, xr.Dataset]:
    """Read files as `read_tower` does, but go on where a variable is missing, and examine what is there.

    Args:
        forcings, fluxes, site, lai, stand_ins, columns: see `read_tower`. Without a site, that of an ALMA file with heights.

    Raises:
        TowerFileError: the file cannot be read at all; the message says what to do.
        ValueError: time stamps that are no regular series.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are among the remarks
        site = _site_of_file(Path(forcings)) if site is None else site
        dataset, remarks = read_as_it_is(forcings, fluxes, site=site, lai=lai, stand_ins=stand_ins, columns=columns)
    return examine(dataset, site, tuple(remarks)), dataset


def _site_of_file(path: Path) -> Site | None:
    """The site that an ALMA NetCDF with heights describes; None if it does not."""
    if path.suffix.lower() != ".nc" or not path.is_file():
        return None
    try:
        return read_site(path)
    except (TowerFileError, ValidationError):
        return None


def require_usable(examination: Examination) -> None:
    """Refuse a record that cannot be used, for commands that go on to use it.

    Raises:
        TowerFileError: the message says why, and what to do.
    """
    if examination.refusals:
        raise TowerFileError(f"{examination.name}: not usable: {'; '.join(examination.refusals)}")


def short_text(examination: Examination) -> str:
    """The examination in a few lines, for commands that go on to use the record."""
    share = 100.0 * examination.usable / max(examination.half_hours, 1)
    lines = [f"{examination.name}: {examination.usable} of {examination.half_hours} half-hours usable ({share:.1f} %)"]
    dearest = list(examination.costs.items())[:2]
    lines += [f"  costs most: {name}, {cost.alone} alone" for name, cost in dearest if cost.alone]
    lines += [
        f"  ! {text}" for text in (*examination.refusals, *examination.warnings) if text not in examination.remarks
    ]
    if len(lines) > 1:
        lines.append("  canveg doctor FILE --site SITE shows the whole table")
    return "\n".join(lines)


def _names(dataset: xr.Dataset) -> list[str]:
    """Variables to report: what must be there, and what is there in addition."""
    left_out = (*DERIVED, "soil_temperature_tendency")
    required = [n for n, info in FORCING_TABLE.items() if n not in left_out and (not info.optional or n in dataset)]
    fluxes = [n for n in TARGET_TABLE if n in dataset and dataset[n].attrs.get("source_column") != "none"]
    return [name for name in (*required, "precipitation", *fluxes) if name in dataset or name in FORCING_TABLE]


def _finding(name: str, dataset: xr.Dataset, suspected: list[Suspicion]) -> VariableFinding:
    size = dataset.sizes["time"]
    if name not in dataset:
        remedy = _advice(name)
        return VariableFinding(
            variable=name, unit=FORCING_TABLE[name].unit, column="none", measured=0.0, filled=0.0, stand_in=0.0,
            missing=1.0, low=None, high=None, flags="", said=(f"{name} is not in the file. Give {remedy}.",),
        )  # fmt: skip
    values, attrs = dataset[name].values, dataset[name].attrs
    present = np.isfinite(values)
    stands = dataset[f"{name}_stand_in"].values if f"{name}_stand_in" in dataset else np.zeros(size, dtype=bool)
    own = float((present & ~stands).mean())
    if f"{name}_measured" in dataset:
        share, flags = float(dataset[f"{name}_measured"].values.mean()), "measured or filled"
    elif "share_flag_0" in attrs:
        share, flags = (
            min(float(attrs["share_flag_0"]), own),
            "QC "
            + "/".join(f"{100 * float(attrs[f'share_flag_{flag}']):.0f}" for flag in ("0", "1", "2_or_more"))
            + " %",
        )
    else:
        share, flags = own, ""
    low, high = np.quantile(values[present], [0.01, 0.99]) if present.any() else (None, None)
    said = [sentence(one, dataset) for one in suspected]
    if not present.any() and name in FORCING_TABLE and not FORCING_TABLE[name].optional:
        said.append(f"{name} has no value at all. Give {_advice(name)}.")
    if present.any() and own - share > MOSTLY_FILLED and name in FORCING_TABLE:
        said.append(f"{name} is {100 * (own - share):.0f} % filled; results there are the filling's as well.")
    if name in FORCING_TABLE:
        info = FORCING_TABLE[name]
        wrong = int((present & ((values < info.lower) | (values > info.upper))).sum())
        if wrong:
            said.append(
                f"{name} has {wrong} half-hours outside {info.lower:g} .. {info.upper:g}. They are left out; check the unit."
            )
    return VariableFinding(
        variable=name,
        unit=str(attrs.get("units", "")),
        column=str(attrs.get("source_column", "")),
        measured=share,
        filled=own - share,
        stand_in=float(stands.mean()),
        missing=float((~present).mean()),
        low=None if low is None else float(low),
        high=None if high is None else float(high),
        flags=flags,
        said=tuple(said),
    )


def _warnings(
    variables: tuple[VariableFinding, ...], balance: Closure | None, clock: Judgement | None, zone: StandardTime | None,
    place: Place | Site | None,
) -> Iterator[str]:  # fmt: skip
    for found in variables:
        yield from found.said
    if balance is not None and not CLOSURE_RANGE[0] <= balance.slope <= CLOSURE_RANGE[1]:
        yield (
            f"energy balance: LE + H is {balance.slope:.2f} of Rn - G (towers have {CLOSURE_RANGE[0]} to {CLOSURE_RANGE[1]}): "
            "check units and signs of the four"
        )
    if clock is not None and clock.text and not clock.grave:
        yield clock.text
    if zone is not None and place is not None and abs(zone.utc_offset - place.utc_offset) > 0.01:
        yield f"utc_offset is {place.utc_offset:g}; standard time there ({zone.zone}) is {zone.utc_offset:g}"


def _refusals(
    size: int, usable: int, spoilt: Mapping[str, Cost], clock: Judgement | None, variables: tuple[VariableFinding, ...]
) -> Iterator[str]:
    weather = [found for found in variables if found.variable in WEATHER]
    if not any(found.measured for found in weather):
        yield f"nothing was measured of {', '.join(WEATHER)}: all of it was filled, or is missing. Take another period"
    if usable < FEWEST_USABLE:
        whole = [name for name, cost in spoilt.items() if cost.missing == size]
        blame = f"; without any value: {', '.join(whole)}" if whole else ""
        yield f"{usable} of {size} half-hours are usable, at least {FEWEST_USABLE} are needed{blame}"
    if clock is not None and clock.grave:
        yield clock.text


def _advice(name: str) -> str:
    return ADVICE.get(name, f"columns: {{{name}: <column>}}, or another file")
