"""What `read_tower` asks of a file format."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from ..lai import Lai
from ..tower_dataset import Column, TowerTable


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """The arguments of `read_tower` that are a format's business; `read_tower` describes them.

    Args:
        fluxes: the second file, for formats with `two_files`.
        time_stamp: which end of the interval a single time stamp marks; None: what its name says.
        lai: leaf area index: a number, a series with dates, the name of a column, or None.
        co2: umol mol-1, where the file has no CO2.
        columns: the user's choice: canonical name -> column of the file. Its keys are known names.
        mask_interpolated: count samples on straight lines as filled.
        utc_offset: hours east of UTC of the site, for time stamps that name a zone; None: unknown.
        highest_flag: the highest SSITC flag (0 good, 1 moderate, 2 discard) with which a flux counts as measured.
    """

    fluxes: Path | None = None
    time_stamp: Literal["start", "end"] | None = None
    lai: Lai | None = None
    co2: float | None = None
    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    mask_interpolated: bool = True
    utc_offset: float | None = None
    highest_flag: int = 1


def co2_from_option(forcing: dict[str, Column], options: ReadOptions, size: int) -> None:
    """The user's CO2 in the place of a column that is not there or empty."""
    if options.co2 is not None and ("co2" not in forcing or not np.isfinite(forcing["co2"].values).any()):
        forcing["co2"] = Column(np.full(size, float(options.co2)), f"constant {options.co2:g}")


class TowerFormat(abc.ABC):
    """One file format. Subclass it, fill in what is abstract, and `register` an instance (`template.py` is a start).

    A format has no state: the registry keeps one instance and asks it about every file. Nothing here supposes a CSV:
    only the format itself opens the file.
    """

    name: ClassVar[str]
    """Ends up in the attribute `format` of the dataset, and in messages."""

    expects: ClassVar[str]
    """What the format recognises a file by, in words, for the message about a file that no format recognises."""

    two_files: ClassVar[bool] = False
    """Whether weather and fluxes are two files. Otherwise `read_tower` refuses a second file."""

    never_holds: ClassVar[Mapping[str, str]] = {}
    """Required drivers that files of this format need not hold, and why. They are read as missing, with a warning."""

    @abc.abstractmethod
    def recognises(self, path: Path) -> bool:
        """Whether the file is of this format. It exists, but may be anything; look at its beginning and do not raise."""

    @abc.abstractmethod
    def read(self, path: Path, options: ReadOptions) -> TowerTable:
        """Read a file that was recognised, in three steps: choose all columns, read them in one pass, compute.

        What limits the use of the data goes into `TowerTable.warnings`; `read_tower` emits them.

        Raises:
            TowerFileError: the file cannot be used as it is; the message says what was expected, what came, what to do.
        """

    def advice(self, path: Path) -> str | None:
        """What to do about a file that is not of this format but looks like a relative of it; None: nothing to say."""
        del path
        return None
