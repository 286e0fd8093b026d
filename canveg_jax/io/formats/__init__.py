"""The file formats that `read_tower` knows: one file each, found by asking them in turn.

A format of your own: copy `template.py`, fill it in, and call `register(MyFormat())` before `read_tower`.
"""

from __future__ import annotations

from pathlib import Path

from ..tower_dataset import TowerFileError
from .ameriflux import AmerifluxBase
from .base import ReadOptions as ReadOptions
from .base import TowerFormat as TowerFormat
from .csv import read_header
from .fluxnet import Fluxnet
from .prepared import Prepared

FORMATS: dict[str, TowerFormat] = {}
"""Known formats by name. `register` adds to them."""


def register(tower_format: TowerFormat) -> None:
    """Add a format. The one registered last is asked first; a format of the same name is replaced."""
    FORMATS.pop(tower_format.name, None)
    FORMATS[tower_format.name] = tower_format


for _known in (Prepared(), AmerifluxBase(), Fluxnet()):
    register(_known)


def recognise(path: Path) -> TowerFormat:
    """The format of a file.

    Raises:
        TowerFileError: no such file, or no format recognises it; the message says which were tried.
    """
    if not path.is_file():
        raise TowerFileError(f"no file '{path}'. Give the path of a tower CSV.")
    tried = list(reversed(FORMATS.values()))
    for tower_format in tried:
        if tower_format.recognises(path):
            return tower_format
    for tower_format in tried:
        if advice := tower_format.advice(path):
            raise TowerFileError(advice)
    header = read_header(path)
    content = "it is not a text file." if header is None else f"its columns are {', '.join(header.names[:8])}, ..."
    raise TowerFileError(
        f"{path.name}: format not recognised; {content} Tried "
        f"{'; '.join(f'{tower_format.name} ({tower_format.expects})' for tower_format in tried)}."
    )
