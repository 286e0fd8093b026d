"""A tower CSV on disk: which format its header shows, and its columns as numbers with missing values as NaN."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from ..timestamps import check_step, parse_stamps, stamps_from_day_and_hour
from ..tower_dataset import TowerFileError

Format = Literal["prepared", "fluxnet", "ameriflux-base"]
MISSING = ("-9999", "-9999.0", "-9999.00", "-9999.99", "-6999", "NA", "NaN", "nan", "NAN", "")


class TowerCsv:
    """Header and columns of one file. Columns are selected by name; their order does not matter.

    Args:
        path: CSV with one header row; AmeriFlux BASE files have comment lines (`#`) before it.

    Raises:
        TowerFileError: no such file, or a header of none of the known formats.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if not self.path.is_file():
            raise TowerFileError(f"no file '{path}'. Give the path of a tower CSV.")
        with self.path.open(encoding="utf-8-sig") as lines:
            self.comments = 0
            for line in lines:
                if not line.startswith("#"):
                    break
                self.comments += 1
            else:
                line = ""
        self.names = [name.strip().strip('"') for name in line.rstrip("\n").split(",")]
        self.format = self._detect()
        self._numbers: dict[str, np.ndarray] = {}
        with self.path.open("rb") as content:
            self.sha256 = hashlib.file_digest(content, "sha256").hexdigest()

    def _detect(self) -> Format:
        names = set(self.names)
        if {"TIMESTAMP_START", "TIMESTAMP_END"} <= names:
            filled = any(n.endswith(("_F", "_F_MDS")) or n.startswith(("NEE_VUT", "NEE_CUT")) for n in names)
            return "fluxnet" if filled and not self.comments else "ameriflux-base"
        if self._stamp_name() or self._day_and_hour():
            return "prepared"
        if "TIMESTAMP" in names:
            raise TowerFileError(
                f"{self.path.name}: one column TIMESTAMP marks daily to yearly FLUXNET files; half-hourly (HH) "
                "or hourly (HR) files have TIMESTAMP_START and TIMESTAMP_END. Use the HH or HR file."
            )
        shown = ", ".join(self.names[:8])
        raise TowerFileError(
            f"{self.path.name}: format not recognised; its columns are {shown}, ... Expected TIMESTAMP_START and "
            "TIMESTAMP_END (FLUXNET, AmeriFlux BASE), or TIMESTAMP_END or Year, DoY, Hour (prepared files)."
        )

    def _stamp_name(self) -> str | None:
        return next((n for n in self.names if n.upper() in ("TIMESTAMP_END", "TIMESTAMP_START")), None)

    def _day_and_hour(self) -> tuple[str, str, str] | None:
        found = tuple(self.prefixed((prefix,)) for prefix in ("year", "doy", "hour"))
        return found if all(found) else None  # type: ignore[return-value]

    def prefixed(self, prefixes: Iterable[str], but_not: str | None = None) -> str | None:
        """First column, in file order, whose lower-case name starts with a prefix (and not with `but_not`)."""
        for name in self.names:
            lower = name.lower()
            if lower.startswith(tuple(prefixes)) and not (but_not and lower.startswith(but_not)):
                return name
        return None

    def first_with_data(self, candidates: Iterable[str]) -> str | None:
        """The first of the candidates that holds any number; if none does, the first that the file has."""
        present = [name for name in candidates if name in self.names]
        numbers = self.numbers(present)
        return next((name for name in present if np.isfinite(numbers[name]).any()), present[0] if present else None)

    def first(self, candidates: Iterable[str]) -> str | None:
        """The first of the candidates that the file has."""
        return next((name for name in candidates if name in self.names), None)

    def check_columns(self, chosen: Mapping[str, str], known: Iterable[str]) -> None:
        """Refuse a user's choice of columns that names an unknown variable."""
        for canonical in chosen:
            if canonical not in known:
                near = difflib.get_close_matches(canonical, list(known), n=1)
                hint = f" Did you mean '{near[0]}'?" if near else ""
                raise TowerFileError(f"columns: unknown variable '{canonical}'; known are {', '.join(known)}.{hint}")

    def require(self, name: str) -> str:
        """The name itself, if the file has such a column; a `TowerFileError` with the nearest name otherwise."""
        if name not in self.names:
            near = difflib.get_close_matches(name, self.names, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise TowerFileError(f"{self.path.name} has no column '{name}'.{hint}")
        return name

    def numbers(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """Columns as float64 arrays `[time]`, missing (-9999, empty, NA) as NaN."""
        wanted = list(dict.fromkeys(names))
        unread = [name for name in wanted if name not in self._numbers]
        frame = self._read(unread, dtype=None) if unread else pd.DataFrame()
        for name in unread:
            numeric = pd.to_numeric(frame[name], errors="coerce")
            bad = np.flatnonzero((numeric.isna() & frame[name].notna()).to_numpy())
            if bad.size:
                raise TowerFileError(
                    f"{self.path.name}: column '{name}', row {bad[0]} holds {frame[name].iloc[bad[0]]!r}; expected a "
                    "number (or -9999 or nothing where missing)."
                )
            values = numeric.to_numpy(dtype=np.float64, copy=True)
            values[values <= -9990.0] = np.nan
            self._numbers[name] = values
        return {name: self._numbers[name] for name in wanted}

    def stamps(self, name: str) -> pd.DatetimeIndex:
        """The time stamps of one column."""
        return parse_stamps(self._read([name], dtype=str)[name].fillna(""), f"{self.path.name}, {name}")

    def intervals(self) -> tuple[pd.DatetimeIndex, pd.Timedelta]:
        """Start of every interval and the step, from TIMESTAMP_START and TIMESTAMP_END.

        Raises:
            TowerFileError: the two stamps of a row are not one step apart.
        """
        start, end = self.stamps("TIMESTAMP_START"), self.stamps("TIMESTAMP_END")
        step = check_step(start, self.path.name)
        wrong = np.flatnonzero(end - start != step)
        if wrong.size:
            row = int(wrong[0])
            raise TowerFileError(
                f"{self.path.name}: row {row} runs from {start[row]} to {end[row]}, but rows are {step} apart; "
                "TIMESTAMP_START and TIMESTAMP_END must be one step apart. Use the file as the network delivers it."
            )
        return start, step

    def single_stamps(self) -> tuple[pd.DatetimeIndex, Literal["start", "end"]] | None:
        """The only time stamp of a row, and which end of the interval the file says it is; None without any.

        Taken from TIMESTAMP_END or TIMESTAMP_START, else from Year, DoY and Hour (then `end`). Both must agree.
        """
        named, parts = self._stamp_name(), self._day_and_hour()
        computed = None
        if parts:
            year, day, hour = (self.numbers(parts)[part] for part in parts)
            if not (np.isfinite(year) & np.isfinite(day) & np.isfinite(hour)).all():
                raise TowerFileError(f"{self.path.name}: {', '.join(parts)} must be there in every row.")
            computed = stamps_from_day_and_hour(year, day, hour)
        if named is None:
            return None if computed is None else (computed, "end")
        stamps = self.stamps(named)
        if computed is not None and (stamps != computed).any():
            row = int(np.flatnonzero(stamps != computed)[0])
            raise TowerFileError(
                f"{self.path.name}: row {row} has {named} {stamps[row]}, but {', '.join(parts or ())} say "
                f"{computed[row]}. Correct one of them, or remove the three columns."
            )
        return stamps, "start" if named.upper() == "TIMESTAMP_START" else "end"

    def _read(self, names: list[str], dtype) -> pd.DataFrame:
        frame = pd.read_csv(
            self.path, skiprows=self.comments, usecols=[self.names.index(n) for n in names], names=self.names, header=0,
            na_values=list(MISSING), keep_default_na=False, dtype=dtype, encoding="utf-8-sig", low_memory=False,
        )  # fmt: skip
        return frame[names]
