"""Which stand-ins there are, which of them a user chose, and putting them into a record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, get_args

import numpy as np
import xarray as xr

from ...forcing import FORCING_TABLE
from ...site import Site
from ...spelling import unknown
from ..arrays import Mask
from ..tower_dataset import Column, TowerFileError, TowerTable
from .base import Extent, Made, Record, StandIn, StandInError
from .bucket import BUCKET
from .cloud_of_the_day import CLOUD_OF_THE_DAY
from .co2_table import ANNUAL_TABLE
from .damped import DAMPED
from .elevation import ELEVATION
from .log_profile import LOG_PROFILE

STAND_INS: dict[str, dict[str, StandIn]] = {}
"""Stand-ins by variable and method. The first method of a variable is its default, if it is to have one; `register_stand_in`
adds to them."""

OFF = (None, False, "none")
"""What leaves a variable as it is."""

EXTENTS = get_args(Extent)


def register_stand_in(stand_in: StandIn) -> None:
    """Add a stand-in; one of the same variable and method is replaced.

    Raises:
        ValueError: no such forcing variable.
    """
    if stand_in.variable not in FORCING_TABLE:
        raise ValueError(unknown("forcing variable", stand_in.variable, FORCING_TABLE))
    STAND_INS.setdefault(stand_in.variable, {})[stand_in.method] = stand_in


for _known in (
    ANNUAL_TABLE,
    ELEVATION,
    LOG_PROFILE,
    DAMPED,
    BUCKET,
    CLOUD_OF_THE_DAY,
):  # the later ones may read what the earlier ones made
    register_stand_in(_known)


class Choice(NamedTuple):
    """A stand-in, where it is used, its parameters, and whether the user asked for it."""

    stand_in: StandIn
    extent: Extent
    parameters: Mapping[str, Any]
    asked: bool


def choose(given: Mapping[str, Any] | None = None) -> dict[str, Choice]:
    """The stand-in of each variable that has one switched on.

    Args:
        given: by variable, what differs from the defaults: the name of a method; `none` (or None, False) for no stand-in; or a
            mapping with `method`, `where` (`gaps`, `absent` or `everywhere`) and parameters of the method.

    Raises:
        TowerFileError: an unknown variable, method, place or parameter; the message has the known ones.
    """
    given = dict(given or {})
    for variable in given:
        if variable not in STAND_INS:
            raise TowerFileError(f"stand_ins: {unknown('variable', variable, STAND_INS)}")
    chosen = {}
    for variable, methods in STAND_INS.items():
        first = next(iter(methods.values()))
        setting = given.get(variable, first.method if first.by_default else None)
        if any(setting is off or setting == off for off in OFF):
            continue
        chosen[variable] = _choice(variable, setting, methods, asked=variable in given)
    return chosen


def _choice(variable: str, setting: Any, methods: Mapping[str, StandIn], *, asked: bool) -> Choice:
    options = dict(setting) if isinstance(setting, Mapping) else {"method": setting}
    method = options.pop("method", next(iter(methods)))
    if method not in methods:
        raise TowerFileError(f"stand_ins: {variable}: {unknown('method', str(method), [*methods, 'none'])}")
    stand_in = methods[method]
    extent = options.pop("where", stand_in.extent)
    if extent not in EXTENTS:
        raise TowerFileError(f"stand_ins: {variable}: {unknown('value of `where`', str(extent), EXTENTS)}")
    for name, value in options.items():
        if name not in stand_in.parameters:
            raise TowerFileError(
                f"stand_ins: {variable}: {unknown(f'parameter of {method}', str(name), ['where', *stand_in.parameters])}"
            )
        kind = bool if isinstance(stand_in.parameters[name], bool) else int | float
        if not isinstance(value, kind):
            expected = "true or false" if kind is bool else "a number"
            raise TowerFileError(f"stand_ins: {variable}: {name} must be {expected}; got {value!r}.")
    return Choice(stand_in, extent, {**stand_in.parameters, **options}, asked)


class Used(NamedTuple):
    """A stand-in that took effect: in which half-hours, as what, and the text of the warning."""

    mask: Mask
    choice: Choice
    made: Made
    text: str


def put_in(
    table: TowerTable, choices: Mapping[str, Choice], site: Site | None
) -> tuple[TowerTable, dict[str, Used], dict[str, str]]:
    """The table with stand-ins where values are missing.

    Returns:
        The table; each stand-in that took effect, by variable; and for each variable that still lacks values although a
        stand-in is chosen, why it could not be made.

    Raises:
        StandInError: a stand-in that the user asked for cannot be made.
    """
    size = len(table.start)
    used: dict[str, Used] = {}
    failed: dict[str, str] = {}
    for variable, choice in choices.items():
        column = table.forcing.get(variable)
        present = np.zeros(size, dtype=bool) if column is None else np.isfinite(column.values)
        wanted = np.ones(size, dtype=bool) if choice.extent == "everywhere" else ~present
        if not wanted.any() or (choice.extent == "absent" and present.any()):
            continue
        try:
            made = choice.stand_in.make(_record(table, site), **choice.parameters)
        except StandInError as error:
            if choice.asked:
                raise StandInError(f"stand_ins: {error}.") from error
            failed[variable] = str(error)
            continue
        mask = wanted & np.isfinite(made.values)
        if not mask.any():
            continue
        used[variable] = Used(mask, choice, made, _text(variable, choice, made, mask))
        table = table._replace(forcing={**table.forcing, variable: _filled(column, used[variable])})
    return table, used, failed


def _record(table: TowerTable, site: Site | None) -> Record:
    net = table.targets.get("net_radiation")
    return Record(
        start=table.start,
        step=table.step,
        forcing={name: column.values for name, column in table.forcing.items()},
        precipitation=None if table.precipitation is None else table.precipitation.values,
        net_radiation=None if net is None else np.where(net.measured, net.values, np.nan),
        site=site,
    )


def _filled(column: Column | None, used: Used) -> Column:
    method = used.choice.stand_in.method
    attributes = {f"stand_in_{name}": _attribute(value) for name, value in used.made.attributes.items()}
    attributes |= {"stand_in": method, "share_stand_in": float(used.mask.mean())}
    if column is None or used.mask.all():
        return Column(used.made.values, f"stand-in {method}", attributes)
    values = np.where(used.mask, used.made.values, column.values)
    return Column(values, f"{column.source}, stand-in {method}", {**column.attributes, **attributes})


def _attribute(value: Any) -> Any:
    return int(value) if isinstance(value, bool) else value  # NetCDF has no truth values


def _text(variable: str, choice: Choice, made: Made, mask: Mask) -> str:
    remarks = "".join(f"; {remark}" for remark in made.remarks)
    return (
        f"{variable}: a stand-in ({choice.stand_in.method}: {choice.stand_in.meaning}) in {int(mask.sum())} of {mask.size} "
        f"half-hours ({100.0 * mask.mean():.1f} %){remarks}. `stand_ins: {{{variable}: none}}` leaves them missing."
    )


def flagged(dataset: xr.Dataset, used: Mapping[str, Used]) -> xr.Dataset:
    """The dataset with a boolean `<variable>_stand_in` for each stand-in, and their names in the attribute `stand_ins`.

    The tendency of a soil temperature is missing where measurement and stand-in meet: a step between them is no heat.
    """
    for variable, one in used.items():
        method = one.choice.stand_in.method
        attrs = {"units": "1", "long_name": f"{variable} is a stand-in ({method})", "share": float(one.mask.mean())}
        dataset = dataset.assign({f"{variable}_stand_in": ("time", one.mask, attrs)})
    if "soil_temperature" in used and "soil_temperature_tendency" in dataset:
        mask = used["soil_temperature"].mask
        steps = max(1, round(60.0 / dataset.attrs["step_minutes"]))
        first, last = np.roll(mask, steps), np.roll(mask, -steps)
        kept = (first == mask) & (last == mask)
        tendency = dataset["soil_temperature_tendency"]
        dataset = dataset.assign(soil_temperature_tendency=tendency.where(kept).assign_attrs(tendency.attrs))
    names = [f"{variable}: {one.choice.stand_in.method}" for variable, one in used.items()]
    return dataset.assign_attrs(stand_ins=names) if names else dataset


def lacking(table: TowerTable, failed: Mapping[str, str]) -> dict[str, str]:
    """The required variables that a table still lacks, and in words why no stand-in took their place (or nothing)."""
    there = (*table.forcing, "day_of_year", "hour")
    missing = [name for name, info in FORCING_TABLE.items() if not info.optional and name not in there]
    return {name: f"{name} ({failed[name]})" if name in failed else name for name in missing}
