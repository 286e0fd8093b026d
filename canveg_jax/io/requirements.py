"""Drivers that a tower file lacks: refused by name, or read as missing where the format cannot have them."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from ..forcing import FORCING_TABLE
from .tower_dataset import Column, TowerFileError, TowerTable

DERIVED = ("day_of_year", "hour")
"""Forcing that comes from the time stamps, for which no column can be chosen."""

REQUIRED = tuple(name for name, info in FORCING_TABLE.items() if not info.optional and name not in DERIVED)
"""Drivers without which the canopy cannot be run."""


def lacking_drivers(table: TowerTable) -> list[str]:
    """The required drivers that a table does not hold, in the order of `FORCING_TABLE`."""
    return [name for name in REQUIRED if name not in table.forcing]


def with_required_drivers(
    table: TowerTable, never_holds: Mapping[str, str], what: str, may_lack: Collection[str] = ()
) -> TowerTable:
    """The table with every required driver; those that its format need not hold are missing throughout, with a warning.

    Args:
        table: of one tower.
        never_holds: drivers that the format need not hold, and why.
        what: the file, for messages.
        may_lack: drivers that may stay away, as something else takes their place.

    Raises:
        TowerFileError: other drivers are lacking; the message names all of them and the columns that were looked for.
    """
    lacking = [name for name in lacking_drivers(table) if name not in may_lack]
    if refused := [name for name in lacking if name not in never_holds]:
        parts = [f"{name}; looked for {table.looked_for.get(name, name)}" for name in refused]
        advice = ", ".join(f"'{name}': '<column>'" for name in refused)
        co2 = " or co2=<umol mol-1>" if "co2" in refused else ""
        raise TowerFileError(f"{what}: no column for {'; none for '.join(parts)}. Give columns={{{advice}}}{co2}.")
    if not lacking:
        return table
    missing = np.full(len(table.start), np.nan)
    why = "; ".join(f"{name} ({never_holds[name]})" for name in lacking)
    text = f"{what}: required drivers are not in the file and missing in every half-hour: {why}."
    forcing = {**table.forcing, **{name: Column(missing.copy(), "none") for name in lacking}}
    return table._replace(forcing=forcing, warnings=[*table.warnings, text])
