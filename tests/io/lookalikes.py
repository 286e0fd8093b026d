"""Invented tower files with the headers of each network: one weather, many formats. Everything is tiny and made by the tests."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from canveg_jax.io.stand_ins import STAND_INS

NO_STAND_INS = dict.fromkeys(STAND_INS, "none")
"""What is missing stays missing."""

LATITUDE, LONGITUDE, UTC_OFFSET = 38.1, -121.5, -8.0

FULLSET_HEADER = (
    "TIMESTAMP_START,TIMESTAMP_END,TA_F_MDS,TA_F_MDS_QC,TA_ERA,TA_F,TA_F_QC,SW_IN_POT,SW_IN_F_MDS,SW_IN_F_MDS_QC,SW_IN_ERA,SW_IN_F,"
    "SW_IN_F_QC,LW_IN_F_MDS,LW_IN_F_MDS_QC,LW_IN_ERA,LW_IN_F,LW_IN_F_QC,LW_IN_JSB,LW_IN_JSB_F,LW_IN_JSB_F_QC,VPD_F_MDS,"
    "VPD_F_MDS_QC,VPD_ERA,VPD_F,VPD_F_QC,PA,PA_ERA,PA_F,PA_F_QC,P,P_ERA,P_F,P_F_QC,WS,WS_ERA,WS_F,WS_F_QC,WD,USTAR,RH,NETRAD,PPFD_IN,"
    "SW_OUT,LW_OUT,CO2_F_MDS,CO2_F_MDS_QC,TS_F_MDS_1,TS_F_MDS_2,TS_F_MDS_1_QC,TS_F_MDS_2_QC,SWC_F_MDS_1,SWC_F_MDS_1_QC,G_F_MDS,"
    "G_F_MDS_QC,LE_F_MDS,LE_F_MDS_QC,LE_CORR,LE_RANDUNC,LE_CORR_JOINTUNC,H_F_MDS,H_F_MDS_QC,H_CORR,H_RANDUNC,NIGHT,NEE_CUT_REF,"
    "NEE_VUT_REF,NEE_CUT_REF_QC,NEE_VUT_REF_QC,NEE_VUT_REF_RANDUNC,NEE_VUT_REF_JOINTUNC,RECO_NT_VUT_REF,GPP_NT_VUT_REF"
).split(",")
"""Names of a FULLSET file, in its order, without the many percentiles."""


def sun(middle: pd.DatetimeIndex, latitude: float, longitude: float, utc_offset: float) -> np.ndarray:
    """Sine of the solar elevation, from the mean anomaly and the obliquity (not the series that the package uses)."""
    days = middle.to_julian_date().to_numpy() - utc_offset / 24.0 - 2451545.0
    anomaly = np.radians(357.528 + 0.9856003 * days)
    mean = 280.46 + 0.9856474 * days
    ecliptic = np.radians(mean + 1.915 * np.sin(anomaly) + 0.02 * np.sin(2 * anomaly))
    tilt = np.radians(23.439)
    declination = np.arcsin(np.sin(tilt) * np.sin(ecliptic))
    ascension = np.arctan2(np.cos(tilt) * np.sin(ecliptic), np.cos(ecliptic))
    sidereal = np.radians((280.46061837 + 360.98564736629 * days + longitude) % 360.0)
    place = np.radians(latitude)
    angle = sidereal - ascension
    return np.sin(place) * np.sin(declination) + np.cos(place) * np.cos(declination) * np.cos(angle)


def weather(
    days: float = 12, start: str = "2019-06-01", seed: int = 0, place: tuple[float, float, float] | None = None
) -> pd.DataFrame:
    """Half-hours of plausible weather, soil and fluxes; the index is the start of each interval, local standard time."""
    rng = np.random.default_rng(seed)
    time = pd.date_range(start, periods=int(days * 48), freq="30min")
    middle = time + pd.Timedelta(minutes=15)
    hour = np.asarray(middle.hour + middle.minute / 60.0)
    high = np.maximum(sun(middle, *(place or (LATITUDE, LONGITUDE, UTC_OFFSET))), 0.0)
    sky = np.repeat(rng.uniform(0.5, 0.78, len(time) // 48 + 1), 48)[: len(time)]
    temperature = 15.0 + 8.0 * np.cos(2 * np.pi * (hour - 15.0) / 24.0) + rng.normal(0.0, 0.3, len(time))
    saturation = 0.611 * np.exp(17.26938818 * temperature / (237.3 + temperature))
    humidity = np.clip(
        65.0 - 25.0 * np.cos(2 * np.pi * (hour - 15.0) / 24.0) + rng.normal(0.0, 1.0, len(time)), 10.0, 99.0
    )
    shortwave = 1100.0 * sky * high
    return pd.DataFrame(
        {
            "TA": temperature, "SW": shortwave, "LW": 320.0 + rng.normal(0.0, 5.0, len(time)), "RH": humidity,
            "e": saturation * humidity / 100.0, "VPD": 10.0 * saturation * (1.0 - humidity / 100.0),
            "WS": 1.5 + rng.gamma(2, 0.4, len(time)),
            "CO2": 410.0 + rng.normal(0.0, 2.0, len(time)), "PA": 100.0 + rng.normal(0.0, 0.1, len(time)),
            "USTAR": 0.25 + rng.gamma(2, 0.06, len(time)), "TS": 16.0 + 3.0 * np.cos(2 * np.pi * (hour - 17.0) / 24.0),
            "SWC": 25.0 + np.linspace(5.0, -5.0, len(time)), "P": np.where(rng.random(len(time)) < 0.02, 0.4, 0.0),
            "LE": 0.35 * shortwave + rng.normal(0.0, 12.0, len(time)), "H": 0.25 * shortwave + rng.normal(0.0, 10.0, len(time)),
            "G": 0.08 * shortwave + rng.normal(0.0, 2.0, len(time)),
            "NETRAD": 0.72 * shortwave - 40.0 + rng.normal(0.0, 5.0, len(time)),
            "NEE": 3.0 - 0.018 * shortwave + rng.normal(0.0, 1.0, len(time)),
        },
        index=time,
    )  # fmt: skip


def stamps(data: pd.DataFrame) -> dict[str, object]:
    """Both stamps of each row, as networks write them."""
    end = pd.DatetimeIndex(data.index) + pd.Timedelta(minutes=30)
    return {
        "TIMESTAMP_START": pd.DatetimeIndex(data.index).strftime("%Y%m%d%H%M"),
        "TIMESTAMP_END": end.strftime("%Y%m%d%H%M"),
    }


def table(columns: dict[str, object], **changes: object) -> str:
    """A CSV; missing values are -9999. A change to None drops the column."""
    merged = {name: values for name, values in {**columns, **changes}.items() if values is not None}
    frame = pd.DataFrame({name: np.asarray(v) if np.ndim(v) else v for name, v in merged.items()})
    return frame.fillna(-9999).to_csv(index=False, float_format="%.9g")


def fluxnet_columns(data: pd.DataFrame) -> dict[str, object]:
    """A FULLSET: everything measured."""
    filled = {
        "TA_F_MDS": "TA", "TA_F": "TA", "SW_IN_F_MDS": "SW", "SW_IN_F": "SW", "LW_IN_F_MDS": "LW", "LW_IN_F": "LW",
        "LW_IN_JSB_F": "LW",
        "VPD_F_MDS": "VPD", "VPD_F": "VPD", "PA": "PA", "PA_F": "PA", "P": "P", "P_F": "P", "WS": "WS", "WS_F": "WS",
        "USTAR": "USTAR",
        "RH": "RH", "NETRAD": "NETRAD", "CO2_F_MDS": "CO2", "TS_F_MDS_1": "TS", "TS_F_MDS_2": "TS",
        "SWC_F_MDS_1": "SWC", "G_F_MDS": "G",
        "LE_F_MDS": "LE", "H_F_MDS": "H", "NEE_CUT_REF": "NEE", "NEE_VUT_REF": "NEE",
    }  # fmt: skip
    columns: dict[str, object] = dict(stamps(data))
    for name in FULLSET_HEADER[2:]:
        if name in filled:
            columns[name] = data[filled[name]].to_numpy()
        else:
            columns[name] = 0 if name.endswith("_QC") else -9999
    return columns


def fluxnet(data: pd.DataFrame, **changes: object) -> str:
    """FLX_XX-Tst_FLUXNET2015_FULLSET_HH_..."""
    return table(fluxnet_columns(data), **changes)


def ameriflux(data: pd.DataFrame, head: str = "# Site: XX-Tst,,,\n# Version: 1-5,,,\n", **changes: object) -> str:
    """AMF_XX-Tst_BASE_HH_1-5.csv."""
    names = {
        "CO2": "CO2", "FC": "NEE", "LE": "LE", "H": "H", "G": "G", "WS": "WS", "USTAR": "USTAR", "PA": "PA",
        "RH": "RH", "TA": "TA",
        "SWC_1_1_1": "SWC", "TS_1_1_1": "TS", "NETRAD": "NETRAD", "SW_IN": "SW", "LW_IN": "LW", "P": "P",
    }  # fmt: skip
    return head + table(
        {**stamps(data), **{name: data[source].to_numpy() for name, source in names.items()}}, **changes
    )


def icos(data: pd.DataFrame) -> tuple[str, str]:
    """ICOSETC_XX-Tst_METEO_L2.csv and ..._FLUXES_L2.csv."""
    weather_names = {"TA": "TA", "RH": "RH", "PA": "PA", "SW_IN": "SW", "LW_IN": "LW", "WS": "WS", "P": "P",
    "SWC_1": "SWC", "TS_1": "TS",
                     "G_1": "G", "NETRAD": "NETRAD"}  # fmt: skip
    flux_names = {"NEE": "NEE", "LE": "LE", "H": "H", "USTAR": "USTAR", "CO2": "CO2"}
    flags = {f"{name}_SSITC_TEST": 0 for name in ("FC", "H", "LE")}
    fluxes = {name: data[source].to_numpy() for name, source in flux_names.items()}
    meteo = {name: data[source].to_numpy() for name, source in weather_names.items()}
    return table({**stamps(data), **meteo}), table(
        {**stamps(data), "FC": data["NEE"].to_numpy() - 0.1, "SC": 0.1, **fluxes, **flags}
    )


def fluxnet_ch4(data: pd.DataFrame, gap: np.ndarray, **changes: object) -> str:
    """FLX_XX-Tst_FLUXNET-CH4_HH_...: fluxes missing where `gap`, filled in their `_F` columns."""
    columns: dict[str, object] = dict(stamps(data))
    for name, source in {"SW_IN": "SW", "TA": "TA", "USTAR": "USTAR", "NETRAD": "NETRAD", "SWC": "SWC", "TS_1": "TS",
    "TS_2": "TS", "WS": "WS",
                         "PA": "PA", "VPD": "VPD", "CO2": "CO2"}.items():  # fmt: skip
        columns[name] = data[source].to_numpy()
    for name in ("NEE", "H", "LE", "G"):
        columns[name], columns[f"{name}_F"] = np.where(gap, np.nan, data[name]), data[name].to_numpy()
    for name, source in {
        "TA_F": "TA",
        "SW_IN_F": "SW",
        "LW_IN_F": "LW",
        "VPD_F": "VPD",
        "PA_F": "PA",
        "P_F": "P",
        "WS_F": "WS",
    }.items():
        columns[name] = data[source].to_numpy()
    return table(columns, **changes)


def alma(data: pd.DataFrame, folder: Path, *, official: bool = True, **scalars: float) -> tuple[Path, Path]:
    """`..._Met.nc` and `..._Flux.nc`; official PLUMBER2 files have heights and neither a time zone nor flags of Qair."""

    def cube(values: object) -> tuple[tuple[str, ...], np.ndarray]:
        return ("time", "y", "x"), np.asarray(values, dtype="f8")[:, None, None]

    zero = np.zeros(len(data))
    elapsed = (pd.DatetimeIndex(data.index) - pd.Timestamp(data.index[0].year, 1, 1)) / pd.Timedelta(seconds=1)
    units = f"seconds since {data.index[0].year}-01-01 00:00:00"
    coordinates = {"time": ("time", np.asarray(elapsed, dtype=float), {"units": units})}
    if not official:
        coordinates["time"][2]["time_zone"] = "America/Los_Angeles"
    q = 0.622 * data["e"] / (data["PA"] - 0.378 * data["e"])
    met = xr.Dataset(
        {
            "Tair": cube(data["TA"] + 273.15), "SWdown": cube(data["SW"]), "LWdown": cube(data["LW"]), "Qair": cube(q),
            "Psurf" if official else "PSurf": cube(1000.0 * data["PA"]), "Wind": cube(data["WS"]), "CO2air": cube(data["CO2"]),
            "Precip": cube(data["P"] / 1800.0), "LAI": cube(zero + 2.0), "LAI_alternative": cube(zero + 3.0),
            "Tair_qc": cube(zero), "SWdown_qc": cube(zero), "CO2air_qc": cube(zero + 101),
        },
        coords=coordinates, attrs={"site_code": "XX-Tst"},
    )  # fmt: skip
    flux = xr.Dataset(
        {
            "Ustar": cube(data["USTAR"]), "Rnet": cube(data["NETRAD"]), "Qle": cube(data["LE"]),
            "Qh": cube(data["H"]), "Qg": cube(data["G"]),
            "NEE": cube(data["NEE"]), "Qle_qc": cube(np.arange(len(data)) % 3), "Qle_uc": cube(zero + 9.0),
        },
        coords=coordinates, attrs={"site_code": "XX-Tst"},
    )  # fmt: skip
    flux["NEE"].attrs["standard_name"] = "surface_net_downward_mass_flux_of_carbon_dioxide"
    met["Tair"].attrs["units"], met["Precip"].attrs["units"] = "K", "kg m-2 s-1"
    place = {"latitude": LATITUDE, "longitude": LONGITUDE, "elevation": 5.0}
    if official:
        place |= {"canopy_height": 0.5, "reference_height": 3.0}
    for name, value in {**place, **scalars}.items():
        met[name] = (("y", "x"), np.array([[value]]))
    paths = folder / "XX-Tst_2019-2019_FLUXNET2015_Met.nc", folder / "XX-Tst_2019-2019_FLUXNET2015_Flux.nc"
    met.to_netcdf(paths[0], engine="h5netcdf" if official else "scipy")
    flux.to_netcdf(paths[1], engine="h5netcdf" if official else "scipy")
    return paths


BIF_ROWS = [
    ("1", "GRP_LOCATION", "LOCATION_LAT", "38.1"), ("1", "GRP_LOCATION", "LOCATION_LONG", "-121.5"), ("2",
    "GRP_UTC_OFFSET", "UTC_OFFSET", "-8"),
    ("3", "GRP_HEIGHTC", "HEIGHTC", "0.064"), ("3", "GRP_HEIGHTC", "HEIGHTC_STATISTIC", "Standard Deviation"),
    ("3", "GRP_HEIGHTC", "HEIGHTC_DATE", "20190610"), ("4", "GRP_HEIGHTC", "HEIGHTC", "0.8"), ("4", "GRP_HEIGHTC",
    "HEIGHTC_STATISTIC", "Mean"),
    ("4", "GRP_HEIGHTC", "HEIGHTC_DATE", "201906121200"), ("5", "GRP_HEIGHTC", "HEIGHTC", "0.2"),
    ("5", "GRP_HEIGHTC", "HEIGHTC_STATISTIC", "Mean"), ("5", "GRP_HEIGHTC", "HEIGHTC_DATE", "20190601"),
    ("6", "GRP_LAI", "LAI", "1.5"), ("6", "GRP_LAI", "LAI_STATISTIC", "Mean"), ("6", "GRP_LAI", "LAI_DATE", "20190525"),
    ("7", "GRP_LAI", "LAI", "2.5"), ("7", "GRP_LAI", "LAI_STATISTIC", "Mean"), ("7", "GRP_LAI", "LAI_DATE", "20190618"),
    ("8", "GRP_DOI", "DOI", "10.17190/AMF/0000000"), ("8", "GRP_DOI", "DOI_CITATION",
    "A. Team (2019) AmeriFlux BASE XX-Tst, Ver. 1-5"),
    ("9", "GRP_IGBP", "IGBP", "CRO"),
]  # fmt: skip
"""Metadata with the trap that the first height is a standard deviation, and dates of several lengths out of order."""


def bif(site: str = "XX-Tst", without: tuple[str, ...] = ()) -> pd.DataFrame:
    """BIF of one site as a table."""
    rows = [(site, *row) for row in BIF_ROWS if row[1] not in without]
    return pd.DataFrame(rows, columns=["SITE_ID", "GROUP_ID", "VARIABLE_GROUP", "VARIABLE", "DATAVALUE"])


def workbook(frame: pd.DataFrame) -> bytes:
    """The bytes of an xlsx."""
    content = io.BytesIO()
    frame.to_excel(content, index=False)
    return content.getvalue()


def archive(path: Path, **members: str | bytes) -> Path:
    """A zip with the given members; `__` in a name stands for a dot."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as content:
        for name, data in members.items():
            content.writestr(name.replace("__", ".").replace("AND", "-"), data)
    return path


def modis_rows(
    values: dict[str, int], quality: dict[str, int] | None = None, side: int = 17, band: str = "Lai_500m"
) -> str:
    """A MODIS subset of ORNL: no header, one row a composite, pixels row by row; `values` are those of the centre."""
    lines = []
    for name, numbers, rest in ((band, values, 40), ("FparLai_QC", quality or {}, 0)):
        for date, value in numbers.items():
            pixels = np.full(side * side, rest)
            pixels[side * side // 2] = value
            head = f"MCD15A3H.{date}.h08v05.061.{name},MCD15A3H,{date},Lat38.1Lon-121.5Samp17Line17,2020001000000"
            lines.append(head + "," + ",".join(map(str, pixels)))
    return "\n".join(lines) + "\n"
