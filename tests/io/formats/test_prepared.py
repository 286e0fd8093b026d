"""Prepared pairs of CSVs: columns by prefix, stamps, masks, units, errors."""

import warnings

import numpy as np
import pandas as pd
import pytest

from canveg_jax import FORCING_TABLE, Forcing, Site
from canveg_jax.io import TARGET_TABLE, TowerFileError, forcing_complete, read_tower, vapour_pressure_deficit

ROWS = 96


def forcing_frame(rows=ROWS, start="2018-12-31 00:30", freq="30min"):
    """Fake weather with the headers of the team-named files; the interval ends at the stamp."""
    stamps = pd.date_range(start, periods=rows, freq=freq)
    rng = np.random.default_rng(7)
    return pd.DataFrame(
        {
            "TIMESTAMP_END": stamps.strftime("%Y-%m-%d %H:%M:%S"),
            "Year": stamps.year, "DoY": stamps.day_of_year, "Hour": stamps.hour + stamps.minute / 60,
            "Tair": 10 + rng.standard_normal(rows), "Rg": np.maximum(0, 300 * rng.standard_normal(rows)) - 2.0,
            "eair": 0.8 + 0.01 * rng.standard_normal(rows), "WS_x": 0.1 + rng.random(rows),
            "CO2": 400 + rng.random(rows), "PA": 100 + rng.random(rows),
            "Ustar": 0.02 + rng.random(rows), "TS_15cm": 12 + rng.random(rows),
            "SWC_15cm": 0.1 + 0.01 * rng.random(rows), "veg_ht": 1.5, "LAI": 3.0,
        }
    )  # fmt: skip


def flux_frame(rows=ROWS, start="2018-12-31 00:30"):
    stamps = pd.date_range(start, periods=rows, freq="30min")
    rng = np.random.default_rng(8)
    frame = pd.DataFrame({"TIMESTAMP_END": stamps.strftime("%Y-%m-%d %H:%M:%S"), "P_mm": 0.0})
    for name in ("LE", "H", "NETRAD", "G_5cm", "FC"):
        frame[name] = 30 * rng.standard_normal(rows)
    return frame


@pytest.fixture
def pair(tmp_path):
    def write(forcing=None, fluxes=None):
        paths = tmp_path / "forcings.csv", tmp_path / "fluxes.csv"
        for path, frame, default in zip(paths, (forcing, fluxes), (forcing_frame, flux_frame), strict=True):
            (default() if frame is None else frame).to_csv(path, index=False)
        return paths

    return write


def test_canonical_names_units_and_values(pair):
    tower = read_tower(*pair())
    frame = forcing_frame()
    assert tower.attrs["format"] == "prepared" and tower.attrs["step_minutes"] == 30
    for name, info in FORCING_TABLE.items():
        if name != "longwave_in":
            assert tower[name].attrs["units"] == info.unit
    for name, info in TARGET_TABLE.items():
        assert tower[name].attrs["units"] == info.unit
        assert tower[f"{name}_measured"].dtype == bool
    for name, column in {"air_temperature": "Tair", "vapour_pressure": "eair", "pressure": "PA", "lai": "LAI"}.items():
        np.testing.assert_allclose(tower[name], frame[column], rtol=1e-14)
    np.testing.assert_allclose(tower["shortwave_in"], frame["Rg"], rtol=1e-14)  # negative at night: kept
    np.testing.assert_allclose(tower["wind_speed"], frame["WS_x"], rtol=1e-14)  # below the floor of the model: kept
    assert tower["lai"].attrs["source_column"] == "LAI"
    assert "longwave_in" not in tower
    assert tower["forcing_complete"].all()


def test_end_stamps_become_interval_starts_and_the_middle_stays_in_the_old_year(pair):
    tower = read_tower(*pair(forcing_frame(start="2018-12-31 23:30"), flux_frame(start="2018-12-31 23:30")))
    np.testing.assert_array_equal(
        tower["time"].values[:3].astype("datetime64[m]"),
        np.array(["2018-12-31T23:00", "2018-12-31T23:30", "2019-01-01T00:00"], dtype="datetime64[m]"),
    )
    np.testing.assert_array_equal(tower["day_of_year"][:3], [365, 365, 1])
    np.testing.assert_array_equal(tower["hour"][:3], [23.25, 23.75, 0.25])
    np.testing.assert_array_equal(tower["time_end"] - tower["time"], np.timedelta64(30, "m"))


def test_start_stamps_on_request(pair):
    path, _ = pair()
    assert read_tower(path, time_stamp="start")["hour"].values[0] == 0.75
    assert read_tower(path)["hour"].values[0] == 0.25
    with pytest.raises(TowerFileError, match="time_stamp must be 'start', 'end' or None"):
        read_tower(path, time_stamp="middle")


def test_stamp_named_start_is_believed(pair):
    path, _ = pair(forcing_frame().rename(columns={"TIMESTAMP_END": "TIMESTAMP_START"}))
    assert read_tower(path)["hour"].values[0] == 0.75


def test_hourly_files(pair):
    path, _ = pair(forcing_frame(freq="60min", start="2019-01-01 00:00"))
    tower = read_tower(path)
    assert tower.attrs["step_minutes"] == 60
    assert (tower["day_of_year"].values[0], tower["hour"].values[0]) == (365, 23.5)


def test_year_day_hour_replace_a_missing_stamp(pair):
    with_stamp = read_tower(pair()[0])
    without = read_tower(pair(forcing_frame().drop(columns="TIMESTAMP_END"))[0])
    np.testing.assert_array_equal(with_stamp["time"], without["time"])


def test_contradicting_stamps_are_refused(pair):
    frame = forcing_frame()
    frame.loc[4:, "Hour"] += 1.0
    with pytest.raises(TowerFileError, match=r"row 4 has TIMESTAMP_END 2018-12-31 02:30:00, but Year, DoY, Hour say"):
        read_tower(pair(frame)[0])


def test_column_order_case_and_extra_columns_do_not_matter(pair):
    frame = forcing_frame()
    shuffled = frame[sorted(frame.columns, reverse=True)].rename(columns=str.upper).rename(
        columns={"TIMESTAMP_END": "TIMESTAMP_END"}
    )  # fmt: skip
    shuffled.insert(0, "PAR_in", 1234.0)
    expected, got = read_tower(pair(frame)[0]), read_tower(pair(shuffled)[0])
    for name in FORCING_TABLE:
        if name in expected:
            np.testing.assert_allclose(expected[name], got[name], rtol=1e-14)


def test_missing_values_stay_missing(pair):
    forcing, fluxes = forcing_frame(), flux_frame()
    forcing.loc[3, "Tair"], forcing.loc[5, "Ustar"] = np.nan, -9999
    fluxes.loc[[7, 8], "LE"] = [-9999.0, np.nan]
    tower = read_tower(*pair(forcing, fluxes))
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(tower["air_temperature"])), [3])
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(tower["friction_velocity"])), [5])
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(tower["latent_heat"])), [7, 8])
    np.testing.assert_array_equal(np.flatnonzero(~tower["latent_heat_measured"]), [7, 8])
    np.testing.assert_array_equal(np.flatnonzero(~tower["forcing_complete"]), [3, 5])


def test_interpolated_fluxes_are_not_measured(pair):
    fluxes = flux_frame()
    fluxes.loc[20:29, "FC"] = np.nan
    fluxes["FC"] = fluxes["FC"].interpolate()
    paths = pair(None, fluxes)
    np.testing.assert_array_equal(np.flatnonzero(~read_tower(*paths)["nee_measured"]), np.arange(20, 30))
    assert read_tower(*paths, mask_interpolated=False)["nee_measured"].all()


def test_a_target_without_column_is_all_missing_and_without_flux_file_absent(pair):
    paths = pair()
    tower = read_tower(*paths)
    assert np.isnan(tower["soil_respiration"]).all() and not tower["soil_respiration_measured"].any()
    assert "latent_heat" not in read_tower(paths[0])


def test_forcing_of_the_model_accepts_it(pair):
    tower = read_tower(*pair())
    forcing = Forcing.from_dataset(tower)
    assert len(forcing) == ROWS
    np.testing.assert_allclose(forcing.lai, 3.0)


def test_site_and_provenance_in_the_attributes(pair):
    tower = read_tower(*pair(), site=Site.named("US-Hn1"))
    assert tower.attrs["site"] == "US-Hn1" and tower.attrs["utc_offset"] == -8
    np.testing.assert_allclose(tower["lai"], 3.0)  # lai_scale acts in the model, not here
    assert tower.attrs["source_files"] == ["forcings.csv", "fluxes.csv"]
    assert all(len(digest) == 64 for digest in tower.attrs["source_sha256"])


def test_lai_argument_replaces_the_column(pair):
    path, _ = pair()
    np.testing.assert_allclose(read_tower(path, lai=1.5)["lai"], 1.5)
    np.testing.assert_allclose(read_tower(path, lai="veg_ht")["lai"], 1.5)


def test_own_choice_of_columns(pair):
    forcing = forcing_frame()
    forcing["T_other"] = 20.0
    path, _ = pair(forcing)
    np.testing.assert_allclose(read_tower(path, columns={"air_temperature": "T_other"})["air_temperature"], 20.0)
    with pytest.raises(TowerFileError, match="no column 'T_othr'. Did you mean 'T_other'"):
        read_tower(path, columns={"air_temperature": "T_othr"})
    with pytest.raises(TowerFileError, match="unknown variable 'air_temp'.*Did you mean 'air_temperature'"):
        read_tower(path, columns={"air_temp": "T_other"})


@pytest.mark.parametrize(
    ("column", "factor", "offset", "message"),
    [
        ("PA", 10.0, 0.0, "pressure.*expected kPa, this looks like hPa"),
        ("eair", 10.0, 0.0, "vapour_pressure.*expected kPa, this looks like hPa"),
        ("Tair", 1.0, 273.15, "air_temperature.*expected degC, this looks like K"),
        ("TS_15cm", 1.0, 273.15, "soil_temperature.*expected degC, this looks like K"),
        ("SWC_15cm", 100.0, 0.0, "soil_water_content.*expected m3 m-3, this looks like percent"),
    ],
)
def test_wrong_units_are_recognised(pair, column, factor, offset, message):
    frame = forcing_frame()
    frame[column] = factor * frame[column] + offset
    with pytest.raises(TowerFileError, match=message):
        read_tower(pair(frame)[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="eair"), "no column for vapour_pressure; looked for a name that begins with eair"),
        (lambda f: f.drop(columns="LAI"), "no leaf area index. Give lai=<number>"),
        (lambda f: f.drop(columns="CO2"), "no column for co2"),
        (lambda f: f.drop(index=5), r"row 5 comes 0 days 01:00:00 after"),
        (lambda f: pd.concat([f.iloc[:5], f.iloc[4:]]), "is there twice"),
        (lambda f: f.assign(Tair=["x", *f["Tair"][1:]]), r"column 'Tair', row 0 holds 'x'; expected a number"),
        (lambda f: f.drop(columns=["TIMESTAMP_END", "Year"]), "format not recognised; its columns are DoY, Hour"),
        (lambda f: f.rename(columns={"TIMESTAMP_END": "TIMESTAMP"}).drop(columns="DoY"), "HH or HR file"),
    ],
)
def test_errors_say_what_to_do(pair, change, message):
    with pytest.raises(ValueError, match=message):
        read_tower(pair(change(forcing_frame()))[0], stand_ins={"co2": "none"})


def test_missing_co2_can_be_given(pair):
    path, _ = pair(forcing_frame().drop(columns="CO2"))
    np.testing.assert_allclose(read_tower(path, co2=410)["co2"], 410.0)


@pytest.mark.parametrize(
    ("fluxes", "message"),
    [
        (lambda f: f.iloc[:-1], "must have the same rows; got 95 rows and 96 rows"),
        (
            lambda f: flux_frame(start="2018-12-31 01:00"),
            "row 0 is 2018-12-31 01:00:00 in one and 2018-12-31 00:30:00 in",
        ),
        (lambda f: f[["TIMESTAMP_END", "P_mm"]], "none of the flux columns is there; expected LE or LE_F_MDS"),
        (lambda f: f.drop(columns="TIMESTAMP_END"), "format not recognised"),
    ],
)
def test_flux_files_that_do_not_belong_to_the_weather(pair, fluxes, message):
    with pytest.raises(TowerFileError, match=message):
        read_tower(*pair(None, fluxes(flux_frame())))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TowerFileError, match="no file '.*nowhere.csv'"):
        read_tower(tmp_path / "nowhere.csv")


def test_range_of_the_forcing_decides_about_completeness(pair):
    frame = forcing_frame()
    frame.loc[2, "SWC_15cm"], frame.loc[9, "CO2"] = -0.01, 5000.0
    np.testing.assert_array_equal(np.flatnonzero(~forcing_complete(read_tower(pair(frame)[0]))), [2, 9])


def test_vapour_pressure_deficit(pair):
    deficit = vapour_pressure_deficit(read_tower(pair()[0]))
    assert deficit.attrs["units"] == "kPa"
    assert 0.2 < float(deficit.mean()) < 0.7  # es(10 degC) = 1.23 kPa, e = 0.8 kPa


@pytest.mark.parametrize(
    ("site", "suffix", "rows", "measured"),
    [
        ("US-Hn1", "-nonegle", 18960, {"latent_heat": 0.56, "nee": 0.73, "sensible_heat": 0.83}),
        ("US-Hn1", "-nonegle-test", 8784, {"latent_heat": 0.40, "nee": 0.59, "sensible_heat": 0.80}),
        ("US-Bi1", "", 35088, {"latent_heat": 0.99, "nee": 0.83, "sensible_heat": 1.0}),
    ],
)
def test_real_pairs(shared, site, suffix, rows, measured):
    folder = shared / "data" / site
    weather = folder / f"{site}-forcings{suffix.removeprefix('-nonegle')}.csv"
    fluxes = folder / f"{site}-fluxes{suffix}.csv"
    if not (weather.is_file() and fluxes.is_file()):
        pytest.skip(f"needs the tower files of {site}")
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        tower = read_tower(weather, fluxes, site=Site.named(site))
    said = [str(warning.message) for warning in record]
    if rows == 8784:  # its clock is on daylight saving time for ten weeks
        assert len(said) == 3 and "1.0 h earlier from 2017-08-29 to 2017-10-28" in said[0], said
    else:
        assert said == []
    assert tower.sizes["time"] == rows
    assert tower["forcing_complete"].all()
    assert len(Forcing.from_dataset(tower)) == rows
    for name, share in measured.items():
        assert round(float(tower[f"{name}_measured"].mean()), 2) == share
