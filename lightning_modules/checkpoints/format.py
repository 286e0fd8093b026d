"""What a checkpoint file holds, which version of the format it has, and how it is read: never by running what it says."""

from __future__ import annotations

import pickle
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

FORMAT = 1
"""Version of the checkpoints that this package writes."""

STAMP = "canveg"
"""Key under which a checkpoint says its version: `{"format": 1}`. One without it is of version 0."""

DAMAGE = (
    OSError, EOFError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, AssertionError, ArithmeticError,
    MemoryError, struct.error, pickle.UnpicklingError,
)  # fmt: skip
"""What torch raises for a file that is no checkpoint, or was damaged anywhere: found by changing and cutting files at random."""


def _names_its_checkpoints(checkpoint: dict[str, Any]) -> None:
    """Version 0 to 1: the state of the best and last checkpoint stands under the name of `RunCheckpoint`."""
    states = checkpoint.get("callbacks", {})
    for key in [key for key in states if key.startswith("ModelCheckpoint{")]:
        states["RunCheckpoint" + key.removeprefix("ModelCheckpoint")] = states[key]


MIGRATIONS: dict[int, Callable[[dict[str, Any]], None]] = {0: _names_its_checkpoints}
"""For every earlier version the function that changes its content, in place, into that of the next one."""


def stamp(checkpoint: dict[str, Any]) -> None:
    """Write the version into a checkpoint."""
    checkpoint[STAMP] = {"format": FORMAT}


def migrate(checkpoint: dict[str, Any], path: str | Path) -> dict[str, Any]:
    """The checkpoint, changed in place to the present version.

    Raises:
        ValueError: it is of a later version, or says none that there is.
    """
    said = checkpoint.get(STAMP, {})
    found = said.get("format", 0) if isinstance(said, dict) else None
    if isinstance(found, bool) or not isinstance(found, int) or found < 0:
        raise ValueError(f"{path} is no checkpoint of canveg: its format is {found!r}.")
    if found > FORMAT:
        raise ValueError(
            f"{path} is a checkpoint of format {found}, and this version of canveg-torch knows formats up to {FORMAT}. "
            "Install the version that wrote it, or a later one: pip install --upgrade canveg-torch"
        )
    for version in range(found, FORMAT):
        MIGRATIONS[version](checkpoint)
    stamp(checkpoint)
    return checkpoint


def read_checkpoint(path: str | Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Content of a checkpoint, in the present version. Nothing but tensors, numbers, texts and containers of them is
    made from the file: what asks for more is refused, since making it could run any code.

    Raises:
        FileNotFoundError: there is no file.
        ValueError: it is no checkpoint, damaged, asks for code, or is of a later version.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"{path} does not exist, or is no file. Name a checkpoint, such as runs/NAME/version_0/checkpoints/best.ckpt."
        )
    try:
        content = torch.load(path, map_location=map_location, weights_only=True)
    except DAMAGE as error:
        if asked := re.search(r"GLOBAL (\S+)", str(error)):
            raise ValueError(
                f"{path} asks to run code when it is loaded ({asked[1]}), and is not. Checkpoints of canveg fit hold numbers "
                "only: use one of these, from a source that you trust."
            ) from error
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path} is no checkpoint that can be read ({reason}).") from error
    if not isinstance(content, dict) or "state_dict" not in content:
        raise ValueError(f"{path} is no checkpoint of canveg: it has no state_dict.")
    return migrate(content, path)
