"""Choosing stand-ins, and what becomes of a dataset that holds some."""

import warnings

import numpy as np
import pandas as pd
import pytest

from canveg_jax.io import TowerDataWarning, TowerFileError, read_fluxes, read_tower, write_fluxes
from canveg_jax.io.stand_ins import STAND_INS, Made, StandIn, choose, register_stand_in
from canveg_jax.io.stand_ins.log_profile import friction_velocity
from canveg_jax.io.tower_files import TowerFiles
from tests.io.formats.test_fluxnet import frame
from tests.io.stand_ins.records import SITE

LACKING = ["USTAR", "CO2_F_MDS", "PA_F", "TS_F_MDS_1", "TS_F_MDS_4", "TS_F_MDS_10", "SWC_F_MDS_1"]
OFF = dict.fromkeys(STAND_INS, "none")
DEFAULT = {name: methods for name, methods in STAND_INS.items() if name != "longwave_in"}


@pytest.fixture
def write(tmp_path):
    def write(data: pd.DataFrame):
        path = tmp_path / "FLX_XX-Fak.csv"
        data.to_csv(path, index=False)
        return path

    return write


def read(path, **options):
    """The dataset, and the texts of the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tower = read_tower(path, lai=2.0, **options)
    assert all(issubclass(warning.category, TowerDataWarning) for warning in caught)
    return tower, [str(warning.message) for warning in caught]


def test_a_file_without_them_can_be_run(write):
    path = write(frame().drop(columns=LACKING))
    tower, texts = read(path, site=SITE)
    assert tower["forcing_complete"].values.all()
    assert tower.attrs["stand_ins"] == [
        "co2: annual_table", "pressure: elevation", "friction_velocity: log_profile", "soil_temperature: damped",
        "soil_water_content: bucket",
    ]  # fmt: skip
    for name, methods in DEFAULT.items():
        flag = tower[f"{name}_stand_in"]
        assert flag.dtype == bool and flag.values.all() and flag.attrs["share"] == 1.0
        assert tower[name].attrs["stand_in"] == next(iter(methods)) and tower[name].attrs["share_stand_in"] == 1.0
        assert any(f"{name}: a stand-in" in text and "96 of 96 half-hours (100.0 %)" in text for text in texts), name
    assert len(texts) == 5 and "irrigation" in texts[-1] and f"{{{name}: none}}" in texts[-1]
    assert tower["soil_water_content"].attrs["stand_in_capacity"] == 150.0


def test_without_a_site_the_refusal_says_what_was_looked_for_and_what_would_help(write):
    path = write(frame().drop(columns=LACKING))
    message = (
        "no column for pressure; looked for PA_F, PA.* No stand-in takes its place: the file lacks pressure .pressure by "
        "elevation needs the site: give site=.; friction_velocity .*; soil_water_content"
    )
    with pytest.raises(TowerFileError, match=message):
        read_tower(path, lai=2.0, stand_ins={"co2": "annual_table"})


def test_gaps_are_filled_and_flagged_one_by_one(write):
    data = frame()
    data.loc[[3, 40], "USTAR"] = -9999
    tower, texts = read(write(data), site=SITE)
    assert np.flatnonzero(tower["friction_velocity_stand_in"]).tolist() == [3, 40]
    wind = data["WS_F"].to_numpy()
    np.testing.assert_allclose(
        tower["friction_velocity"][[3, 40]], friction_velocity(wind, SITE.canopy_height, SITE.measurement_height)[[3, 40]]
    )  # fmt: skip
    # Pandas before 3 reads numbers to the last digit but one.
    np.testing.assert_allclose(tower["friction_velocity"][[2, 4]], data["USTAR"][[2, 4]], rtol=1e-15)
    assert tower["friction_velocity"].attrs["source_column"] == "USTAR, stand-in log_profile"
    assert len(texts) == 1 and "in 2 of 96 half-hours (2.1 %)" in texts[0]


def test_soil_stands_in_only_where_there_is_none_at_all(write):
    data = frame()
    data.loc[5:7, ["TS_F_MDS_1", "SWC_F_MDS_1"]] = -9999
    tower, texts = read(write(data), site=SITE)
    assert texts == [] and "stand_ins" not in tower.attrs and not tower["forcing_complete"].values[5:8].any()
    setting = {"soil_temperature": {"where": "gaps", "days": 5.0}, "soil_water_content": {"where": "everywhere"}}
    tower, texts = read(write(data), site=SITE, stand_ins=setting)
    assert np.flatnonzero(tower["soil_temperature_stand_in"]).tolist() == [5, 6, 7]
    assert tower["soil_water_content_stand_in"].values.all() and len(texts) == 2
    assert tower["soil_temperature"].attrs["stand_in_days"] == 5.0


def test_no_heat_is_stored_by_the_step_between_measurement_and_stand_in(write):
    data = frame()
    data.loc[20:60, [name for name in data if name.startswith("TS_")]] = -9999
    tower, _ = read(write(data), site=SITE, stand_ins={"soil_temperature": {"where": "gaps"}})
    rate = tower["soil_temperature_tendency"].values
    assert np.isnan(rate[18:22]).all() and np.isnan(rate[59:63]).all() and np.nanmax(np.abs(rate)) < 0.2
    assert np.isfinite(rate[23:58]).all()


def test_switched_off_they_leave_a_file_as_it_is(write):
    data = frame()
    data["USTAR"] = -9999
    tower, texts = read(write(data), site=SITE, stand_ins={"friction_velocity": None, "co2": False})
    assert not any("stand-in" in text for text in texts)
    assert np.isnan(tower["friction_velocity"]).all() and not tower["forcing_complete"].any()
    assert choose(OFF) == {} and set(choose()) == set(DEFAULT)


def test_what_was_asked_for_and_cannot_be_made_is_an_error(write):
    data = frame()
    data.loc[0, "USTAR"] = -9999
    with pytest.raises(TowerFileError, match="stand_ins: friction_velocity by log_profile needs the site: give site=."):
        read_tower(write(data), lai=2.0, stand_ins={"friction_velocity": "log_profile"})
    tower, texts = read(write(data))
    assert texts == [] and np.isnan(tower["friction_velocity"].values[0])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ustar": "log_profile"}, "unknown variable 'ustar'; there are co2, pressure, friction_velocity"),
        ({"co2": "anual_table"}, "co2: unknown method 'anual_table'; there are annual_table, none. Did you mean"),
        ({"co2": {"where": "gap"}}, "unknown value of `where` 'gap'; there are gaps, absent, everywhere. Did you mean 'gaps'"),
        ({"soil_water_content": {"capasity": 3}}, "unknown parameter of bucket 'capasity'.*Did you mean 'capacity'"),
        ({"soil_water_content": {"capacity": "3"}}, "capacity must be a number; got '3'"),
        ({"soil_water_content": {"measured_net_radiation": 1}}, "measured_net_radiation must be true or false; got 1"),
    ],
)  # fmt: skip
def test_a_misspelt_choice_is_refused(given, message):
    with pytest.raises(TowerFileError, match=message):
        choose(given)


def test_one_of_ones_own(write, monkeypatch):
    monkeypatch.setitem(STAND_INS, "co2", dict(STAND_INS["co2"]))
    mine = StandIn(
        variable="co2", method="four_hundred", meaning="four hundred",
        make=lambda record: Made(np.full(len(record.start), 400.0)),
    )  # fmt: skip
    register_stand_in(mine)
    tower, texts = read(write(frame().drop(columns="CO2_F_MDS")), stand_ins={"co2": "four_hundred"})
    assert (tower["co2"] == 400.0).all() and "four_hundred: four hundred" in texts[0]
    with pytest.raises(ValueError, match="unknown forcing variable 'c02'.*Did you mean 'co2'"):
        register_stand_in(StandIn(variable="c02", method="x", meaning="x", make=mine.make))


def test_a_configuration_has_them_and_netcdf_takes_them(write, tmp_path):
    path = write(frame().drop(columns="USTAR"))
    files = TowerFiles(SITE.model_dump(), str(path), lai=2.0, stand_ins={"friction_velocity": {"where": "everywhere"}})
    with pytest.warns(TowerDataWarning, match="friction_velocity: a stand-in"):
        tower, _ = files.read(SITE)
    assert tower["friction_velocity_stand_in"].values.all()
    tower.to_netcdf(tmp_path / "tower.nc", engine="h5netcdf")
    written = write_fluxes(tmp_path / "fluxes.nc", {"LE": np.zeros(tower.sizes["time"])}, tower=tower)
    assert read_fluxes(written).attrs["stand_ins"] == "friction_velocity: log_profile"
