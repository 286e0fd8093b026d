"""Looked at before a command computes anything: what it needs at its end must be there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection
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


def require_checkpoint(path: str, named: Collection[str] = ()) -> None:
    """Make sure that a checkpoint can be read (`best`, `last` and the like are left to Lightning).

    Args:
        path: of the checkpoint. Lightning makes the model from the settings that it holds.
        named: class paths of the user's own configuration, which these may name as well.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the file is no checkpoint, asks for code, names a class that the configuration does not, or is of a later
            version.
    """
    from ..checkpoints.format import read_checkpoint
    from ..sharing.stored_model import refuse_foreign_classes

    if path in ("best", "last", "hpc") or "://" in path or ":" in path.split("/")[0]:
        return
    try:
        content = read_checkpoint(path)
        remedy = "name {class_path} in the configuration as well (the config.yaml of the run does)"
        refuse_foreign_classes(content.get("hyper_parameters", {}), named, path, remedy)
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(f"ckpt_path: {error}") from error
