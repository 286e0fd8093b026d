"""The picture of the closures: it is drawn, and it is drawn over the drivers that matter."""

import numpy as np
import pytest
import xarray as xr

from lightning_modules.evaluation.closure_report import beside, closure_figure, closure_names, strongest_drivers
from lightning_modules.evaluation.report import save_figure


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
