"""The sampler on densities with known answers, the log-density of the canopy against its own parts, and a twin."""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import canveg_jax as cv
from canveg_jax import posterior as module
from canveg_jax.posterior import PosteriorWarning, agreement, log_posterior, posterior, sample
from canveg_jax.transforms import constrain, unconstrain

pytest.importorskip("numpyro")


class Straight:
    """A canopy whose LE is `kball * shortwave / 20` and NEE `-vcopt / 10`, solved where shortwave is below 900."""

    parameters = cv.Parameters(kball=6.0, vcopt=80.0)

    def compute(self, values, forcing, stress=None):
        light = jnp.asarray(forcing["shortwave_in"])
        one = jnp.ones_like(light)
        fluxes = type("F", (), {"LE": values["kball"] * light / 20.0, "NEE": -values.get("vcopt", 80.0) / 10.0 * one})
        solved = light < 900.0
        fluxes.LE = jnp.where(solved, fluxes.LE, jnp.nan)
        return type("S", (), {"fluxes": fluxes, "diagnostics": type("D", (), {"converged": solved})})


LIGHT = np.linspace(100.0, 800.0, 30)


def straight_data(sd=10.0):
    rng = np.random.default_rng(0)
    return LIGHT * 9.0 / 20.0 + sd * rng.standard_normal(30)


def test_a_correlated_normal_density():
    covariance = np.array([[1.0, 0.6], [0.6, 4.0]])
    precision = np.linalg.inv(covariance)

    def density(z):
        x = jnp.stack([z["a"] - 1.0, z["b"] + 2.0])
        return -0.5 * x @ precision @ x

    drawn, diverging = sample(density, {"a": 0.0, "b": 0.0}, chains=2, warmup=300, samples=1000, seed=0)
    both = np.stack([drawn["a"].ravel(), drawn["b"].ravel()])
    np.testing.assert_allclose(both.mean(axis=1), [1.0, -2.0], atol=0.25)
    np.testing.assert_allclose(np.cov(both), covariance, rtol=0.25)
    assert drawn["a"].shape == diverging.shape == (2, 1000) and not diverging.any()
    r_hat, effective = agreement(drawn["a"])
    assert r_hat < 1.05 and effective > 200


def test_chains_that_do_not_agree():
    rng = np.random.default_rng(0)
    assert agreement(rng.standard_normal((2, 200)) + np.array([[0.0], [3.0]]))[0] > 1.5


def test_a_straight_canopy_has_the_posterior_of_least_squares():
    observed = straight_data()
    drawn = posterior(
        Straight(),
        {"shortwave_in": LIGHT},
        {"LE": observed},
        {"LE": 10.0},
        ["kball"],
        chains=2,
        warmup=200,
        samples=500,
    )
    x = LIGHT / 20.0
    mean, sd = (x @ observed) / (x @ x), 10.0 / np.sqrt(x @ x)
    values = drawn["kball"].values
    assert values.mean() == pytest.approx(mean, abs=0.3 * sd) and values.std() == pytest.approx(sd, rel=0.2)
    assert drawn["kball"].attrs["units"] == "1" and drawn["kball"].attrs["r_hat"] < 1.05
    assert drawn["kball"].dims == ("chain", "draw")


def test_the_prior_is_uniform_within_the_bounds():
    """Observations that say nothing: quantiles of the samples are those of the bounds."""
    observed, sigma = {"LE": straight_data()}, {"LE": 1e9}
    drawn = posterior(
        Straight(), {"shortwave_in": LIGHT}, observed, sigma, ["kball"], chains=2, warmup=300, samples=1500
    )
    low, high = (getattr(cv.PARAMETER_TABLE["kball"], side) for side in ("lower", "upper"))
    quantiles = (np.quantile(drawn["kball"], [0.1, 0.5, 0.9]) - low) / (high - low)
    np.testing.assert_allclose(quantiles, [0.1, 0.5, 0.9], atol=0.06)


def density_of(observed, sigma=10.0, light=LIGHT, **more):
    return log_posterior(Straight(), {"shortwave_in": light}, {"LE": observed}, {"LE": sigma}, ["kball"], **more)


def raw(kball):
    return {"kball": jnp.asarray(unconstrain({"kball": kball}, Straight.parameters.values)["kball"])}


@pytest.mark.parametrize("errors", ["gaussian", "laplace"])
def test_the_log_density_is_that_of_its_parts(errors):
    observed = straight_data()
    density = density_of(observed, errors=errors, priors={"kball": (6.0, 2.0)})

    def by_hand(kball):
        share = (kball - 2.0) / 18.0
        z = (observed - kball * LIGHT / 20.0) / 10.0
        rho = 0.5 * z**2 if errors == "gaussian" else np.abs(z)
        return -rho.sum() + np.log(share * (1 - share)) - 0.5 * ((kball - 6.0) / 2.0) ** 2

    difference = density(raw(9.0)) - density(raw(5.0))
    assert float(difference) == pytest.approx(by_hand(9.0) - by_hand(5.0), rel=1e-9)


def test_gaps_and_unsolved_gaps_have_exactly_no_influence():
    observed = straight_data()
    observed[3] = np.nan
    light = np.append(LIGHT, 1000.0)  # this one is not solved, and not measured
    few = [i for i in range(30) if i != 3]
    a = jax.value_and_grad(density_of(np.append(observed, np.nan), light=light))(raw(9.0))
    b = jax.value_and_grad(density_of(observed[few], light=LIGHT[few]))(raw(9.0))
    np.testing.assert_allclose(a[0], b[0], rtol=1e-14)
    np.testing.assert_allclose(a[1]["kball"], b[1]["kball"], rtol=1e-12)


def test_a_measured_half_hour_that_cannot_be_solved_is_refused_at_the_start():
    light = np.append(LIGHT, 1000.0)
    observed = np.append(straight_data(), 400.0)
    assert float(density_of(observed, light=light)(raw(9.0))) == -np.inf
    with pytest.raises(ValueError, match="cannot be solved"):
        posterior(Straight(), {"shortwave_in": light}, {"LE": observed}, {"LE": 10.0}, ["kball"])


def test_a_pair_of_optics_is_uniform_on_its_simplex():
    """The density of the numbers is the determinant of their map to the pair, up to a constant."""
    names = ("par_reflect", "par_trans")

    def pair(z):
        values = constrain(dict(zip(names, z, strict=True)), {})
        return jnp.stack([values[name] for name in names])

    points = jnp.array([[0.3, -1.0], [-2.0, 0.5]])
    log_volume = [jnp.linalg.slogdet(jax.jacobian(pair)(z))[1] for z in points]
    log_prior = [module._log_prior(dict(zip(names, z, strict=True))) for z in points]
    assert float(log_prior[0] - log_prior[1]) == pytest.approx(float(log_volume[0] - log_volume[1]), rel=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"observed": {"LEE": LIGHT}}, "LE"), ({"sigma": {}}, "no entry for LE"), ({"sigma": {"LE": -1.0}}, "positive sigma"),
        ({"observed": {}}, "names no flux"), ({"parameters": ["kbal"]}, "kball"), ({"errors": "cauchy"}, "gaussian"),
        ({"observed": {"LE": LIGHT[:1]}}, r"has 30 half-hours, .*got \[1\]"),
        ({"observed": {"LE": LIGHT[:, None]}}, r"got \[30, 1\]"), ({"sigma": {"LE": np.ones((2, 30))}}, r"\[2, 30\]"),
        ({"observed": {"LE": np.where(LIGHT > 700.0, -9999.0, LIGHT)}}, "-9999, a missing code"),
        ({"priors": {"kball": (9.0, 0.0)}}, "latter positive"), ({"priors": {"kball": (np.nan, 1.0)}}, "latter positive"),
        ({"priors": {"vcopt": (100.0, 10.0)}}, "kball"), ({"chains": 1}, "at least 2 chains"),
    ],
)  # fmt: skip
def test_what_cannot_be_right_is_refused(change, message):
    given = {"observed": {"LE": straight_data()}, "sigma": {"LE": 10.0}, "parameters": ["kball"]} | change
    with pytest.raises((ValueError, cv.UnknownParameterError), match=message):
        posterior(Straight(), {"shortwave_in": LIGHT}, **given)


def test_too_short_chains_are_said(monkeypatch):
    monkeypatch.setattr(module, "LARGEST_R_HAT", 0.5)
    with pytest.warns(PosteriorWarning, match="r_hat above 0.5 of kball .*longer chains"):
        posterior(
            Straight(), {"shortwave_in": LIGHT}, {"LE": straight_data()}, {"LE": 10.0}, ["kball"], chains=2, warmup=50,
            samples=20,
        )  # fmt: skip


@pytest.mark.slow
def test_twin_of_the_canopy():
    spec = importlib.util.spec_from_file_location("example", Path(__file__).parents[2] / "examples" / "posterior.py")
    assert spec is not None and spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)

    drawn = example.main(steps=200, chains=2)
    for name, true in example.TRUE.items():
        low, high = np.quantile(drawn[name], [0.05, 0.95])
        assert low < true < high
        assert drawn[name].attrs["r_hat"] < 1.05 and drawn[name].attrs["effective_samples"] > 50
    assert not drawn["diverging"].any()
