"""The file formats that `read_tower` knows: one file each, found by asking them in turn.

A format of your own: copy `template.py`, fill it in, and call `register(MyFormat())` before `read_tower`.
"""

from __future__ import annotations

from pathlib import Path

from ..opening import text_file
from ..tower_dataset import TowerFileError
from .alma import Alma
from .ameriflux import AmerifluxBase
from .base import ReadOptions as ReadOptions
from .base import TowerFormat as TowerFormat
from .csv import read_header
from .described import Described
from .fluxnet import Fluxnet
from .fluxnet_ch4 import FluxnetCh4
from .icos import IcosEtc
from .prepared import Prepared

FORMATS: dict[str, TowerFormat] = {}
"""Known formats by name. `register` adds to them."""


def register(tower_format: TowerFormat) -> None:
    """Add a format. The one registered last is asked first; a format of the same name is replaced."""
    FORMATS.pop(tower_format.name, None)
    FORMATS[tower_format.name] = tower_format


for _known in (Described(), Prepared(), AmerifluxBase(), IcosEtc(), Alma(), FluxnetCh4(), Fluxnet()):
    register(_known)


def recognise(path: Path) -> TowerFormat:
    """The format of a file.

    Raises:
        TowerFileError: no such file, or no format recognises it; the message says which were tried.
    """
    if not path.is_file():
        raise TowerFileError(f"no file '{path}'. Give the path of a tower file.")
    tried = list(reversed(FORMATS.values()))
    for tower_format in tried:
        if tower_format.recognises(path):
            return tower_format
    for tower_format in tried:
        if advice := tower_format.advice(path):
            raise TowerFileError(advice)
    formats = "; ".join(f"{tower_format.name} ({tower_format.expects})" for tower_format in tried)
    try:
        text_file(path)
    except TowerFileError as error:
        raise TowerFileError(f"{error} Format not recognised; tried {formats}.") from None
    header = read_header(path)
    assert header is not None
    content = f"its columns are {', '.join(header.names[:8])}, ..." if any(header.names) else "it is empty."
    raise TowerFileError(f"{path.name}: format not recognised; {content} Tried {formats}.")
