"""Looked at before a command computes anything: what it needs at its end must be there."""

from __future__ import annotations

import os
import tempfile
from importlib import import_module
from pathlib import Path


def require_packages(*names: str) -> None:
    """Import what is needed later.

    Raises:
        ImportError: one is missing or broken; the message has the remedy.
    """
    for name in names:
        try:
            import_module(name)
        except ImportError as error:
            raise ImportError(f"this command needs {name} ({error}). Install it: pip install {name}") from error


def require_place(path: str | os.PathLike) -> None:
    """Make sure that a file (or folder) of this name can be made: the nearest folder that exists takes a file.

    Raises:
        OSError: it does not, or is no folder.
    """
    folder = Path(path).absolute().parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise NotADirectoryError(f"cannot write {path}: {folder} is no folder.")
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OSError(error.errno, f"cannot write {path}, as {folder} takes no files ({error.strerror})") from error


def require_checkpoint(path: str) -> None:
    """Make sure that a checkpoint can be read (`best`, `last` and the like are left to Lightning).

    Raises:
        FileNotFoundError: there is none.
        ValueError: the file is no checkpoint, asks for code, or is of a later version.
    """
    from ..checkpoints.format import read_checkpoint

    if path in ("best", "last", "hpc") or "://" in path or ":" in path.split("/")[0]:
        return
    try:
        read_checkpoint(path)
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(f"ckpt_path: {error}") from error
