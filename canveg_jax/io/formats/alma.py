"""ALMA NetCDF of PLUMBER2 and FluxnetLSM: `..._Met.nc` with the weather, `..._Flux.nc` with the fluxes [Ukkola2022].

Dimensions `(time, y, x)`; stamps are the start of the interval in local standard time. Flags: 0 measured, 1 well filled, 2
medium, 3 poor, 4 reanalysis, 5 statistical, 101 made afterwards.
"""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import xarray as xr

from ...spelling import did_you_mean
from .. import humidity
from ..arrays import Series
from ..time_zone import standard_offset, standard_time
from ..timestamps import check_step
from ..tower_dataset import Column, Target, TowerFileError, TowerTable
from .base import ReadOptions, TowerFormat, co2_from_option
from .fluxnet import BEST_DRIVER_FLAG, flag_shares
from .leaf_area import lai_column, leaf_area

DRIVERS: dict[str, tuple[str, ...]] = {
    "air_temperature": ("Tair",),
    "shortwave_in": ("SWdown",),
    "longwave_in": ("LWdown",),
    "wind_speed": ("Wind",),
    "co2": ("CO2air",),
    "pressure": ("Psurf", "PSurf"),
    "friction_velocity": ("Ustar",),
    "soil_temperature": ("SoilTemp",),
    "soil_water_content": ("SoilMoist",),
}
OPTIONAL = ("longwave_in",)

TARGETS: dict[str, tuple[str, ...]] = {
    "latent_heat": ("Qle",),
    "sensible_heat": ("Qh",),
    "ground_heat": ("Qg",),
    "net_radiation": ("Rnet",),
    "nee": ("NEE",),
    "gpp": ("GPP", "GPP_DT"),
    "shortwave_out": ("SWup",),
    "longwave_out": ("LWup",),
}
LAI_VARIABLES = ("LAI", "LAI_alternative")
AFTERWARDS = 101
"""Flag of values that were made afterwards."""

MISSING = -6900.0
KINDS = (b"\x89HDF", b"CDF\x01", b"CDF\x02", b"CDF\x05")


class Alma(TowerFormat):
    """A Met file, and optionally the Flux file of the same half-hours."""

    name = "alma"
    expects = "NetCDF with Tair, SWdown, Wind"
    two_files = True
    never_holds: ClassVar[Mapping[str, str]] = {
        "soil_temperature": "the format has none",
        "soil_water_content": "the format has none",
        "friction_velocity": "Ustar stands in the file ..._Flux.nc: give it as `fluxes`",
    }

    def recognises(self, path: Path) -> bool:
        """NetCDF with the weather, or the fluxes, under ALMA's names."""
        names = variables_of(path)
        return {"Tair", "SWdown"} <= names or {"Qle", "Qh"} <= names

    def advice(self, path: Path) -> str | None:
        """What a NetCDF holds that is of another kind."""
        if not is_netcdf(path):
            return None
        if not (names := variables_of(path)):
            return f"{path.name}: the NetCDF file is damaged or incomplete. Download it again."
        return (
            f"{path.name}: a NetCDF file with {', '.join(sorted(names)[:8])}, ...; expected ALMA's names (Tair, "
            "SWdown, Wind, Qair, "
            "Psurf in the file ..._Met.nc of PLUMBER2 or FluxnetLSM). Daily files and results of models cannot drive it."
        )

    def read(self, path: Path, options: ReadOptions) -> TowerTable:
        """Read the pair; see `TowerFormat.read`. A column chosen for `vapour_pressure` is Qair, RH or VPD.

        Raises:
            TowerFileError: no weather or LAI, another time axis, or more than one place.
            ValueError: the time stamps are no regular series.
        """
        met = AlmaFile(path)
        flux = None if options.fluxes is None else AlmaFile(options.fluxes)
        if "Tair" not in met.names and flux is not None and "Tair" in flux.names:
            met, flux = flux, met
        if "Tair" not in met.names:
            raise TowerFileError(
                f"{path.name} holds the fluxes only. Give the file ..._Met.nc as `forcings`, this one as `fluxes`."
            )
        start, step = met.intervals()
        if flux is not None:
            other, _ = flux.intervals()
            if len(other) != len(start) or (other != start).any():
                raise TowerFileError(
                    f"{met.label} and {flux.label} must have the same half-hours; one has {len(start)} from "
                    f"{start[0]}, the other "
                    f"{len(other)} from {other[0]}. Use files of one period."
                )
        files = [file for file in (met, flux) if file is not None]
        forcing, flags = {}, {}
        for name, candidates in DRIVERS.items():
            column = options.columns.get(name) or _fullest(candidates, files)
            if column is not None:
                forcing[name], flags[name] = _driver(name, column, _file_of(column, files))
        forcing["vapour_pressure"], flags["vapour_pressure"] = _vapour_pressure(met, forcing, flags, options)
        co2_from_option(forcing, options, len(start))
        lai = lai_column(options, met.require, default=_fullest(LAI_VARIABLES, [met]))
        values = {lai: met.series(lai)} if lai else {}
        forcing["lai"] = leaf_area(options, lai, values, f"{met.label} ({self.name})", start, step)
        targets = {}
        for name, candidates in TARGETS.items():
            column = options.columns.get(name) or (None if flux is None else _fullest(candidates, [flux]))
            if column is not None:
                targets[name] = _target(column, _file_of(column, files))
        known = [flag <= BEST_DRIVER_FLAG for flag in flags.values() if flag is not None]
        sources = [
            f"{name}: {column.source} ({100 * np.isfinite(column.values).mean():.0f} %)"
            for name, column in forcing.items()
        ]
        sources += [
            f"{name}: {target.source} ({100 * np.mean(target.measured):.0f} % measured)"
            for name, target in targets.items()
        ]
        return TowerTable(
            start=start,
            step=step,
            forcing=forcing,
            targets=targets,
            precipitation=_precipitation(met, step),
            forcing_good=np.all(known, axis=0) if known else None,
            warnings=_warnings(forcing, met.label),
            attributes={"time_stamp": "start", "choices": sources, **met.site_attributes()},
            looked_for={name: ", ".join(c) for name, c in DRIVERS.items() if name not in OPTIONAL},
            place=met.place(),
        )


class AlmaFile:
    """One NetCDF file of one tower: its variables as series, its scalars, its time."""

    def __init__(self, path: Path):
        self.path, self.label = path, path.name
        with opened(path) as dataset:
            self._dataset = dataset.load()
        sizes = {d: n for d, n in self._dataset.sizes.items() if d != "time" and n != 1}
        towers = {d: n for d, n in sizes.items() if d in ("x", "y", "lat", "lon", "latitude", "longitude")}
        if "time" not in self._dataset.sizes or towers:
            raise TowerFileError(
                f"{path.name}: expected one tower on the dimensions (time, y, x) with one y and one x; got "
                f"{dict(self._dataset.sizes)}."
            )
        self.names = {str(name) for name in self._dataset.data_vars}

    def require(self, name: str) -> str:
        """The name itself, if there is such a variable.

        Raises:
            TowerFileError: there is none; the message has the nearest name.
        """
        if name not in self.names:
            raise TowerFileError(f"{self.label} has no variable '{name}'.{did_you_mean(name, self.names)}")
        return name

    def series(self, name: str) -> Series:
        """A variable `[time]`, missing as NaN.

        Raises:
            TowerFileError: it is not one number for each half-hour.
        """
        variable = self._dataset[self.require(name)]
        values = (
            np.asarray(variable.values, dtype=np.float64).reshape(variable.shape[:1] + (-1,))
            if variable.ndim
            else np.empty((0, 0))
        )
        if "time" not in variable.dims or variable.dims[0] != "time" or values.shape[1] != 1:
            raise TowerFileError(
                f"{self.label}: {name} has the dimensions {variable.dims}; expected one number for each half-hour."
            )
        column = values[:, 0]
        return np.where(np.isfinite(column) & (column > MISSING) & (np.abs(column) < 1e19), column, np.nan)

    def unit(self, name: str) -> str:
        """The unit as the file says it, without blanks and marks of powers."""
        return re.sub(r"[\s^]", "", str(self._dataset[name].attrs.get("units", "")))

    def flag(self, name: str) -> Series | None:
        """The flags of a variable; of Qair, whose own are known to be wrong, None."""
        return self.series(f"{name}_qc") if f"{name}_qc" in self.names and name != "Qair" else None

    def scalar(self, name: str) -> float | None:
        """A number without time (latitude, elevation); None if it is not there."""
        if name not in self._dataset:
            return None
        values = np.asarray(self._dataset[name].values).ravel()
        value = float(values[0]) if values.size and np.issubdtype(values.dtype, np.number) else np.nan
        return value if np.isfinite(value) and value > MISSING else None

    def intervals(self) -> tuple[pd.DatetimeIndex, pd.Timedelta]:
        """Start of every interval, local standard time, and the step."""
        time = self._dataset["time"]
        units = str(time.attrs.get("units", ""))
        found = re.fullmatch(r"\s*(seconds|minutes|hours|days) since (\d{4}-\d{1,2}-\d{1,2}.*)", units)
        origin = pd.to_datetime(found[2].strip(), errors="coerce") if found else pd.NaT
        if found is None or not isinstance(origin, pd.Timestamp):
            raise TowerFileError(
                f"{self.label}: time has the units {units!r}; expected 'seconds since YYYY-MM-DD hh:mm:ss'."
            )
        calendar = str(time.attrs.get("calendar", "standard"))
        if calendar not in STANDARD_CALENDARS:
            raise TowerFileError(
                f"{self.label}: time has the calendar {calendar!r}; expected the standard calendar, with leap days. Measurements "
                "have one: correct the attribute, or use the file as it was delivered."
            )
        elapsed = np.asarray(time.values, dtype=np.float64)
        moments = pd.to_timedelta(np.rint(elapsed * UNITS[found[1]]), unit="s")
        start = pd.DatetimeIndex(origin.tz_localize(None) + moments)
        return start, check_step(start, self.label)

    def place(self) -> tuple[float, float, float] | None:
        """Latitude, longitude and offset of the tower, if the file says where it is; the zone, which official files lack, is
        then that of the place."""
        latitude, longitude, zone = self.scalar("latitude"), self.scalar("longitude"), self.time_zone()
        if latitude is None or longitude is None:
            return None
        if zone is None and (there := standard_time(latitude, longitude)) is not None:
            zone = there.utc_offset
        return None if zone is None else (latitude, longitude, zone)

    def time_zone(self) -> float | None:
        """Hours east of UTC of the standard time, from the attribute `time_zone`, which official files lack."""
        return standard_offset(str(self._dataset["time"].attrs.get("time_zone", "")))

    def site_name(self) -> str:
        """The identifier of the site."""
        return str(self._dataset.attrs.get("site_code") or self.path.name.split("_")[0])

    def vegetation(self) -> str:
        """The IGBP class, or nothing."""
        if "IGBP_veg_short" not in self._dataset:
            return ""
        value = self._dataset["IGBP_veg_short"].values
        text = b"".join(np.asarray(value).ravel().tolist()) if np.asarray(value).dtype.kind == "S" else str(value)
        return (text.decode("ascii", "replace") if isinstance(text, bytes) else text).strip("\x00 ")

    def site_attributes(self) -> dict[str, str | float]:
        """What the file says about its site, for the attributes of the dataset."""
        found = {"file_site": self.site_name(), "file_igbp": self.vegetation()}
        heights = {f"file_{name}": self.scalar(name) for name in ("canopy_height", "reference_height", "elevation")}
        return {name: value for name, value in {**found, **heights}.items() if value not in (None, "")}  # pyright: ignore[reportReturnType]


STANDARD_CALENDARS = ("standard", "gregorian", "proleptic_gregorian")
UNITS = {"seconds": 1.0, "minutes": 60.0, "hours": 3600.0, "days": 86400.0}


@contextlib.contextmanager
def opened(path: Path) -> Iterator[xr.Dataset]:
    """A NetCDF file, times not decoded.

    Raises:
        TowerFileError: it is damaged.
    """
    with path.open("rb") as content:
        engine = "h5netcdf" if content.read(4) == KINDS[0] else "scipy"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = xr.open_dataset(path, engine=engine, decode_times=False)
        with dataset:
            yield dataset
    except TowerFileError:
        raise
    except (OSError, ValueError, KeyError, TypeError, IndexError, RuntimeError, EOFError):
        raise TowerFileError(f"{path.name}: the NetCDF file is damaged or incomplete. Download it again.") from None


def is_netcdf(path: Path) -> bool:
    """Whether a file begins like a NetCDF."""
    with path.open("rb") as content:
        return content.read(4).startswith(KINDS)


def variables_of(path: Path) -> set[str]:
    """Names of the variables of a NetCDF file; none if it is no (readable) NetCDF."""
    if not is_netcdf(path):
        return set()
    try:
        with opened(path) as dataset:
            return {str(name) for name in dataset.data_vars}
    except TowerFileError:
        return set()


def _fullest(candidates: tuple[str, ...], files: list[AlmaFile]) -> str | None:
    found = {c: float(np.isfinite(f.series(c)).mean()) for f in reversed(files) for c in candidates if c in f.names}
    return max(sorted(found, key=candidates.index), key=lambda c: found[c]) if found else None


def _file_of(column: str, files: list[AlmaFile]) -> AlmaFile:
    """The first of the files that has the variable; the last one, which refuses it, if none has."""
    return next((file for file in files if column in file.names), files[-1])


def _driver(name: str, column: str, file: AlmaFile) -> tuple[Column, Series | None]:
    """A driver in our unit, and its flags."""
    values, unit, flag = file.series(column), file.unit(column), file.flag(column)
    if name == "co2" and flag is not None:
        flag = np.where(flag == AFTERWARDS, BEST_DRIVER_FLAG, flag)  # the global annual value, which is as good as any
    typical = float(np.median(values[np.isfinite(values)])) if np.isfinite(values).any() else 0.0
    if name in ("air_temperature", "soil_temperature") and (unit == "K" or typical > 150.0):
        values = values - 273.15
    elif name == "pressure" and (unit == "Pa" or typical > 2000.0):
        values = values / 1000.0
    elif name == "pressure" and (unit == "hPa" or typical > 200.0):
        values = values / 10.0
    elif name == "soil_water_content" and unit == "%":
        values = values / 100.0
    attributes = {"file_unit": unit, **(flag_shares(flag) if flag is not None else {})}
    return Column(values, column, attributes), flag


def _vapour_pressure(
    met: AlmaFile, forcing: Mapping[str, Column], flags: Mapping[str, Series | None], options: ReadOptions
) -> tuple[Column, Series | None]:
    """Vapour pressure, kPa, from specific humidity, relative humidity or deficit; the flag is the worst of VPD and Tair."""
    chosen = options.columns.get("vapour_pressure")
    kind = met.require(chosen) if chosen else _fullest(("Qair", "RH", "VPD"), [met])
    temperature, pressure = forcing["air_temperature"], forcing.get("pressure")
    if kind is None or (kind == "Qair" and pressure is None):
        raise TowerFileError(f"{met.label}: no humidity; looked for Qair (with Psurf), RH, VPD.")
    values = met.series(kind)
    if kind == "RH":
        vapour, floored = humidity.from_relative_humidity(temperature.values, values)
    elif kind == "VPD":
        vapour, floored = humidity.from_deficit(temperature.values, values)
    else:
        assert pressure is not None
        vapour, floored = humidity.floored(values * pressure.values / (0.622 + 0.378 * values))
    flag = met.flag("VPD") if met.flag("VPD") is not None else met.flag("RH")
    worst = flags.get("air_temperature")
    if flag is not None:
        worst = flag if worst is None else np.maximum(worst, flag)
    attributes = {
        "samples_floored": floored,
        "method": f"from {kind}",
        **(flag_shares(worst) if worst is not None else {}),
    }
    source = (
        f"{pressure.source}, {kind}" if kind == "Qair" and pressure is not None else f"{temperature.source}, {kind}"
    )
    return Column(vapour, source, attributes), worst


def _target(column: str, file: AlmaFile) -> Target:
    """An observed flux. NEE keeps its sign (release is positive), whatever its attributes say."""
    values, flag = file.series(column), file.flag(column)
    if flag is None and column.endswith("_cor"):
        flag = file.flag(column.removesuffix("_cor"))
    if column.startswith("GPP"):  # a partition of NEE, as good as the NEE it was made from
        flag = file.flag("NEE")
    measured = np.isfinite(values) & (np.ones(values.shape, dtype=bool) if flag is None else flag == 0)
    sigma = file.series(f"{column}_uc") if f"{column}_uc" in file.names else None
    return Target(values=values, measured=measured, source=column, sigma=sigma)


def _precipitation(met: AlmaFile, step: pd.Timedelta) -> Column | None:
    if "Precip" not in met.names:
        return None
    rate = met.series("Precip")  # kg m-2 s-1
    factor = 1.0 if met.unit("Precip").startswith("mm") and "s" not in met.unit("Precip") else step.total_seconds()
    return Column(rate * factor, "Precip")


def _warnings(forcing: Mapping[str, Column], label: str) -> list[str]:
    poor = {name: column.attributes.get("share_flag_2_or_more", 0.0) for name, column in forcing.items()}
    worst = ", ".join(f"{name} {100 * share:.1f} %" for name, share in poor.items() if share > 0)
    if not worst:
        return []
    return [
        f"{label}: drivers filled by reanalysis, statistics or with medium quality (flag 2 or more): {worst}. The "
        "values are kept; "
        "'forcing_good' is false in these rows."
    ]
