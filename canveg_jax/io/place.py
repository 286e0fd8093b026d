"""The place of a tower from its files: a `Site` from BIF / BADM metadata or from the scalars of an ALMA NetCDF."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from ..site import Site
from .bif import Bif, read_bif
from .formats.alma import AlmaFile
from .tower_dataset import TowerDataWarning, TowerFileError

METADATA_SUFFIXES = (".xlsx", ".zip", ".nc", ".csv")
"""Files that a site may be read from (a YAML is one too, but says everything itself)."""


def read_site(path: str | Path, site: str | None = None, **changes: Any) -> Site:
    """The `Site` that a file of metadata describes; what it does not say comes from `changes`.

    * BIF / BADM (xlsx, CSV, or the zip of AmeriFlux or ICOS that holds it): name, latitude, longitude, offset and the canopy
      height, which is the 90 % quantile of its means (a crop is bare for most of the year).
    * ALMA NetCDF (a Met or Flux file): the same, and the measurement height, where it has them. Without a time zone the offset
      is that of the longitude, with a warning.

    Args:
        path: the file.
        site: identifier of the site, where the file has several.
        changes: site constants; they win over the file.

    Raises:
        TowerFileError: no such file, or it lacks a constant that `changes` does not give; the message names all of them.
        pydantic.ValidationError: a constant cannot be right.
    """
    path = Path(path)
    if not path.is_file():
        raise TowerFileError(
            f"no file '{path}'. Give a BIF (xlsx, CSV or the zip with it) or an ALMA NetCDF, or a site YAML."
        )
    found = _from_alma(path) if path.suffix.lower() == ".nc" else _from_bif(read_bif(path, site))
    constants = {**{name: value for name, value in found.items() if value is not None}, **changes}
    if "utc_offset" not in constants and "longitude" in constants:
        constants["utc_offset"] = float(np.round(constants["longitude"] / 15.0))
        warnings.warn(
            f"{path.name} does not say its time zone; utc_offset = {constants['utc_offset']:g} is that of the "
            "longitude. Give utc_offset "
            "if the stamps are in another standard time.",
            TowerDataWarning,
            stacklevel=2,
        )
    required = ("name", "latitude", "longitude", "utc_offset", "canopy_height", "measurement_height")
    if lacking := [name for name in required if name not in constants]:
        raise TowerFileError(
            f"{path.name} does not say {', '.join(lacking)} of the site {constants.get('name', '')}. Add "
            f"{', '.join(f'{name}: <number>' for name in lacking)} to the site."
        )
    return Site(**constants)


def _from_bif(bif: Bif) -> dict[str, Any]:
    heights = [h for h in bif.means("GRP_HEIGHTC", "HEIGHTC") if h > 0.0]
    return {
        "name": bif.site,
        "latitude": bif.number("GRP_LOCATION", "LOCATION_LAT"),
        "longitude": bif.number("GRP_LOCATION", "LOCATION_LONG"),
        "utc_offset": bif.number("GRP_UTC_OFFSET", "UTC_OFFSET"),
        "canopy_height": float(np.round(np.quantile(heights, 0.9), 3)) if heights else None,
    }


def _from_alma(path: Path) -> dict[str, Any]:
    file = AlmaFile(path)
    return {
        "name": file.site_name(),
        "latitude": file.scalar("latitude"),
        "longitude": file.scalar("longitude"),
        "utc_offset": file.time_zone(),
        "canopy_height": file.scalar("canopy_height"),
        "measurement_height": file.scalar("reference_height"),
    }
