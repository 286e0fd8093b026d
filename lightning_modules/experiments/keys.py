"""The key of a run: it changes with whatever the result depends on, and with nothing else."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from canveg_jax.files import sha256

PACKAGES = ("canveg_jax", "bridges", "lightning_modules")

AFTER_A_RUN = ("bootstrap", "figures", "front", "page", "report", "tables", "verdict")

WITHOUT_INFLUENCE = ("lightning_modules/cli/", *(f"lightning_modules/experiments/{name}.py" for name in AFTER_A_RUN))
"""Sources that come after a run: they read predictions, and do not make them."""


@functools.cache
def code_hash() -> str:
    """SHA-256 over the sources of the packages, but those `WITHOUT_INFLUENCE`."""
    root = Path(__file__).resolve().parents[2]
    digest = hashlib.sha256()
    for path in sorted(path for package in PACKAGES for path in (root / package).rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if not name.startswith(WITHOUT_INFLUENCE):
            digest.update(f"{name}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


@functools.cache
def _file_hash(path: str, size: int, changed: int) -> str:
    del size, changed  # of the file as it is now: another file is hashed again
    return sha256(path)


def run_key(config: Mapping[str, Any], files: Iterable[str], code: str | None = None) -> str:
    """SHA-256 of configuration, code and content of the files, in hexadecimal.

    Where the files lie has no influence: the same data in another folder are the same data.

    Args:
        config: plain values.
        files: paths.
        code: stands for the code; default `code_hash()`.

    Raises:
        FileNotFoundError: a file does not exist.
    """
    hashes = []
    for path in files:
        if not Path(path).is_file():
            raise FileNotFoundError(f"data file {path} does not exist (seen from {Path.cwd()}).")
        state = Path(path).stat()
        hashes.append(_file_hash(str(Path(path).resolve()), state.st_size, state.st_mtime_ns))
    settings = {**config, "data": {k: v for k, v in config["data"].items() if k != "folder"}}
    settings.pop("label", None)  # a name in tables
    content = json.dumps([settings, hashes, code_hash() if code is None else code], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()
