"""The registry of formats: who is asked, in which order, and how a user's own format is read."""

import numpy as np
import pandas as pd
import pytest

from canveg_jax import Forcing
from canveg_jax.io import TowerDataWarning, TowerFileError, formats, read_tower
from canveg_jax.io.formats.base import ReadOptions, TowerFormat
from canveg_jax.io.formats.template import DRIVERS, Template
from canveg_jax.io.tower_dataset import Column, Target, TowerTable

START = pd.date_range("2019-06-01", periods=48, freq="30min")
WEATHER = {
    "air_temperature": 20.0, "shortwave_in": 300.0, "vapour_pressure": 1.2, "wind_speed": 2.0, "co2": 410.0,
    "pressure": 98.0, "friction_velocity": 0.3, "soil_temperature": 15.0, "soil_water_content": 0.2, "lai": 2.0,
}  # fmt: skip


@pytest.fixture
def registry(monkeypatch):
    """The registry, put back afterwards."""
    monkeypatch.setattr(formats, "FORMATS", dict(formats.FORMATS))
    return formats


class Binary(TowerFormat):
    """A toy format that is no CSV: NumPy's archive."""

    name = "toy-binary"
    expects = "a NumPy archive"
    two_files = True

    def recognises(self, path):
        with path.open("rb") as content:
            return content.read(2) == b"PK"

    def read(self, path, options: ReadOptions):
        with np.load(path) as content:
            forcing = {name: Column(values=content[name] + 0.0, source=name) for name in WEATHER}
            flux = Target(values=content["flux"], measured=content["flux"] > 0, source="flux")
        return TowerTable(
            start=START, step=pd.Timedelta(minutes=30), forcing=forcing, targets={"nee": flux},
            warnings=["the first.", "the second."], attributes={"extra": options.co2},
        )  # fmt: skip


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "tower.npz"
    np.savez(path, flux=np.arange(48.0) - 10.0, **{name: np.full(48, value) for name, value in WEATHER.items()})
    return path


def test_a_registered_format_is_read_through_the_front_door(registry, archive):
    with pytest.raises(
        TowerFileError, match=r"tower.npz: the archive holds no CSV of half-hours; it holds flux.npy.*tried fluxnet"
    ):
        read_tower(archive)
    registry.register(Binary())
    with pytest.warns(TowerDataWarning) as record:
        tower = read_tower(archive, co2=405.0)
    assert [str(warning.message) for warning in record] == ["the first.", "the second."]
    assert (tower.attrs["format"], tower.attrs["extra"], tower.attrs["source_files"]) == (
        "toy-binary", 405.0, ["tower.npz"],
    )  # fmt: skip
    assert len(Forcing.from_dataset(tower)) == 48 and int(tower["nee_measured"].sum()) == 37
    assert not tower["latent_heat_measured"].any()


def test_the_latest_registered_format_is_asked_first_and_replaces_its_namesake(registry, archive):
    class Other(Binary):
        name = "other-binary"

    registry.register(Binary())
    registry.register(Other())
    assert registry.recognise(archive).name == "other-binary"
    again = Binary()
    registry.register(again)
    assert registry.recognise(archive) is again
    assert list(registry.FORMATS).count("toy-binary") == 1


def test_the_message_says_which_formats_were_tried(registry, tmp_path):
    path = tmp_path / "odd.csv"
    path.write_text("a,b\n1,2\n")
    registry.register(Template())
    with pytest.raises(TowerFileError) as error:
        read_tower(path)
    message = str(error.value)
    assert "odd.csv: format not recognised; its columns are a, b, ... Tried template (columns time and" in message
    for name, tower_format in registry.FORMATS.items():
        assert f"{name} ({tower_format.expects})" in message


def test_each_format_recognises_its_files_and_only_these(tmp_path):
    headers = {
        "fluxnet": "TIMESTAMP_START,TIMESTAMP_END,TA_F\n",
        "ameriflux-base": "# Site\nTIMESTAMP_START,TIMESTAMP_END,TA_F\n",
        "prepared": "Year,DoY,Hour,TA\n",
        None: "TIMESTAMP,TA_F\n",
    }
    for expected, text in headers.items():
        path = tmp_path / "tower.csv"
        path.write_text(text)
        found = [name for name, tower_format in formats.FORMATS.items() if tower_format.recognises(path)]
        assert found == ([expected] if expected else [])


def test_formats_are_abstract():
    with pytest.raises(TypeError, match="abstract"):
        TowerFormat()  # type: ignore[abstract]  # pyright: ignore[reportAbstractUsage]


@pytest.fixture
def template_file(tmp_path):
    def write(drop=()):
        columns = {column: np.full(48, WEATHER[name]) / factor for name, (column, factor) in DRIVERS.items()}
        frame = pd.DataFrame({"time": START, **columns, "latent_heat_W_m2": 50.0, "latent_heat_W_m2_flag": 0})
        frame["nee_umol_m2_s"] = -3.0
        frame.loc[3, ["latent_heat_W_m2_flag", "air_temperature_degC"]] = [1, -9999]
        path = tmp_path / "mine.csv"
        frame.drop(columns=list(drop)).to_csv(path, index=False)
        return path

    return write


def test_the_template_is_a_format(registry, template_file):
    path = template_file()
    registry.register(Template())
    with pytest.warns(TowerDataWarning, match="mine.csv: 'nee_umol_m2_s' has no flags"):
        tower = read_tower(path, lai=2.0)
    assert tower.attrs["format"] == "template" and tower.attrs["step_minutes"] == 30
    for name, value in WEATHER.items():
        np.testing.assert_allclose(tower[name].values[4:], value, rtol=1e-14)
    np.testing.assert_array_equal(np.flatnonzero(~tower["forcing_complete"]), [3])
    np.testing.assert_array_equal(np.flatnonzero(~tower["latent_heat_measured"]), [3])
    assert tower["nee_measured"].all() and not tower["sensible_heat_measured"].any()


def test_the_template_takes_options_and_refuses(registry, template_file):
    registry.register(Template())
    path = template_file(drop=["co2_ppm", "nee_umol_m2_s"])
    tower = read_tower(path, lai="wind_m_s", co2=405.0, columns={"air_temperature": "soil_temperature_degC"})
    np.testing.assert_allclose(tower["lai"], 2.0)
    np.testing.assert_allclose(tower["co2"], 405.0)
    np.testing.assert_allclose(tower["air_temperature"], 15.0)
    with pytest.raises(TowerFileError, match="there is no column 'nothing'"):
        read_tower(path, lai=2.0, columns={"air_temperature": "nothing"})
    with pytest.raises(TowerFileError, match="no column for wind_speed; looked for wind_m_s"):
        read_tower(template_file(drop=["wind_m_s", "nee_umol_m2_s"]), lai=2.0)
