"""What `read_tower` asks of a file format."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import ClassVar, Literal

from ..lai import Lai
from ..tower_dataset import TowerTable


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
        may_lack: drivers that the file may go without, as a stand-in takes their place; leave them out of the table.
    """

    fluxes: Path | None = None
    time_stamp: Literal["start", "end"] | None = None
    lai: Lai | None = None
    co2: float | None = None
    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    mask_interpolated: bool = True
    may_lack: Collection[str] = ()


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
