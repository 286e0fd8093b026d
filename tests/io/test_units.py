"""Units judged by their distribution and by relations: converted and said, or refused."""

import warnings

import numpy as np
import pytest

from canveg_jax.io import TowerDataWarning, TowerFileError, read_tower, vapour_pressure_deficit
from tests.io import lookalikes
from tests.io.lookalikes import weather


@pytest.fixture(scope="module")
def data():
    return weather(13)


@pytest.fixture
def read(tmp_path):
    def of(text):
        path = tmp_path / "tower.csv"
        path.write_text(text)
        with warnings.catch_warnings(record=True) as record:
            warnings.simplefilter("always")
            tower = read_tower(path, lai=2.0)
        return tower, [str(warning.message) for warning in record]

    return of


def test_right_units_raise_no_doubt(read, data):
    for text in (lookalikes.fluxnet(data), lookalikes.fluxnet(data, RH=None), lookalikes.ameriflux(data)):
        assert read(text)[1] == []


@pytest.mark.parametrize(("factor", "unit"), [(0.1, "kPa"), (100.0, "Pa")])
@pytest.mark.parametrize("with_humidity", [True, False])
def test_a_deficit_in_another_unit_is_converted_and_said(read, data, factor, unit, with_humidity):
    changes = {} if with_humidity else {"RH": None}
    tower, said = read(lookalikes.fluxnet(data, VPD_F=factor * data["VPD"], VPD_F_MDS=factor * data["VPD"], **changes))
    np.testing.assert_allclose(tower["vapour_pressure"], data["e"], rtol=1e-6)
    assert (
        len(said) == 1
        and f"vapour_pressure: column VPD_F looks like {unit}, not hPa" in said[0]
        and "it was read as" in said[0]
    )
    assert tower["vapour_pressure"].attrs["converted"] in said[0]
    tower, said = read(lookalikes.ameriflux(data, RH=None, VPD_PI=factor * data["VPD"]))
    assert (
        abs(float(vapour_pressure_deficit(tower).median()) - float(data["VPD"].median()) / 10.0) < 0.01
        and unit in said[0]
    )


def test_humid_air_is_no_wrong_unit(read, data):
    """A wet week, hardly ever drier than 91 %: the deficit is small, and in hPa."""
    humid = 85.0 + 0.15 * data["RH"]
    saturation = data["e"] / data["RH"] * 100.0
    tower, said = read(lookalikes.fluxnet(data, RH=None, VPD_F=10.0 * saturation * (1.0 - humid / 100.0)))
    assert said == []
    np.testing.assert_allclose(tower["vapour_pressure"], saturation * humid / 100.0, rtol=1e-6)


def test_humidity_as_a_fraction(read, data):
    tower, said = read(lookalikes.ameriflux(data, RH=data["RH"] / 100.0))
    np.testing.assert_allclose(tower["vapour_pressure"], data["e"], rtol=4e-3)
    assert "column RH looks like a fraction, not percent" in said[0]


@pytest.mark.parametrize("spike", [False, True])
def test_soil_water_as_a_fraction_even_with_a_spike(read, data, spike):
    water = data["SWC"].to_numpy() / 100.0
    water[5] = 1.2 if spike else water[5]
    tower, said = read(lookalikes.fluxnet(data, SWC_F_MDS_1=water))
    np.testing.assert_allclose(tower["soil_water_content"].median(), data["SWC"].median() / 100.0, rtol=1e-6)
    assert "soil_water_content: column SWC_F_MDS_1 looks like m3 m-3 (a fraction), not percent" in said[0]
    assert int(tower["forcing_complete"].sum()) == len(data) - spike


def test_soil_water_that_changes_its_unit_is_refused_with_the_row(read, data):
    water = np.where(np.arange(len(data)) < 480, data["SWC"], data["SWC"] / 100.0)
    with pytest.raises(TowerFileError, match=r"23 % of it lies below 1, the rest above.*\(change in row 480\)"):
        read(lookalikes.fluxnet(data, SWC_F_MDS_1=water))


@pytest.mark.parametrize(("factor", "unit"), [(44.01 / 24.0, "mg m-3"), (1 / 24.0, "mmol m-3"), (1e-6, "mol mol-1")])
def test_concentrations_of_co2(read, data, factor, unit):
    tower, said = read(lookalikes.fluxnet(data, CO2_F_MDS=factor * data["CO2"]))
    assert (
        abs(float(tower["co2"].median()) - 410.0) < 10.0
        and f"co2: column CO2_F_MDS looks like {unit}, not umol mol-1" in said[0]
    )


def test_co2_that_is_nothing_known_is_refused(read, data):
    with pytest.raises(TowerFileError, match=r"co2 \(column CO2_F_MDS\) has the median 4[01].*expected umol mol-1"):
        read(lookalikes.fluxnet(data, CO2_F_MDS=0.1 * data["CO2"]))


def test_photons_in_the_place_of_shortwave_are_refused(read, data):
    with pytest.raises(
        TowerFileError, match=r"shortwave_in \(column SW_IN_F\) exceeds 1[0-9.]+ W m-2 .* a photon flux"
    ):
        read(lookalikes.fluxnet(data, SW_IN_F=2.05 * data["SW"]))


def test_air_beyond_saturation_is_said(read, data):
    _, said = read(lookalikes.ameriflux(data, RH=data["RH"] * 1.5))
    assert len(said) == 1 and "exceeds saturation at the air temperature by more than 5 % in" in said[0]


def test_a_sensor_that_is_stuck_is_said(read, data):
    wind = data["WS"].to_numpy().copy()
    wind[100:260] = 2.5
    _, said = read(lookalikes.ameriflux(data, WS=wind))
    assert len(said) == 1
    assert (
        "wind_speed (column WS) keeps one value for 12 h or more: 160 half-hours in 1 run(s), first 2.5 from 2019-06-03 02:00"
        in said[0]
    )
    wind[100:260] = np.nan  # missing is not stuck
    assert read(lookalikes.ameriflux(data, WS=wind))[1] == []


def test_days_that_are_there_twice_are_said(read, data):
    copied = data.copy()
    copied.iloc[480:576] = data.iloc[48:144].to_numpy()
    _, said = read(lookalikes.ameriflux(copied))
    assert (
        len(said) == 1
        and "repeats another day to the last digit on 2 day(s), first 2019-06-11 (so does vapour_pressure, wind_speed)"
        in said[0]
    )


def test_warnings_point_to_the_reader(tmp_path, data):
    path = tmp_path / "tower.csv"
    path.write_text(lookalikes.ameriflux(data, RH=data["RH"] / 100.0))
    with pytest.warns(TowerDataWarning) as record:
        read_tower(path, lai=2.0)
    assert record[0].filename == __file__
