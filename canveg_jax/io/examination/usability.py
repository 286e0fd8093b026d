"""Which half-hours the canopy can be run for, and which variable costs how many of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from ...forcing import FORCING_TABLE
from ..arrays import Mask


class Cost(NamedTuple):
    """Half-hours that a forcing variable spoils: missing, out of its range, and those that it alone spoils."""

    variable: str
    missing: int
    out_of_range: int
    alone: int


def costs(dataset: xr.Dataset) -> list[Cost]:
    """The cost of each forcing variable that has one, the dearest first. A variable that is not there is missing everywhere."""
    size = dataset.sizes["time"]
    missing: dict[str, Mask] = {}
    wrong: dict[str, Mask] = {}
    for name, info in FORCING_TABLE.items():
        if name not in dataset:
            missing[name], wrong[name] = np.full(size, not info.optional), np.zeros(size, dtype=bool)
            continue
        values = dataset[name].values
        missing[name] = ~np.isfinite(values) & (not info.optional)
        wrong[name] = np.isfinite(values) & ((values < info.lower) | (values > info.upper))
    spoilt = {name: missing[name] | wrong[name] for name in FORCING_TABLE}
    count = np.sum([mask.astype(int) for mask in spoilt.values()], axis=0)
    found = [
        Cost(
            variable=name,
            missing=int(missing[name].sum()),
            out_of_range=int(wrong[name].sum()),
            alone=int((mask & (count == 1)).sum()),
        )
        for name, mask in spoilt.items()
        if mask.any()
    ]
    return sorted(found, key=lambda cost: (-cost.alone, -cost.missing - cost.out_of_range))


def cost_text(dataset: xr.Dataset) -> str:
    """The costs in one sentence, for messages; empty if every half-hour is usable."""
    return "; ".join(
        f"{cost.variable} {cost.missing} missing, {cost.out_of_range} out of range (alone {cost.alone})"
        for cost in costs(dataset)
    )
