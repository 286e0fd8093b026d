"""Half-hours of one or more towers as a map-style dataset: any order, any mix, no half-hour depends on another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr

from canveg_jax import FORCING_TABLE, ForcingError
from canveg_jax.io import forcing_complete
from canveg_jax.io.antecedents import ANTECEDENTS
from canveg_jax.io.completeness import table_of_costs
from canveg_jax.io.daily_weather import DAILY, DAILY_DRIVERS, index_of_day

from .order import Repeated
from .targets import DEFAULT_TARGETS, check_targets

Batch = dict[str, Any]
"""`forcing`: {name: `[time]`}, `history`: {name: `[time]`} (of `canveg_jax.io.antecedents.ANTECEDENTS`), `site`: int
`[time]`, `target`, `measured`, and `sigma` of targets to which the files give one: {name: `[time]`}, `row`: int `[time]`,
`counted`: bool `[time]`, false for half-hours that only fill up the batch of one of several processes (nothing is measured
there). On request (`daily_days`) `daily`: `[time, day, driver]`, the last whole days before each half-hour, the oldest first."""


class TowerDataset(torch.utils.data.Dataset):
    """Half-hours with complete forcing, held in memory as tensors.

    Item `i` is a dictionary of 0-d values; a list of indices gives the batch at once, by one indexing operation per
    column, so pass `collate` to the `DataLoader` as `collate_fn`. A missing target is NaN and not measured; nothing is
    interpolated. Optional forcing that a tower does not have is NaN ("not measured" to the canopy).

    Args:
        towers: datasets made by `canveg_jax.io.read_tower` (or shaped like it), in site order.
        targets: observed fluxes to carry; those a tower does not have are missing there.
        dtype: of forcing and targets, and therefore of the canopy's computation.
        daily_days: carry the daily weather of so many whole days before each half-hour; 0: do not. May be set later.
        rows: per tower the rows to keep, in the order they are to have; default all. Rows with incomplete forcing are
            left out and counted in `incomplete`.

    Attributes:
        incomplete: per tower, how many of the asked rows were left out because forcing is missing or out of range.
        sigma: standard deviation of the random error of each target to which a file gives one.
        history: the past of each half-hour, as the towers have it (`with_antecedents`); NaN for a tower that lacks a column.
        time: start of each half-hour's interval, `numpy.datetime64[ns]` `[n]`.

    Raises:
        ForcingError: a dataset lacks a forcing variable.
        ValueError: no half-hour is left, or an unknown target.
    """

    def __init__(
        self,
        towers: Sequence[xr.Dataset],
        targets: Sequence[str] = DEFAULT_TARGETS,
        *,
        dtype: torch.dtype = torch.float64,
        rows: Sequence[np.ndarray] | None = None,
        daily_days: int = 0,
    ):
        self.targets = check_targets(targets)
        if not towers:
            raise ValueError("TowerDataset: expected at least one tower dataset; got none.")
        if rows is not None and len(rows) != len(towers):
            raise ValueError(f"TowerDataset: got {len(towers)} towers but row indices of {len(rows)}.")
        kept, self.incomplete = [], []
        for i, tower in enumerate(towers):
            _require_forcing(tower, i)
            asked = np.arange(tower.sizes["time"]) if rows is None else np.asarray(rows[i], dtype=np.int64)
            complete = forcing_complete(tower).values[asked]
            kept.append(asked[complete])
            self.incomplete.append(int((~complete).sum()))
        if not any(len(k) for k in kept):
            raise ValueError(
                f"no half-hour with complete forcing is left ({sum(self.incomplete)} were left out). Mend these "
                "columns, or widen "
                f"the period.\n{_costs(towers, rows)}"
            )

        def gather(name: str, missing: Any) -> np.ndarray:
            parts = [
                t[name].values[k] if name in t else np.full(len(k), missing) for t, k in zip(towers, kept, strict=True)
            ]
            return np.concatenate(parts)

        self.forcing = {name: torch.as_tensor(gather(name, np.nan), dtype=dtype) for name in FORCING_TABLE}
        past = [name for name in ANTECEDENTS if any(name in tower for tower in towers)]
        self.history = {name: torch.as_tensor(gather(name, np.nan), dtype=dtype) for name in past}
        self.daily_days = daily_days
        self._daily, self._day, self._first_day = _daily_weather(towers, kept, dtype)
        self.target, self.measured, self.sigma = {}, {}, {}
        for name in self.targets:
            values = gather(name, np.nan)
            measured = gather(f"{name}_measured", False).astype(bool) & np.isfinite(values)
            self.target[name] = torch.as_tensor(np.where(measured, values, np.nan), dtype=dtype)
            self.measured[name] = torch.as_tensor(measured)
            if any(f"{name}_sigma" in tower for tower in towers):
                self.sigma[name] = torch.as_tensor(gather(f"{name}_sigma", np.nan), dtype=dtype)
        self.site = torch.as_tensor(np.concatenate([np.full(len(k), i) for i, k in enumerate(kept)]), dtype=torch.int64)
        self.row = torch.as_tensor(np.concatenate(kept), dtype=torch.int64)
        self.time = np.concatenate(
            [t["time"].values[k].astype("datetime64[ns]") for t, k in zip(towers, kept, strict=True)]
        )

    def __len__(self) -> int:
        return len(self.row)

    def __getitem__(self, index: int) -> Batch:
        return self._take(int(index), torch.tensor(not isinstance(index, Repeated)))

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """The batch of these half-hours; `torch.utils.data` calls it with a whole batch's indices."""
        counted = torch.tensor([not isinstance(index, Repeated) for index in indices], dtype=torch.bool)
        return self._take(torch.as_tensor(indices, dtype=torch.int64), counted)

    def _take(self, index: Any, counted: torch.Tensor) -> Batch:
        daily = {DAILY: self._days_before(index)} if self.daily_days else {}
        return {
            **daily,
            "forcing": {name: column[index] for name, column in self.forcing.items()},
            "history": {name: column[index] for name, column in self.history.items()},
            "site": self.site[index],
            "target": {name: column[index] for name, column in self.target.items()},
            "measured": {name: column[index] & counted for name, column in self.measured.items()},
            "sigma": {name: column[index] for name, column in self.sigma.items()},
            "row": self.row[index],
            "counted": counted,
        }

    def _days_before(self, index: Any) -> torch.Tensor:
        """Daily means of the last `daily_days` days before the half-hours, `[..., day, driver]`; NaN before the record began."""
        wanted = self._day[index][..., None] + torch.arange(-self.daily_days, 0)
        known = wanted >= self._first_day[index][..., None]
        return torch.where(known[..., None], self._daily[torch.where(known, wanted, 0)], torch.nan)

    def fingerprint(self) -> dict[str, list[float]]:
        """What tells these data from others, by column: how many numbers it has, their mean size, and their mean weighed by
        where they stand. Compare with a tolerance: other machines may round otherwise."""
        ramp = torch.linspace(0.5, 1.5, len(self), dtype=torch.float64)
        found = {}
        for name, column in {**self.forcing, **self.history, **self.target}.items():
            known = torch.isfinite(column)
            values = torch.where(known, column.double(), 0.0)
            found[name] = [float(known.sum()), float(values.abs().mean()), float((values * ramp).mean())]
        return found

    def measured_counts(self) -> dict[str, int]:
        """Number of measured samples of each target."""
        return {name: int(mask.sum()) for name, mask in self.measured.items()}


def collate(batch: Batch | Sequence[Batch]) -> Batch:
    """Collate function of a `TowerDataset`: a batch that is one already passes; a list of items is stacked."""
    return batch if isinstance(batch, dict) else torch.utils.data.default_collate(list(batch))


def _costs(towers: Sequence[xr.Dataset], rows: Sequence[np.ndarray] | None) -> str:
    """What each variable costs, for each tower that was asked for any half-hour."""
    asked = [tower if rows is None else tower.isel(time=rows[i]) for i, tower in enumerate(towers)]
    names = [str(tower.attrs.get("site", f"tower {i}")) for i, tower in enumerate(towers)]
    return "\n".join(
        f"{name}: {table_of_costs(part)}" for name, part in zip(names, asked, strict=True) if part.sizes["time"]
    )


def _daily_weather(
    towers: Sequence[xr.Dataset], kept: Sequence[np.ndarray], dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Daily means of all towers one after the other `[day, driver]`; of each half-hour its day there, and the first of its tower.

    A tower whose record has none (`with_antecedents`) has a single day without numbers.
    """
    tables, days, firsts, first = [], [], [], 0
    for tower, rows in zip(towers, kept, strict=True):
        table = tower[DAILY].values if DAILY in tower else np.full((1, len(DAILY_DRIVERS)), np.nan)
        day = index_of_day(tower)[rows] if DAILY in tower else np.zeros(len(rows), np.int64)
        tables.append(table)
        days.append(first + day)
        firsts.append(np.full(len(rows), first))
        first += len(table)
    return (
        torch.as_tensor(np.concatenate(tables), dtype=dtype), torch.as_tensor(np.concatenate(days)),
        torch.as_tensor(np.concatenate(firsts)),
    )  # fmt: skip


def _require_forcing(tower: xr.Dataset, index: int) -> None:
    lacking = [name for name, info in FORCING_TABLE.items() if not info.optional and name not in tower]
    if lacking:
        raise ForcingError(
            f"tower {index} ({tower.attrs.get('site', 'unnamed')}) lacks the forcing variables {', '.join(lacking)}. "
            "Read it with canveg_jax.io.read_tower, or add them."
        )
