"""BIF / BADM metadata of AmeriFlux, ICOS and FLUXNET: rows of SITE_ID, GROUP_ID, VARIABLE_GROUP, VARIABLE, DATAVALUE."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from .opening import archive_members, opened_member, text_file
from .tower_dataset import TowerFileError

COLUMNS = ("SITE_ID", "GROUP_ID", "VARIABLE_GROUP", "VARIABLE", "DATAVALUE")
DATE_FORMATS = {4: "%Y", 6: "%Y%m", 8: "%Y%m%d", 12: "%Y%m%d%H%M"}
MEANS = ("Mean", "Single observation")
"""Statistics that are a value; others (standard deviations, numbers of samples) are not."""


class Bif:
    """Metadata of one site: groups of variables that belong together.

    Args:
        site: the identifier of the site.
        groups: for each group of variables (GRP_LOCATION, ...) its entries.
    """

    def __init__(self, site: str, groups: Mapping[str, list[dict[str, str]]], label: str):
        self.site, self.groups, self.label = site, groups, label

    def first(self, group: str, variable: str) -> str | None:
        """The first value of a variable; None if there is none."""
        return next((entry[variable] for entry in self.groups.get(group, ()) if variable in entry), None)

    def number(self, group: str, variable: str) -> float | None:
        """The first value that is a number; None if there is none."""
        for entry in self.groups.get(group, ()):
            if (value := _number(entry.get(variable))) is not None:
                return value
        return None

    def series(self, group: str, variable: str) -> pd.Series:
        """The means of a variable by date, increasing; several of one date are averaged.

        Raises:
            TowerFileError: the file has none with a date.
        """
        found: dict[pd.Timestamp, list[float]] = {}
        for entry in self.groups.get(group, ()):
            value = _number(entry.get(variable))
            if value is None or entry.get(f"{variable}_STATISTIC", "Mean") not in MEANS:
                continue
            date = _date(entry.get(f"{variable}_DATE") or entry.get(f"{variable}_DATE_START"))
            if date is not None:
                found.setdefault(date, []).append(value)
        if not found:
            raise TowerFileError(
                f"{self.label}: {self.site} has no {variable} with a date ({group}). Give it yourself."
            )
        return pd.Series({date: float(np.mean(values)) for date, values in found.items()}).sort_index()

    def means(self, group: str, variable: str) -> list[float]:
        """Every mean of a variable, with a date or without."""
        return [
            value
            for entry in self.groups.get(group, ())
            if (value := _number(entry.get(variable))) is not None
            and entry.get(f"{variable}_STATISTIC", "Mean") in MEANS
        ]


def read_bif(path: Path, site: str | None = None) -> Bif:
    """Read the metadata of one site from an xlsx, a CSV, or a zip of AmeriFlux or ICOS that holds one of them.

    Args:
        path: the file.
        site: identifier of the site, where the file has several.

    Raises:
        TowerFileError: no BIF, or a file of several sites and none was named.
    """
    table, label = _table(path)
    table = table.dropna(subset=["VARIABLE", "DATAVALUE"])
    sites = list(dict.fromkeys(table["SITE_ID"].astype(str)))
    if site is None and len(sites) == 1:
        site = sites[0]
    if site is None or site not in sites:
        raise TowerFileError(
            f"{label}: expected metadata of {'one site' if site is None else site}; it has "
            f"{', '.join(sites[:8]) or 'none'}. Name one "
            "of them."
        )
    groups: dict[str, dict[str, dict[str, str]]] = {}
    own = table[table["SITE_ID"].astype(str) == site]
    for identifier, group, variable, value in zip(
        own["GROUP_ID"].astype(str),
        own["VARIABLE_GROUP"].astype(str),
        own["VARIABLE"].astype(str),
        own["DATAVALUE"],
        strict=True,
    ):
        groups.setdefault(group, {}).setdefault(identifier, {})[variable] = str(value).strip()
    return Bif(site, {group: list(entries.values()) for group, entries in groups.items()}, label)


def _table(path: Path) -> tuple[pd.DataFrame, str]:
    """The five columns as text, and what messages call the file."""
    if not path.is_file():
        raise TowerFileError(f"no file '{path}'. Give the BIF (xlsx or CSV) of the site, or the zip that holds it.")
    members = archive_members(path)
    member = next(
        (m for m in members if re.search(r"_BIF_.*\.(xlsx|csv)$", PurePosixPath(m).name, re.IGNORECASE)), None
    )
    is_workbook = any(PurePosixPath(m).name == "[Content_Types].xml" for m in members)
    label = path.name if member is None else f"{path.name} ({PurePosixPath(member).name})"
    if members and member is None and not is_workbook:
        raise TowerFileError(f"{path.name}: the archive holds no BIF; it holds {', '.join(members[:8])}.")
    try:
        with opened_member(path, member) as content:
            if is_workbook or (member or "").lower().endswith(".xlsx"):
                table = pd.read_excel(io.BytesIO(content.read()), dtype=str)
            else:
                encoding = "utf-8" if member else text_file(path).encoding
                table = pd.read_csv(content, dtype=str, encoding=encoding, encoding_errors="replace")
    except TowerFileError:
        raise
    except (ValueError, KeyError, pd.errors.ParserError) as error:
        raise TowerFileError(
            f"{label}: expected metadata (BIF) with the columns {', '.join(COLUMNS)}; it cannot be read."
        ) from error
    if not set(COLUMNS) <= set(table.columns):
        raise TowerFileError(
            f"{label}: expected metadata (BIF) with the columns {', '.join(COLUMNS)}; it has "
            f"{', '.join(map(str, table.columns[:8]))}."
        )
    return table, label


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else np.nan
    except ValueError:
        return None
    return value if np.isfinite(value) and value > -9000.0 else None


def _date(text: str | None) -> pd.Timestamp | None:
    digits = re.sub(r"\D", "", str(text or "").removesuffix(".0"))
    if len(digits) not in DATE_FORMATS:
        return None
    moment = pd.to_datetime(digits, format=DATE_FORMATS[len(digits)], errors="coerce")
    return moment if isinstance(moment, pd.Timestamp) else None
