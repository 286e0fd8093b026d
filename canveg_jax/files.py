"""Where the package keeps its own files, and how every file is written: whole, or not at all."""

import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def cache_folder() -> Path:
    """`$CANVEG_CACHE`, else `$XDG_CACHE_HOME/canveg`, else `~/.cache/canveg`. It need not exist yet."""
    chosen = os.environ.get("CANVEG_CACHE")
    return Path(chosen or Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "canveg")


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary name beside `path`, renamed to it when the block ends without an error.

    A reader, or another process that writes the same file, sees the old file or the new one, never half of one. After an
    error the temporary file is removed and an existing file is left as it was. The folder is made if it does not exist.

    Example:
        >>> with replacing("fluxes.csv") as temporary:
        ...     table.to_csv(temporary)

    Raises:
        OSError: the folder cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}-{uuid.uuid4().hex}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise


def sha256(path: str | Path) -> str:
    """SHA-256 of a file's content, in hexadecimal.

    Raises:
        OSError: the file cannot be read.
    """
    with Path(path).open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
