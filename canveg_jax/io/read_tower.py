"""`read_tower`: the front door for tower files of every known format."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import xarray as xr

from ..files import sha256
from ..forcing import FORCING_TABLE
from ..site import Site
from ..spelling import unknown
from .clock import check_clock
from .completeness import table_of_costs
from .formats import ReadOptions, recognise
from .heights import canopy_height as height_in_time
from .lai import Lai
from .leaf_area_radiation import lai_of_file, radiation_options
from .ranges import only_plausible
from .requirements import DERIVED, with_required_drivers
from .stand_ins import choose, flagged, lacking, put_in
from .sun import Place
from .suspicions import sentence, suspicions
from .tower_dataset import TARGET_TABLE, TowerDataWarning, TowerFileError, TowerTable, build_dataset, forcing_complete
from .units import check_units


def read_tower(
    forcings: str | Path,
    fluxes: str | Path | None = None,
    *,
    site: Site | None = None,
    time_stamp: Literal["start", "end"] | None = None,
    lai: Lai | None = None,
    co2: float | None = None,
    columns: Mapping[str, str] | None = None,
    mask_interpolated: bool = True,
    highest_flag: int = 1,
    canopy_height: Any = None,
    stand_ins: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Read half-hourly or hourly tower data into one dataset with canonical names.

    The format is recognised by the file's content: FLUXNET / ONEFlux (SUBSET, FULLSET or FLUXMET, HH or HR; also ICOS),
    FLUXNET-CH4, AmeriFlux BASE, the METEO and FLUXES of ICOS, PLUMBER2 / ALMA NetCDF, the prepared pair of files of
    JAX-CanVeg, or one registered with `canveg_jax.io.formats.register`. CSVs may be packed (gzip; zip as the networks
    deliver it) and in any usual encoding. Columns are selected by name, of several that would do the one with most
    half-hours. Missing values stay NaN; nothing but leaf area is interpolated, nothing is clipped or scaled (a site's
    `lai_scale` and the model's floors act inside the model). A column whose unit can only be another one is converted, with
    a warning, or refused.

    Args:
        forcings: the file with the weather (FLUXNET and AmeriFlux files hold the fluxes as well).
        fluxes: the file with the fluxes, where it is a second one (prepared pair, ICOS, ALMA).
        site: adds name, coordinates and UTC offset to the attributes; clock and place of the file are checked with it.
        time_stamp: for files with a single time stamp, which end of the interval it marks. Default: what its name says
            (TIMESTAMP_END, TIMESTAMP_START). Files with both stamps need no choice.
        lai: leaf area index: a number, a column name, or a table of dates (`canveg_jax.io.lai.lai_table`): a series or frame, a
            list of [date, number], a CSV with date,lai, a MODIS subset, a BIF. Tables are drawn linearly over up to 30 days.
            Needed for FLUXNET and AmeriFlux; for other files it replaces their LAI.
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
        highest_flag: of files with SSITC flags (0 good, 1 moderate, 2 discard), the highest with which a flux counts as measured.
        canopy_height: of surveys (m), as a table of dates like `lai`, or as a BIF: becomes `observed_canopy_height`. The height
            that shapes the air space is the site's.

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

        Units, meaning and source column are in each variable's `attrs`, with what was converted (`converted`) and counted;
        format, step, file names, their SHA-256 and the choices among columns (`choices`) in the dataset's. Samples of a flux
        outside its plausible range, or discarded by a flag, are not measured.

    Raises:
        TowerFileError: unknown format, missing column, unit that cannot be right, no LAI, a sun more than 1.5 hours off.
        ValueError: time stamps unreadable, twice, unsorted or unequally spaced.

    Warns:
        TowerDataWarning: the file was read, but something in it limits what may be concluded from it.

    Example:
        >>> tower = read_tower("FLX_XX-Abc_FLUXNET2015_SUBSET_HH_2012-2014_1-3.csv", lai=2.5)  # doctest: +SKIP
    """
    dataset, notes = _read(
        Path(forcings), None if fluxes is None else Path(fluxes), site, stand_ins, canopy_height, complete=True,
        time_stamp=time_stamp, lai=lai, co2=co2, columns=columns or {}, mask_interpolated=mask_interpolated,
        highest_flag=highest_flag,
    )  # fmt: skip
    for text in notes:
        warnings.warn(text, TowerDataWarning, stacklevel=2)
    return dataset


def read_as_it_is(
    forcings: str | Path,
    fluxes: str | Path | None = None,
    *,
    site: Site | None = None,
    lai: Lai | None = None,
    stand_ins: Mapping[str, Any] | None = None,
    columns: Mapping[str, str] | None = None,
) -> tuple[xr.Dataset, list[str]]:
    """As `read_tower`, but variables that the file lacks are simply not there, and no clock is refused: to examine a file.

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
    path: Path, flux_path: Path | None, site: Site | None, stand_ins: Mapping[str, Any] | None, canopy_height: Any = None, *,
    complete: bool, **given: Any,
) -> tuple[xr.Dataset, list[str]]:  # fmt: skip
    """The dataset and the texts of its warnings. `given`: of `ReadOptions`; `complete`: refuse a file that lacks variables, or
    whose clock is wrong."""
    if given.get("time_stamp") not in (None, "start", "end"):
        raise TowerFileError(
            f"time_stamp must be 'start', 'end' or None (as the file says); got {given['time_stamp']!r}."
        )
    if given.get("highest_flag", 1) not in (0, 1, 2):
        raise TowerFileError(f"highest_flag must be 0, 1 or 2; got {given['highest_flag']!r}.")
    tower_format = recognise(path)
    check_names(given["columns"])
    choices = choose(stand_ins)
    of_radiation = radiation_options(given["lai"])
    if flux_path is not None:
        recognise(flux_path)
        if not tower_format.two_files and flux_path.resolve() != path.resolve():
            raise TowerFileError(
                f"{path.name} is a {tower_format.name} file and holds weather and fluxes together; a second file "
                f"({flux_path.name}) is only for formats of two files. Leave out `fluxes`."
            )
    if of_radiation is not None:
        given = {**given, "lai": 0.0}  # until it is made
    options = ReadOptions(fluxes=flux_path, utc_offset=None if site is None else site.utc_offset, **given)
    table = tower_format.read(path, options)
    if canopy_height is not None:
        heights = height_in_time(canopy_height, None if site is None else site.name, table.start, table.step)
        table = table._replace(forcing={**table.forcing, "observed_canopy_height": heights})
    table, used, failed = put_in(table, choices, site)
    if complete:
        table = _with_required(table, tower_format.never_holds, failed, path.name)
    check_units(table.forcing, path.name)
    table = table._replace(targets=only_plausible(table.targets))
    notes = [
        *table.warnings,
        *_said_of_columns(table, path.name),
        *(f"{path.name}: {one.text}" for one in used.values()),
    ]
    place = site if site is not None or table.place is None else Place(*table.place)
    if complete:  # who only examines a file says this himself
        notes += _clock_of_table(table, place, path.name)
    if of_radiation is not None:
        column, note = lai_of_file(path, table, site, **of_radiation)
        table, notes = table._replace(forcing={**table.forcing, "lai": column}), [*notes, note]
    files = [file for file in (path, flux_path) if file is not None]
    attributes = {
        "format": tower_format.name,
        **table.attributes,
        "source_files": [file.name for file in files],
        "source_sha256": [sha256(file) for file in files],
    }
    dataset = flagged(build_dataset(table, attributes, site), used)
    if complete:
        notes += [f"{path.name}: {sentence(one, dataset)}" for one in suspicions(dataset, place)]
    if complete and not dataset["forcing_complete"].any():
        notes.append(f"{path.name}: no half-hour has complete forcing; {table_of_costs(dataset)}")
    return dataset, notes


def _with_required(
    table: TowerTable, never_holds: Mapping[str, str], failed: Mapping[str, str], what: str
) -> TowerTable:
    """`with_required_drivers`, and why no stand-in takes the place of those that are lacking."""
    try:
        return with_required_drivers(table, never_holds, what)
    except TowerFileError as error:
        missing = lacking(table, failed)
        if not any(name in failed for name in missing):
            raise
        raise TowerFileError(
            f"{error} No stand-in takes its place: the file lacks {'; '.join(missing.values())}."
        ) from error


def _said_of_columns(table: TowerTable, what: str) -> list[str]:
    """What was converted, and which gaps of a table of dates remain."""
    texts = []
    for name, column in table.forcing.items():
        if said := column.attributes.get("converted"):
            texts.append(f"{what}: {name}: {said}. Convert it in the file to silence this.")
        if gaps := column.attributes.get("gaps"):
            texts.append(f"{what}: {gaps}.")
    return texts


def _clock_of_table(table: TowerTable, place: Place | Site | None, what: str) -> list[str]:
    """What the sun says about clock and place.

    Raises:
        TowerFileError: the measured sun is too far from that of the place.
    """
    if place is None or "shortwave_in" not in table.forcing:
        return []
    return check_clock(table.forcing["shortwave_in"].values, table.start, table.step, place, what)


def check_names(columns: Mapping[str, str]) -> None:
    """Refuse a user's choice of columns for an unknown variable.

    Raises:
        TowerFileError: the message has the known names, and the nearest.
    """
    known = [name for name in (*FORCING_TABLE, *TARGET_TABLE) if name not in DERIVED]
    for name in columns:
        if name not in known:
            raise TowerFileError(f"columns: {unknown('variable', name, known)}")
