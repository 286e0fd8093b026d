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
        ValueError: the file is no checkpoint.
    """
    import pickle

    import torch

    if path in ("best", "last", "hpc") or "://" in path or ":" in path.split("/")[0]:
        return
    if not Path(path).is_file():
        raise FileNotFoundError(f"ckpt_path: {path} does not exist, or is no file.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"ckpt_path: {path} is no checkpoint that can be read ({reason})") from error
    if not isinstance(content, dict) or "state_dict" not in content:
        raise ValueError(f"ckpt_path: {path} is no checkpoint of canveg: it has no state_dict.")
