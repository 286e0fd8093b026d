"""Names of columns in AmeriFlux and ICOS files: what they measure, where the sensor stands, who processed them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

QUALIFIERS = re.compile(
    r"(?P<pi>_PI)?(?P<filled>_F)?(?:_(?P<h>\d+)_(?P<v>\d+)_(?P<r>\d+|A)|_(?P<layer>\d+))?", re.ASCII
)  # fmt: skip


class SensorColumn(NamedTuple):
    """A column name taken apart. Sorting puts the column to prefer first."""

    filled: bool
    processed: bool
    vertical: int
    horizontal: int
    replicate: int
    name: str


def columns_of(base: str, names: Iterable[str]) -> list[SensorColumn]:
    """Columns of one base name, best first: not gap-filled, not processed by the site team, highest sensor.

    Names follow `BASE[_PI][_F][_H_V_R | _H_V_A | _layer]` (horizontal, vertical with 1 = highest, replicate; A =
    mean of replicates). A name that does not match in full (`T_SONIC_SIGMA` for base `T_SONIC`; `_SD`, `_N`, `_QC`)
    is another variable. Means (no position, layer mean, A) come before single sensors of the same height.
    """
    found = []
    for name in names:
        match = QUALIFIERS.fullmatch(name, len(base)) if name.startswith(base) else None
        if match:
            replicate = 0 if match["r"] in (None, "A") else int(match["r"])
            vertical = int(match["v"] or match["layer"] or 0)
            found.append(
                SensorColumn(
                    filled=bool(match["filled"]), processed=bool(match["pi"]), vertical=vertical,
                    horizontal=int(match["h"] or 0), replicate=replicate, name=name,
                )
            )  # fmt: skip
    return sorted(found)


def is_filled_name(name: str) -> bool:
    """Whether a column was gap-filled by the site team."""
    return re.search(r"_F(?=_|$)", name) is not None


def ssitc_flag(column: str, names: Collection[str]) -> str | None:
    """The steadiness and turbulence flag of a flux column: `LE_SSITC_TEST`, with the position of the sensor or without."""
    match = re.fullmatch(r"([A-Z][A-Z0-9]*?)((?:_PI)?(?:_F)?)((?:_\d+){0,2}(?:_\d+|_A)?)", column)
    if match is None:
        return None
    base = "FC" if match[1] == "NEE" else match[1]
    candidates = [f"{base}{match[3]}_SSITC_TEST", f"{base}_SSITC_TEST{match[3]}", f"{base}_SSITC_TEST"]
    if not match[3]:  # the only sensor of a kind may have its position in the flag alone
        candidates += [name for name in names if re.fullmatch(rf"{base}(_\d+)*_SSITC_TEST(_\d+)*", name)][:1]
    return next((name for name in candidates if name in names), None)
