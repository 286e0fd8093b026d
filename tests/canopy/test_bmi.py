"""The canopy under the Basic Model Interface: its numbers are those of the canopy, its names and mistakes are clear."""

import numpy as np
import pytest
import yaml

bmi = pytest.importorskip("canveg_jax.bmi", reason="needs bmipy (the extra bmi)")

import canveg_jax as cv
from canveg_jax.synthetic.weather import synthetic_weather

SITE = cv.Site.named("US-Bi1", n_layers=1)
CONFIG = {
    "site": "US-Bi1", "site_options": {"n_layers": 1}, "start": "2019-06-01", "end": "2019-06-02",
    "parameters": {"kball": 9.0}, "stress": "soil_moisture",
}  # fmt: skip


def model_of(tmp_path, **changes):
    (tmp_path / "bmi.yaml").write_text(yaml.safe_dump({**CONFIG, **changes}))
    model = bmi.CanopyBmi()
    model.initialize(str(tmp_path / "bmi.yaml"))
    return model


@pytest.fixture
def model(tmp_path):
    return model_of(tmp_path)


def set_row(model, tower, row):
    for name, column in bmi.INPUTS.items():
        if column in tower:
            model.set_value(name, tower[column].values[row : row + 1])


@pytest.mark.slow
def test_half_hour_by_half_hour_is_the_record_at_once(tmp_path):
    """Warm starts change the passes, not the fluxes beyond the tolerance of 1e-3 W m-2; a gap in between is flagged, and leaves
    no trace in what follows."""
    tower = synthetic_weather(SITE, 1, 0, 0.5, start="2019-06-01").isel(time=slice(12, 36))
    canopy = cv.Canopy(SITE, cv.Parameters(kball=9.0), "soil_moisture")
    expected = canopy.solve(cv.Forcing.from_dataset(tower))
    model = model_of(tmp_path, start=str(tower["time"].values[0]))
    seen = {name: [] for name in bmi.OUTPUTS}
    for row in range(tower.sizes["time"]):
        set_row(model, tower, row)
        if row == 7:
            model.set_value("atmosphere_bottom_air__pressure", np.array([9.0]))
            with pytest.warns(cv.NotConvergedWarning, match="outside the range"):
                model.update()
        else:
            model.update()
        for name, values in seen.items():
            values.append(model.get_value(name, np.empty(1))[0])
    seen = {bmi.OUTPUTS[name]: np.array(values) for name, values in seen.items()}
    good = np.arange(24) != 7
    assert seen["converged"][good].all() and not seen["converged"][7] and np.isnan(seen["LE"][7])
    for name in ("LE", "H", "G", "Rnet", "NEE", "canopy_temperature"):
        np.testing.assert_allclose(seen[name][good], getattr(expected.fluxes, name)[good], rtol=1e-4, atol=2e-2)
    warm, cold = seen["passes"][good][1:], expected.diagnostics.passes[good][1:]
    assert warm.sum() < 0.9 * cold.sum()
    assert model.get_current_time() == 24 * 1800.0
    model.finalize()


def test_names_units_and_the_scalar_grid(model):
    assert model.get_input_item_count() == len(model.get_input_var_names()) == len(bmi.INPUTS)
    assert model.get_output_item_count() == len(model.get_output_var_names()) == len(bmi.OUTPUTS)
    assert set(bmi.INPUTS.values()) == set(cv.FORCING_TABLE) - {"day_of_year", "hour"}
    for name in (*model.get_input_var_names(), *model.get_output_var_names()):
        assert name.count("__") == 1 and " " not in name
        assert model.get_var_grid(name) == 0 and model.get_var_location(name) == "node"
        assert model.get_var_type(name) == "float64" and model.get_var_nbytes(name) == model.get_var_itemsize(name) == 8
    assert model.get_var_units("atmosphere_bottom_air__pressure") == "kPa"
    assert model.get_var_units("atmosphere_bottom_air_land_net-latent-heat__energy_flux") == "W m-2"
    assert (model.get_grid_rank(0), model.get_grid_size(0), model.get_grid_type(0)) == (0, 1, "scalar")
    assert (model.get_grid_node_count(0), model.get_grid_edge_count(0), model.get_grid_face_count(0)) == (1, 0, 0)
    with pytest.raises(NotImplementedError, match="scalar"):
        model.get_grid_x(0, np.empty(1))
    assert (model.get_start_time(), model.get_end_time(), model.get_time_step()) == (0.0, 86_400.0, 1800.0)
    assert model.get_time_units() == "s" and "CanVeg" in model.get_component_name()


def test_values_go_in_and_the_pointer_sees_them(model):
    name = "atmosphere_bottom_air__temperature"
    pointer = model.get_value_ptr(name)
    model.set_value(name, np.array([17.5]))
    assert pointer[0] == 17.5 and model.get_value(name, np.empty(1))[0] == 17.5
    model.set_value_at_indices(name, np.array([0]), np.array([3.0]))
    assert model.get_value_at_indices(name, np.empty(1), np.array([0]))[0] == 3.0


def test_mistakes_are_said(model, tmp_path):
    with pytest.raises(ValueError, match="atmosphere_bottom_air__pressure, .*must be set before"):
        model.update()
    with pytest.raises(ValueError, match="Did you mean 'atmosphere_bottom_air__temperature'"):
        model.get_value("atmosphere_bottom_air__temperatur", np.empty(1))
    with pytest.raises(ValueError, match="is an output"):
        model.set_value("model_solver__convergence_flag", np.array([1.0]))
    with pytest.raises(ValueError, match="is one number; got 2"):
        model.set_value("atmosphere_bottom_air__pressure", np.array([100.0, 101.0]))
    with pytest.raises(ValueError, match="expected the end of an interval"):
        model.update_until(1000.0)
    for change, message in (
        ({"parameters": {"kbal": 1.0}}, "kball"), ({"start": "in spring"}, "must be dates"), ({"sitte": 1}, "sitte"),
        ({"stress": "fedes"}, "feddes"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            model_of(tmp_path, **change)


def test_what_comes_before_and_after_is_said(model, tmp_path, monkeypatch):
    """None of these reaches the canopy, which is not compiled here."""
    name, value = "atmosphere_bottom_air__temperature", np.array([17.5])
    for call in (lambda m: m.update(), lambda m: m.get_value(name, np.empty(1)), lambda m: m.set_value(name, value)):
        with pytest.raises(RuntimeError, match="Call initialize"):
            call(bmi.CanopyBmi())
    with pytest.raises(ValueError, match="end must be later than start"):
        model_of(tmp_path, end="2019-06-01")
    with pytest.raises(ValueError, match=r"whose index is 0; got \[\]"):
        model.set_value_at_indices(name, np.array([], dtype=int), value)
    with pytest.raises(ValueError, match="`dest` takes 3"):
        model.get_value(name, np.empty(3))
    for time in (np.nan, np.inf, 90_000.0):
        with pytest.raises(ValueError, match=r"expected a time up to 86400.0 s"):
            model.update_until(time)
    for column in bmi.INPUTS:
        model.set_value(column, value)
    model._time = 86_400.0  # as after the last interval
    with pytest.raises(ValueError, match=r"would end at 88200.0 s, the configuration at 86400.0 s"):
        model.update()
    model.set_value(name, np.array([np.nan]))
    model._time = 0.0
    with pytest.raises(ValueError, match=f"{name} must be set before"):
        model.update()
    model.finalize()
    model.finalize()
    with pytest.raises(RuntimeError, match="nothing after finalize"):
        model.update()
