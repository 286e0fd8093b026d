"""A row that the loss leaves out has exactly no influence, whatever it holds; and what cannot be solved is flagged."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import canveg_jax as cv
from canveg_jax.solver.acceptance import FORCING, NOT_CONVERGED, PARAMETER, SOLVED, STRESS
from canveg_jax.solver.acceptance import SITE as SITE_INDEX
from canveg_jax.synthetic import SYNTHETIC_SITES, synthetic_weather

ROWS = 512
DRAWS = 5
JUNK = (np.nan, np.inf, -np.inf, -9999.0, -6999.0, 1e30)
SITE = SYNTHETIC_SITES["SYN-Hum"]
WEATHER = synthetic_weather(SITE, 365, 0)


def half_hours(rows: int, dtype: str, seed: int = 0) -> dict[str, np.ndarray]:
    chosen = np.random.default_rng(seed).integers(0, WEATHER.sizes["time"], rows)
    return {name: WEATHER[name].values[chosen].astype(dtype) for name in cv.FORCING_TABLE if name in WEATHER}


SLOW = [pytest.param(case, marks=pytest.mark.slow) for case in [(1, "float32"), (5, "float64"), (5, "float32")]]


@pytest.fixture(scope="module", params=[(1, "float64"), *SLOW], ids=str)
def model(request):
    """Value and derivative of a sum over the rows in use, to everything; and a clean batch."""
    layers, dtype = request.param
    canopy = cv.Canopy(SITE.model_copy(update={"n_layers": layers}))

    def loss(shared, slope, columns, stress, start, use):
        solution = canopy.compute(shared | {"kball": slope}, columns, stress, start=start)
        fluxes = solution.fluxes
        total = jnp.where(use, fluxes.LE / 100 + fluxes.NEE / 10 + fluxes.H / 100, 0.0).sum()
        return total, (fluxes, solution.profiles, solution.diagnostics)

    program = jax.jit(jax.value_and_grad(loss, (0, 1, 2, 3), has_aux=True))
    columns = half_hours(ROWS, dtype)
    columns["longwave_in"] = np.full(ROWS, np.nan, dtype)
    columns["observed_canopy_height"] = np.full(ROWS, np.nan, dtype)
    shared = {name: jnp.asarray(cv.PARAMETER_TABLE[name].default, dtype) for name in cv.TUNABLE if name != "kball"}
    size = 5 * layers + 1
    return program, [
        shared,
        np.full(ROWS, 8.0, dtype),
        columns,
        np.full(ROWS, 0.8, dtype),
        np.zeros((ROWS, size), dtype),
    ]


def broken(rng, arguments, rows):
    """The batch with numbers of these rows replaced: of one column or several, of stress, of a parameter, of the start."""
    shared, slope, columns, stress, start = arguments
    slope, columns, stress, start = slope.copy(), {k: v.copy() for k, v in columns.items()}, stress.copy(), start.copy()
    optional = [name for name, info in cv.FORCING_TABLE.items() if info.optional]
    for row in rows:
        kind = rng.integers(0, 6)
        junk = rng.choice(JUNK)
        if kind == 0:
            stress[row] = rng.choice([*JUNK, 0.0, -0.5, 1.5])
        elif kind == 1:
            slope[row] = rng.choice([np.nan, np.inf])
        else:
            names = rng.choice([n for n in columns if n not in optional], 1 if kind < 4 else 5, replace=False)
            for name in names:
                columns[name][row] = junk
            if kind == 5:
                columns[rng.choice(optional)][row] = -9999.0
        if rng.random() < 0.5:
            start[row] = rng.choice(JUNK)
    return [shared, slope, columns, stress, start]


@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
def test_broken_rows_change_no_bit(model):
    """None, a few, most and all rows broken at random, against valid rows in their place that the loss does not use."""
    program, clean = model
    rng = np.random.default_rng(1)
    for draw in range(DRAWS):
        count = (1, 20, ROWS // 2, ROWS - 3, ROWS)[draw]
        rows = rng.permutation(ROWS)[:count]
        use = np.ones(ROWS, bool)
        use[rows] = False
        (value, (fluxes, profiles, diagnostics)), gradient = program(*broken(rng, clean, rows), use)
        (expected, (right, right_profiles, _)), expected_gradient = program(*clean, use)
        assert np.asarray(value).tobytes() == np.asarray(expected).tobytes()
        jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b), gradient, expected_gradient)
        for a, b in zip(*map(jax.tree.leaves, ((fluxes, profiles), (right, right_profiles))), strict=True):
            np.testing.assert_array_equal(a[use], b[use])
        assert np.asarray(diagnostics.converged)[use].all()
        flagged = np.asarray(diagnostics.reason)[rows]
        assert (
            np.isin(flagged, [FORCING, STRESS, PARAMETER]).all() and not np.asarray(diagnostics.converged)[rows].any()
        )
        assert all(np.isnan(np.asarray(y)[rows]).all() for y in jax.tree.leaves((fluxes, profiles)))
        own = [g for g in jax.tree.leaves(gradient[1:]) if g.shape[:1] == (ROWS,)]
        assert all(not np.asarray(g)[rows].any() for g in own)


def test_a_broken_row_in_use_spoils_what_it_reaches(model):
    program, clean = model
    columns = {k: v.copy() for k, v in clean[2].items()}
    columns["air_temperature"][3] = np.nan
    (value, _), gradient = program(clean[0], clean[1], columns, *clean[3:], np.ones(ROWS, bool))
    assert np.isnan(value) and all(np.isnan(g) for g in gradient[0].values())
    for g in jax.tree.leaves(gradient[1:]):
        assert np.isnan(np.asarray(g)[3]).all() and np.isfinite(np.delete(np.asarray(g), 3)).all()


@pytest.mark.slow
def test_equal_to_the_batch_without_them():
    canopy = cv.Canopy(SITE.model_copy(update={"n_layers": 1}))
    columns = half_hours(40, "float64", seed=2)
    bad = {k: v.copy() for k, v in columns.items()}
    bad["pressure"][[1, 7, 39]] = [1013.0, np.nan, -9999.0]
    keep = ~np.isin(np.arange(40), [1, 7, 39])

    def loss(slope, columns, use):
        solution = canopy.compute({"kball": slope}, columns)
        return jnp.where(use, solution.fluxes.LE, 0.0).sum(), solution.fluxes.LE

    gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (value, le), slope = gradient(8.0, bad, keep)
    (right, expected), right_slope = gradient(8.0, {k: v[keep] for k, v in columns.items()}, np.ones(37, bool))
    np.testing.assert_allclose([value, slope], [right, right_slope], rtol=1e-12)
    np.testing.assert_allclose(le[keep], expected, rtol=1e-12)


@pytest.mark.parametrize("stress", [pytest.param(name, marks=pytest.mark.slow) for name in cv.STRESSES])
def test_schemes_never_see_a_broken_row(stress):
    """Their derivative at a number that is none would reach the parameters that they share."""
    canopy = cv.Canopy(SITE.model_copy(update={"n_layers": 1}), stress=stress)
    columns = {k: v.copy() for k, v in half_hours(16, "float64").items()}
    columns["soil_water_content"][:] = 0.07
    for k, name in enumerate(("soil_water_content", "air_temperature", "vapour_pressure")):
        columns[name][k] = np.nan

    def loss(p):
        solution = canopy.compute(p, columns)
        return jnp.where(solution.diagnostics.converged, solution.fluxes.LE, 0.0).sum()

    names = (*canopy.stress.reads, "kball")
    gradient = jax.jit(jax.grad(loss))({name: jnp.asarray(cv.PARAMETER_TABLE[name].default) for name in names})
    assert all(np.isfinite(g) for g in gradient.values()) and gradient["kball"] != 0


def test_reasons_and_warnings():
    canopy = cv.Canopy(SITE.model_copy(update={"n_layers": 1}))
    columns = half_hours(16, "float64")
    columns["co2"][2] = -9999.0
    stress = np.ones(16)
    stress[5] = 0.0
    with pytest.warns(cv.NotConvergedWarning) as warned:
        solution = canopy.solve(cv.Forcing(**columns), stress)
    reason = np.full(16, SOLVED)
    reason[[2, 5]] = FORCING, STRESS
    np.testing.assert_array_equal(solution.diagnostics.reason, reason)
    np.testing.assert_array_equal(np.isnan(solution.fluxes.LE), reason != SOLVED)
    texts = [str(w.message) for w in warned]
    assert "1 of 16 half-hours were not solved (rows 2): a forcing value is missing or outside the range" in texts[0]
    assert "(rows 5): the stress factor is outside (0, 1]" in texts[1]
    impatient = cv.Canopy(canopy.site, options=cv.SolverOptions(max_passes=2))
    with pytest.warns(cv.NotConvergedWarning, match="16 of 16 half-hours did not converge within 2 passes"):
        solution = impatient.solve(cv.Forcing(**half_hours(16, "float64")))
    assert (solution.diagnostics.reason == NOT_CONVERGED).all() and set(reason) <= set(cv.REASONS)


def test_an_unknown_site_is_no_other_site():
    """JAX clips an index that is out of range: the row would be solved as one of the last site."""
    canopy = cv.Canopy(
        [SITE.model_copy(update={"n_layers": 1}), SITE.model_copy(update={"n_layers": 1, "latitude": 10.0})]
    )
    forcing = cv.Forcing(site=[0, 1, 2, -1], **half_hours(4, "float64"))
    with pytest.warns(cv.NotConvergedWarning, match=r"2 of 4 half-hours were not solved \(rows 2, 3\): its site index"):
        solution = canopy.solve(forcing)
    np.testing.assert_array_equal(solution.diagnostics.reason, [SOLVED, SOLVED, SITE_INDEX, SITE_INDEX])
    np.testing.assert_array_equal(np.isnan(solution.fluxes.LE), [False, False, True, True])


def test_no_rows():
    canopy = cv.Canopy(SITE.model_copy(update={"n_layers": 1}))
    columns = {name: column[:0] for name, column in half_hours(1, "float64").items()}
    solution = canopy.solve(cv.Forcing(**columns))
    assert solution.fluxes.LE.shape == (0,) and solution.profiles.co2.shape[0] == 0 and solution.state.shape == (0, 6)
    gradient = jax.jit(jax.grad(lambda slope: canopy.compute({"kball": slope}, columns).fluxes.LE.sum()))(8.0)
    assert gradient == 0.0


def test_shapes_are_refused_by_name():
    canopy = cv.Canopy(SITE.model_copy(update={"n_layers": 3}))
    columns = half_hours(4, "float64")
    with pytest.raises(cv.ForcingError, match=r"forcing 'lai' has shape \[4, 1\]"):
        canopy.compute({}, columns | {"lai": np.ones((4, 1))})
    with pytest.raises(cv.ForcingError, match=r"expected columns \[time\]; 'air_temperature' has shape \[\]"):
        canopy.compute({}, {name: column[0] for name, column in columns.items()})
    with pytest.raises(ValueError, match=r"stress must have shape .* got \[4, 1\]"):
        canopy.compute({}, columns, np.ones((4, 1)))
