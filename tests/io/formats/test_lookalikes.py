"""One weather in the files of every network gives one forcing; fluxes are measured where each format says so."""

import warnings

import numpy as np
import pytest
import xarray as xr

from canveg_jax.io import TowerDataWarning, TowerFileError, read_tower
from canveg_jax.io.read_tower import read_as_it_is
from tests.io import lookalikes
from tests.io.lookalikes import NO_STAND_INS, archive, weather

DRIVERS = (
    "day_of_year", "hour", "air_temperature", "shortwave_in", "longwave_in", "wind_speed", "co2", "pressure", "friction_velocity",
    "lai",
)  # fmt: skip
SOIL = ("soil_temperature", "soil_water_content")


@pytest.fixture(scope="module")
def data():
    return weather(3)


def agrees(tower, data, names=(*DRIVERS, *SOIL), humidity=1e-6):
    own = {
        "air_temperature": "TA", "shortwave_in": "SW", "longwave_in": "LW", "wind_speed": "WS", "co2": "CO2", "pressure": "PA",
        "friction_velocity": "USTAR", "soil_temperature": "TS",
    }  # fmt: skip
    for name in names:
        if name in own:
            np.testing.assert_allclose(tower[name], data[own[name]], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(tower["vapour_pressure"], data["e"], rtol=humidity)
    np.testing.assert_allclose(tower["lai"], 2.0)
    if "soil_water_content" in names:
        np.testing.assert_allclose(tower["soil_water_content"], data["SWC"] / 100.0, rtol=1e-6)
    np.testing.assert_array_equal(tower["hour"][:2], [0.25, 0.75])
    for name, column in {
        "latent_heat": "LE",
        "sensible_heat": "H",
        "ground_heat": "G",
        "net_radiation": "NETRAD",
        "nee": "NEE",
    }.items():
        np.testing.assert_allclose(tower[name], data[column], rtol=1e-6, atol=1e-6)


def test_fluxnet_fullset(tmp_path, data):
    path = tmp_path / "FLX_XX-Tst_FLUXNET2015_FULLSET_HH_2019-2019_1-3.csv"
    path.write_text(lookalikes.fluxnet(data))
    tower = read_tower(path, lai=2.0)
    assert tower.attrs["format"] == "fluxnet"
    agrees(tower, data)
    assert tower["latent_heat_measured"].all() and tower["forcing_complete"].all()
    assert "soil_temperature: TS_F_MDS_1 (100 %); not TS_F_MDS_2 (100 %)" in tower.attrs["choices"]
    np.testing.assert_allclose(tower["precipitation"], data["P"], atol=1e-9)


@pytest.mark.parametrize(
    "name", ["ICOSETC_XX-Tst_FLUXNET_L2.csv", "ICOSETC_XX-Tst_FLUXNET_FLUXMET_HH_2018-2025_v1.3_r1.csv"]
)
def test_icos_in_one_file_is_fluxnet(tmp_path, data, name):
    path = tmp_path / name
    path.write_text(lookalikes.fluxnet(data))
    tower = read_tower(path, lai=2.0)
    assert tower.attrs["format"] == "fluxnet"
    agrees(tower, data)


def test_ameriflux_base(tmp_path, data):
    path = tmp_path / "AMF_XX-Tst_BASE_HH_1-5.csv"
    path.write_text(lookalikes.ameriflux(data))
    tower = read_tower(path, lai=2.0)
    assert tower.attrs["format"] == "ameriflux-base"
    agrees(
        tower, data, humidity=4e-3
    )  # from RH by the model's own saturation formula, which the weather was not made with
    assert tower["latent_heat_measured"].all()


def test_ameriflux_with_an_empty_line_below_the_comments(tmp_path, data):
    """As real files of US-ARM have it: comments that end in commas, an empty line, CRLF."""
    path = tmp_path / "AMF_XX-Tst_BASE_HH_1-5.csv"
    text = lookalikes.ameriflux(data, head="# Site: XX-Tst,,,,\n# Version: 8-5,,,,\n\n").replace("\n", "\r\n")
    path.write_bytes(text.encode())
    agrees(read_tower(path, lai=2.0), data, humidity=4e-3)


def test_the_zip_of_ameriflux_with_its_metadata(tmp_path, data):
    path = archive(
        tmp_path / "AMF_XX-Tst_BASE-BADM_1-5.zip",
        AMF_XXANDTst_BASE_HH_1AND5__csv=lookalikes.ameriflux(data),
        AMF_XXANDTst_BIF_20201005__xlsx=lookalikes.workbook(lookalikes.bif()),
    )
    tower = read_tower(path, lai=2.0)
    agrees(tower, data, humidity=4e-3)
    assert tower.attrs["doi"] == "10.17190/AMF/0000000" and tower.attrs["citation"].startswith("A. Team (2019)")


@pytest.mark.parametrize("swapped", [False, True])
def test_icos_pair(tmp_path, data, swapped):
    meteo, fluxes = lookalikes.icos(data)
    paths = [tmp_path / "ICOSETC_XX-Tst_METEO_L2.csv", tmp_path / "ICOSETC_XX-Tst_FLUXES_L2.csv"]
    for path, text in zip(paths, (meteo, fluxes), strict=True):
        path.write_text(text)
    tower = read_tower(*(reversed(paths) if swapped else paths), lai=2.0)
    assert tower.attrs["format"] == "icos-etc"
    agrees(tower, data, humidity=4e-3)
    assert tower["nee"].attrs["source_column"] == "NEE" and tower["nee_measured"].all()


def test_icos_pair_in_a_zip_and_its_halves_alone(tmp_path, data):
    meteo, fluxes = lookalikes.icos(data)
    both = archive(
        tmp_path / "ICOSETC_XX-Tst_ARCHIVE_L2.zip", ICOSETC_XXANDTst_METEO_L2__csv=meteo, ICOSETC_XXANDTst_FLUXES_L2__csv=fluxes,
        ICOSETC_XXANDTst_METEOSENS_L2__csv="TIMESTAMP_START,TIMESTAMP_END,TA_1_1_1\n",
        ICOSETC_XXANDTst_VARINFO_METEO_L2__csv="x\n",
    )  # fmt: skip
    agrees(read_tower(both, lai=2.0), data, humidity=4e-3)
    for name, text, message in (
        ("METEO", meteo, "holds the weather only; .*Give the FLUXES file as `fluxes`"),
        ("FLUXES", fluxes, "holds the fluxes only; .*Give the METEO file as `fluxes`"),
    ):
        path = tmp_path / f"ICOSETC_XX-Tst_{name}_L2.csv"
        path.write_text(text)
        with pytest.raises(TowerFileError, match=message):
            read_tower(path, lai=2.0)


def test_icos_pair_of_two_periods(tmp_path, data):
    meteo, fluxes = lookalikes.icos(data)
    paths = tmp_path / "ICOSETC_XX-Tst_METEO_L2.csv", tmp_path / "ICOSETC_XX-Tst_FLUXES_L2.csv"
    rows = fluxes.splitlines()
    paths[0].write_text(meteo)
    paths[1].write_text("\n".join([rows[0], *rows[49:]]))
    with pytest.warns(TowerDataWarning, match="48 half-hours that only one of the two files has are left out"):
        tower = read_tower(*paths, lai=2.0)
    agrees(tower, data.iloc[48:], humidity=4e-3)
    paths[1].write_text(lookalikes.icos(weather(2, start="2021-06-01"))[1])
    with pytest.raises(TowerFileError, match="expected two files of the same half-hours; one runs from 2019-06-01"):
        read_tower(*paths, lai=2.0)


def test_fluxnet_ch4_is_measured_where_the_raw_column_is(tmp_path, data):
    gap = np.arange(len(data)) % 3 == 0
    path = tmp_path / "FLX_XX-Tst_FLUXNET-CH4_HH_2019-2019_1-1.csv"
    path.write_text(lookalikes.fluxnet_ch4(data, gap))
    tower = read_tower(path, lai=2.0)
    assert tower.attrs["format"] == "fluxnet-ch4"
    agrees(tower, data)
    for name in ("latent_heat", "sensible_heat", "ground_heat", "nee"):
        np.testing.assert_array_equal(tower[f"{name}_measured"], ~gap)
    assert tower["net_radiation_measured"].all()
    chosen = read_tower(path, lai=2.0, columns={"latent_heat": "LE"})
    np.testing.assert_array_equal(chosen["latent_heat_measured"], ~gap)


def test_a_filled_column_without_flag_or_raw_column_is_not_measured(tmp_path, data):
    path = tmp_path / "FLX_XX-Tst_FLUXNET-CH4_HH_2019-2019_1-1.csv"
    path.write_text(lookalikes.fluxnet_ch4(data, np.zeros(len(data), bool), LE=None))
    with pytest.warns(
        TowerDataWarning, match="'LE_F' has no quality flag 'LE_F_QC' and no column of measurements beside it"
    ):
        tower = read_tower(path, lai=2.0)
    assert not tower["latent_heat_measured"].any() and tower["nee_measured"].all()


@pytest.mark.parametrize("official", [True, False], ids=["plumber2", "fluxnetlsm"])
def test_alma(tmp_path, data, official):
    met, flux = lookalikes.alma(data, tmp_path, official=official)
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        tower = read_tower(met, flux, stand_ins=NO_STAND_INS)
    said = [str(warning.message) for warning in record]
    assert any(
        "not in the file and missing in every half-hour: soil_temperature (the format has none)" in text
        for text in said
    )
    assert any("no half-hour has complete forcing" in text for text in said)
    assert tower.attrs["format"] == "alma"
    agrees(tower, data, names=DRIVERS, humidity=2e-6)
    assert np.isnan(tower["soil_temperature"]).all() and not tower["forcing_complete"].any()
    np.testing.assert_array_equal(tower["latent_heat_measured"], np.arange(len(data)) % 3 == 0)
    np.testing.assert_allclose(tower["latent_heat_sigma"], 9.0)
    np.testing.assert_allclose(tower["precipitation"], data["P"], atol=1e-9)
    assert tower["co2"].attrs["share_flag_1"] == 1.0 and tower["forcing_good"].all()  # the global value, flag 101
    assert read_tower_quietly(met, flux, lai="LAI_alternative")["lai"].values[0] == 3.0


def read_tower_quietly(*paths, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TowerDataWarning)
        return read_tower(*paths, **options)


def test_alma_files_in_the_other_order_and_alone(tmp_path, data):
    met, flux = lookalikes.alma(data, tmp_path)
    agrees(read_tower_quietly(flux, met), data, names=DRIVERS, humidity=2e-6)
    with pytest.warns(TowerDataWarning) as record:
        alone = read_tower(met)
    assert any("friction_velocity (Ustar stands in the file ..._Flux.nc" in str(warning.message) for warning in record)
    assert "latent_heat" not in alone and np.isnan(alone["friction_velocity"]).all()
    with pytest.raises(TowerFileError, match="holds the fluxes only. Give the file ..._Met.nc as `forcings`"):
        read_tower(flux)


def test_alma_of_another_period_another_place_or_damaged(tmp_path, data):
    met, _ = lookalikes.alma(data, tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    _, late = lookalikes.alma(weather(3, start="2019-07-01"), other)
    with pytest.raises(
        TowerFileError, match="must have the same half-hours; one has 144 from 2019-06-01 .* 144 from 2019-07-01"
    ):
        read_tower(met, late)
    (other / "cut.nc").write_bytes(met.read_bytes()[:3000])
    with pytest.raises(
        TowerFileError, match=r"cut.nc: the NetCDF file is damaged|cut.nc: expected a CSV; it is a NetCDF"
    ):
        read_tower(other / "cut.nc")
    with pytest.raises(TowerFileError, match="has no variable 'Tiar'. Did you mean 'Tair'"):
        read_tower(met, columns={"air_temperature": "Tiar"})


def test_a_netcdf_of_another_kind(tmp_path, data):
    path = tmp_path / "daily.nc"
    xr.Dataset({"nep": ("time", np.zeros(4)), "hfls": ("time", np.zeros(4))}).to_netcdf(path)
    with pytest.raises(
        TowerFileError, match=r"daily.nc: a NetCDF file with hfls, nep, ...; expected ALMA's names \(Tair"
    ):
        read_tower(path)


def test_the_clock_of_an_alma_file_is_its_own(tmp_path, data):
    """Where the file says place and zone, its sun is checked without a site."""
    long = weather(8)
    met, flux = lookalikes.alma(long, tmp_path, official=False, longitude=0.0)
    with pytest.raises(TowerFileError, match="8.1 h later than the sun at latitude 38.1, longitude 0, utc_offset -8"):
        read_tower_quietly(met, flux)
    examined, _ = read_as_it_is(met, flux)  # to say what is wrong with it
    assert examined.sizes["time"] == 8 * 48


def test_real_alma_pair(shared):
    folder = shared / "data" / "plumber2"
    if not folder.is_dir():
        pytest.skip("needs the ALMA example files")
    met, flux = (folder / f"US-Wi7_2005-2005_FLUXNET2015_{part}.nc" for part in ("Met", "Flux"))
    tower = read_tower_quietly(met, flux)
    assert tower.sizes["time"] == 17520 and tower["time"].values[0] == np.datetime64("2005-01-01T00:00")
    measured = {name: int(tower[f"{name}_measured"].sum()) for name in ("latent_heat", "sensible_heat", "nee")}
    assert measured == {"latent_heat": 6080, "sensible_heat": 6436, "nee": 4732}
    assert 0.3 < float(tower["friction_velocity"].notnull().mean()) < 0.5


def test_real_files_that_cannot_drive_the_canopy_say_why(shared):
    fullset = shared / "data" / "fluxnet2015" / "FLX_CH-Cha_FLUXNET2015_FULLSET_HH_2005-2020_beta-3.csv"
    sensors = shared / "data" / "ameriflux-base" / "US-ARM_BASE_multiple_sensors_head.csv"
    if not (fullset.is_file() and sensors.is_file()):
        pytest.skip("needs the example files")
    with pytest.warns(TowerDataWarning) as record:
        tower = read_tower(fullset, lai=2.0, stand_ins=NO_STAND_INS)
    said = "\n".join(str(warning.message) for warning in record)
    for name in ("co2", "friction_velocity", "soil_temperature", "soil_water_content"):
        assert f"{name} " in said.split("no half-hour has complete forcing")[1]
    assert not tower["forcing_complete"].any() and not tower["latent_heat_measured"].any()
    with pytest.raises(TowerFileError) as error:
        read_tower(sensors, lai=2.0, stand_ins=NO_STAND_INS)
    for name in ("air_temperature", "vapour_pressure", "co2", "pressure", "friction_velocity", "soil_temperature"):
        assert name in str(error.value)
