"""Which part of a tower's record is held out to ask a question: how does a model do where it has not been?

The test part is chosen by the forcing alone, never by a flux, so a split is the same for every model and every target.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import pydantic
import xarray as xr

from canveg_jax.io.humidity import vapour_pressure_deficit
from canveg_jax.spelling import unknown

from .splits import DAY, Split, block_split, end_of_record, split_around

Kind = Literal["time", "dry_year", "hot", "dry_air", "dry_soil", "dry", "tower", "weeks"]
KINDS: tuple[Kind, ...] = get_args(Kind)

DAYLIGHT = 20.0
"""W m-2 of shortwave above which a half-hour counts into the daily vapour pressure deficit."""

FULL_YEAR = 330
"""Days of data from which twelve months may be called the driest year."""

DEFAULT_SHARE = {"hot": 0.2, "dry_air": 0.1, "dry_soil": 0.1, "dry": 0.1}


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """What the test part is. Everything else is cut into weeks of training and validation.

    - `time`: the test record, else the end of the record (`test_fraction`).
    - `dry_year`: of the years (twelve months from the first month of the record) with at least 330 days of data, the one of the
      lowest mean soil water.
    - `hot`: the `share` (0.2) of the weeks, counted from the start of the record, with the highest mean air temperature.
    - `dry_air`: the `share` (0.1) of the days with the highest mean vapour pressure deficit in daylight.
    - `dry_soil`: the `share` (0.1) of the days with the lowest mean soil water.
    - `dry`: the days of `dry_air` and those of `dry_soil`.
    - `tower`: the whole record of the towers named in `towers`; the others train.
    - `weeks`: as `time`, but of what comes before the test part only the last `weeks` weeks are there, to train and to choose by.

    All but `time` and `weeks` choose from record and test record together.

    Args:
        kind: see above.
        share: see above.
        weeks: length of the record, for `weeks`.
        towers: names of the sites, for `tower`.

    Raises:
        ValueError: a setting that this kind does not have, lacks, or that is out of range.
    """

    kind: Kind = "time"
    share: float | None = None
    weeks: float | None = None
    towers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(unknown("split", self.kind, KINDS))
        if self.share is not None and (self.kind not in DEFAULT_SHARE or not 0.0 < self.share < 1.0):
            raise ValueError(
                f"share is a number between 0 and 1 of {', '.join(DEFAULT_SHARE)}; got {self.share!r} for '{self.kind}'."
            )
        if (self.weeks is not None) != (self.kind == "weeks") or (self.weeks is not None and not self.weeks > 0):
            raise ValueError(
                f"a split of kind weeks, and no other, needs weeks > 0; got {self.weeks!r} for '{self.kind}'."
            )
        if bool(self.towers) != (self.kind == "tower"):
            raise ValueError(
                f"a split of kind tower, and no other, needs towers; got {list(self.towers)} for '{self.kind}'."
            )

    @classmethod
    def read(cls, asked: str | Mapping[str, Any] | HeldOut | None) -> HeldOut:
        """From what a configuration may say: nothing (`time`), a kind, or a mapping of the arguments."""
        if isinstance(asked, HeldOut):
            return asked
        content = {"kind": asked or "time"} if asked is None or isinstance(asked, str) else dict(asked)
        known = [field.name for field in dataclasses.fields(cls)]
        for name in content:
            if name not in known:
                raise ValueError(f"held_out: {unknown('key', name, known)}")
        if "kind" in content and content["kind"] not in KINDS:
            raise ValueError(f"held_out: {unknown('split', str(content['kind']), KINDS)}")
        return pydantic.TypeAdapter(cls).validate_python(content)

    @property
    def joins_records(self) -> bool:
        """Whether record and test record are one record here."""
        return self.kind not in ("time", "weeks")

    def split(
        self,
        record: xr.Dataset,
        *,
        site: str = "",
        has_test_record: bool = False,
        block_days: float = 7.0,
        val_every: int = 5,
        test_fraction: float = 0.0,
        purge_days: float = 0.0,
    ) -> Split:
        """Rows of the parts of a record.

        Args:
            record: as `read_tower` makes it; only forcing and time are looked at.
            site: name of its site.
            has_test_record: the test part is another record.
            block_days, val_every, test_fraction, purge_days: of `block_split`.

        Raises:
            ValueError: the record does not have what the split needs; the message says what.
        """
        time = record["time"].values.astype("datetime64[ns]")
        options: dict[str, Any] = {"block_days": block_days, "val_every": val_every, "purge_days": purge_days}
        fraction = 0.0 if has_test_record else test_fraction
        if self.kind == "time":
            return block_split(time, test_fraction=fraction, **options)
        if self.kind == "weeks":
            return self._short(time, end_of_record(time, fraction), options)
        if self.kind == "tower" and site in self.towers:
            nothing = np.zeros(0, dtype=np.int64)
            return Split(nothing, nothing, np.arange(len(time)), nothing)
        test = self.chosen(record)
        return split_around(time, test, asked=f"held_out={self.kind}", **options)

    def chosen(self, record: xr.Dataset) -> np.ndarray:
        """Which half-hours of a record, `[n]` bool, are the test part of a split by weather."""
        time = record["time"].values.astype("datetime64[ns]")
        share = self.share if self.share is not None else DEFAULT_SHARE.get(self.kind, 0.0)
        if self.kind == "dry_year":
            return _driest_year(time, record["soil_water_content"].values)
        if self.kind == "hot":
            weeks = np.floor((time - time[0]) / DAY / 7.0 + 1e-9).astype(np.int64)
            return _most_extreme(weeks, record["air_temperature"].values, share)
        test = np.zeros(len(time), dtype=bool)
        days = time.astype("datetime64[D]").astype(np.int64)
        if self.kind in ("dry_air", "dry"):
            deficit = np.asarray(vapour_pressure_deficit(record).values, float)
            test |= _most_extreme(days, np.where(record["shortwave_in"].values > DAYLIGHT, deficit, np.nan), share)
        if self.kind in ("dry_soil", "dry"):
            test |= _most_extreme(days, -record["soil_water_content"].values, share)
        return test

    def _short(self, time: np.ndarray, test: np.ndarray, options: dict[str, Any]) -> Split:
        weeks = float(self.weeks or 0.0)
        before = np.flatnonzero(~test)
        end = time[before[-1]]
        length = (end - time[before[0]]) / DAY / 7.0
        if length < weeks - 0.01:
            raise ValueError(
                f"held_out: {weeks:g} weeks of training were asked for, but there are {length:.1f} before the test part. "
                "Ask for fewer."
            )
        kept = before[(end - time[before]) / DAY < 7.0 * weeks - 1e-9]
        if options["val_every"]:
            options = {**options, "block_days": min(options["block_days"], 7.0 * weeks / options["val_every"])}
        parts = split_around(
            time[kept], np.zeros(len(kept), dtype=bool), asked=f"held_out=weeks, weeks={weeks:g}", **options
        )
        rows = [kept[rows] for rows in (parts.train, parts.val)]
        gap = options["purge_days"]
        if gap > 0 and test.any():  # the test part begins where these weeks end
            rows = [r[(time[test][0] - time[r]) / DAY - 1.0 / 48.0 >= gap - 1e-9] for r in rows]
        used = np.concatenate([*rows, np.flatnonzero(test)])
        purged = np.setdiff1d(np.arange(len(time)), used)
        return Split(rows[0], rows[1], np.flatnonzero(test), purged)


def joined(record: xr.Dataset, test: xr.Dataset) -> xr.Dataset:
    """Record and test record of a tower as one, in time order.

    Raises:
        ValueError: they have different columns, or half-hours in common.
    """
    if different := sorted({str(name) for name in record.data_vars} ^ {str(name) for name in test.data_vars}):
        raise ValueError(
            f"held_out: record and test record differ in {', '.join(different)}, so they cannot be one record. Name the "
            "columns (`columns`), or use held_out: time."
        )
    whole = xr.concat([record, test], dim="time", data_vars="minimal", coords="minimal", compat="equals", join="outer",
                      combine_attrs="override").sortby("time")  # fmt: skip
    if (np.diff(whole["time"].values) <= np.timedelta64(0, "ns")).any():
        raise ValueError("held_out: record and test record have half-hours in common, so they cannot be one record.")
    hashes = [str(h) for part in (record, test) for h in np.atleast_1d(part.attrs.get("source_sha256", []))]
    return whole.assign_attrs({"source_sha256": hashes} if hashes else {})


def _most_extreme(unit: np.ndarray, values: np.ndarray, share: float) -> np.ndarray:
    """Half-hours `[n]` (bool) of the `share` of the units (days, weeks) with the highest means of their known values."""
    labels, index = np.unique(unit, return_inverse=True)
    known = np.isfinite(values)
    count = np.bincount(index[known], minlength=len(labels))
    total = np.bincount(index[known], weights=values[known], minlength=len(labels))
    with_values = np.flatnonzero(count)
    wanted = max(1, round(share * len(labels)))
    means = total[with_values] / count[with_values]
    highest = with_values[np.argsort(-means, kind="stable")[:wanted]]
    return np.isin(index, highest)


def _driest_year(time: np.ndarray, soil_water: np.ndarray) -> np.ndarray:
    months = time.astype("datetime64[M]").astype(np.int64)
    year = (months - months[0]) // 12
    means = {}
    for label in np.unique(year):
        here = year == label
        if len(np.unique(time[here].astype("datetime64[D]"))) >= FULL_YEAR and np.isfinite(soil_water[here]).any():
            means[label] = float(pd.Series(soil_water[here]).mean())
    if len(means) < 2:
        raise ValueError(
            f"held_out: dry_year needs at least two years of {FULL_YEAR} days or more, counted from the first month of the "
            f"record; there are {len(means)}. Use hot, dry_air or dry_soil."
        )
    return year == min(means, key=lambda label: means[label])
