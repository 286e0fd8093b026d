"""The files of one tower, as a configuration names them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import xarray as xr
import yaml

from ..site import Site
from .lai import is_table_file
from .place import METADATA_SUFFIXES, read_site
from .read_tower import read_tower

FILES = ("forcings", "fluxes", "test_forcings", "test_fluxes")
"""The settings of `TowerFiles` that are file names."""


@dataclasses.dataclass
class TowerFiles:
    """Site and files of one tower. Formats are those of `canveg_jax.io.read_tower`.

    Args:
        site: name of a preset (`US-Bi1`), path of a site YAML or of a file with metadata (`canveg_jax.io.place.read_site`:
            BIF, the zip that holds it, ALMA NetCDF), or a mapping of site constants, in which `preset: NAME` or
            `metadata: FILE` give those that are not there.
        forcings: file with the weather (FLUXNET and AmeriFlux files hold the fluxes as well).
        fluxes: file with the fluxes, where it is a second one (prepared pair, ICOS, ALMA).
        test_forcings: the same for the test period; without it the end of the record can be the test part.
        test_fluxes: see `test_forcings`.
        site_options: changes of site constants, for example `{n_layers: 1, lai_scale: 0.1}`.
        lai: leaf area index: a number, the name of a column, `radiation` (from reflected light), or a table of dates: a file (CSV
            with date,lai, MODIS subset, BIF), a list of [date, number], or a mapping.
        co2: umol mol-1, used where the file has no CO2.
        columns: canonical name -> column of the file, where the default choice is not wanted.
        time_stamp: which end of the interval a single time stamp marks; default: what its name says.
        stand_ins: what takes the place of variables that the tower does not measure, by variable: the name of a method, `none`,
            or a mapping with `method`, `where` and its parameters (docs/stand-ins.md).
        mask_interpolated: of prepared files, count samples on straight lines as filled, not measured.
        highest_flag: of files with SSITC flags, the highest with which a flux counts as measured.
        canopy_height: heights of surveys (m) as a number, a table of dates as for `lai`, or a BIF.
    """

    site: str | dict[str, Any]
    forcings: str
    fluxes: str | None = None
    test_forcings: str | None = None
    test_fluxes: str | None = None
    site_options: dict[str, Any] = dataclasses.field(default_factory=dict)
    lai: float | str | list[Any] | dict[Any, Any] | None = None
    co2: float | None = None
    columns: dict[str, str] = dataclasses.field(default_factory=dict)
    time_stamp: Literal["start", "end"] | None = None
    mask_interpolated: bool = True
    stand_ins: dict[str, Any] = dataclasses.field(default_factory=dict)
    highest_flag: int = 1
    canopy_height: float | str | list[Any] | dict[Any, Any] | None = None

    def inside(self, folder: str | Path | None) -> TowerFiles:
        """The same, with relative file names (of the site and of leaf area too) starting from `folder`."""
        if folder is None:
            return self
        names = [
            *FILES,
            *(["site"] if _is_site_file(self.site) else []),
            *(n for n in ("lai", "canopy_height") if is_table_file(getattr(self, n))),
        ]
        paths = {name: getattr(self, name) for name in names}
        changes: dict[str, Any] = {n: str(Path(folder) / p) for n, p in paths.items() if p is not None}
        if isinstance(self.site, Mapping) and "metadata" in self.site:
            changes["site"] = {**self.site, "metadata": str(Path(folder) / self.site["metadata"])}
        return dataclasses.replace(self, **changes)

    def build_site(self, options: Mapping[str, Any]) -> Site:
        """The site, with `options` and then `site_options` applied."""
        return as_site(self.site, {**options, **self.site_options})

    def read(self, site: Site) -> tuple[xr.Dataset, xr.Dataset | None]:
        """The record, and the test record if there are files of one, as `read_tower` makes them.

        Raises:
            FileNotFoundError: a file does not exist; the message names it and the setting.
            ValueError: a test file of fluxes without one of forcings, or a file that cannot be read as it is.
        """
        for setting in FILES:
            path = getattr(self, setting)
            if path is not None and not Path(path).is_file():
                raise FileNotFoundError(f"{site.name}: {setting} = {path} does not exist (seen from {Path.cwd()}).")
        if self.test_fluxes and not self.test_forcings:
            raise ValueError(f"{site.name}: test_fluxes is given without test_forcings. Give both, or neither.")
        record = self._read(self.forcings, self.fluxes, site)
        return record, self._read(self.test_forcings, self.test_fluxes, site) if self.test_forcings else None

    def _read(self, forcings: str, fluxes: str | None, site: Site) -> xr.Dataset:
        return read_tower(
            forcings, fluxes, site=site, time_stamp=self.time_stamp, lai=self.lai, co2=self.co2,
            columns=self.columns or None, mask_interpolated=self.mask_interpolated, highest_flag=self.highest_flag,
            canopy_height=self.canopy_height, stand_ins=self.stand_ins,
        )  # fmt: skip


def _is_site_file(site: object) -> bool:
    return isinstance(site, str) and Path(site).suffix.lower() in (".yaml", ".yml", *METADATA_SUFFIXES)


def as_site(site: Site | str | Mapping[str, Any], options: Mapping[str, Any] | None = None) -> Site:
    """A `Site` from what a configuration may say: a site, a preset's name, the path of a YAML or of metadata, or a mapping.

    Raises:
        ValueError: unknown preset, metadata that lack a constant, or constants that cannot be right (pydantic's message names
            them).
    """
    changes = dict(options or {})
    if isinstance(site, Site):
        return Site(**{**site.model_dump(), **changes}) if changes else site
    if isinstance(site, Mapping):
        constants = {**site, **changes}
        preset, metadata = constants.pop("preset", None), constants.pop("metadata", None)
        if preset and metadata:
            raise ValueError("site: preset and metadata are both given. Leave one of them out.")
        if metadata:
            return read_site(metadata, constants.get("name"), **constants)
        return Site.named(preset, **constants) if preset else Site(**constants)
    if Path(site).suffix.lower() in METADATA_SUFFIXES:
        return read_site(site, **changes)
    if Path(site).suffix in (".yaml", ".yml"):
        content = yaml.safe_load(Path(site).read_text(encoding="utf-8"))
        if isinstance(content, dict) and "metadata" in content:
            return as_site({**content, "metadata": str(Path(site).parent / content["metadata"])}, changes)
        return Site.from_yaml(site, **changes)
    return Site.named(str(site), **changes)
