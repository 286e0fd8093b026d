"""Units that a user may name: how a number in one becomes a number in ours. Judging unnamed units is `units.py`'s business."""

from __future__ import annotations

import re
from typing import NamedTuple

from ..spelling import unknown
from .arrays import Series
from .tower_dataset import TowerFileError


class Conversion(NamedTuple):
    """Ours is `factor` times theirs plus `offset`; a rate per `rate_of` seconds becomes a sum over the step."""

    factor: float
    offset: float = 0.0
    rate_of: float | None = None


CO2_MASS, CARBON_MASS = 44.0095, 12.011
"""g mol-1."""

ACCEPTED: dict[str, dict[str, Conversion]] = {
    "degC": {"degC": Conversion(1.0), "K": Conversion(1.0, -273.15), "degF": Conversion(5.0 / 9.0, -160.0 / 9.0)},
    "kPa": {
        "kPa": Conversion(1.0), "hPa": Conversion(0.1), "mbar": Conversion(0.1), "Pa": Conversion(1e-3),
        "mmHg": Conversion(0.133322387),
    },
    "hPa": {"hPa": Conversion(1.0), "mbar": Conversion(1.0), "kPa": Conversion(10.0), "Pa": Conversion(0.01)},
    "%": {"%": Conversion(1.0), "percent": Conversion(1.0), "1": Conversion(100.0)},
    "W m-2": {"W m-2": Conversion(1.0), "kW m-2": Conversion(1e3), "MJ m-2 h-1": Conversion(1e6 / 3600.0)},
    "m s-1": {"m s-1": Conversion(1.0), "km h-1": Conversion(1.0 / 3.6), "cm s-1": Conversion(0.01)},
    "umol mol-1": {"umol mol-1": Conversion(1.0), "ppm": Conversion(1.0), "mol mol-1": Conversion(1e6)},
    "umol m-2 s-1": {
        "umol m-2 s-1": Conversion(1.0), "mg CO2 m-2 s-1": Conversion(1e3 / CO2_MASS),
        "g C m-2 s-1": Conversion(1e6 / CARBON_MASS),
    },
    "m3 m-3": {"m3 m-3": Conversion(1.0), "1": Conversion(1.0), "%": Conversion(0.01), "percent": Conversion(0.01)},
    "m2 m-2": {"m2 m-2": Conversion(1.0), "1": Conversion(1.0)},
    "m": {"m": Conversion(1.0), "cm": Conversion(0.01)},
    "mm": {
        "mm": Conversion(1.0), "kg m-2": Conversion(1.0), "m": Conversion(1e3), "mm h-1": Conversion(1.0, 0.0, 3600.0),
        "mm s-1": Conversion(1.0, 0.0, 1.0), "kg m-2 s-1": Conversion(1.0, 0.0, 1.0),
    },
}  # fmt: skip
"""Our unit -> units that are taken for it. Sums over the step are `mm`."""


def converted(values: Series, unit: str, ours: str, variable: str, seconds: float) -> Series:
    """Values `[time]` in our unit.

    Args:
        values: in `unit`; blanks, `/` and powers may be written in any usual way (`W/m2`, `W m^-2`).
        unit: what the user says.
        ours: the unit that is needed.
        variable: for the message.
        seconds: the length of the step, for rates that become sums.

    Raises:
        TowerFileError: the unit is not one of those that are taken; the message lists them.
    """
    accepted = ACCEPTED[ours]
    found = next((c for name, c in accepted.items() if _plain(name) == _plain(unit)), None)
    if found is None:
        raise TowerFileError(f"{variable}: {unknown('unit', unit, accepted)}")
    return values * found.factor * (1.0 if found.rate_of is None else seconds / found.rate_of) + found.offset


def _plain(unit: str) -> str:
    """One spelling for `W m-2`, `W/m2`, `W m^-2`, `W m**-2`."""
    text = unit.strip().replace("µ", "u").replace("μ", "u").replace("°", "deg").replace("**", "").replace("^", "")
    first, *below = text.split("/")
    parts = [*first.split(), *(re.sub(r"(\D)$", r"\g<1>1", part.strip()) for part in below)]
    turned = [
        re.sub(r"^([a-zA-Z]+)(\d+)$", r"\1-\2", part) if i >= len(first.split()) else part
        for i, part in enumerate(parts)
    ]
    plain = " ".join(turned)
    if len(turned) == 1:
        return plain
    return plain[0] + plain[1:].lower() if plain[0] in "mM" else plain.lower()  # milli is not mega
