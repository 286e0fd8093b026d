"""Damaged and unusual inputs: each is read, repaired or refused in words that help. docs/tower-data.md shows this table."""

from __future__ import annotations

import gzip
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from canveg_jax import Site
from canveg_jax.io import TowerDataWarning, TowerFileError, read_tower
from canveg_jax.io.place import read_site
from tests.io import lookalikes
from tests.io.lookalikes import LATITUDE, LONGITUDE, UTC_OFFSET, ameriflux, archive, bif, fluxnet, workbook

DATA = lookalikes.weather(2)
WEEK = lookalikes.weather(6)
FULLSET, BASE = fluxnet(DATA), ameriflux(DATA)
NAME = "tower.csv"
SITE = Site(
    name="XX-Tst",
    latitude=LATITUDE,
    longitude=LONGITUDE,
    utc_offset=UTC_OFFSET,
    canopy_height=0.5,
    measurement_height=3.0,
)
PAGE = Path(__file__).parents[2] / "docs" / "tower-data.md"

READ, SAID, REFUSED = "read", "read, with a warning", "refused"

Make = Callable[[Path], dict[str, Any]]


class Damage(NamedTuple):
    """A damaged input.

    Args:
        what: in words, for the page.
        outcome: read, read with a warning, or refused.
        says: the essential words of the message.
        make: writes the file(s) into a folder, and returns the arguments of the reader.
        check: of the dataset, where it is read.
    """

    what: str
    outcome: str
    says: tuple[str, ...]
    make: Make
    check: Callable[[xr.Dataset], Any] = lambda tower: True


def text(content: str | bytes, name: str = NAME, **options: Any) -> Make:
    """A text file with these contents."""

    def write(folder: Path) -> dict[str, Any]:
        data = content if isinstance(content, bytes) else content.encode()
        (folder / name).write_bytes(data)
        return {"forcings": folder / name, "lai": 2.0, **options}

    return write


def rows(change: Callable[[list[str]], list[str]], content: str = FULLSET, **options: Any) -> Make:
    """A CSV whose lines (the header is the first) are changed."""
    return text("\n".join(change(content.splitlines())) + "\n", **options)


def fullset(data: pd.DataFrame = DATA, options: dict[str, Any] | None = None, **changes: Any) -> Make:
    """A FULLSET with some columns changed; None drops one."""
    return text(fluxnet(data, **changes), **(options or {}))


def zipped(**members: str | bytes) -> Make:
    """A zip archive."""

    def write(folder: Path) -> dict[str, Any]:
        return {"forcings": archive(folder / "tower.zip", **members), "lai": 2.0}

    return write


def cut(make: Make) -> Make:
    """The first two thirds of a file."""

    def write(folder: Path) -> dict[str, Any]:
        options = make(folder)
        content = options["forcings"].read_bytes()
        options["forcings"].write_bytes(content[: 2 * len(content) // 3])
        return options

    return write


def netcdf(change: Callable[[xr.Dataset], xr.Dataset] | None = None, flux: bool = False, **options: Any) -> Make:
    """The Met file of a PLUMBER2 pair, changed."""

    def write(folder: Path) -> dict[str, Any]:
        met, fluxes = lookalikes.alma(DATA, folder)
        if change is not None:
            with xr.open_dataset(met, decode_times=False) as opened:
                changed = change(opened.load())
            met.unlink()
            changed.to_netcdf(met, engine="h5netcdf")
        return {"forcings": met, **({"fluxes": fluxes} if flux else {}), **options}

    return write


def metadata(content: bytes) -> Make:
    """A workbook of metadata for `read_site`."""

    def write(folder: Path) -> dict[str, Any]:
        path = folder / "AMF_XX-Tst_BIF_1.xlsx"
        path.write_bytes(content)
        return {"metadata": path}

    return write


def lai_file(table: str) -> Make:
    """Leaf area as a CSV."""

    def write(folder: Path) -> dict[str, Any]:
        (folder / "lai.csv").write_text(table)
        return {**text(FULLSET)(folder), "lai": folder / "lai.csv"}

    return write


def is_whole(tower: xr.Dataset) -> bool:
    """The forcing of the undamaged file."""
    return bool(tower["forcing_complete"].all()) and np.allclose(tower["air_temperature"], DATA["TA"], atol=1e-6)


def mean(name: str, expected: float) -> Callable[[xr.Dataset], bool]:
    """The mean of a variable (formulas of saturation differ by 0.2 %)."""
    return lambda tower: bool(np.isclose(float(tower[name].mean()), expected, rtol=3e-3))


def missing(name: str, count: int) -> Callable[[xr.Dataset], bool]:
    """How many half-hours a variable lacks."""
    return lambda tower: int(tower[name].isnull().sum()) == count


def restamped(stamps: pd.DatetimeIndex, step: str = "30min") -> Make:
    """A FULLSET with other time stamps."""
    data = DATA.iloc[: len(stamps)]
    end = stamps + pd.Timedelta(step)
    return fullset(data, TIMESTAMP_START=stamps.strftime("%Y%m%d%H%M"), TIMESTAMP_END=end.strftime("%Y%m%d%H%M"))


def with_values(name: str, values: dict[int, float]) -> np.ndarray:
    """A column of the weather with some values changed."""
    series = DATA[name].to_numpy().copy()
    for row, value in values.items():
        series[row] = value
    return series


def in_words(line: str) -> str:
    """A line with its first field in the style of spreadsheets that swap day and month."""
    start, rest = line.split(",", 1)
    return f"{start[6:8]}/{start[4:6]}/{start[:4]} {start[8:10]}:{start[10:]},{rest}"


def with_24(line: str) -> str:
    """Midnight as 24:00 of the day before."""
    fields = line.split(",")
    if fields[1].endswith("0000"):
        day = pd.Timestamp(fields[1][:8]) - pd.Timedelta(days=1)
        fields[1] = day.strftime("%Y%m%d") + "2400"
    return ",".join(fields)


def changed(index: int, old: str, new: str) -> Callable[[list[str]], list[str]]:
    """One line with a text replaced."""
    return lambda lines: [line.replace(old, new, 1) if i == index else line for i, line in enumerate(lines)]


SPRING = pd.date_range("2019-03-30 12:00", periods=96, freq="30min")
SPRING = SPRING.where(SPRING < "2019-03-31 02:00", SPRING + pd.Timedelta("1h"))
AUTUMN = pd.date_range("2019-10-26 12:00", periods=96, freq="30min")
AUTUMN = AUTUMN.where(AUTUMN < "2019-10-27 03:00", AUTUMN - pd.Timedelta("1h"))
YEARS = DATA.index[:48].append(DATA.index[48:] + pd.DateOffset(years=3))
HOURS = pd.date_range("2019-06-01", periods=96, freq="1h")
UTC = WEEK.set_axis(WEEK.index + pd.Timedelta(hours=8))
EMPTY = np.full(len(DATA), np.nan)
SATURATION = DATA["VPD"] / (1.0 - DATA["RH"] / 100.0)
WEST, EAST = {"site": SITE}, {"site": SITE.model_copy(update={"longitude": -LONGITUDE})}
CODES = with_values("TA", {1: -9999.0, 2: -6999.0, 3: -7777.0, 4: np.inf, 5: -9999.99})

DAMAGES = [
    # containers
    Damage("zip archive cut off", REFUSED, ("tower.zip", "archive is", "damaged", "Download it again"),
           cut(zipped(a__csv=FULLSET))),
    Damage("gzip file cut off", REFUSED, (NAME, "archive is damaged or incomplete", "Download it again"),
           cut(text(gzip.compress(FULLSET.encode())))),
    Damage("zip archive that leaves a choice", REFUSED, ("holds several files", "Unpack it"),
           zipped(a__csv=FULLSET, b__csv=FULLSET)),
    Damage("zip archive without half-hours", REFUSED, ("no CSV of half-hours", "it holds x_DD.csv"), zipped(x_DD__csv=FULLSET)),
    Damage("Excel workbook in place of a CSV", REFUSED, ("Excel workbook", "Save the sheet as CSV"),
           text(workbook(DATA.iloc[:2]))),
    Damage("page of HTML in place of the download", REFUSED, ("a page of HTML", "the download has failed"),
           text("<!DOCTYPE html>")),
    Damage("empty file", REFUSED, (NAME, "it is empty"), text("")),
    Damage("bytes that are no text", REFUSED, (NAME, "it is no text"), text(bytes(range(256)) * 4)),
    # text
    Damage("UTF-16", READ, (), text(FULLSET.encode("utf-16")), is_whole),
    Damage("byte-order mark", READ, (), text("\ufeff" + FULLSET), is_whole),
    Damage("Latin-1 (degree signs)", READ, (), text(("# \xb0C\n" + BASE).encode("latin-1")), is_whole),
    Damage("semicolons and decimal commas", READ, (), text(FULLSET.replace(",", ";").replace(".", ",")), is_whole),
    Damage("tabs", READ, (), text(FULLSET.replace(",", "\t")), is_whole),
    Damage("commas left at the line ends, CRLF", READ, (), text(FULLSET.replace("\n", ",,,\r\n")), is_whole),
    Damage("line ends of one carriage return", READ, (), text(FULLSET.replace("\n", "\r")), is_whole),
    Damage("quoted numbers", READ, (), rows(lambda lines: ['"' + line.replace(",", '","') + '"' for line in lines]), is_whole),
    Damage("empty lines between the rows", READ, (), text(FULLSET.replace("\n", "\n\n")), is_whole),
    Damage("BASE without its comment lines", READ, (), text(ameriflux(DATA, head="")), is_whole),
    # rows and columns
    Damage("a row twice", REFUSED, (NAME, "2019-06-01 02:00:00 is there twice", "row 5", "Remove the duplicates"),
           rows(lambda lines: [*lines[:6], lines[5], *lines[6:]])),
    Damage("rows out of order", REFUSED, ("row 10 (2019-06-01 04:30:00) is earlier", "Sort the rows"),
           rows(lambda lines: [*lines[:10], lines[11], lines[10], *lines[12:]])),
    Damage("a row missing", REFUSED, ("row 9 comes 0 days 01:00:00 after 2019-06-01 04:00:00", "Insert the missing rows"),
           rows(lambda lines: [*lines[:10], *lines[11:]])),
    Damage("years missing", REFUSED, ("row 48 comes 1096 days", "Insert the missing rows"), restamped(YEARS)),
    Damage("no header", REFUSED, (NAME, "format not recognised", "its columns are 201906010000"), rows(lambda lines: lines[1:])),
    Damage("the header a second time", REFUSED, ("row 50", "'TIMESTAMP_START'", "expected YYYYMMDDHHMM"),
           rows(lambda lines: [*lines[:51], lines[0], *lines[51:]])),
    Damage("a row of units", REFUSED, ("row 0 has the time stamp ''", "is it a row of units?"),
           rows(lambda lines: [lines[0], ",".join("-" * len(lines[0].split(","))), *lines[1:]])),
    Damage("last row cut off in the stamp", REFUSED, ("row 95", "'2019060223'", "expected YYYYMMDDHHMM"),
           rows(lambda lines: [*lines[:-1], lines[-1][:10]])),
    Damage("a row with a field too many", REFUSED, ("row 3 (line 5) has 74 fields, expected 73", "Correct or remove it"),
           rows(lambda lines: [*lines[:4], lines[4] + ",7", *lines[5:]])),
    Damage("a quotation mark that is not closed", REFUSED, (NAME, 'quotation mark (") is opened and never closed'),
           rows(lambda lines: [*lines[:4], '"' + lines[4], *lines[5:]])),
    Damage("a word in a column of numbers", REFUSED, ("column 'RH', row 7 holds 'ERR'", "expected a number"),
           text(fluxnet(DATA, RH=np.where(np.arange(96) == 7, "ERR", "50")))),
    Damage("a column twice", REFUSED, ("the column 'TA_F' is there 2 times", "Remove or rename"),
           rows(changed(0, "TA_ERA", "TA_F"))),
    Damage("no column of a driver", REFUSED, ("no column for air_temperature; looked for TA_F", "columns="),
           fullset(TA_F=None, TA_F_MDS=None)),
    Damage("a driver without any number", SAID, ("no half-hour has complete forcing", "air_temperature"),
           fullset(TA_F=-9999, TA_F_MDS=None),
           lambda tower: not tower["forcing_complete"].any()),
    Damage("codes of missing values: -9999, -6999, -7777, inf, -9999.99", READ, (), fullset(TA_F=CODES, TA_F_MDS=None),
           missing("air_temperature", 5)),
    Damage("words for missing values: NA, NaN, NULL, #N/A, -", READ, (),
           text(fluxnet(DATA, TA_F=np.array(["NA", "NaN", "NULL", "#N/A", "-"] + ["20"] * 91), TA_F_MDS=None)),
           missing("air_temperature", 5)),
    # time
    Damage("midnight as 24:00", READ, (), rows(lambda lines: [with_24(line) for line in lines]), is_whole),
    Damage("29 February of a leap year", READ, (), restamped(pd.date_range("2020-02-28", periods=96, freq="30min")),
           lambda tower: tower["day_of_year"].values[-1] == 60.0),
    Damage("29 February of another year", REFUSED, ("row 0", "'201902290000'"), rows(changed(1, "201906010000", "201902290000"))),
    Damage("daylight saving time begins", REFUSED, ("comes 0 days 01:30:00 after 2019-03-31 01:30:00", "Insert the missing"),
           restamped(SPRING)),
    Damage("daylight saving time ends", REFUSED, ("2019-10-27 02:00:00 is there twice", "standard time"), restamped(AUTUMN)),
    Damage("hourly record", READ, (), restamped(HOURS, "1h"), lambda tower: tower.attrs["step_minutes"] == 60),
    Damage("ten-minute record", REFUSED, ("the time step is 0 days 00:10:00", "expected 30 or 60 minutes"),
           restamped(pd.date_range("2019-06-01", periods=96, freq="10min"), "10min")),
    Damage("daily file", REFUSED, ("TIMESTAMP", "daily", "HH"), text("TIMESTAMP,TA_F,TA_F_QC\n20190601,1,1\n20190602,2,1\n")),
    Damage("both stamps of a row equal", REFUSED, ("row 0 runs from 2019-06-01 00:00:00 to 2019-06-01", "one step apart"),
           fullset(TIMESTAMP_END=DATA.index.strftime("%Y%m%d%H%M"))),
    Damage("stamps with a time zone, site unknown", REFUSED, ("'2019-06-01T00:00+01:00'", "with a time zone", "Give the site"),
           fullset(TIMESTAMP_START=DATA.index.strftime("%Y-%m-%dT%H:%M+01:00"))),
    Damage("day/month/year", REFUSED, ("'01/06/2019 00:00'", "expected YYYYMMDDHHMM or YYYY-MM-DD"),
           rows(lambda lines: [lines[0], *map(in_words, lines[1:])])),
    Damage("stamps rounded by a spreadsheet", REFUSED, ("'2.01906E+11'", "expected YYYYMMDDHHMM"),
           fullset(TIMESTAMP_START="2.01906E+11")),
    Damage("one row", REFUSED, ("1 row(s)", "at least two"), rows(lambda lines: lines[:2])),
    Damage("stamps in UTC", REFUSED, ("8.0 h later than the sun", "utc_offset = 0 would fit", "in UTC"), fullset(UTC, WEST)),
    Damage("longitude with the wrong sign", REFUSED, ("than the sun at latitude 38.1, longitude 121.5", "or longitude = -121.5"),
           fullset(WEEK, EAST)),
    # units and values
    Damage("pressure in hPa", REFUSED, ("pressure (column PA_F) has the median 999", "looks like hPa"),
           fullset(PA_F=10 * DATA["PA"])),
    Damage("pressure in Pa", REFUSED, ("pressure (column PA_F) has the median", "(or Pa)"), fullset(PA_F=1000 * DATA["PA"])),
    Damage("air temperature in K", REFUSED, ("air_temperature (column TA_F)", "looks like K"), fullset(TA_F=DATA["TA"] + 273.15)),
    Damage("relative humidity as a fraction", SAID, ("RH looks like a fraction, not percent",),
           text(ameriflux(DATA, RH=DATA["RH"] / 100)),
           mean("vapour_pressure", float(DATA["e"].mean()))),
    Damage("vapour pressure deficit in Pa", SAID, ("VPD_F looks like Pa, not hPa",), fullset(VPD_F=100 * DATA["VPD"]),
           mean("vapour_pressure", float(DATA["e"].mean()))),
    Damage("vapour pressure deficit in kPa", SAID, ("VPD_F looks like kPa, not hPa",), fullset(VPD_F=DATA["VPD"] / 10),
           mean("vapour_pressure", float(DATA["e"].mean()))),
    Damage("air beyond saturation", SAID, ("exceeds saturation", "Check the units"), text(ameriflux(DATA, RH=1.9 * DATA["RH"]))),
    Damage("CO2 in mg m-3", SAID, ("co2: column CO2_F_MDS looks like mg m-3",), fullset(CO2_F_MDS=44.01 / 24 * DATA["CO2"]),
           lambda tower: abs(float(tower["co2"].mean()) - 410.0) < 15.0),
    Damage("CO2 all zero", REFUSED, ("co2 (column CO2_F_MDS) has the median 0", "leave it out"), fullset(CO2_F_MDS=0.0)),
    Damage("no CO2", SAID, ("co2: a stand-in",), fullset(CO2_F_MDS=None),
           lambda tower: 405.0 < float(tower["co2"].mean()) < 420.0),
    Damage("soil water as a fraction", SAID, ("SWC_F_MDS_1 looks like m3 m-3 (a fraction)",),
           fullset(SWC_F_MDS_1=DATA["SWC"] / 100),
           mean("soil_water_content", float(DATA["SWC"].mean()) / 100)),
    Damage("soil water in two units", REFUSED, ("like a fraction in one part and like percent in another (change in row 40)",),
           fullset(SWC_F_MDS_1=np.where(np.arange(96) < 40, 0.01, 1.0) * DATA["SWC"])),
    Damage("photons in place of shortwave", REFUSED, ("shortwave_in (column SW_IN_F)", "photon flux"),
           fullset(SW_IN_F=2.3 * DATA["SW"])),
    Damage("slightly negative shortwave at night", READ, (), fullset(SW_IN_F=np.maximum(DATA["SW"], -3.0) - 3.0, options=WEST),
           is_whole),
    Damage("zero of the shortwave sensor off", SAID, ("shortwave_in (column SW_IN_F) is 50 W m-2 at night",),
           fullset(SW_IN_F=DATA["SW"] + 50.0, options=WEST)),
    Damage("net in place of incoming long-wave", SAID, ("no half-hour has complete forcing", "longwave_in"),
           fullset(LW_IN_F=-60.0 + DATA["LW"] / 100, LW_IN_JSB_F=None)),
    Damage("u* of zero", SAID, ("friction_velocity (column USTAR) is exactly 0 in 100.0 %",), fullset(USTAR=0.0)),
    Damage("precipitation summed up from row to row", SAID, ("precipitation (column P_F) never falls", "sum over the step"),
           fullset(P_F=np.cumsum(DATA["P"] + 0.01))),
    Damage("latent heat of 9000", SAID, ("latent_heat (column LE_F_MDS) has 1 sample(s) outside", "first 9000 in row 20"),
           fullset(LE_F_MDS=with_values("LE", {20: 9000.0})), lambda tower: int(tower["latent_heat_measured"].sum()) == 95),
    Damage("a sensor that hangs", SAID, ("wind_speed (column WS_F) keeps one value for 12 h", "first 2.5 from 2019-06-01 05:00"),
           fullset(WS_F=np.where((np.arange(96) >= 10) & (np.arange(96) < 50), 2.5, DATA["WS"]))),
    Damage("a day that was copied", SAID, ("repeats another day to the last digit on 1 day(s), first 2019-06-02",),
           fullset(pd.concat([DATA.iloc[:48]] * 2).set_axis(DATA.index))),
    # leaf area
    Damage("no leaf area", REFUSED, ("has no leaf area index", "Give lai="), text(FULLSET, lai=None)),
    Damage("table of leaf area out of order", READ, (), lai_file("date,lai\n2019-06-11,3\n2019-05-22,1\n"),
           lambda tower: 1.9 < float(tower["lai"].values[0]) < 2.1),
    Damage("negative leaf area", REFUSED, ("lai", "no negative values"), lai_file("date,lai\n2019-06-11,-3\n2019-05-22,1\n")),
    Damage("table of leaf area of another year", SAID, ("leaf area (lai.csv", "missing in 96 of 96 half-hours"),
           lai_file("date,lai\n2017-06-11,3\n2017-06-22,1\n"), missing("lai", 96)),
    Damage("leaf area in tenths", SAID, ("raw MODIS in tenths", "divided by ten"),
           lai_file("date,lai\n2019-06-11,30\n2019-05-22,30\n"),
           mean("lai", 3.0)),
    Damage("date of leaf area that cannot be read", REFUSED, ("entry 0 has the date '11.6.2019'", "expected YYYY-MM-DD"),
           lai_file("date,lai\n11.6.2019,3\n")),
    # NetCDF and metadata
    Damage("NetCDF cut off", REFUSED, ("XX-Tst_2019-2019_FLUXNET2015_Met.nc", "damaged or incomplete"), cut(netcdf())),
    Damage("NetCDF of two towers", REFUSED, ("expected one tower on the dimensions (time, y, x)",),
           netcdf(lambda met: xr.concat([met, met], "x"))),
    Damage("NetCDF without units of time", REFUSED, ("time has the units ''", "expected 'seconds since"),
           netcdf(lambda met: met.assign_coords(time=met["time"].values))),
    Damage("NetCDF with a calendar without leap days", REFUSED, ("calendar 'noleap'", "expected the standard calendar"),
           netcdf(lambda met: met.assign_coords(time=met["time"].assign_attrs(calendar="noleap")))),
    Damage("NetCDF with fill values of 1e20", READ, (),
           netcdf(lambda met: met.assign(Tair=met["Tair"].where(met["time"] > 4 * 1800 + met["time"][0], 1e20)), flux=True),
           missing("air_temperature", 5)),
    Damage("Flux file of another period", REFUSED, ("must have the same half-hours", "Use files of one period"),
           netcdf(lambda met: met.isel(time=slice(0, 50)), flux=True)),
    Damage("workbook of metadata cut off", REFUSED, ("AMF_XX-Tst_BIF_1.xlsx", "damaged"), metadata(workbook(bif())[:2000])),
    Damage("workbook without metadata", REFUSED, ("expected metadata (BIF) with the columns SITE_ID",),
           metadata(workbook(DATA.iloc[:2]))),
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.what)
def test_a_damaged_input_is_read_or_refused_in_words_that_help(damage, tmp_path):
    options = damage.make(tmp_path)
    if damage.outcome == REFUSED:
        with warnings.catch_warnings(), pytest.raises(ValueError) as error:
            warnings.simplefilter("ignore", TowerDataWarning)
            read(options)
        said = str(error.value)
        assert isinstance(error.value, TowerFileError) or type(error.value) is ValueError
    else:
        with warnings.catch_warnings(record=True) as record:
            warnings.simplefilter("always")
            tower = read(options)
        assert all(issubclass(one.category, TowerDataWarning) for one in record)
        said = "\n".join(str(one.message) for one in record)
        assert (damage.outcome == READ) == (said == "" or ".nc" in said), said  # ALMA files always lack something
        assert damage.check(tower)
    assert all(words in said for words in damage.says), said


def read(options: dict[str, Any]) -> xr.Dataset:
    """By the reader that the arguments are for."""
    if "metadata" in options:
        read_site(options["metadata"])
    return read_tower(**options)


def table_of_damages() -> str:
    """The table of the page."""
    lines = ["| what is wrong | what happens | the message says |", "|---|---|---|"]
    for damage in DAMAGES:
        said = ", ".join(f"`{words}`" for words in damage.says)
        lines.append(f"| {damage.what} | {damage.outcome} | {said} |".replace("|  |", "| |"))
    return "\n".join(lines)


def test_the_page_shows_every_damage():
    assert len(DAMAGES) >= 60 and len({damage.what for damage in DAMAGES}) == len(DAMAGES)
    assert table_of_damages() in PAGE.read_text(), "docs/tower-data.md: put table_of_damages() of this file there"
