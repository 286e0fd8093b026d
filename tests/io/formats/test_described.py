"""A CSV with a YAML of its columns."""

import re

import numpy as np
import pandas as pd
import pytest
import yaml

from canveg_jax import Site
from canveg_jax.io import TowerDataWarning, TowerFileError, read_tower
from canveg_jax.io.conversion import ACCEPTED, converted
from tests.io.lookalikes import LATITUDE, LONGITUDE, weather

DATA = weather(3)
SITE = Site(
    name="X", latitude=LATITUDE, longitude=LONGITUDE, utc_offset=-8.0, canopy_height=0.5, measurement_height=3.0
)
FORCING = {
    "air_temperature": ("Ta", "K", DATA["TA"] + 273.15), "shortwave_in": ("Rg", "W/m2", DATA["SW"]),
    "longwave_in": ("Rl", "W m^-2", DATA["LW"]), "vapour_pressure": ("ea", "hPa", 10 * DATA["e"]),
    "wind_speed": ("u", "km/h", 3.6 * DATA["WS"]), "co2": ("CO2", "ppm", DATA["CO2"]), "pressure": ("p", "mbar", 10 * DATA["PA"]),
    "friction_velocity": ("ust", "cm/s", 100 * DATA["USTAR"]), "soil_temperature": ("Ts", "°C", DATA["TS"]),
    "soil_water_content": ("theta", "percent", DATA["SWC"]), "precipitation": ("rain", "mm/h", 2 * DATA["P"]),
    "nee": ("Fc", "mg CO2 m-2 s-1", DATA["NEE"] * 0.0440095), "latent_heat": ("LE", "W m-2", DATA["LE"]),
}  # fmt: skip


@pytest.fixture
def described(tmp_path):
    def write(frame=None, **changes):
        stamps = pd.DatetimeIndex(DATA.index) + pd.Timedelta(minutes=30)
        own = {"Datum": stamps.strftime("%d.%m.%Y"), "Zeit": stamps.strftime("%H:%M")}
        data = pd.DataFrame({**own, **{name: values.to_numpy() for name, _, values in FORCING.values()}})
        data["LE_qc"] = np.arange(len(data)) % 3
        content = {
            "file": "own.csv",
            "time": {"columns": ["Datum", "Zeit"], "format": "%d.%m.%Y %H:%M", "marks": "end"},
            "missing": [-999, "n.d."],
            "columns": {v: {"name": n, "unit": u} for v, (n, u, _) in FORCING.items()},
        }
        content["columns"]["latent_heat"] |= {"flag": "LE_qc", "measured": [0, 1]}
        content["columns"]["nee"] |= {"flag": "LE_qc"}
        content = {name: value for name, value in {**content, **changes}.items() if value is not None}
        (frame or (lambda data: data))(data).to_csv(tmp_path / "own.csv", index=False, sep=";", decimal=",")
        (tmp_path / "own.yaml").write_text(yaml.safe_dump(content))
        return tmp_path / "own.yaml"

    return write


def test_there_and_back(described):
    tower = read_tower(described(), site=SITE, lai=2.0)
    assert (
        tower.attrs["format"] == "described"
        and tower.attrs["data_file"] == "own.csv"
        and tower["forcing_complete"].all()
    )
    assert tower["time"].values[0] == np.datetime64(DATA.index[0])
    names = {
        "air_temperature": "TA", "shortwave_in": "SW", "longwave_in": "LW", "vapour_pressure": "e", "wind_speed": "WS",
        "co2": "CO2", "pressure": "PA", "friction_velocity": "USTAR", "soil_temperature": "TS", "precipitation": "P",
        "nee": "NEE", "latent_heat": "LE",
    }  # fmt: skip
    for name, source in names.items():
        np.testing.assert_allclose(tower[name], DATA[source], rtol=1e-9, atol=1e-9, err_msg=name)
    np.testing.assert_allclose(tower["soil_water_content"], DATA["SWC"] / 100)
    assert int((~tower["latent_heat_measured"]).sum()) == 48 and int(tower["nee_measured"].sum()) == 48


def test_humidity_missing_codes_and_stamps_in_utc(described):
    def frame(data):
        stamps = (pd.DatetimeIndex(DATA.index) + pd.Timedelta(hours=8)).strftime("%Y-%m-%d %H:%M")
        data = data.assign(stamp=stamps, RH=DATA["RH"].to_numpy() / 100, Ta=data["Ta"].astype(object))
        data.loc[3, "Ta"], data.loc[4, "Ta"] = -999, "n.d."
        return data

    columns = {
        v: {"name": n, "unit": u}
        for v, (n, u, _) in FORCING.items()
        if v not in ("vapour_pressure", "nee", "latent_heat")
    }
    columns["relative_humidity"] = {"name": "RH", "unit": "1"}
    columns["latent_heat"] = {"name": "LE", "unit": "W m-2"}
    path = described(frame, columns=columns, time={"columns": "stamp", "marks": "start", "utc_offset": 0})
    with pytest.warns(TowerDataWarning, match="latent_heat has no flag; all of its samples count as measured"):
        tower = read_tower(path, site=SITE, lai=2.0)
    assert tower["time"].values[0] == np.datetime64(DATA.index[0])
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(tower["air_temperature"])), [3, 4])
    np.testing.assert_allclose(tower["vapour_pressure"][5:], DATA["e"][5:], rtol=3e-3)
    with pytest.raises(TowerFileError, match="the stamps are at UTC.0 h; give the site"):
        read_tower(path, lai=2.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colums": {}}, "own.yaml: unknown key 'colums'.*Did you mean 'columns'"),
        ({"time": None}, "own.yaml: time: Field required"),
        ({"columns": {"air_temp": {"name": "Ta", "unit": "K"}}},
         "unknown variable 'air_temp'.*Did you mean 'air_temperature'"),
        ({"columns": {"co2": {"name": "CO2", "units": "ppm"}}}, "columns.co2: unknown key 'units'.*Did you mean 'unit'"),
        ({"columns": {"co2": {"name": "CO2", "unit": "ppb"}}},
         "co2: unknown unit 'ppb'; there are umol mol-1, ppm.*Did you mean 'ppm'"),
        ({"columns": {"co2": {"name": "CO", "unit": "ppm"}}}, "own.csv has no column 'CO'. Did you mean 'CO2'"),
        ({"file": "other.csv"}, "file: there is no '.*other.csv'"),
        ({"time": {"columns": ["Datum"], "format": "%Y", "marks": "end"}},
         "row 0 has the time '01.06.2019'; expected the format '%Y'"),
        ({"columns": {"air_temperature": {"name": "Ta", "unit": "K"}, "soil_temperature": {"name": "Ta", "unit": "K"}}},
         "column 'Ta' stands for both air_temperature and soil_temperature"),
        ({"columns": {"shortwave_in": {"name": "Rg", "unit": "mJ m-2 h-1"}}}, "unknown unit 'mJ m-2 h-1'"),
        ({"time": {"columns": ["Datum"], "marks": "end", "utc_offset": 5.3}}, "time.utc_offset: .* multiple of 0.25"),
        ({"time": {"columns": ["Tag"], "marks": "end"}}, "own.csv has no column 'Tag'"),
        ({"time": {"columns": ["Datum"], "marks": "middle"}}, "time.marks: Input should be 'start' or 'end'"),
        ({"columns": {"co2": {"name": "CO2", "unit": "ppm"}}},
         "no column for air_temperature; looked for air_temperature: {name"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_the_remedy(described, changes, message):
    with pytest.raises(TowerFileError, match=message):
        read_tower(described(**changes), lai=2.0, stand_ins={})


def test_flags_of_which_none_counts_are_said(described):
    columns = {v: {"name": n, "unit": u} for v, (n, u, _) in FORCING.items()}
    columns["latent_heat"] |= {"flag": "LE_qc", "measured": [7]}
    del columns["nee"]
    text = "none of the 144 samples of latent_heat counts as measured: column LE_qc has 0, 1, 2, `measured` names 7"
    with pytest.warns(TowerDataWarning, match=text):
        tower = read_tower(described(columns=columns), site=SITE, lai=2.0)
    assert not tower["latent_heat_measured"].any()


def test_humidity_that_is_not_used_is_said(described):
    columns = {v: {"name": n, "unit": u} for v, (n, u, _) in FORCING.items() if v not in ("nee", "latent_heat")}
    columns["relative_humidity"] = {"name": "LE_qc", "unit": "%"}
    with pytest.warns(TowerDataWarning, match="relative_humidity is not used, as vapour pressure is known without it"):
        tower = read_tower(described(columns=columns), site=SITE, lai=2.0)
    np.testing.assert_allclose(tower["vapour_pressure"], DATA["e"], rtol=1e-6)


def test_a_key_that_is_there_twice_is_refused(described):
    """YAML itself would take the last."""
    path = described()
    lines = path.read_text().replace("  co2:\n", "  co2: {name: Ta, unit: ppm}\n  co2:\n")
    path.write_text(lines)
    number = lines.splitlines().index("  co2:") + 1
    with pytest.raises(TowerFileError, match=f"own.yaml, line {number}: the key 'co2' is there twice"):
        read_tower(path, lai=2.0)


def test_what_is_no_description(tmp_path):
    (tmp_path / "a.yaml").write_text("file: [")
    with pytest.raises(TowerFileError, match="a.yaml, line 1: this is no YAML"):
        read_tower(tmp_path / "a.yaml")
    (tmp_path / "a.yaml").write_text("just words")
    with pytest.raises(TowerFileError, match="expected a YAML with the keys file, time and columns"):
        read_tower(tmp_path / "a.yaml")


def test_conversions_agree_with_pint():
    pint = pytest.importorskip("pint")
    registry = pint.UnitRegistry(autoconvert_offset_to_baseunit=True)
    spoken = {"%": "percent", "1": "dimensionless", "degC": "degC", "degF": "degF", "ppm": "ppm"}
    tried = 0
    for ours, accepted in ACCEPTED.items():
        for unit in accepted:
            if "CO2" in unit or "g C" in unit or ours == "mm":
                continue
            own, their = (
                spoken.get(u, re.sub(r"([a-zA-Z])(-?\d)", r"\1**\2", u).replace(" ", " * ")) for u in (ours, unit)
            )
            expected = registry.Quantity(7.0, their).to(own).magnitude
            assert converted(np.array([7.0]), unit, ours, "x", 1800.0)[0] == pytest.approx(expected, rel=1e-6), (
                ours,
                unit,
            )
            tried += 1
    assert tried > 25
