"""Half-hours are independent: order, mix of sites, chunks, parameters and stress by row, bad rows, precision."""

import pickle
import warnings

import jax
import numpy as np
import pytest

import canveg_jax as cv
import canveg_jax.canopy as canopy_module
from tests.canopy.segments import random_segments
from tests.canopy.synthetic_sites import N_AIR_LAYERS, small_site, small_sites

ROWS, LAYERS = 24, 3
TIGHT = cv.SolverOptions(tolerance=1e-8, max_passes=300)
FREE = np.ones(ROWS)
"""No stress. Given everywhere, so that one compiled program serves most of the tests."""
MAIN = ("LE", "H", "G", "Rnet", "NEE", "GPP", "soil_respiration", "zeta", "canopy_conductance")


def conditions() -> dict[str, np.ndarray]:
    """Random weather of 24 half-hours at three sites."""
    return random_segments(ROWS, seed=11).at(np.arange(ROWS), np.linspace(0.1, 0.9, ROWS))


def make_forcing(**changes) -> cv.Forcing:
    made = conditions()
    columns = {name: made[name] for name in cv.FORCING_TABLE if name in made}
    return cv.Forcing(site=np.arange(ROWS) % 3, **(columns | changes))


def with_rows(forcing: cv.Forcing, rows, **values) -> cv.Forcing:
    """Forcing with some columns replaced in some rows."""
    columns = {name: np.array(getattr(forcing, name)) for name in cv.FORCING_TABLE}
    for name, value in values.items():
        columns[name][rows] = value
    return cv.Forcing(site=forcing.site, **columns)


def assert_same(a: cv.Solution, b: cv.Solution, atol: float, rows=slice(None), other=slice(None)):
    for name in MAIN:
        np.testing.assert_allclose(
            getattr(a.fluxes, name)[rows], getattr(b.fluxes, name)[other], rtol=0, atol=atol, err_msg=name
        )
    for name, value in a.profiles._asdict().items():
        np.testing.assert_allclose(
            value[rows], getattr(b.profiles, name)[other], rtol=1e-9, atol=10 * atol, err_msg=name
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sites")


@pytest.fixture(scope="module")
def canopy(folder) -> cv.Canopy:
    return cv.Canopy(small_sites(LAYERS, folder), options=TIGHT)


@pytest.fixture(scope="module")
def solution(canopy) -> cv.Solution:
    solved = canopy.solve(make_forcing(), FREE)
    assert solved.diagnostics.converged.all()
    return solved


def test_shapes(solution):
    assert {x.shape for x in jax.tree.leaves(solution.fluxes)} == {(ROWS,)}
    shapes = {name: value.shape[1:] for name, value in solution.profiles._asdict().items()}
    assert shapes["air_temperature"] == shapes["vapour_pressure"] == shapes["co2"] == (LAYERS + N_AIR_LAYERS,)
    assert shapes["leaf_temperature"] == (2, LAYERS) and shapes["wind"] == (LAYERS,)
    assert all(isinstance(x, np.ndarray) for x in jax.tree.leaves(solution))


def test_order_does_not_matter(canopy, solution):
    order = np.random.default_rng(1).permutation(ROWS)
    assert_same(canopy.solve(make_forcing()[order], FREE), solution, 1e-10, other=order)


def test_a_site_in_a_batch_of_several_is_the_site_alone(folder, solution):
    rows = np.arange(1, ROWS, 3)
    alone = cv.Forcing(**{name: np.asarray(getattr(make_forcing(), name))[rows] for name in cv.FORCING_TABLE})
    single = cv.Canopy(small_site("forest", LAYERS, folder), options=TIGHT).solve(alone)
    assert_same(single, solution, 1e-7, other=rows)


def test_canopies_of_other_sites_share_one_program(canopy, solution, monkeypatch):
    """Numbers of the site, parameter values and the stress function are arguments of the compiled program."""
    traced = []
    solve_canopy = canopy_module.solve_canopy
    monkeypatch.setattr(canopy_module, "solve_canopy", lambda *args: traced.append(args) or solve_canopy(*args))
    turned = cv.Canopy([canopy.sites[i] for i in (1, 2, 0)], options=TIGHT)
    same = turned.solve(cv.Forcing(**vars(make_forcing()) | {"site": (make_forcing().site + 2) % 3}), FREE)
    assert_same(same, solution, 1e-10)
    moved = [s.model_copy(update={"latitude": -30.0, "name": f"southern {s.name}"}) for s in canopy.sites]
    for other in (
        cv.Canopy(moved, options=TIGHT),
        cv.Canopy(canopy.sites, cv.Parameters(kball=7.0), options=TIGHT),
        cv.Canopy(canopy.sites, stress="soil_moisture", options=TIGHT),
        cv.Canopy(canopy.sites, stress=lambda forcing, parameters: 0.5, options=TIGHT),
    ):
        assert np.abs(other.solve(make_forcing()).fluxes.LE - solution.fluxes.LE).max() > 1.0
    assert not traced


def test_chunks_and_padding(canopy, solution, monkeypatch):
    monkeypatch.setattr(canopy_module, "record_chunk", lambda: ROWS)
    twice = np.concatenate([np.arange(ROWS), np.arange(0, ROWS, 2)])
    chunked = canopy.solve(make_forcing()[twice], np.ones(twice.size))
    assert chunked.diagnostics.passes.shape == twice.shape
    assert_same(chunked, solution, 1e-10, other=twice)


def test_parts_of_a_batch_in_turn_are_the_batch(canopy, solution):
    """Five parts of five rows, the last filled up with a copy."""
    parts = cv.Canopy(canopy.sites, options=TIGHT._replace(rows_at_once=5))
    assert_same(parts.solve(make_forcing(), FREE), solution, 1e-7)


@pytest.mark.slow
def test_derivatives_of_parts_of_a_batch_are_those_of_the_batch(canopy):
    parts = cv.Canopy(canopy.sites, options=TIGHT._replace(rows_at_once=5))
    slope = np.where(np.arange(ROWS) % 2, 8.17, 9.0)

    def total(values, forcing, stress, canopy):
        parameters = {"kball": slope * values["slope"], "vcopt": values["vcopt"]}
        fluxes = canopy.compute(parameters, forcing, stress).fluxes
        return (fluxes.LE * np.linspace(0.5, 1.0, ROWS)).sum() + fluxes.NEE.sum()

    values, columns = (
        {"slope": 1.0, "vcopt": 150.0},
        {n: np.array(getattr(make_forcing(), n)) for n in cv.FORCING_TABLE},
    )
    columns = {name: column for name, column in columns.items() if np.isfinite(column).all()}

    def derivative(canopy):
        fluxes = lambda v, c, s: total(v, cv.Forcing(site=make_forcing().site, **c), s, canopy)  # noqa: E731
        return jax.jit(jax.grad(fluxes, argnums=(0, 1, 2)))(values, columns, FREE)

    ours, whole = derivative(parts), derivative(canopy)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6 * np.abs(b).max())
    assert min(abs(slope) for slope in jax.tree.leaves(whole[0])) > 0.01


def test_parameters_by_half_hour(canopy, solution):
    """Rows with their own parameters are those of a canopy with these parameters; the others do not change."""
    kball = np.where(np.arange(ROWS) % 2, 8.17, 14.0)
    own = cv.Canopy(canopy.sites, cv.Parameters(kball=kball), options=TIGHT).solve(make_forcing(), FREE)
    shared = jax.jit(canopy.compute)(cv.Parameters(kball=14.0), make_forcing(), FREE)
    assert_same(own, shared, 1e-7, rows=slice(0, None, 2), other=slice(0, None, 2))
    assert_same(own, solution, 1e-7, rows=slice(1, None, 2), other=slice(1, None, 2))
    assert np.abs(shared.fluxes.LE - solution.fluxes.LE).max() > 1


def test_stress_by_half_hour_and_by_layer(canopy, solution):
    factor = np.linspace(0.2, 1.0, ROWS)
    by_row = canopy.solve(make_forcing(), factor)
    by_layer = canopy.solve(make_forcing(), np.repeat(factor[:, None], LAYERS, 1))
    assert_same(by_layer, by_row, 1e-7)
    top_only = np.ones((ROWS, LAYERS))
    top_only[:, -1] = 0.2
    stressed = canopy.solve(make_forcing(), top_only).profiles.stomatal_conductance
    free = solution.profiles.stomatal_conductance
    assimilating = solution.profiles.net_assimilation[:, :, -1] > 0.1
    assert (stressed[:, :, -1] < free[:, :, -1] - 1e-6)[assimilating].all()
    assert assimilating.sum() > 10


def test_a_stress_function_and_its_name(canopy, folder):
    by_name = cv.Canopy(canopy.sites, stress="soil_moisture", options=TIGHT)
    forcing = make_forcing(soil_water_content=np.linspace(0.03, 0.3, ROWS))
    factor = jax.vmap(cv.soil_moisture_stress, in_axes=(0, None))(forcing, canopy.parameters)
    assert 0 < factor.min() < 0.2 and factor.max() == 1
    assert_same(by_name.solve(forcing), canopy.solve(forcing, factor), 1e-7)


def test_single_precision_agrees_with_double(canopy, solution):
    single = jax.tree.map(
        lambda x: np.asarray(x, np.float32 if np.issubdtype(x.dtype, np.floating) else x.dtype), make_forcing()
    )
    options = cv.SolverOptions()
    solved = cv.Canopy(canopy.sites, options=options).solve(single)
    assert all(x.dtype == np.float32 for x in jax.tree.leaves(solved.fluxes))
    assert solved.diagnostics.converged.all()
    for name, bound in {"LE": 0.3, "H": 0.3, "G": 0.1, "Rnet": 0.1, "NEE": 0.02, "soil_respiration": 0.01}.items():
        difference = np.abs(getattr(solved.fluxes, name) - getattr(solution.fluxes, name))
        assert difference.max() < bound, name
        assert np.median(difference) < 0.1 * bound, name


ARCTIC = {"air_temperature": -40.0, "vapour_pressure": 0.012, "soil_temperature": -12.0}
EXTREMES = {
    "no leaves by day": {"lai": 0.0, "hour": 12.0, "shortwave_in": 800.0},
    "no leaves by night": {"lai": 0.0, "hour": 1.0, "shortwave_in": 0.0},
    "hardly a leaf": {"lai": 1e-9, "hour": 12.0, "shortwave_in": 800.0},
    "dense": {"lai": 12.0, "hour": 12.0, "shortwave_in": 800.0},
    "negative shortwave": {"hour": 0.0, "shortwave_in": -4.0},
    "shortwave with the sun down": {"hour": 2.0, "shortwave_in": 30.0},
    "sun at the horizon": {"day_of_year": 80.0, "hour": 6.0, "shortwave_in": 5.0},
    "calm": {"wind_speed": 0.0, "friction_velocity": 0.0},
    "storm": {"wind_speed": 40.0, "friction_velocity": 4.0},
    "saturated": {"air_temperature": 15.0, "vapour_pressure": 1.705, "soil_temperature": 12.0},
    "bone dry": {"vapour_pressure": 0.001},
    "-40 degC": {**ARCTIC, "hour": 10.0, "shortwave_in": 120.0},
    "-40 degC at night": {**ARCTIC, "hour": 2.0, "shortwave_in": 0.0},
    "+50 degC": {"air_temperature": 50.0, "vapour_pressure": 1.2, "soil_temperature": 42.0, "shortwave_in": 950.0},
    "dry soil": {"soil_water_content": 0.0},
    "wet soil": {"soil_water_content": 0.8},
    "bright beyond clear sky": {"hour": 12.0, "shortwave_in": 1500.0},
}  # fmt: skip


def test_extremes_are_solved(canopy):
    forcing = make_forcing()
    for row, values in enumerate(EXTREMES.values()):
        forcing = with_rows(forcing, row, **values)
    solved = canopy.solve(forcing, FREE)
    for row, name in enumerate(EXTREMES):
        assert solved.diagnostics.converged[row], name
        assert all(np.isfinite(x[row]).all() for x in jax.tree.leaves((solved.fluxes, solved.profiles))), name
    f = solved.fluxes
    assert np.abs(f.Rnet - f.LE - f.H - f.G).max() < 1e-6
    bare = [row for row, name in enumerate(EXTREMES) if name.startswith("no leaves")]
    for canopy_flux in (f.canopy_LE, f.canopy_H, f.GPP, f.leaf_respiration, f.canopy_conductance):
        assert (canopy_flux[bare] == 0).all()
    almost = list(EXTREMES).index("hardly a leaf")
    assert abs(f.GPP[almost]) < 1e-6
    assert f.shortwave_out[list(EXTREMES).index("negative shortwave")] == 0
    assert f.shortwave_out[list(EXTREMES).index("shortwave with the sun down")] > 0


def test_half_hours_that_do_not_converge_are_flagged_and_announced(canopy):
    hasty = cv.Canopy(canopy.sites, options=cv.SolverOptions(max_passes=2))
    with pytest.warns(
        cv.NotConvergedWarning, match=r"\d+ of 24 half-hours did not converge within 2 passes \(rows 0, "
    ):
        solved = hasty.solve(make_forcing())
    d = solved.diagnostics
    assert d.passes.max() == 2
    assert (d.residual[~d.converged] > 1e-3).all() and (d.residual[d.converged] <= 1e-3).all()
    assert (~d.converged).sum() > ROWS / 2


@pytest.mark.parametrize(
    "column", ["air_temperature", "vapour_pressure", "lai", "friction_velocity", "soil_temperature"]
)
def test_a_row_that_is_not_a_number_is_flagged_and_touches_no_other(canopy, solution, column):
    forcing = with_rows(make_forcing(), [4], **{column: np.nan})
    with pytest.warns(
        cv.NotConvergedWarning, match=r"1 of 24 half-hours were not solved \(rows 4\): a forcing value is missing"
    ):
        solved = canopy.solve(forcing, FREE)
    others = np.arange(ROWS) != 4
    assert solved.diagnostics.converged[others].all() and not solved.diagnostics.converged[4]
    assert_same(solved, solution, 1e-10, rows=others, other=others)


def test_a_canopy_can_be_pickled(canopy, solution):
    again = pickle.loads(pickle.dumps(canopy))
    assert again.sites == canopy.sites and again.options == canopy.options
    assert_same(again.solve(make_forcing(), FREE), solution, 0.0)


def test_calling_it_gives_the_fluxes(canopy, solution):
    fluxes = canopy(make_forcing(), FREE)
    assert isinstance(fluxes, cv.Fluxes)
    np.testing.assert_array_equal(fluxes.LE, solution.fluxes.LE)


def test_errors_say_what_to_do(canopy, folder):
    with pytest.raises(
        ValueError, match=r"stress must have shape \[time\] = \[24\] or \[time, layer\] = \[24, 3\]; got \[7\]"
    ):
        canopy.solve(make_forcing(), np.ones(7))
    with pytest.raises(ValueError, match="unknown stress 'drought'; there are none, soil_moisture, feddes, jarvis"):
        cv.Canopy(canopy.sites, stress="drought")
    with pytest.raises(
        ValueError, match="must share n_layers, n_air_layers, soil_respiration and soil_heat; got alfalfa: 3"
    ):
        cv.Canopy([canopy.sites[0], small_site("alfalfa", 2, folder)])
    with pytest.raises(cv.UnknownParameterError, match="unknown parameter 'kbal'. Did you mean 'kball'?"):
        canopy.compute({"kbal": 3.0}, make_forcing())
    with pytest.raises(cv.ForcingError, match=r"unknown \['rain'\], missing \[\]"):
        make_forcing(rain=np.zeros(ROWS))


def test_no_warning_when_all_is_well(canopy):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        canopy.solve(make_forcing(), FREE)


def test_alfalfa_respiration_without_a_measured_canopy_height_uses_the_site():
    site = cv.Site.named("US-Bi1", n_layers=1, soil_respiration="alfalfa")
    columns = {
        "day_of_year": [180.0, 180.0], "hour": [12.0, 12.0], "air_temperature": [24.0, 24.0], "shortwave_in": [700.0] * 2,
        "vapour_pressure": [1.2, 1.2], "wind_speed": [3.0, 3.0], "co2": [405.0] * 2, "pressure": [101.0] * 2,
        "friction_velocity": [0.3, 0.3], "soil_temperature": [20.0] * 2, "soil_water_content": [0.2] * 2, "lai": [2.0] * 2,
        "observed_canopy_height": [np.nan, site.canopy_height],
    }  # fmt: skip
    fluxes = cv.Canopy(site)(cv.Forcing(**{name: np.array(values) for name, values in columns.items()}))
    assert np.isfinite(fluxes.NEE).all()
    np.testing.assert_allclose(fluxes.NEE[0], fluxes.NEE[1], rtol=1e-12)
