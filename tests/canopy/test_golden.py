"""The canopy against the published model's converged runs: how far apart, and by which repairs.

`docs/reference-comparison.md` holds the table and the explanation; bounds here are wide enough for a refined
dispersion or solver and narrow enough to fail if an equation were wrong.
"""

import warnings

import numpy as np
import pytest

import canveg_jax as cv
from tests.canopy.golden import FLUXES, PUBLISHED, SITES, WINDOWS, golden, light, published_fluxes, run

CASES = [(site, window, time) for site in SITES for window in WINDOWS for time in ("day", "night")]


@pytest.fixture(scope="module")
def runs(shared):
    """The package may not warn; the published forms flip-flop near neutral, and a few half-hours never converge."""
    package = {n: run(shared, n) for n in (1, 50)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cv.NotConvergedWarning)
        return {n: {"package": package[n], "published forms": run(shared, n, **PUBLISHED)} for n in (1, 50)}


def differences(shared, runs, n_layers, which, site, window, time):
    """Package minus published run in the rows that count, and correlation, by flux."""
    reference = golden(shared, site, n_layers, window)
    ours = dict(runs[n_layers][which][site, window])
    theirs = published_fluxes(reference, "main" if which == "package" else "isolated")
    if which == "published forms":
        ours["NEE"] = ours["nee_published"]
    rows = light(reference, time) & ours["converged"]
    assert rows.sum() >= 45
    return (
        {name: (ours[name] - theirs[name])[rows] for name in FLUXES},
        {name: np.corrcoef(ours[name][rows], theirs[name][rows])[0, 1] for name in FLUXES},
    )


@pytest.mark.parametrize(("site", "window", "time"), CASES)
@pytest.mark.parametrize("n_layers", [1, 50])
def test_with_the_repairs_undone_it_is_the_published_model(shared, runs, n_layers, site, window, time):
    """All that is left is the leaf: its cubic's wrong roots by day, and with one layer the level of the soil's air."""
    difference, correlation = differences(shared, runs, n_layers, "published forms", site, window, time)
    median = {name: np.median(d) for name, d in difference.items()}
    if time == "day":
        bounds = {"LE": 4.0, "H": 4.0, "Rnet": 1.5, "G": 2.0, "NEE": 1.3}
        assert min(correlation[name] for name in ("LE", "H", "Rnet", "G")) > 0.98
    elif n_layers == 50:
        bounds = {"LE": 0.2, "H": 0.6, "Rnet": 0.3, "G": 0.2, "NEE": 0.02}
    else:
        bounds = {"LE": 1.5, "H": 5.0, "Rnet": 1.5, "G": 1.5, "NEE": 0.03}
    for name, bound in bounds.items():
        assert abs(median[name]) < bound, (name, median)


DAY_50 = {"LE": (-6, 16), "H": (3, 50), "Rnet": (-120, -20), "G": (-12, 2), "NEE": (-1.5, 0.5)}
DAY_1 = {"LE": (-4, 30), "H": (-22, 20), "Rnet": (-8, 6), "G": (-10, 0), "NEE": (-12, -0.5)}
NIGHT_50 = {"LE": (-1, 4), "H": (3, 14), "Rnet": (-5, 2), "G": (0, 8), "NEE": (0.0, 2.2)}
NIGHT_1 = {"LE": (-12, 2), "H": (-40, 8), "Rnet": (-6, 12), "G": (-4, 8), "NEE": (0.0, 2.0)}


@pytest.mark.parametrize(("site", "window", "time"), CASES)
@pytest.mark.parametrize("n_layers", [1, 50])
def test_the_repairs_move_the_fluxes_as_documented(shared, runs, n_layers, site, window, time):
    difference, correlation = differences(shared, runs, n_layers, "package", site, window, time)
    bounds = {("day", 50): DAY_50, ("day", 1): DAY_1, ("night", 50): NIGHT_50, ("night", 1): NIGHT_1}[time, n_layers]
    for name, (low, high) in bounds.items():
        assert low < difference[name].mean() < high, (name, difference[name].mean())
    if time == "day":
        assert min(correlation[name] for name in ("H", "Rnet", "NEE")) > 0.9 and correlation["LE"] > 0.85


def test_every_half_hour_of_the_package_converges(runs):
    for n_layers in (1, 50):
        for fluxes in runs[n_layers]["package"].values():
            assert fluxes["converged"].all()
            assert np.abs(fluxes["Rnet"] - fluxes["LE"] - fluxes["H"] - fluxes["G"]).max() < 0.01
