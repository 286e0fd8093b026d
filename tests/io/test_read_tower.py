"""The front door: where warnings point to, the user's columns, second files."""

import warnings

import numpy as np
import pandas as pd
import pytest

import canveg_jax
from canveg_jax.io import TowerDataWarning, TowerFileError, read_tower
from canveg_jax.io.read_tower import check_names
from tests.io.formats.test_ameriflux import frame as ameriflux_frame
from tests.io.formats.test_fluxnet import frame as fluxnet_frame


def write(folder, data: pd.DataFrame, name="tower.csv"):
    comments = "# Site: XX-Fak\n" if "LE_PI_F" in data else ""
    path = folder / name
    path.write_text(comments + data.to_csv(index=False))
    return path


@pytest.mark.parametrize(
    ("data", "texts"),
    [
        (fluxnet_frame().drop(columns="LE_F_MDS_QC"), ["'LE_F_MDS' has no quality flag"]),
        (
            fluxnet_frame().drop(columns=["LE_F_MDS_QC", "H_F_MDS_QC"]).assign(TA_F_QC=2),
            ["drivers filled by reanalysis", "'LE_F_MDS' has no", "'H_F_MDS' has no"],
        ),
        (ameriflux_frame().rename(columns={"LE": "LE_PI_F"}), ["'LE_PI_F' was gap-filled"]),
    ],
)
def test_warnings_point_to_the_caller(tmp_path, data, texts):
    path = write(tmp_path, data)
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        read_tower(path, lai=2.0)
    assert len(record) == len(texts)
    for warning, text in zip(record, texts, strict=True):
        assert text in str(warning.message) and issubclass(warning.category, TowerDataWarning)
        assert warning.filename == __file__


def test_only_known_variables_can_be_chosen():
    check_names({"air_temperature": "TA", "nee": "FC"})
    for name in ("air_temp", "day_of_year", "hour"):
        with pytest.raises(TowerFileError, match=f"columns: unknown variable '{name}'"):
            check_names({name: "TA"})


def test_the_same_file_twice_is_no_second_file(tmp_path):
    path = write(tmp_path, fluxnet_frame())
    assert read_tower(path, path, lai=2.0).attrs["source_files"] == ["tower.csv", "tower.csv"]


def test_the_package_has_it_too():
    assert canveg_jax.read_tower is read_tower


def test_tendency_of_the_soil_temperature(tmp_path):
    """Change over the two hours about the half-hour; missing at gaps and at both ends; impossible jumps are no tendency."""
    data = fluxnet_frame()
    name = next(column for column in data if column.startswith("TS"))
    data[name] = 10.0 + 0.25 * np.arange(len(data))  # 0.5 K h-1
    data.loc[20, name] = -9999.0
    data.loc[30, name] += 200.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tower = read_tower(write(tmp_path, data), lai=2.0)
    rate = tower["soil_temperature_tendency"].values
    known = np.isfinite(rate)
    assert np.flatnonzero(~known).tolist() == [0, 1, 18, 22, 28, 32, len(data) - 2, len(data) - 1]
    np.testing.assert_allclose(rate[known], 0.5, rtol=1e-9)
    assert tower["soil_temperature_tendency"].attrs["units"] == "K h-1"
