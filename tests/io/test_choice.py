"""Which column is read, and which samples of a flux count as measured."""

import numpy as np
import pytest

from canveg_jax.io import TowerDataWarning, TowerFileError, read_tower
from canveg_jax.io.formats.sensor_names import ssitc_flag
from canveg_jax.io.ranges import plausible_range
from tests.io import lookalikes
from tests.io.lookalikes import weather

DAYS = 10


@pytest.fixture(scope="module")
def data():
    return weather(DAYS)


@pytest.fixture
def base(tmp_path, data):
    def read(options=None, **changes):
        path = tmp_path / "AMF_XX-Tst_BASE_HH_1-5.csv"
        path.write_text(lookalikes.ameriflux(data, **changes))
        return read_tower(path, lai=2.0, **(options or {}))

    return read


def of_days(values, days):
    return np.where(np.arange(len(values)) < 48 * days, values, np.nan)


def test_the_sensor_with_most_half_hours_is_read(base, data):
    short = of_days(data["LE"], 1)
    tower = base(
        LE=None, LE_1_1_1=short, LE_1_2_1=data["LE"], TA=None, TA_1_1_1=of_days(data["TA"], 1), TA_1_2_1=data["TA"]
    )
    assert tower["latent_heat"].attrs["source_column"] == "LE_1_2_1" and tower["latent_heat_measured"].all()
    assert tower["air_temperature"].attrs["source_column"] == "TA_1_2_1" and tower["forcing_complete"].all()
    assert "air_temperature: TA_1_2_1 (100 %); not TA_1_1_1 (10 %)" in tower.attrs["choices"]
    assert "latent_heat: LE_1_2_1 (100 %); not LE_1_1_1" in tower.attrs["choices"]


def test_of_nearly_equal_sensors_the_first_is_read(base, data):
    tower = base(TA=None, TA_1_1_1=of_days(data["TA"], 9.6), TA_1_2_1=data["TA"] + 5.0)
    assert tower["air_temperature"].attrs["source_column"] == "TA_1_1_1"


@pytest.mark.parametrize(
    ("team", "source"),
    [(np.nan, "FC"), (0.1, "FC"), (0.6, "NEE_PI")],
    ids=["empty", "a day", "filtered for calm nights"],
)
def test_the_exchange_of_the_team_is_read_where_there_is_enough_of_it(base, data, team, source):
    tower = base(NEE_PI=of_days(data["NEE"], DAYS * team) if team == team else np.nan)
    assert tower["nee"].attrs["source_column"] == source and tower["nee_measured"].any()


def test_storage_is_added_where_it_is_there(base, data):
    tower = base(SC_1_1_1=np.nan)
    assert tower["nee"].attrs["source_column"] == "FC"
    tower = base(SC=of_days(np.full(len(data), 0.5), 5))
    assert tower["nee"].attrs["source_column"] == "FC + SC (storage in 50 %)"
    np.testing.assert_allclose(tower["nee"][:240], data["NEE"][:240] + 0.5, rtol=1e-6)


def test_humidity_from_the_sensor_that_reported(base, data):
    tower = base(RH=np.nan, VPD_PI=data["VPD"])
    assert tower["vapour_pressure"].attrs["source_column"] == "TA, VPD_PI"
    np.testing.assert_allclose(tower["vapour_pressure"], data["e"], rtol=1e-6)
    assert (
        base(RH=of_days(data["RH"], 2), H2O=1000.0 * data["e"] / data["PA"])["vapour_pressure"].attrs["source_column"]
        == "PA, H2O"
    )


def test_shortwave_from_photons_where_the_sensor_was_dead(base, data):
    tower = base(SW_IN=of_days(data["SW"], 1), PPFD_IN=2.3 * data["SW"])
    assert tower["shortwave_in"].attrs["source_column"] == "PPFD_IN"
    np.testing.assert_allclose(tower["shortwave_in"], data["SW"], rtol=1e-6, atol=1e-6)


def test_a_filled_driver_stands_in_only_for_one_that_is_nearly_empty(base, data):
    assert base(TA=of_days(data["TA"], 7), TA_PI_F=data["TA"])["air_temperature"].attrs["source_column"] == "TA"
    assert base(TA=of_days(data["TA"], 3), TA_PI_F=data["TA"])["air_temperature"].attrs["source_column"] == "TA_PI_F"


def test_soil_sensors_of_fluxnet_by_coverage(tmp_path, data):
    path = tmp_path / "FLX_XX-Tst_FLUXNET2015_FULLSET_HH_2019-2019_1-3.csv"
    path.write_text(lookalikes.fluxnet(data, TS_F_MDS_1=of_days(data["TS"], 2)))
    tower = read_tower(path, lai=2.0)
    assert tower["soil_temperature"].attrs["source_column"] == "TS_F_MDS_2" and tower["forcing_complete"].all()


@pytest.mark.parametrize("name", ["LE_SSITC_TEST", "LE_1_1_1_SSITC_TEST", "LE_SSITC_TEST_1_1_1"])
def test_a_flux_with_flag_two_is_not_measured(base, data, name):
    flag = np.arange(len(data)) % 4
    flag[flag == 3] = -9999  # not judged: the value counts
    columns = {"LE": None, "LE_1_1_1": data["LE"]} if "1_1_1" in name else {}
    tower = base(**columns, **{name: flag})
    np.testing.assert_array_equal(tower["latent_heat_measured"], flag != 2)
    assert tower["latent_heat"].attrs["samples_discarded_by_flag"] == 120
    assert tower["sensible_heat_measured"].all() and tower.attrs["flags_used"] == [name]
    strict = base({"highest_flag": 0}, **columns, **{name: flag})
    np.testing.assert_array_equal(strict["latent_heat_measured"], flag <= 0)


def test_the_flag_of_fc_counts_for_nee(base, data):
    flag = np.where(np.arange(len(data)) < 10, 2, 0)
    assert not base(FC_SSITC_TEST=flag)["nee_measured"][:10].any()
    assert not base(FC_SSITC_TEST=flag, NEE_PI=data["NEE"])["nee_measured"][:10].any()
    with pytest.raises(TowerFileError, match="highest_flag must be 0, 1 or 2; got 3"):
        base({"highest_flag": 3})


def test_flags_by_the_name_of_their_flux():
    names = ["LE_1_1_1_SSITC_TEST", "FC_SSITC_TEST", "H_SSITC_TEST"]
    assert ssitc_flag("LE", names) == "LE_1_1_1_SSITC_TEST"  # the only sensor
    assert ssitc_flag("LE_1_2_1", names) is None  # another sensor's flag says nothing
    assert ssitc_flag("NEE_PI", names) == "FC_SSITC_TEST" and ssitc_flag("H_1_1_1", names) == "H_SSITC_TEST"


def test_fluxes_out_of_range_are_counted_and_not_measured(base, data):
    values = data["LE"].to_numpy().copy()
    values[[20, 30]] = [9000.0, -800.0]
    with pytest.warns(
        TowerDataWarning,
        match=r"latent_heat \(column LE\) has 2 sample.s. outside .* -517.5 to 967.5, first 9000 in row 20",
    ):
        tower = base(LE=values)
    np.testing.assert_array_equal(np.flatnonzero(~tower["latent_heat_measured"]), [20, 30])
    assert tower["latent_heat"].attrs["samples_out_of_range"] == 2
    assert float(tower["latent_heat"].where(tower["latent_heat_measured"]).std()) < 150.0
    assert plausible_range("nee") == (-110.0, 110.0)


@pytest.mark.parametrize(
    "code",
    ["-9999", "-9999.0", "-9999.00000", "-9.999e+03", "-99999", "-6999", "-6999.00", "-7777", "-7999.0", "NA", "NaN",
    "NAN", "", "NULL", "N/A", "#N/A",
     "inf", "-inf", "1.#QNAN", "--", " -9999 ", "None"],
)  # fmt: skip
def test_codes_of_missing_values(tmp_path, data, code):
    rows = lookalikes.ameriflux(data.iloc[:96], head="").splitlines()
    column = rows[0].split(",").index("LE")
    for i in range(11, 21):
        fields = rows[i].split(",")
        fields[column] = code
        rows[i] = ",".join(fields)
    path = tmp_path / "AMF_XX-Tst_BASE_HH_1-5.csv"
    path.write_text("\n".join(rows) + "\n")
    tower = read_tower(path, lai=2.0)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(tower["latent_heat"])), np.arange(10, 20))
    assert int(tower["latent_heat_measured"].sum()) == 86
