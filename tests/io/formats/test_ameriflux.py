"""AmeriFlux BASE files: comment lines, sensor positions, humidity, storage, plates."""

import numpy as np
import pandas as pd
import pytest

from canveg_jax.io import TowerDataWarning, TowerFileError, read_tower
from canveg_jax.io.formats.sensor_names import columns_of
from canveg_jax.io.humidity import oneflux_saturation_vapour_pressure, saturation_vapour_pressure_kpa
from canveg_jax.io.stand_ins import STAND_INS
from canveg_jax.physics.thermodynamics import saturation_vapour_pressure

ROWS = 48


def frame(start="2010-12-31 12:00"):
    begin = pd.date_range(start, periods=ROWS, freq="30min")
    rng = np.random.default_rng(12)
    return pd.DataFrame(
        {
            "TIMESTAMP_START": begin.strftime("%Y%m%d%H%M"),
            "TIMESTAMP_END": (begin + pd.Timedelta(minutes=30)).strftime("%Y%m%d%H%M"),
            "TA": 10 + rng.random(ROWS), "RH": 60 + rng.random(ROWS), "PA": 99 + rng.random(ROWS), "P": 0.0,
            "SW_IN": 100 * rng.random(ROWS), "LW_IN": 300 + rng.random(ROWS), "PPFD_IN": 230.0, "WS": 2.0, "USTAR": 0.3,
            "CO2": 390 + rng.random(ROWS), "H2O": 9.0, "TS_1_1_1": 5.0, "TS_2_1_1": 6.0, "SWC": 45 + rng.random(ROWS),
            "LE": rng.standard_normal(ROWS), "H": rng.standard_normal(ROWS), "G_1_1_1": rng.standard_normal(ROWS),
            "G_2_1_1": rng.standard_normal(ROWS), "NETRAD": rng.standard_normal(ROWS), "FC": rng.standard_normal(ROWS),
            "T_SONIC": 11.0, "T_SONIC_SIGMA": 0.3, "H_SSITC_TEST": 0, "SW_OUT": 1.0,
        }
    )  # fmt: skip


@pytest.fixture
def written(tmp_path):
    def write(data, comments="# Site: XX-Fak,,,\n# Version: 2-5,,,\n"):
        path = tmp_path / "AMF_XX-Fak_BASE_HH_2-5.csv"
        path.write_text(comments + data.fillna(-9999).to_csv(index=False))
        return path

    return write


def test_values_units_and_time(written):
    data = frame()
    tower = read_tower(written(data), lai=1.0)
    assert tower.attrs["format"] == "ameriflux-base"
    assert tower["time"].values[0] == np.datetime64("2010-12-31T12:00")  # local standard time, not shifted
    assert (tower["day_of_year"].values[23], tower["hour"].values[23]) == (365, 23.75)
    assert (tower["day_of_year"].values[24], tower["hour"].values[24]) == (1, 0.25)
    np.testing.assert_allclose(tower["soil_water_content"], data["SWC"] / 100)
    np.testing.assert_allclose(tower["sensible_heat"], data["H"])
    np.testing.assert_allclose(tower["nee"], data["FC"])
    assert tower["latent_heat_measured"].all() and tower["forcing_complete"].all()
    assert tower["soil_temperature"].attrs["source_column"] == "TS_1_1_1"
    assert "forcing_good" not in tower


def test_a_stripped_comment_block_is_recognised_too(written):
    assert read_tower(written(frame(), comments=""), lai=1.0).attrs["format"] == "ameriflux-base"


def test_missing_stays_missing_and_is_not_measured(written):
    data = frame()
    data.loc[4, ["LE", "TA"]] = np.nan
    tower = read_tower(written(data), lai=1.0)
    for name in ("latent_heat", "air_temperature", "vapour_pressure"):
        np.testing.assert_array_equal(np.flatnonzero(np.isnan(tower[name])), [4])
    np.testing.assert_array_equal(np.flatnonzero(~tower["latent_heat_measured"]), [4])


def test_sensor_names_are_taken_apart():
    names = ["TA_PI_F_1_1_1", "TA_1_2_1", "TA_1_1_2", "TA_1_1_1", "TA_1", "TA_1_1_A", "TA_PI", "TA_SD", "TA_1_1_1_N",
             "TA_QC", "T_SONIC", "TAU", "TA_1_1_1_SD"]  # fmt: skip
    assert [c.name for c in columns_of("TA", names)] == [
        "TA_1", "TA_1_1_A", "TA_1_1_1", "TA_1_1_2", "TA_1_2_1", "TA_PI", "TA_PI_F_1_1_1",
    ]  # fmt: skip
    assert [c.name for c in columns_of("T_SONIC", ["T_SONIC_SIGMA", "T_SONIC_1_1_1"])] == ["T_SONIC_1_1_1"]
    assert [c.name for c in columns_of("H", ["H2O", "H_SSITC_TEST", "H_PI", "H"])] == ["H", "H_PI"]
    assert [c.name for c in columns_of("P", ["PA", "P_RAIN", "PPFD_IN", "P_1_1_1"])] == ["P_1_1_1"]


def test_numpy_and_jax_saturation_agree():
    temperature = np.linspace(-30.0, 50.0, 81)
    expected = np.asarray(saturation_vapour_pressure(temperature + 273.15)) / 1000.0
    np.testing.assert_allclose(saturation_vapour_pressure_kpa(temperature), expected, rtol=1e-13)


def test_humidity_from_whatever_there_is(written):
    data = frame()
    path = written(data)
    expected = saturation_vapour_pressure_kpa(data["TA"]) * data["RH"] / 100
    np.testing.assert_allclose(read_tower(path, lai=1.0)["vapour_pressure"], expected)
    data["VPD_PI"] = 10 * oneflux_saturation_vapour_pressure(data["TA"]) - 8.0
    data = data.drop(columns="RH")
    np.testing.assert_allclose(read_tower(written(data), lai=1.0)["vapour_pressure"], 0.8)
    data = data.drop(columns="VPD_PI")
    path = written(data)
    np.testing.assert_allclose(read_tower(path, lai=1.0)["vapour_pressure"], 9.0 * data["PA"] / 1000)
    with pytest.raises(TowerFileError, match="no column for vapour_pressure; looked for RH, VPD, H2O"):
        read_tower(written(data.drop(columns="H2O")), lai=1.0)
    with_both = read_tower(written(frame()), lai=1.0, columns={"vapour_pressure": "H2O"})
    assert with_both["vapour_pressure"].attrs["source_column"] == "PA, H2O"


def test_nee_prefers_the_team_then_flux_plus_storage(written):
    data = frame()
    data["SC"] = 0.5
    data.loc[:9, "SC"] = np.nan
    tower = read_tower(written(data), lai=1.0)
    np.testing.assert_allclose(tower["nee"], data["FC"] + np.where(np.arange(ROWS) < 10, 0.0, 0.5))
    assert tower["nee"].attrs["source_column"] == "FC + SC (storage in 79 %)"
    data["NEE_PI"] = 7.0
    np.testing.assert_allclose(read_tower(written(data), lai=1.0)["nee"], 7.0)


def test_fluxes_filled_by_the_team_are_not_measured(written):
    data = frame().rename(columns={"LE": "LE_PI_F"})
    with pytest.warns(TowerDataWarning, match="'LE_PI_F' was gap-filled by the site team"):
        tower = read_tower(written(data), lai=1.0)
    assert np.isfinite(tower["latent_heat"]).all() and not tower["latent_heat_measured"].any()
    data["LE_PI"] = 3.0
    tower = read_tower(written(data), lai=1.0)
    np.testing.assert_allclose(tower["latent_heat"], 3.0)
    assert tower["latent_heat_measured"].all()


def test_ground_heat_is_the_mean_of_the_plates(written):
    data = frame()
    data.loc[3, "G_2_1_1"] = np.nan
    data.loc[4, ["G_1_1_1", "G_2_1_1"]] = np.nan
    data["G_3_1_1"] = np.nan  # never reports
    tower = read_tower(written(data), lai=1.0)
    np.testing.assert_allclose(tower["ground_heat"], data[["G_1_1_1", "G_2_1_1"]].mean(axis=1))
    np.testing.assert_array_equal(np.flatnonzero(~tower["ground_heat_measured"]), [3, 4])


def test_photon_flux_stands_in_for_global_radiation(written):
    tower = read_tower(written(frame().drop(columns="SW_IN")), lai=1.0)
    np.testing.assert_allclose(tower["shortwave_in"], 100.0)
    assert tower["shortwave_in"].attrs["source_column"] == "PPFD_IN"


def test_no_leaf_area_or_driver(written):
    with pytest.raises(TowerFileError, match=r"\(ameriflux-base\) has no leaf area index"):
        read_tower(written(frame()))
    with pytest.raises(TowerFileError, match="no column for friction_velocity; looked for USTAR, USTAR_1_1_1"):
        read_tower(written(frame().drop(columns="USTAR")), lai=1.0)


def test_real_file(shared):
    path = shared / "data" / "ameriflux-base" / "AMF_US-CRT_BASE_HH_2-5.csv"
    if not path.is_file():
        pytest.skip("needs the AmeriFlux BASE example file")
    tower = read_tower(path, lai=1.0, stand_ins=dict.fromkeys(STAND_INS, "none"))
    assert tower.sizes["time"] == 96
    assert tower["time"].values[0] == np.datetime64("2011-01-01T00:00")
    assert tower["nee"].attrs["source_column"] == "NEE_PI"
    assert tower["ground_heat"].attrs["source_column"] == "G_1_1_1, G_2_1_1"
    np.testing.assert_allclose(tower["ground_heat"].values[0], (27.4496 + 37.31582) / 2)
    assert 0.3 < float(tower["latent_heat_measured"].mean()) < 0.5
    assert np.isnan(tower["friction_velocity"].values[0])
