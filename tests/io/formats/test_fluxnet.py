"""FLUXNET / ONEFlux files: flags, units, humidity, choice of columns."""

import warnings

import numpy as np
import pandas as pd
import pytest

from canveg_jax import Forcing
from canveg_jax.io import TowerDataWarning, TowerFileError, read_tower
from canveg_jax.io.humidity import from_deficit, oneflux_saturation_vapour_pressure

ROWS = 96


def frame(rows=ROWS, minutes=30, start="2018-12-31 00:00"):
    """Fake SUBSET file: everything measured, deficits from a known vapour pressure."""
    begin = pd.date_range(start, periods=rows, freq=f"{minutes}min")
    rng = np.random.default_rng(11)
    temperature = np.round(8 + 6 * rng.standard_normal(rows), 3)
    vapour = 0.3 * oneflux_saturation_vapour_pressure(temperature)
    data = {
        "TIMESTAMP_START": begin.strftime("%Y%m%d%H%M"),
        "TIMESTAMP_END": (begin + pd.Timedelta(minutes=minutes)).strftime("%Y%m%d%H%M"),
        "TA_F": temperature,
        "SW_IN_F": np.maximum(0, 400 * rng.standard_normal(rows)),
        "LW_IN_F": 300 + rng.random(rows),
        "VPD_F": 10 * (oneflux_saturation_vapour_pressure(temperature) - vapour),
        "PA_F": 98 + rng.random(rows), "P_F": 0.0, "WS_F": 1 + rng.random(rows), "USTAR": 0.2 + rng.random(rows),
        "CO2_F_MDS": 400 + rng.random(rows), "TS_F_MDS_1": 9.0, "TS_F_MDS_4": 11.0, "TS_F_MDS_10": 12.0,
        "SWC_F_MDS_1": 20 + rng.random(rows), "NETRAD": 60 * rng.standard_normal(rows),
        "LE_F_MDS": 60 * rng.standard_normal(rows), "LE_CORR": 90 * rng.standard_normal(rows),
        "H_F_MDS": 60 * rng.standard_normal(rows), "G_F_MDS": 20 * rng.standard_normal(rows),
        "NEE_VUT_REF": 5 * rng.standard_normal(rows), "LE_RANDUNC": 12.0, "LE_CORR_JOINTUNC": 20.0,
        "NEE_VUT_REF_RANDUNC": 1.0,
    }  # fmt: skip
    flagged = ["TA_F", "SW_IN_F", "LW_IN_F", "VPD_F", "PA_F", "WS_F", "CO2_F_MDS", "TS_F_MDS_1", "SWC_F_MDS_1",
               "LE_F_MDS", "H_F_MDS", "G_F_MDS", "NEE_VUT_REF"]  # fmt: skip
    return pd.DataFrame(data | {f"{name}_QC": 0 for name in flagged})


@pytest.fixture
def written(tmp_path):
    def write(data, name="FLX_XX-Fak_FLUXNET2015_SUBSET_HH_2018-2019_1-3.csv"):
        path = tmp_path / name
        data.to_csv(path, index=False)
        return path

    return write


def test_values_units_and_time(written):
    data = frame()
    tower = read_tower(written(data), lai=2.0)
    assert tower.attrs["format"] == "fluxnet"
    assert tower["time"].values[0] == np.datetime64("2018-12-31T00:00")
    np.testing.assert_array_equal(tower["hour"][[0, 47, 48]], [0.25, 23.75, 0.25])
    np.testing.assert_array_equal(tower["day_of_year"][[0, 47, 48]], [365, 365, 1])
    np.testing.assert_allclose(tower["soil_water_content"], data["SWC_F_MDS_1"] / 100)
    np.testing.assert_allclose(tower["lai"], 2.0)
    for name, column in {"air_temperature": "TA_F", "nee": "NEE_VUT_REF", "longwave_in": "LW_IN_F"}.items():
        np.testing.assert_allclose(tower[name], data[column], rtol=1e-13)
    assert len(Forcing.from_dataset(tower)) == ROWS


def test_hourly_files_and_the_end_stamp(written):
    tower = read_tower(written(frame(minutes=60)), lai=2.0)
    assert tower.attrs["step_minutes"] == 60
    np.testing.assert_array_equal(tower["hour"][:2], [0.5, 1.5])
    data = frame()
    data["TIMESTAMP_END"] = data["TIMESTAMP_START"]
    with pytest.raises(TowerFileError, match="row 0 runs from .* must be one step apart"):
        read_tower(written(data), lai=2.0)


def test_vapour_pressure_is_the_one_that_made_the_deficit(written):
    data = frame()
    tower = read_tower(written(data), lai=2.0)
    expected = 0.3 * oneflux_saturation_vapour_pressure(data["TA_F"])
    np.testing.assert_allclose(tower["vapour_pressure"], expected, rtol=1e-12)
    assert tower["vapour_pressure"].attrs["samples_floored"] == 0
    data.loc[4, "VPD_F"] = 500.0
    tower = read_tower(written(data), lai=2.0)
    assert tower["vapour_pressure"].attrs["samples_floored"] == 1 and tower["vapour_pressure"].values[4] == 0.001


def test_oneflux_saturation_at_known_temperatures():
    np.testing.assert_allclose(
        oneflux_saturation_vapour_pressure([0.0, 20.0, 30.0]), [0.611, 2.3389, 4.2442], rtol=2e-5
    )
    vapour, count = from_deficit(np.array([20.0, np.nan]), np.array([10.0, 1.0]))
    np.testing.assert_allclose(vapour, [1.3389, np.nan], rtol=4e-5)
    assert count == 0


def test_only_flag_zero_is_measured(written):
    data = frame()
    data.loc[:5, "LE_F_MDS_QC"] = [0, 1, 2, 3, -9999, 0]
    data.loc[5, "LE_F_MDS"] = -9999
    data.loc[3, "NETRAD"] = -9999
    data.loc[10:, "NEE_VUT_REF_QC"] = 1
    tower = read_tower(written(data), lai=2.0)
    np.testing.assert_array_equal(np.flatnonzero(~tower["latent_heat_measured"]), [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(np.flatnonzero(~tower["net_radiation_measured"]), [3])
    np.testing.assert_array_equal(np.flatnonzero(tower["nee_measured"]), np.arange(10))
    assert tower["nee_measured"].attrs["share"] == pytest.approx(10 / ROWS)
    assert np.isfinite(tower["latent_heat"].values[1:5]).all()  # filled values are there, but not measured
    assert np.isnan(tower["latent_heat"].values[5])


def test_driver_flags_are_counted_and_poor_ones_reported(written):
    data = frame()
    data.loc[:23, "TA_F_QC"] = 1
    data.loc[90:, "VPD_F_QC"] = 2
    data.loc[95, "WS_F_QC"] = -9999
    with pytest.warns(TowerDataWarning, match=r"flag 2 or more\): vapour_pressure 6.2 %. The values are kept"):
        tower = read_tower(written(data), lai=2.0)
    assert tower["air_temperature"].attrs["share_flag_1"] == 0.25
    assert tower["vapour_pressure"].attrs["share_flag_0"] == pytest.approx(1 - 0.25 - 6 / 96)
    assert tower["wind_speed"].attrs["share_without_flag"] == pytest.approx(1 / 96)
    np.testing.assert_array_equal(np.flatnonzero(~tower["forcing_good"]), [90, 91, 92, 93, 94, 95])
    assert np.isfinite(tower["vapour_pressure"]).all()


def test_missing_friction_velocity_stays_missing(written):
    data = frame()
    data.loc[[2, 3], "USTAR"] = -9999
    tower = read_tower(written(data), lai=2.0)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(tower["friction_velocity"])), [2, 3])
    np.testing.assert_array_equal(np.flatnonzero(~tower["forcing_complete"]), [2, 3])


def test_random_uncertainty_comes_along(written):
    tower = read_tower(written(frame()), lai=2.0)
    np.testing.assert_allclose(tower["latent_heat_sigma"], 12.0)
    np.testing.assert_allclose(tower["nee_sigma"], 1.0)
    assert "sensible_heat_sigma" not in tower


def test_closure_corrected_flux_uses_the_flag_of_the_raw_one(written):
    data = frame()
    data.loc[7, "LE_F_MDS_QC"], data.loc[8, "LE_CORR"] = 1, -9999
    tower = read_tower(written(data), lai=2.0, columns={"latent_heat": "LE_CORR"})
    np.testing.assert_allclose(tower["latent_heat"].values[9], data["LE_CORR"][9])
    np.testing.assert_array_equal(np.flatnonzero(~tower["latent_heat_measured"]), [7, 8])
    np.testing.assert_allclose(tower["latent_heat_sigma"], 20.0)


def test_the_shallowest_sensor_unless_told_otherwise(written):
    path = written(frame())
    assert read_tower(path, lai=2.0)["soil_temperature"].attrs["source_column"] == "TS_F_MDS_1"
    tower = read_tower(path, lai=2.0, columns={"soil_temperature": "TS_F_MDS_4"})
    np.testing.assert_allclose(tower["soil_temperature"], 11.0)
    only_deep = written(frame().drop(columns=["TS_F_MDS_1"]))
    assert read_tower(only_deep, lai=2.0)["soil_temperature"].attrs["source_column"] == "TS_F_MDS_4"  # 4 before 10


def test_an_empty_first_choice_gives_way_to_one_with_data(written):
    data = frame()
    data["LW_IN_F"], data["LW_IN_JSB_F"] = -9999, 310.0
    np.testing.assert_allclose(read_tower(written(data), lai=2.0)["longwave_in"], 310.0)


def test_a_target_without_flag_is_judged_by_its_lines(written):
    data = frame().drop(columns="H_F_MDS_QC")
    data.loc[11:19, "H_F_MDS"] = np.linspace(data["H_F_MDS"][10], data["H_F_MDS"][20], 11)[1:-1]
    with pytest.warns(TowerDataWarning, match="'H_F_MDS' has no quality flag 'H_F_MDS_QC'"):
        tower = read_tower(written(data), lai=2.0)
    np.testing.assert_array_equal(np.flatnonzero(~tower["sensible_heat_measured"]), np.arange(11, 20))


def test_leaf_area_from_dates_is_linear_between_them_and_missing_outside(written):
    dates = pd.to_datetime(["2018-12-31 06:15", "2019-01-01 18:15"])
    with pytest.warns(TowerDataWarning, match="leaf area .* is missing in 23 of 96 half-hours, 2018-12-31 to"):
        tower = read_tower(written(frame()), lai=pd.Series([1.0, 4.0], index=dates))
    lai = tower["lai"].values
    assert np.isnan(lai[:12]).all() and np.isnan(lai[85:]).all()
    np.testing.assert_allclose(lai[12:85], 1.0 + 3.0 * np.arange(73) / 72, rtol=1e-12)
    assert not tower["forcing_complete"].values[:12].any()


@pytest.mark.parametrize(
    ("lai", "message"),
    [
        (None, r"\(fluxnet\) has no leaf area index. Give lai=<number>"),
        ("LAI_modis", "no column 'LAI_modis'"),
        (-1.0, "finite number of at least 0 m2 m-2; got -1.0"),
        (pd.Series([1.0, 2.0]), "the series needs dates"),
        (pd.Series([1.0], index=pd.to_datetime(["2019-01-01"]).tz_localize("UTC")), "without time zone"),
        (pd.Series([1.0, -2.0], index=pd.to_datetime(["2019-01-01", "2019-01-05"])), "no negative values"),
    ],
)
def test_unusable_leaf_area(written, lai, message):
    with pytest.raises(TowerFileError, match=message):
        read_tower(written(frame()), lai=lai)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.drop(columns="TA_F"), "no column for air_temperature; looked for TA_F, TA_F_MDS"),
        (lambda d: d.drop(columns="CO2_F_MDS"), r"no column for co2; .* or co2=<umol mol-1>"),
        (
            lambda d: d.assign(SWC_F_MDS_1=d["SWC_F_MDS_1"] * np.where(np.arange(ROWS) < 40, 1, 0.01)),
            "change in row 40",
        ),
        (lambda d: d.assign(PA_F=d["PA_F"] * 10), "expected kPa, this looks like hPa"),
    ],
)
def test_errors_say_what_to_do(written, change, message):
    with pytest.raises(TowerFileError, match=message):
        read_tower(written(change(frame())), lai=2.0, stand_ins={"co2": "none"})


def test_constant_co2_where_the_file_has_none(written):
    np.testing.assert_allclose(read_tower(written(frame().drop(columns="CO2_F_MDS")), lai=2, co2=405)["co2"], 405)
    np.testing.assert_allclose(read_tower(written(frame().assign(CO2_F_MDS=-9999)), lai=2, co2=405)["co2"], 405)
    assert (read_tower(written(frame()), lai=2, co2=405)["co2"] != 405).all()


def test_a_second_file_is_refused_and_daily_files_too(written):
    path = written(frame())
    with pytest.raises(TowerFileError, match="holds weather and fluxes together"):
        read_tower(path, written(frame(), "other.csv"), lai=2.0)
    daily = frame().drop(columns="TIMESTAMP_END").rename(columns={"TIMESTAMP_START": "TIMESTAMP"})
    with pytest.raises(TowerFileError, match="daily to yearly FLUXNET files"):
        read_tower(written(daily), lai=2.0)


def test_no_warning_for_a_clean_file_in_any_column_order(written):
    data = frame()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tower = read_tower(written(data[sorted(data.columns)]), lai=2.0)
    assert tower["forcing_good"].all() and tower["forcing_complete"].all()


def test_outgoing_radiation_and_primary_production(written):
    """GPP is as good as the NEE that it was made from; outgoing radiation is never filled."""
    data = frame()
    data["GPP_NT_VUT_REF"], data["SW_OUT"], data["LW_OUT"] = 7.0, 90.0, 400.0
    data.loc[3, "LW_OUT"] = -9999
    data.loc[5:8, "NEE_VUT_REF_QC"] = 2
    tower = read_tower(written(data), lai=2.0)
    np.testing.assert_array_equal(tower["gpp"], np.full(ROWS, 7.0))
    measured = np.ones(ROWS, dtype=bool)
    measured[5:9] = False
    np.testing.assert_array_equal(tower["gpp_measured"], measured)
    assert tower["shortwave_out_measured"].all() and tower["longwave_out_measured"].sum() == ROWS - 1
    assert tower["longwave_out"].attrs["units"] == "W m-2"
