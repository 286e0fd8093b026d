"""`read_tower`: the front door for tower files of every known format."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import xarray as xr

from ..files import sha256
from ..forcing import FORCING_TABLE
from ..site import Site
from ..spelling import unknown
from .formats import ReadOptions, TowerFormat, recognise
from .lai import Lai
from .leaf_area_radiation import lai_of_file, radiation_options
from .stand_ins import choose, flagged, lacking, put_in
from .tower_dataset import TARGET_TABLE, TowerDataWarning, TowerFileError, build_dataset, forcing_complete
from .units import check_units

DERIVED = ("day_of_year", "hour")
"""Forcing that comes from the time stamps, for which no column can be chosen."""


def read_tower(
    forcings: str | Path,
    fluxes: str | Path | None = None,
    *,
    site: Site | None = None,
    time_stamp: Literal["start", "end"] | None = None,
    lai: Lai | Mapping[str, Any] | None = None,
    co2: float | None = None,
    columns: Mapping[str, str] | None = None,
    mask_interpolated: bool = True,
    stand_ins: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Read half-hourly or hourly tower data into one dataset with canonical names.

    The format is recognised by the file's content: FLUXNET / ONEFlux (SUBSET or FULLSET, HH or HR), AmeriFlux BASE, the
    prepared pair of files of JAX-CanVeg, or one registered with `canveg_jax.io.formats.register`. Columns are selected by
    name. Missing values stay NaN unless a stand-in takes their place; nothing is interpolated, clipped or scaled (a site's
    `lai_scale` and the model's floors act inside the model).

    Args:
        forcings: the CSV with the weather (FLUXNET and AmeriFlux files hold the fluxes as well).
        fluxes: the CSV with the fluxes of a prepared pair; its rows must be those of `forcings`.
        site: adds name, coordinates and UTC offset to the attributes.
        time_stamp: for files with a single time stamp, which end of the interval it marks. Default: what its name says
            (TIMESTAMP_END, TIMESTAMP_START). Files with both stamps need no choice.
        lai: leaf area index: a number, a `pandas.Series` with dates, a column name, or `"radiation"`: from the light that the
            canopy reflects (`canveg_jax.io.leaf_area_radiation`; `{"radiation": {"low": 0.1, "high": 0.7}}` sets its options).
            Needed for FLUXNET and AmeriFlux; for prepared files it replaces the column LAI.
        co2: umol mol-1, used if the file has no CO2 column.
        columns: canonical name -> file column, where the default choice is not wanted, for example
            `{"latent_heat": "LE_CORR", "soil_temperature": "TS_F_MDS_4"}`. A column given for `vapour_pressure` of
            FLUXNET files is a deficit (hPa); for AmeriFlux files it is an RH, VPD or H2O column.
        stand_ins: what takes the place of variables that the tower does not measure, by variable, where the defaults are not
            wanted: a method, `"none"`, or a mapping with `method`, `where` and parameters, for example
            `{"friction_velocity": "none", "soil_water_content": {"method": "bucket", "capacity": 100.0}}`. Friction velocity,
            CO2 and pressure stand in wherever a value is missing, soil temperature and soil water only for files that have
            none at all (docs/stand-ins.md).
        mask_interpolated: for prepared files, count samples on straight lines as filled (`interpolated_samples`).

    Returns:
        Dataset on dimension `time` (start of the interval, local standard time; `time_end` its end), with

        * the variables of `FORCING_TABLE`, `day_of_year` and `hour` being those of the middle of the interval;
        * `latent_heat`, `sensible_heat` (W m-2, positive up), `ground_heat`, `net_radiation` (W m-2, positive
          down), `nee`, `soil_respiration` (umol m-2 s-1, positive = release), `gpp` (positive = uptake),
          `shortwave_out`, `longwave_out` (W m-2, positive up), each with a boolean `<name>_measured` and, where the file has it,
          the standard deviation of its random error `<name>_sigma`;
        * `precipitation` (mm per step) where the file has it;
        * `forcing_complete`: every required forcing variable is finite and within its range;
        * `forcing_good` (FLUXNET): no driver has a flag above 1;
        * `<variable>_stand_in` (boolean) for each variable that holds a stand-in anywhere.

        Units, meaning and source column are in each variable's `attrs`; format, step, file names and their SHA-256 in
        the dataset's.

    Raises:
        TowerFileError: unknown format, missing column that no stand-in replaces, unit that cannot be right, no LAI.
        ValueError: time stamps unreadable, twice, unsorted or unequally spaced.

    Warns:
        TowerDataWarning: the file was read, but something in it limits what may be concluded from it.

    Example:
        >>> tower = read_tower("FLX_XX-Abc_FLUXNET2015_SUBSET_HH_2012-2014_1-3.csv", lai=2.5)  # doctest: +SKIP
    """
    dataset, notes = _read(
        Path(forcings), None if fluxes is None else Path(fluxes), site, stand_ins, complete=True, time_stamp=time_stamp,
        lai=lai, co2=co2, columns=columns or {}, mask_interpolated=mask_interpolated,
    )  # fmt: skip
    for text in notes:
        warnings.warn(text, TowerDataWarning, stacklevel=2)
    return dataset


def read_as_it_is(
    forcings: str | Path,
    fluxes: str | Path | None = None,
    *,
    site: Site | None = None,
    lai: Lai | Mapping[str, Any] | None = None,
    stand_ins: Mapping[str, Any] | None = None,
    columns: Mapping[str, str] | None = None,
) -> tuple[xr.Dataset, list[str]]:
    """As `read_tower`, but variables that the file lacks are simply not there: to examine a file. Nothing can be run for it.

    Returns:
        The dataset, and the texts of the warnings.

    Raises:
        TowerFileError, ValueError: the file cannot be read even so.
    """
    path, flux_path = Path(forcings), None if fluxes is None else Path(fluxes)
    try:
        return _read(path, flux_path, site, stand_ins, complete=False, lai=lai, columns=columns or {})
    except TowerFileError:
        if lai is not None and radiation_options(lai) is None:
            raise
    # it may be for want of a leaf area; what else there is to say comes up again
    dataset, notes = _read(path, flux_path, site, stand_ins, complete=False, lai=0.0, columns=columns or {})
    dataset = dataset.drop_vars("lai")
    return dataset.assign(forcing_complete=forcing_complete(dataset)), notes


def _read(
    path: Path, flux_path: Path | None, site: Site | None, stand_ins: Mapping[str, Any] | None, *, complete: bool, **given: Any
) -> tuple[xr.Dataset, list[str]]:  # fmt: skip
    """The dataset and the texts of its warnings. `given`: of `ReadOptions`; `complete`: refuse a file that lacks variables."""
    if given.get("time_stamp") not in (None, "start", "end"):
        raise TowerFileError(
            f"time_stamp must be 'start', 'end' or None (as the file says); got {given['time_stamp']!r}."
        )
    tower_format = recognise(path)
    check_names(given["columns"])
    choices = choose(stand_ins)
    of_radiation = radiation_options(given["lai"])
    if flux_path is not None:
        recognise(flux_path)
        if not tower_format.two_files and flux_path.resolve() != path.resolve():
            raise TowerFileError(
                f"{path.name} is a {tower_format.name} file and holds weather and fluxes together; a second file "
                f"({flux_path.name}) is only for prepared pairs. Leave out `fluxes`."
            )
    if of_radiation is not None:
        given = {**given, "lai": 0.0}  # until it is made
    may_lack = tuple(choices if complete else FORCING_TABLE)
    options = ReadOptions(fluxes=flux_path, may_lack=may_lack, **given)
    table = tower_format.read(path, options)
    table, used, failed = put_in(table, choices, site)
    if complete and (missing := lacking(table, failed)):
        _refuse(tower_format, path, options, missing)
    notes = [*table.warnings, *(f"{path.name}: {one.text}" for one in used.values())]
    if of_radiation is not None:
        column, note = lai_of_file(path, table, site, **of_radiation)
        table, notes = table._replace(forcing={**table.forcing, "lai": column}), [*notes, note]
    check_units(table.forcing, path.name)
    files = [file for file in (path, flux_path) if file is not None]
    attributes = {
        "format": tower_format.name,
        **table.attributes,
        "source_files": [file.name for file in files],
        "source_sha256": [sha256(file) for file in files],
    }
    return flagged(build_dataset(table, attributes, site), used), notes


def _refuse(tower_format: TowerFormat, path: Path, options: ReadOptions, missing: Mapping[str, str]) -> None:
    """Refuse a file that lacks variables: what the format looked for, and why no stand-in helps.

    Raises:
        TowerFileError: in any case.
    """
    lacks = f"the file lacks {'; '.join(missing.values())}"
    may_lack = [name for name in options.may_lack if name not in missing]
    try:
        tower_format.read(path, dataclasses.replace(options, may_lack=may_lack))
    except TowerFileError as error:
        raise TowerFileError(f"{error} No stand-in takes its place: {lacks}.") from error
    raise TowerFileError(f"{path.name}: {lacks}. Give columns={{...}}, or what the stand-ins need.")


def check_names(columns: Mapping[str, str]) -> None:
    """Refuse a user's choice of columns for an unknown variable.

    Raises:
        TowerFileError: the message has the known names, and the nearest.
    """
    known = [name for name in (*FORCING_TABLE, *TARGET_TABLE) if name not in DERIVED]
    for name in columns:
        if name not in known:
            raise TowerFileError(f"columns: {unknown('variable', name, known)}")
