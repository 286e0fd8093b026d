"""Why half-hours cannot be run: what each variable of the forcing costs, as a table."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from ..forcing import FORCING_TABLE


class Cost(NamedTuple):
    """What one variable of the forcing costs.

    Args:
        missing: half-hours in which it is missing.
        outside: half-hours in which it is out of its range.
        alone: half-hours that would be complete without this variable's gaps.
    """

    missing: int
    outside: int
    alone: int


def costs_of_forcing(tower: xr.Dataset) -> dict[str, Cost]:
    """`Cost` of each variable of the forcing that costs anything, the most expensive first.

    A required variable that the dataset lacks is missing in every half-hour; an optional one costs where it is out of range.
    """
    unusable, missing, outside = {}, {}, {}
    size = tower.sizes["time"]
    for name, info in FORCING_TABLE.items():
        if name not in tower and info.optional:
            continue
        values = np.asarray(tower[name].values, float) if name in tower else np.full(size, np.nan)
        outside[name] = ~np.isnan(values) & ~((values >= info.lower) & (values <= info.upper))
        missing[name] = np.isnan(values) & (not info.optional)
        unusable[name] = outside[name] | missing[name]
    count = np.sum([*unusable.values()], axis=0) if unusable else np.zeros(size, dtype=int)
    costs = {
        name: Cost(int(missing[name].sum()), int(outside[name].sum()), int((bad & (count == 1)).sum()))
        for name, bad in unusable.items()
        if bad.any()
    }
    return dict(sorted(costs.items(), key=lambda item: (-item[1].alone, -item[1].missing - item[1].outside)))


def table_of_costs(tower: xr.Dataset) -> str:
    """The costs as lines of text, with the columns the variables came from."""
    costs = costs_of_forcing(tower)
    if not costs:
        return f"every one of the {tower.sizes['time']} half-hours has complete forcing"
    lines = [("variable", "missing", "out of range", "alone", "column")]
    for name, cost in costs.items():
        source = str(tower[name].attrs.get("source_column", "")) if name in tower else "none"
        lines.append((name, str(cost.missing), str(cost.outside), str(cost.alone), source))
    widths = [max(len(line[i]) for line in lines) for i in range(5)]
    head = f"of {tower.sizes['time']} half-hours ('alone': those that only this variable costs):"
    rows = [
        "  ".join(
            (line[0].ljust(widths[0]), *(t.rjust(w) for t, w in zip(line[1:4], widths[1:4], strict=True)), line[4])
        ).rstrip()
        for line in lines
    ]
    return "\n".join([head, *rows])
