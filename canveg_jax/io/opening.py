"""Opening tower files as they were downloaded: plain, gzip or a member of a zip archive, and in which encoding the text is."""

from __future__ import annotations

import codecs
import gzip
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple, cast

from .tower_dataset import TowerFileError

SAMPLE = 1 << 16
"""Bytes from which the encoding is judged."""

GZIP, ZIP = b"\x1f\x8b", b"PK\x03\x04"
OTHER_KINDS: dict[bytes, str] = {
    b"\x89HDF": "a NetCDF (HDF5) file", b"CDF\x01": "a NetCDF file", b"CDF\x02": "a NetCDF file",
    b"\xd0\xcf\x11\xe0": "an Excel workbook: save the sheet as CSV", b"%PDF": "a PDF", b"PAR1": "a Parquet file",
    b"7z\xbc\xaf": "a 7z archive: unpack it and give the CSV", b"BZh": "a bzip2 file: unpack it and give the CSV",
    b"\xfd7zX": "an xz file: unpack it and give the CSV", b"<!DO": "a page of HTML: the download has failed, repeat it",
    b"<htm": "a page of HTML: the download has failed, repeat it",
}  # fmt: skip
"""First bytes of files that are no tower CSVs, and what they are."""

TEXT_SUFFIXES = (".csv", ".txt", ".dat")
NOT_DATA = re.compile(r"_(BIF|BIFVARINFO|VARINFO|ERA5|ERAI|AUX[A-Z]*|METEOSENS|DD|WW|MM|YY|YE)(?=[_.])", re.IGNORECASE)
"""Members of an archive that hold no half-hours: metadata, reanalysis, single sensors, days to years."""

PREFERENCE = ("FULLSET", "SUBSET", "FLUXMET", "FLUXNET", "BASE", "METEO")
"""Parts of the name of a member, the one to prefer first. METEO is read together with its FLUXES."""

DAMAGE = (EOFError, gzip.BadGzipFile, zipfile.BadZipFile, zlib.error)
"""What Python raises for an archive that is not whole, when it is opened or while it is read."""


class TextFile(NamedTuple):
    """A text on disk, or inside a gzip file or a zip archive.

    Args:
        path: the file.
        member: name of the text inside a zip archive.
        packed: how it is packed.
        encoding: as `open` takes it. Bytes that it cannot decode are read as the replacement character.
    """

    path: Path
    member: str | None
    packed: bool
    encoding: str

    @property
    def label(self) -> str:
        """What messages call it: the name of the file, and of the member that is read."""
        return self.path.name if self.member is None else f"{self.path.name} ({PurePosixPath(self.member).name})"

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """Its bytes, unpacked.

        Raises:
            TowerFileError: the archive is damaged or encrypted.
        """
        with _unpacked(self.path, self.member) as content:
            yield content


def text_file(path: Path, wanted: Sequence[str] = PREFERENCE) -> TextFile:
    """Find the text of a tower file.

    A zip archive may hold several: members without half-hours (`NOT_DATA`) are passed over, and of the rest the one whose name
    has the first of `wanted` is taken.

    Raises:
        TowerFileError: it is no text, or an archive that is damaged or leaves a choice; the message says what to do.
    """
    member = None
    if (kind := _first_bytes(path)).startswith(ZIP):
        member = _member(path, wanted)
    packed = member is not None or kind.startswith(GZIP)
    with _unpacked(path, member) as content:
        sample = content.read(SAMPLE)
    encoding = _encoding(sample)
    if encoding is None:
        what = next((what for first, what in OTHER_KINDS.items() if sample.startswith(first)), "no text")
        raise TowerFileError(f"{path.name}: expected a CSV; it is {what}.")
    return TextFile(path, member, packed, encoding)


def archive_members(path: Path) -> list[str]:
    """Names of the files in a zip archive; none if it is no (readable) archive."""
    if not _first_bytes(path).startswith(ZIP):
        return []
    try:
        with zipfile.ZipFile(path) as archive:
            return [m for m in archive.namelist() if not m.endswith("/") and not m.startswith("__MACOSX")]
    except DAMAGE:
        return []


@contextmanager
def opened_member(path: Path, member: str | None) -> Iterator[IO[bytes]]:
    """Bytes of a file (`member` None: itself, or what is in a gzip file) or of a member of a zip archive.

    Raises:
        TowerFileError: the archive is damaged or encrypted.
    """
    with _unpacked(path, member) as content:
        yield content


@contextmanager
def _unpacked(path: Path, member: str | None) -> Iterator[IO[bytes]]:
    with ExitStack() as stack:
        try:
            content = _open(stack, path, member)
            yield content
        except DAMAGE:
            raise TowerFileError(
                f"{path.name}: the archive is damaged or incomplete and cannot be unpacked. Download it again."
            ) from None


def _open(stack: ExitStack, path: Path, member: str | None) -> IO[bytes]:
    """The bytes of a file, to be closed by the stack.

    Raises:
        TowerFileError: the archive is encrypted, or packed by a method that Python does not know.
    """
    if member is None:
        packed = _first_bytes(path).startswith(GZIP)
        return cast("IO[bytes]", stack.enter_context(gzip.open(path) if packed else path.open("rb")))
    archive = stack.enter_context(zipfile.ZipFile(path))
    try:
        return stack.enter_context(archive.open(member))
    except NotImplementedError as error:  # a subclass of RuntimeError
        raise TowerFileError(f"{path.name}: {error}. Unpack it and give the CSV.") from None
    except RuntimeError:  # zipfile's only sign of a password
        raise TowerFileError(f"{path.name}: the archive is encrypted. Unpack it and give the CSV.") from None


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as content:
        return content.read(4)


def _member(path: Path, wanted: Sequence[str]) -> str:
    members = archive_members(path)
    if any(PurePosixPath(m).name == "[Content_Types].xml" for m in members):
        raise TowerFileError(f"{path.name}: expected a CSV; it is an Excel workbook. Save the sheet as CSV.")
    if not members:
        raise TowerFileError(f"{path.name}: the archive is empty or damaged. Download it again.")
    texts = [m for m in members if m.lower().endswith(TEXT_SUFFIXES)]
    data = [m for m in texts if not NOT_DATA.search(PurePosixPath(m).name)]
    for part in wanted:
        found = [m for m in data if part in PurePosixPath(m).name.upper()]
        data = found or data
        if len(data) == 1 or found:
            break
    if len(data) == 1:
        return data[0]
    names = ", ".join(PurePosixPath(m).name for m in (data or members)[:8])
    if not data:
        raise TowerFileError(
            f"{path.name}: the archive holds no CSV of half-hours; it holds {names}. Give the CSV itself."
        )
    raise TowerFileError(f"{path.name}: the archive holds several files: {names}. Unpack it and give one of them.")


def _encoding(sample: bytes) -> str | None:
    """Encoding of a text that begins with these bytes; None if they are no text.

    A byte-order mark decides; zeros in every second place are UTF-16 without one; what is no UTF-8 is taken as Latin-1, in
    which the degree and micro signs of headers are usually written.
    """
    if sample.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    if even or odd:
        half = max(len(sample) // 2, 1)
        if odd > 0.9 * half and not even:
            return "utf-16-le"
        return "utf-16-be" if even > 0.9 * half and not odd else None
    if any(sample.startswith(first) for first in OTHER_KINDS):
        return None
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        control = sum(byte < 9 or 13 < byte < 26 for byte in sample)
        return "latin-1" if control == 0 else None
    return "utf-8"
