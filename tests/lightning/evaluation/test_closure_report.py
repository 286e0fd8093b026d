"""The picture of the closures: it is drawn, and it is drawn over the drivers that matter."""

import numpy as np
import pytest
import xarray as xr

import canveg_jax as cv
from lightning_modules.evaluation.closure_report import beside, closure_figure, closure_names, strongest_drivers
from lightning_modules.evaluation.density import classes
from lightning_modules.evaluation.report import save_figure
from lightning_modules.evaluation.stress_panels import scheme_factor, stress_varies


@pytest.fixture
def predictions():
    """Thirty days of two sites whose closure follows leaf area, and a little the deficit."""
    rng = np.random.default_rng(0)
    n = 48 * 30
    time = np.tile(np.datetime64("2020-05-01", "ns") + np.arange(n) * np.timedelta64(30, "m"), 2)
    columns = {
        "air_temperature": rng.uniform(5, 30, 2 * n), "shortwave_in": rng.uniform(0, 900, 2 * n),
        "vapour_pressure": rng.uniform(0.3, 0.8, 2 * n), "soil_water_content": rng.uniform(0.1, 0.3, 2 * n),
        "lai": rng.uniform(0, 4, 2 * n), "converged": rng.random(2 * n) > 0.01,
    }  # fmt: skip
    variables = {name: ("row", values) for name, values in columns.items()}
    attrs = {"long_name": "factor on the leaf area index"}
    variables["closure_leaf_area"] = ("row", 0.5 + columns["lai"] - 0.01 * columns["air_temperature"], attrs)
    for flux in ("LE", "H", "NEE"):
        variables |= {flux: ("row", rng.random(2 * n)), f"{flux}_observed": ("row", rng.random(2 * n))}
        variables[f"{flux}_measured"] = ("row", rng.random(2 * n) > 0.3)
    variables["LE_observed_equivalent"] = ("row", rng.random(2 * n))
    variables["canopy_LE"], variables["soil_LE"] = ("row", np.full(2 * n, 30.0)), ("row", np.full(2 * n, 10.0))
    variables["stress"] = ("row", np.ones(2 * n))
    coords = {"time": ("row", time), "site_index": ("row", np.repeat([0, 1], n)), "site_name": ("site", ["A", "B"])}
    return xr.Dataset(variables, coords)


def test_drivers_are_those_that_say_most(predictions):
    drivers = {
        name: predictions[name].values for name in ("shortwave_in", "lai", "air_temperature", "soil_water_content")
    }
    assert strongest_drivers(predictions["closure_leaf_area"].values, drivers) == ("lai", "air_temperature")
    constant = np.ones(predictions.sizes["row"])
    assert len(strongest_drivers(constant, drivers)) == 2


def test_a_row_for_each_closure_and_the_mean_days(predictions, tmp_path):
    assert closure_names(predictions) == ["leaf_area"]
    figure = closure_figure(predictions)
    titles = [axes.get_title(loc="left") for block in figure.subfigs for axes in block.axes]
    assert titles.count("factor on the leaf area index") == 2  # two sites
    assert [t for t in titles if t.endswith("mean day")] == [
        f"{f}, mean day" for f in ("LE", "H", "G", "Rnet", "NEE")
    ] * 2
    labels = {axes.get_xlabel() for block in figure.subfigs for axes in block.axes}
    assert "leaf area index" in labels
    path = save_figure(closure_figure(predictions, ["B"]), beside(tmp_path / "report.png"))
    assert path.name == "report-closures.png" and path.stat().st_size > 20_000


def test_without_closures_there_is_nothing_to_draw(predictions):
    with pytest.raises(ValueError, match="no closures"):
        closure_figure(predictions.drop_vars("closure_leaf_area"))


def lines(axes):
    return {line.get_label(): line.get_ydata() for line in axes.get_lines()}


def test_latent_heat_by_source(predictions):
    figure = closure_figure(predictions, ["A"])
    (axes,) = [a for a in figure.subfigs[0].axes if a.get_title(loc="left").startswith("LE by source")]
    assert axes.get_title(loc="left").endswith("leaves 75 %")
    drawn = lines(axes)
    np.testing.assert_allclose(drawn["leaves (transpiration)"], 30.0)
    np.testing.assert_allclose(drawn["soil (evaporation)"], 10.0)
    assert len(drawn["soil (evaporation)"]) == 30


def test_a_stress_is_drawn_with_the_classical_schemes_beside_it(predictions):
    """The learned one by day only; those of the literature with the parameters that one would use without learning."""
    water = predictions["soil_water_content"].values
    dark = predictions["shortwave_in"].values <= 20.0
    factor = np.where(dark, 0.001, np.clip((water - 0.1) / 0.2, 0.01, 1.0))
    stressed = predictions.drop_vars("closure_leaf_area").assign(
        stress=("row", factor), soil_water_content=("row", water - 0.05)
    )
    assert stress_varies(stressed) and not stress_varies(predictions) and dark.any()
    figure = closure_figure(stressed, ["A"])
    panels = [a for a in figure.subfigs[0].axes if a.get_title(loc="left") == "stress factor by day"]
    drawn = lines(panels[1])
    assert set(drawn) == {"learned", "ramp", "Feddes", "Jarvis"}
    np.testing.assert_allclose(drawn["learned"], np.linspace(0.04, 0.96, 12), atol=0.03)
    assert all(np.all((0 < y) & (y <= 1.0)) for y in drawn.values())
    assert np.all(np.diff(drawn["ramp"]) >= 0) and drawn["ramp"][0] < drawn["ramp"][-1]


def test_scheme_factor_is_that_of_the_scheme(predictions):
    """The ramp of Wang and Leuning with the table's wilting point and field capacity, by hand."""
    p = cv.Parameters()
    water = predictions["soil_water_content"].values / 2.0
    ramp = np.clip(10.0 * (water - p.wilting_point) / (3.0 * (p.field_capacity - p.wilting_point)), 1e-3, 1.0)
    assert (ramp < 1.0).sum() > 500
    dry = predictions.assign(soil_water_content=("row", water))
    np.testing.assert_allclose(scheme_factor("soil_moisture", dry), ramp, rtol=1e-9)


def test_classes_are_equally_filled():
    index, n = classes(np.arange(1200.0), 12)
    assert n == 12 and (np.bincount(index) == 100).all()
    index, n = classes(np.r_[np.zeros(900), np.arange(300.0)], 12)
    assert n <= 5 and set(index) == set(range(n))
    assert classes(np.ones(5), 12)[1] == 1
