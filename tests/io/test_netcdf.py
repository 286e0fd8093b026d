"""Fluxes as CF NetCDF: round trip, units that parse, provenance, no half-written files."""

import re
import stat

import numpy as np
import pandas as pd
import pint
import pytest
import xarray as xr

import canveg_jax
from canveg_jax import FORCING_TABLE
from canveg_jax.fluxes import FLUX_TABLE
from canveg_jax.io import TARGET_TABLE, read_fluxes, write_fluxes
from canveg_jax.io.netcdf import package_version

ROWS = 40
CANONICAL = {
    "surface_upward_latent_heat_flux": "W m-2",
    "surface_upward_sensible_heat_flux": "W m-2",
    "downward_heat_flux_at_ground_level_in_soil": "W m-2",
    "surface_net_downward_radiative_flux": "W m-2",
    "surface_upward_mole_flux_of_carbon_dioxide": "mol m-2 s-1",
    "canopy_temperature": "K",
    "surface_upwelling_shortwave_flux_in_air": "W m-2",
    "surface_upwelling_longwave_flux_in_air": "W m-2",
    "surface_downwelling_longwave_flux_in_air": "W m-2",
}


REGISTRY = pint.UnitRegistry()


def parse_unit(text):
    """A UDUNITS string (`umol m-2 s-1`) as a pint unit."""
    powers = re.sub(r"(?<=[A-Za-z])([-+]?\d+)", r"**\1", text)
    return REGISTRY.parse_units("dimensionless" if text == "1" else powers.replace(" ", " * "))


def fluxes():
    rng = np.random.default_rng(13)
    columns = {name: rng.standard_normal(ROWS) for name in FLUX_TABLE}
    columns["LE"][3] = np.nan
    return columns | {"passes": np.arange(ROWS), "converged": np.arange(ROWS) % 3 > 0}


def tower():
    start = pd.date_range("2018-12-31 20:00", periods=ROWS, freq="30min")
    return xr.Dataset(
        coords={"time": ("time", start), "time_end": ("time", start + pd.Timedelta(minutes=30))},
        attrs={"site": "SYN", "latitude": 1.5, "step_minutes": 30, "source_files": ["a.csv", "b.csv"],
               "source_sha256": ["0" * 64, "1" * 64], "format": "prepared", "other": "not copied"},
    )  # fmt: skip


def test_round_trip(tmp_path):
    path = write_fluxes(tmp_path / "out.nc", fluxes(), tower=tower(), attributes={"experiment": "x1"})
    back = read_fluxes(path)
    for name, values in fluxes().items():
        np.testing.assert_array_equal(back[name].values, values)
        assert back[name].attrs["units"] == FLUX_TABLE[name].unit
    assert back["converged"].dtype == bool and back["passes"].dtype == np.int32
    np.testing.assert_array_equal(back["time"].values, tower()["time"].values)
    assert back["NEE"].attrs["standard_name"] == "surface_upward_mole_flux_of_carbon_dioxide"
    assert back["NEE"].attrs["units"] == "umol m-2 s-1"
    assert "standard_name" not in back["GPP"].attrs
    assert back.attrs["experiment"] == "x1"


def test_time_bounds_and_provenance(tmp_path):
    back = read_fluxes(write_fluxes(tmp_path / "out.nc", fluxes(), tower=tower()))
    bounds = back["time_bounds"].values
    np.testing.assert_array_equal(bounds[:, 0], back["time"].values)
    np.testing.assert_array_equal(bounds[:, 1] - bounds[:, 0], np.timedelta64(30, "m"))
    assert back["time"].attrs["bounds"] == "time_bounds"
    assert back.attrs["source_sha256"] == ["0" * 64, "1" * 64] and back.attrs["site"] == "SYN"
    assert back.attrs["input_format"] == "prepared" and "other" not in back.attrs
    assert package_version() in back.attrs["source"] and "written by canveg-torch" in back.attrs["history"]
    assert back.attrs["Conventions"].startswith("CF-")


def test_single_precision_stays_single(tmp_path):
    path = write_fluxes(tmp_path / "out.nc", {"LE": np.ones(ROWS, dtype=np.float32)}, tower=tower())
    assert read_fluxes(path)["LE"].dtype == np.float32


def test_accepts_a_dataset_and_the_fluxes_of_the_model(tmp_path):
    time = tower()["time"].values
    data = xr.Dataset({"LE": ("time", np.ones(ROWS))}, coords={"time": time})
    np.testing.assert_array_equal(read_fluxes(write_fluxes(tmp_path / "a.nc", data))["LE"], 1.0)
    names = [name for name in FLUX_TABLE if name not in canveg_jax.Diagnostics._fields]
    model = canveg_jax.Fluxes(**{name: np.full(ROWS, float(i)) for i, name in enumerate(names)})
    back = read_fluxes(write_fluxes(tmp_path / "b.nc", model, time=time))
    assert sorted(back.data_vars) == sorted(names)
    np.testing.assert_array_equal(back["zeta"], float(names.index("zeta")))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"LEE": np.ones(ROWS)}, "unknown output 'LEE'.*Did you mean 'LE'"),
        ({"LE": np.ones(ROWS - 1)}, rf"'LE' has shape \(39,\); expected \({ROWS},\)"),
        ({"LE": np.ones((ROWS, 2))}, r"'LE' has shape \(40, 2\)"),
        (np.ones(ROWS), "expected a mapping, a dataset or Fluxes; got ndarray"),
    ],
)
def test_refused_content(tmp_path, columns, message):
    with pytest.raises(ValueError, match=message):
        write_fluxes(tmp_path / "out.nc", columns, tower=tower())
    assert list(tmp_path.iterdir()) == []


def test_time_and_folder_are_needed(tmp_path):
    with pytest.raises(ValueError, match="give tower=.* or time="):
        write_fluxes(tmp_path / "out.nc", {"LE": np.ones(3)})
    with pytest.raises(FileNotFoundError, match="the folder .* does not exist. Create it first"):
        write_fluxes(tmp_path / "absent" / "out.nc", fluxes(), tower=tower())


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path, monkeypatch):
    path = write_fluxes(tmp_path / "out.nc", fluxes(), tower=tower())
    before = path.read_bytes()

    def fail(self, name, **options):
        with open(name, "wb") as half:
            half.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(xr.Dataset, "to_netcdf", fail)
    with pytest.raises(OSError, match="disk full"):
        write_fluxes(path, fluxes(), tower=tower())
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["out.nc"]


def test_the_file_is_readable_as_any_new_file(tmp_path):
    plain = tmp_path / "plain"
    plain.touch()
    path = write_fluxes(tmp_path / "out.nc", fluxes(), tower=tower())
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


@pytest.mark.parametrize("name", FLUX_TABLE)
def test_units_parse_and_convert_to_the_canonical_unit(name):
    info = FLUX_TABLE[name]
    unit = parse_unit(info.unit)
    if info.cf_standard_name:
        assert unit.is_compatible_with(parse_unit(CANONICAL[info.cf_standard_name]))
    assert info.long_name and info.sign


@pytest.mark.parametrize("table", [FORCING_TABLE, TARGET_TABLE])
def test_units_of_the_tower_parse(table):
    for info in table.values():
        parse_unit(info.unit)


def test_the_unit_parser_itself():
    assert (1.0 * parse_unit("umol m-2 s-1")).to("mol/m**2/s").magnitude == pytest.approx(1e-6)
    with pytest.raises(pint.UndefinedUnitError):
        parse_unit("umul m-2")


def test_the_tables_agree_with_the_model_and_with_each_other():
    assert set(canveg_jax.Fluxes.__dataclass_fields__) | set(canveg_jax.Diagnostics._fields) == set(FLUX_TABLE)
    for info in TARGET_TABLE.values():
        assert FLUX_TABLE[info.flux].unit == info.unit
        assert FLUX_TABLE[info.flux].cf_standard_name == info.cf_standard_name
