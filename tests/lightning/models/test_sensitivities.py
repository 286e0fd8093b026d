"""Sensitivities against a canopy whose derivatives are known, and their picture."""

import numpy as np
import pytest
import torch

import canveg_jax as cv
from lightning_modules import FluxTowerDataModule, HybridCanopy
from lightning_modules.evaluation.report import save_figure
from lightning_modules.models.sensitivities import INPUTS, sensitivities, sensitivity_figure
from tests.lightning.towers import SITE, BoringCanopy, KnownStress, boring_fluxes, boring_tower


class Moving(BoringCanopy):
    """The invented canopy, whose parameter may differ between half-hours."""

    def moved_parameters(self, *, factors=None, shifts=None, site=None):
        assert not shifts
        return {"kball": self.parameter_values()["kball"] * factors["kball"]}

    def forward(self, forcing, stress=None, parameters=None):
        out = super().forward(forcing, stress)
        moved = boring_fluxes(forcing["shortwave_in"], stress, parameters["kball"], forcing["soil_temperature"])
        broken = ~out["converged"]
        return {**out, **{name: torch.where(broken, torch.nan, value) for name, value in moved.items()}}


@pytest.fixture(scope="module")
def table():
    data = FluxTowerDataModule(datasets=[(SITE, boring_tower(60))], block_days=3, test_fraction=0.7, seed=0)
    data.setup()
    model = HybridCanopy([SITE], physics=Moving(12.0, broken_above=800.0), stress=KnownStress())
    model.set_statistics(data.statistics)
    return sensitivities(model, data, half_hours=500, parameters=("kball",)), data, model


def test_answers_are_the_derivatives(table):
    answers, data, model = table
    part = data.parts["test"]
    step = -(-len(part) // 500)
    rows = np.arange(0, len(part), step)
    column = {name: part.forcing[name].numpy()[rows] for name in INPUTS}
    stress = KnownStress()({name: c[rows] for name, c in part.forcing.items()}).numpy()
    month = part.time[rows].astype("datetime64[M]").astype(int) % 12 + 1
    solved = column["shortwave_in"] <= 800.0
    assert set(answers.index.get_level_values("month")) == set(month) and len(set(month)) > 1 and not solved.all()
    fluxes = boring_fluxes(column["shortwave_in"], stress, 12.0, column["soil_temperature"])
    by_kball = {"LE": fluxes["LE"], "NEE": -0.004 * 12.0 * stress * column["shortwave_in"]}
    by_soil = {"LE": 0.0 * fluxes["LE"], "NEE": np.full(len(rows), 0.1)}
    spread = column["soil_temperature"][solved].std()
    for m in set(month):
        used = solved & (month == m)
        for flux in ("LE", "NEE"):
            size = np.abs(fluxes[flux][used]).sum()
            found = answers.loc[(SITE.name, m, flux)]["answer"]
            assert found["parameter", "kball"] == pytest.approx(by_kball[flux][used].sum() / size, rel=1e-9)
            expected = spread * by_soil[flux][used].sum() / size
            assert found["input", "soil_temperature"] == pytest.approx(expected, rel=1e-9)
            assert answers.loc[(SITE.name, m, flux, "input", "wind_speed"), "n"] == used.sum()
    proportional = answers.xs(("LE", "parameter", "kball"), level=("flux", "kind", "name"))["answer"]
    np.testing.assert_allclose(proportional, 1.0, rtol=1e-12)
    drawn = answers.xs(("LE", "parameter", "kball"), level=("flux", "kind", "name"))["drawn"]
    bounds = cv.PARAMETER_TABLE["kball"]
    np.testing.assert_allclose(drawn, 0.1 * (bounds.upper - bounds.lower) / 12.0, rtol=1e-12)


def test_weather_acts_through_the_network_too(table):
    """The vapour pressure is in no flux of this canopy; its stress sees it."""
    answers, _, _ = table
    moist = answers.xs(("LE", "input", "vapour_pressure"), level=("flux", "kind", "name"))["answer"]
    assert (moist > 0.0).all()


def test_a_part_that_is_not_there(table):
    _, data, model = table
    with pytest.raises(ValueError, match="tset"):
        sensitivities(model, data, part="tset")


def test_picture(table, tmp_path):
    figure = sensitivity_figure(table[0])
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert f"{SITE.name}: relative change of LE for a tenth of a parameter's range" in titles
    assert save_figure(figure, tmp_path / "s.png").stat().st_size > 20_000
