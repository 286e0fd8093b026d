"""Stomatal conductance schemes: against bisection of the leaf equations, limits, in the canopy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import canveg_jax as cv
from canveg_jax import Parameters
from canveg_jax.physics.conductance import CONDUCTANCES, ball_berry, medlyn
from canveg_jax.physics.gas_exchange import gas_exchange
from canveg_jax.physics.photosynthesis import kinetics
from canveg_jax.physics.thermodynamics import saturation_vapour_pressure
from tests.canopy.test_forcing import COLUMNS

EQUATIONS = pytest.mark.parametrize("name", list(CONDUCTANCES))
SMOOTH = pytest.mark.parametrize("smooth", [False, True])


def exchange(name, smooth, t, light, ca, g, relative, stress, p):
    """Gas exchange of a leaf in air whose vapour pressure is `relative` times saturation at its temperature `t`, K."""
    rates = kinetics(t, light, p)
    saturation = saturation_vapour_pressure(t)
    stomata = CONDUCTANCES[name](
        humidity=jnp.clip(relative, 0.01, 1.0), deficit=saturation * (1.0 - relative) / 1000.0, stress=stress,
        compensation=rates.gamma, p=p,
    )  # fmt: skip
    return gas_exchange(rates, ca, g, stomata, smooth)


solve = jax.jit(exchange, static_argnums=(0, 1))
_rates = jax.jit(kinetics)


def conductance(name, net, cs, gamma, t, relative, stress, p):
    """The published equations in NumPy, `bprime` where the net rate is not positive."""
    deficit = np.asarray(saturation_vapour_pressure(t)) * (1.0 - relative) / 1000.0
    gain = np.maximum(net, 0.0)
    if name == "ball_berry":
        return p.bprime + p.kball * stress * np.clip(relative, 0.01, 1.0) * gain / cs
    if name == "medlyn":
        return p.bprime + 1.6 * (1.0 + stress * p.medlyn_slope / np.sqrt(np.maximum(deficit, 0.05))) * gain / cs
    above = np.where(net > 0, cs - gamma, 1.0)
    return p.bprime + stress * p.leuning_slope * gain / (above * (1.0 + np.maximum(deficit, 0.0) / p.leuning_deficit))


def demand(rates, ci, smooth):
    """Net rate that photosynthesis makes of `ci`: the smaller limit, or the smaller root of their quadratic."""
    rubisco, light = rates.vm / (ci + rates.kco), rates.j / (4.0 * ci + 8.0 * rates.gamma)
    if smooth:
        both = rubisco + light
        rate = (both - np.sqrt(both**2 - 4 * 0.98 * rubisco * light)) / (2 * 0.98)
        return (ci - rates.gamma) * rate - rates.dark_respiration
    return np.minimum(rubisco * (ci - rates.gamma), light * (ci - rates.gamma)) - rates.dark_respiration


def by_bisection(name, smooth, t, light, ca, g, relative, stress, p):
    """Net rate by 200 halvings of the whole range that the boundary layer allows."""
    rates = jax.tree.map(np.asarray, _rates(t, light, p))
    lowest = rates.gamma if name == "leuning" else 0.0
    low, high = np.full(t.shape, -60.0), np.maximum(g * (ca - lowest) * (1 - 1e-12), 0.0)
    for _ in range(200):
        a = 0.5 * (low + high)
        cs = ca - a / g
        gsw = conductance(name, a, cs, rates.gamma, t, relative, stress, p)
        more = demand(rates, np.maximum(cs - 1.6 * a / gsw, 0.0), smooth) > a
        low, high = np.where(more, a, low), np.where(more, high, a)
    return low


def leaves(n: int, seed: int) -> dict[str, np.ndarray]:
    """Random leaves: dark to bright, dry to supersaturated, CO2 from the least that a pass uses (50), closed to open air."""
    rng = np.random.default_rng(seed)
    return {
        "t": rng.uniform(260, 325, n), "light": np.where(rng.random(n) < 0.15, 0.0, rng.uniform(0, 2200, n)),
        "ca": np.where(rng.random(n) < 0.2, rng.uniform(50, 90, n), rng.uniform(90, 800, n)),
        "g": np.exp(rng.uniform(np.log(0.02), np.log(5.0), n)), "relative": rng.uniform(0.0, 1.05, n),
        "stress": rng.uniform(0.001, 1.0, n),
    }  # fmt: skip


@EQUATIONS
@SMOOTH
@pytest.mark.parametrize("changes", [{}, {"bprime": 1e-3, "kball": 20.0, "medlyn_slope": 15.0, "leuning_slope": 30.0}])
def test_against_bisection(name, smooth, changes):
    x, p = leaves(20_000, 3), Parameters(**changes)
    made = jax.tree.map(np.asarray, solve(name, smooth, *x.values(), p))
    slow = by_bisection(name, smooth, *x.values(), jax.tree.map(np.asarray, p))
    assert np.abs(made.net - slow).max() < (1e-7 if smooth else 1e-10)
    assert 0.2 < (slow > 0).mean() < 0.95
    gamma = np.asarray(_rates(x["t"], x["light"], p).gamma)
    expected = conductance(name, made.net, made.cs, gamma, x["t"], x["relative"], x["stress"], p)
    np.testing.assert_allclose(made.conductance, expected, rtol=1e-9)


@EQUATIONS
@given(
    t=st.floats(260, 325), light=st.floats(0, 2200), ca=st.floats(50, 800), g=st.floats(0.02, 5), relative=st.floats(0, 1.05),
    stress=st.floats(1e-3, 1),
)  # fmt: skip
def test_the_equations_hold(name, p, **x):
    made = jax.tree.map(float, solve(name, False, *x.values(), p))
    rates = jax.tree.map(float, _rates(x["t"], x["light"], p))
    assert made.net == pytest.approx(demand(rates, made.ci, False), abs=1e-9)
    assert made.net == pytest.approx(x["g"] * (x["ca"] - made.cs), abs=1e-9)
    assert made.net == pytest.approx(made.conductance / 1.6 * (made.cs - made.ci), abs=1e-9)
    if made.net > 0:
        assert rates.gamma < made.ci < made.cs < x["ca"]
    else:
        assert made.conductance == float(p.bprime)


def test_limits():
    x = leaves(500, 5) | {"light": np.full(500, 900.0), "ca": np.full(500, 400.0), "stress": np.ones(500)}
    at = lambda name, **changes: np.asarray(solve(name, False, *x.values(), Parameters(**changes)).conductance)  # noqa: E731
    assert np.abs(at("ball_berry", kball=0.0) - 0.05).max() < 1e-12
    assert np.abs(at("leuning", leuning_slope=0.0) - 0.05).max() < 1e-12
    far = Parameters(leuning_deficit=1e12)
    dry, humid = (solve("leuning", False, *(x | {"relative": np.full(500, r)}).values(), far).net for r in (0.1, 1.0))
    np.testing.assert_allclose(dry, humid, rtol=1e-9)
    saturated = [
        solve("medlyn", False, *(x | {"relative": np.full(500, r)}).values(), Parameters()).net for r in (1.0, 1.05)
    ]
    assert np.array_equal(*saturated)


def test_medlyn_is_ball_berry_where_their_slopes_agree(p):
    x = leaves(500, 6)
    slope = float(medlyn(humidity=0.5, deficit=1.0, stress=0.8, compensation=40.0, p=p).slope)
    assert slope == pytest.approx(1.6 * (1 + 0.8 * 4.0))
    same = ball_berry(humidity=1.0, deficit=0.0, stress=1.0, compensation=40.0, p=Parameters(kball=slope))
    rates = kinetics(x["t"], x["light"], p)
    theirs = gas_exchange(rates, x["ca"], x["g"], medlyn(humidity=0.5, deficit=1.0, stress=0.8, compensation=40.0, p=p))
    np.testing.assert_allclose(gas_exchange(rates, x["ca"], x["g"], same).net, theirs.net, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "slope"),
    [("medlyn", "medlyn_slope"), pytest.param("leuning", "leuning_slope", marks=pytest.mark.slow)],
)
def test_in_the_canopy(name, slope):
    """One layer, by day: converged, the energy closes, and the derivative by the slope is that of the converged model."""
    options = cv.SolverOptions(tolerance=1e-9, adjoint_tolerance=1e-10, max_passes=300)
    canopy = cv.Canopy(cv.Site.named("US-Bi1", n_layers=1), conductance=name, options=options)
    columns = {k: np.asarray(v) for k, v in COLUMNS.items()}
    value = float(canopy.parameters.values[slope])

    def total(slopes):
        solution = canopy.compute({slope: slopes}, columns)
        return (solution.fluxes.LE + solution.fluxes.NEE).sum(), solution

    run = jax.jit(jax.value_and_grad(total, has_aux=True))
    (_, solution), gradient = run(value)
    fluxes = solution.fluxes
    assert np.asarray(solution.diagnostics.converged).all()
    np.testing.assert_allclose(fluxes.Rnet, fluxes.LE + fluxes.H + fluxes.G, atol=1e-6)
    step = 1e-4 * value
    difference = (run(value + step)[0][0] - run(value - step)[0][0]) / (2 * step)
    assert float(gradient) == pytest.approx(float(difference), rel=1e-5) and abs(float(gradient)) > 0.1


def test_an_unknown_conductance_is_refused_with_a_suggestion():
    with pytest.raises(ValueError, match="unknown conductance 'medlin'.*Did you mean 'medlyn'"):
        cv.Canopy(cv.Site.named("US-Bi1", n_layers=1), conductance="medlin")
