"""No output of the canopy jumps along lines through forcing and parameter space.

The lines cross dawn, neutral stability, free convection, light saturation and freezing. `segments.find_jumps` says what
counts as a jump.
"""

import numpy as np
import pytest

import canveg_jax as cv
from canveg_jax.solver.batches import RECORD_CHUNK as CHUNK
from tests.canopy.segments import KINDS, UNITS, Segments, find_jumps, random_segments
from tests.canopy.synthetic_sites import small_sites

PUBLISHED_STABLE = 0.31
DEFAULT_STABLE = cv.PARAMETER_TABLE["stability_stable"].default
TIGHT = cv.SolverOptions(tolerance=1e-8, max_passes=300)


def solver(n_layers: int, folder, stable: float):
    """Outputs of conditions by name, and which points converged; whole chunks, so that one program serves all calls.

    `stable` is the coefficient `b` of `psi = 1 - b zeta`. In stable air the published `b = 0.31` brings the canopy
    closer to the air above, which makes the air more stable: with `b` near 1 and little friction several solutions
    exist (docs/continuity.md).
    """
    canopy = cv.Canopy(small_sites(n_layers, folder), options=TIGHT)

    def solve(conditions):
        points = conditions["site"].size
        padded = np.arange(-(-points // CHUNK) * CHUNK) % points
        conditions = {name: values[padded] for name, values in conditions.items()}
        columns = {name: conditions[name] for name in cv.FORCING_TABLE if name in conditions}
        forcing = cv.Forcing(site=conditions["site"].round().astype(int), **columns)
        values = {k: v for k, v in conditions.items() if k in cv.PARAMETER_TABLE}
        canopy.parameters = cv.Parameters(**values, stability_stable=stable)
        solution = canopy.solve(forcing, conditions["stress"])
        fluxes = {name: np.asarray(getattr(solution.fluxes, name))[:points] for name in UNITS}
        return fluxes, np.asarray(solution.diagnostics.converged)[:points]

    return solve


def line(function):
    """One segment of the kind that `find_jumps` follows, with `function(t)` for every output."""
    t = {"t": np.array([0.0])}
    segments = Segments(t, {"t": np.array([1.0])}, ["test"])

    def solve(conditions):
        values = function(conditions["t"])
        return dict.fromkeys(UNITS, values), np.ones(values.shape, bool)

    return find_jumps(segments, solve)[0]


@pytest.mark.parametrize("size", [0.02, 0.5, 30.0])
def test_a_jump_is_found_on_a_steep_curve(size):
    where = 0.3712345
    found = line(lambda t: 300 * t**2 + np.sin(20 * t) + size * (t > where))
    assert {jump.output for jump in found} == set(UNITS)
    for jump in found:
        assert jump.t <= where <= jump.t + jump.width
        assert jump.difference == pytest.approx(size, rel=1e-3)


@pytest.mark.parametrize(
    "function",
    [
        lambda t: 300 * np.abs(t - 0.3712345),
        lambda t: np.sqrt(np.abs(t - 0.3712345)),
        lambda t: np.tanh((t - 0.3712345) / 1e-4),
        lambda t: np.clip(1000 * t, 200, 600) + np.exp(5 * t),
    ],
    ids=["kink", "root", "steep", "clips"],
)
def test_kinks_roots_and_steep_curves_are_no_jumps(function):
    assert line(function) == []


def test_the_segments_cross_what_they_are_named_after():
    segments = random_segments(60, seed=0)
    crossed = {kind: 0 for kind in KINDS}
    for i, kind in enumerate(segments.kinds):
        a, b = ({k: v[i] for k, v in side.items()} for side in (segments.start, segments.end))
        if kind == "freezing":
            crossed[kind] += a["air_temperature"] < 0 < b["air_temperature"]
        elif kind == "dawn":
            crossed[kind] += a["hour"] < 4 and b["hour"] > 7.5 and a["shortwave_in"] == 0 < b["shortwave_in"]
        elif kind == "light saturation":
            crossed[kind] += a["shortwave_in"] == 0 and b["shortwave_in"] == 1100
        else:
            crossed[kind] += a != b
    assert crossed == {kind: 10 for kind in KINDS}


@pytest.mark.parametrize(
    ("n_layers", "stable"), [(1, PUBLISHED_STABLE), pytest.param(5, DEFAULT_STABLE, marks=pytest.mark.slow)]
)
def test_no_output_jumps(n_layers, stable, tmp_path):
    jumps, bisected, lost = find_jumps(random_segments(18, seed=7), solver(n_layers, tmp_path, stable))
    assert bisected > 150
    assert lost == 0
    assert jumps == []


@pytest.mark.slow
@pytest.mark.parametrize("n_layers", [1, 5])
def test_no_output_jumps_on_two_hundred_lines(n_layers, tmp_path):
    """With the default parameters there is one solution everywhere: nothing jumps, nothing is lost."""
    jumps, _, lost = find_jumps(
        random_segments(200, seed=2025), solver(n_layers, tmp_path, DEFAULT_STABLE), per_output=2
    )
    assert lost == 0
    assert jumps == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::canveg_jax.NotConvergedWarning")
def test_jumps_with_the_published_stable_air_are_near_neutral_and_calm(tmp_path):
    """`psi = 1 - 0.31 zeta`: what jumps is the choice between two solutions, stable and near neutral, in calm air."""
    segments, solve = random_segments(200, seed=2025), solver(1, tmp_path, PUBLISHED_STABLE)
    jumps, _, lost = find_jumps(segments, solve)
    assert lost < 1000
    if jumps:
        lines, before = np.array([jump.segment for jump in jumps]), np.array([jump.t for jump in jumps])
        after = before + np.array([jump.width for jump in jumps])
        heat = np.stack([solve(segments.at(lines, t))[0]["H"] for t in (before, after)])
        assert np.abs(heat).min(axis=0).max() < 5.0
        assert segments.at(lines, before)["friction_velocity"].max() < 0.16
        assert np.unique(lines).size <= 10
