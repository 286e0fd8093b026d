"""What a stand-in is: a named way to make a forcing variable that a tower does not measure from what it does measure."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from ...site import Site
from ..arrays import Series
from ..tower_dataset import TowerFileError

Extent = Literal["gaps", "absent", "everywhere"]
"""Where a stand-in is used: in every half-hour without a value; only if no half-hour has one; also in place of values."""


class StandInError(TowerFileError):
    """A stand-in cannot be made of what is there; the message says what it needs."""


class Record(NamedTuple):
    """What stand-ins are made of.

    Args:
        start: `[time]`, start of every interval, local standard time.
        step: length of the intervals.
        forcing: by name of `FORCING_TABLE`, each `[time]` in its unit; what the file does not hold is left out.
        precipitation: `[time]`, mm per step.
        net_radiation: `[time]`, W m-2, missing where it was not measured.
        site: where the tower stands, if it is known.
    """

    start: pd.DatetimeIndex
    step: pd.Timedelta
    forcing: Mapping[str, Series]
    precipitation: Series | None = None
    net_radiation: Series | None = None
    site: Site | None = None

    def series(self, name: str, what: str) -> Series:
        """A forcing variable `[time]` with at least one value.

        Raises:
            StandInError: it is not there.
        """
        values = self.forcing.get(name)
        if values is None or not np.isfinite(values).any():
            raise StandInError(f"{what} needs {name}, which the file does not hold")
        return values

    def place(self, what: str) -> Site:
        """The site.

        Raises:
            StandInError: it is not known.
        """
        if self.site is None:
            raise StandInError(f"{what} needs the site: give site=")
        return self.site


class Made(NamedTuple):
    """A stand-in for the whole record, and what was noticed while it was made.

    Args:
        values: `[time]`, in the unit of `FORCING_TABLE`; missing where it cannot be made.
        attributes: numbers for the attributes of the variable.
        remarks: what limits its use, for the warning.
    """

    values: Series
    attributes: Mapping[str, Any] = {}
    remarks: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class StandIn:
    """One way to make one variable.

    Args:
        variable: name of `FORCING_TABLE`.
        method: its name in a configuration.
        meaning: what it is, in a few words, for messages.
        make: from the record and the parameters, by keyword.
        parameters: their names and defaults; None: there is none, and the method says what it does then.
        extent: where it is used unless the user says otherwise.
        by_default: whether the first method of a variable is used without being asked for.
    """

    variable: str
    method: str
    meaning: str
    make: Callable[..., Made]
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    extent: Extent = "gaps"
    by_default: bool = True
