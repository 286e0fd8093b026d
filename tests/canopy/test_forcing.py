"""Forcing: table, refusals, slicing."""

import dataclasses
import re
import warnings

import jax.numpy as jnp
import numpy as np
import pytest
import torch
import xarray as xr

from canveg_jax import FORCING_TABLE, Forcing, ForcingError, ForcingWarning, check_batch
from canveg_jax.forcing import rows_within_range

COLUMNS = {
    "day_of_year": [180.0, 180.0, 181.0], "hour": [12.25, 12.75, 0.25], "air_temperature": [20.0, 21.0, 12.0],
    "shortwave_in": [800.0, 790.0, -2.0], "vapour_pressure": [1.2, 1.2, 1.1], "wind_speed": [2.0, 0.3, 1.0],
    "co2": [400.0, 401.0, 420.0], "pressure": [101.0, 101.0, 101.1], "friction_velocity": [0.3, 0.05, 0.2],
    "soil_temperature": [18.0, 18.0, 17.0], "soil_water_content": [0.2, 0.2, 0.0], "lai": [2.0, 2.0, 0.0],
}  # fmt: skip


def dataset(**changes) -> xr.Dataset:
    columns = COLUMNS | changes
    return xr.Dataset({name: ("time", np.asarray(v, float)) for name, v in columns.items() if v is not None})


def test_columns_and_missing_optional_ones():
    forcing = Forcing.from_dataset(dataset())
    assert len(forcing) == 3
    assert np.isnan(np.asarray(forcing.longwave_in)).all() and np.asarray(forcing.site).tolist() == [0, 0, 0]
    assert np.asarray(forcing.hour).tolist() == COLUMNS["hour"]
    measured = Forcing.from_dataset(dataset(longwave_in=[300.0, np.nan, 310.0]))
    assert np.asarray(measured.longwave_in)[2] == 310 and np.isnan(measured.longwave_in[1])


def test_rows_in_any_order():
    forcing = Forcing.from_dataset(dataset(), site=np.array([0, 1, 2]))
    some = forcing[np.array([2, 0])]
    assert len(some) == 2 and np.asarray(some.site).tolist() == [2, 0]
    assert np.asarray(some.air_temperature).tolist() == [12.0, 20.0]
    assert len(forcing[1:]) == 2


@pytest.mark.parametrize("name", [n for n, info in FORCING_TABLE.items() if not info.optional])
def test_each_variable_out_of_range_or_missing_is_refused_by_name(name):
    info = FORCING_TABLE[name]
    for bad in (info.lower - 1, info.upper + 1, np.nan):
        column = list(COLUMNS[name])
        column[1] = bad
        with pytest.raises(ForcingError, match=rf"forcing '{name}' must be within .*1 row\(s\) are not.*rows 1\)"):
            Forcing.from_dataset(dataset(**{name: column}))
    with pytest.raises(ForcingError, match=f"forcing variable '{name}'.*is missing from the dataset"):
        Forcing.from_dataset(dataset(**{name: None}))


def test_advice_on_units():
    with pytest.raises(ForcingError, match=r"hPa or Pa"):
        Forcing.from_dataset(dataset(pressure=[1010.0, 1010.0, 1011.0]))


def test_optional_variable_out_of_range_is_refused():
    with pytest.raises(ForcingError, match="forcing 'longwave_in' must be within"):
        Forcing.from_dataset(dataset(longwave_in=[300.0, 900.0, np.nan]))


def test_wrong_fields():
    with pytest.raises(ForcingError, match=r"unknown \['rain'\], missing \[\]"):
        Forcing(rain=[0.0], **{n: v[:1] for n, v in COLUMNS.items()})
    with pytest.raises(ForcingError, match=r"missing \['lai'\]"):
        Forcing(**{n: v for n, v in COLUMNS.items() if n != "lai"})


@pytest.mark.parametrize("name", ["air_temperature", "lai", "longwave_in", "site"])
def test_columns_of_different_length_are_refused(name):
    with pytest.raises(ForcingError, match=r"forcing '\w+' has shape \[.\], but 'air_temperature' \[.\]"):
        Forcing(**COLUMNS | {name: [1.0, 2.0]})


def test_whole_numbers_become_floating_point_ones():
    forcing = Forcing(**COLUMNS | {"air_temperature": [20, 21, 12], "day_of_year": [180, 180, 181]})
    assert forcing.air_temperature.dtype == forcing.day_of_year.dtype == forcing.longwave_in.dtype == float
    assert np.isnan(np.asarray(forcing.longwave_in)).all() and np.asarray(forcing.day_of_year).tolist() == [
        180,
        180,
        181,
    ]


def test_the_table_is_the_declaration():
    assert [*FORCING_TABLE, "site"] == [field.name for field in dataclasses.fields(Forcing)]
    assert FORCING_TABLE["lai"].unit == "m2 m-2" and FORCING_TABLE["lai"].upper == 12
    optional = [name for name, info in FORCING_TABLE.items() if info.optional]
    assert optional == ["longwave_in", "observed_canopy_height", "soil_temperature_tendency"]


def test_ranges_hold_the_real_towers(arrays):
    """Every half-hour of the two published days is accepted."""
    names = {
        "day_of_year": "day", "hour": "hhour", "air_temperature": "T_air", "shortwave_in": "rglobal", "vapour_pressure": "eair",
        "wind_speed": "wind", "co2": "CO2", "pressure": "P_kPa", "friction_velocity": "ustar", "soil_temperature": "Tsoil",
        "soil_water_content": "soilmoisture", "lai": "lai",
    }  # fmt: skip
    columns = {ours: arrays[f"met__{theirs}"] for ours, theirs in names.items()}
    assert len(Forcing.from_dataset(dataset(**columns))) == 48


@pytest.mark.parametrize(("name", "column", "unit"), [
    ("pressure", np.full(20, 1013.0), "hPa"), ("pressure", np.full(20, 101300.0), "Pa"),
    ("air_temperature", np.linspace(280.0, 300.0, 20), "K"), ("soil_temperature", np.full(20, 288.0), "K"),
    ("vapour_pressure", np.full(20, 12.0), "hPa"), ("vapour_pressure", np.full(20, 8.0), "hPa"),
    ("vapour_pressure", np.full(20, 1200.0), "Pa"), ("soil_water_content", np.linspace(5.0, 40.0, 20), "%"),
    ("co2", np.full(20, 4e-4), "mol mol-1"),
])  # fmt: skip
def test_a_column_in_another_unit_is_told_once(name, column, unit):
    columns = {n: np.full(20, c[0]) for n, c in COLUMNS.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_batch(columns)
        check_batch(
            columns | {name: np.where(np.arange(20) < 5, column, columns[name])}
        )  # a few odd numbers are no unit
        check_batch(columns | {name: np.full(20, np.nan)})
    with pytest.warns(ForcingWarning, match=f"forcing '{name}' looks like {re.escape(unit)} .median") as warned:
        check_batch(columns | {name: column})
    assert len(warned) == 1


@pytest.mark.parametrize("library", [np.asarray, jnp.asarray, torch.tensor], ids=["numpy", "jax", "torch"])
def test_rows_within_range(library):
    """Limits are within; NaN is a measurement that is missing, which only an optional variable may be."""
    info = FORCING_TABLE
    good = {"co2": [info["co2"].lower, info["co2"].upper, 400.0, 400.0], "longwave_in": [300.0, np.nan, 300.0, np.nan]}
    usable = rows_within_range({name: library(column) for name, column in good.items()})
    assert np.asarray(usable).tolist() == [True] * 4
    for name, value in (("co2", np.nan), ("co2", -9999.0), ("co2", np.inf), ("longwave_in", np.inf),
                        ("longwave_in", -9999.0), ("co2", np.nextafter(info["co2"].upper, np.inf))):  # fmt: skip
        columns = {n: list(c) for n, c in good.items()}
        columns[name][2] = value
        usable = rows_within_range({n: library(np.asarray(c, np.float64)) for n, c in columns.items()})
        assert np.asarray(usable).tolist() == [True, True, False, True], (name, value)
