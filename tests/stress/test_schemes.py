"""Every stress scheme: limits, bounds, derivatives; the form to train; the factor in the canopy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import canveg_jax as cv
from canveg_jax.stress import Feddes, Jarvis, NoStress, SoilMoisture
from canveg_jax.synthetic import SYNTHETIC_SITES, synthetic_weather
from tests.canopy.test_forcing import COLUMNS

SCHEMES = [name for name in cv.STRESSES if name != "none"]
P = cv.Parameters()


def one(**changes) -> cv.Forcing:
    """Forcing of one time step, 0-d."""
    columns = {name: jnp.asarray(np.asarray(column, float)[0]) for name, column in COLUMNS.items()}
    return jax.tree.map(jnp.asarray, cv.Forcing(**columns | {k: jnp.asarray(float(v)) for k, v in changes.items()}))


def factor(name: str, p: cv.Parameters = P, **changes) -> float:
    return float(cv.STRESSES[name]()(one(**changes), None, p))


def test_no_stress_is_one():
    assert factor("none") == 1.0 and NoStress.reads == ()


def test_soil_moisture_ramp():
    """Eq. 7 of Wang & Leuning (1998): 0.001 at the wilting point, one half at 15 %, 1 from 30 % of the way on."""
    assert factor("soil_moisture", soil_water_content=0.05) == factor("soil_moisture", soil_water_content=0.01) == 1e-3
    np.testing.assert_allclose(factor("soil_moisture", soil_water_content=0.05 + 0.15 * 0.15), 0.5, rtol=1e-12)
    assert factor("soil_moisture", soil_water_content=0.05 + 0.3 * 0.15 + 1e-9) == 1.0


def test_feddes_trapezoid():
    """Half way up, on top, half way down, saturated."""
    np.testing.assert_allclose(factor("feddes", soil_water_content=0.10), 0.5, rtol=1e-12)
    assert factor("feddes", soil_water_content=0.30) == 1.0
    np.testing.assert_allclose(factor("feddes", soil_water_content=0.55), 0.5, rtol=1e-12)
    assert factor("feddes", soil_water_content=0.60) == factor("feddes", soil_water_content=0.0) == 1e-3
    crossed = P.replace({"feddes_critical_moisture": 0.03})
    assert (
        factor("feddes", crossed, soil_water_content=0.30) == 1.0
        and factor("feddes", crossed, soil_water_content=0.04) == 1e-3
    )


def test_jarvis_product():
    """Saturated air at the optimum leaves the soil's factor alone; a deficit of `jarvis_deficit` halves it."""
    saturation = float(0.1 * np.exp(54.8781919 - 6790.4985 / 298.15 - 5.02808 * np.log(298.15)))
    wet = {"air_temperature": 25.0, "soil_water_content": 0.3}
    np.testing.assert_allclose(factor("jarvis", vapour_pressure=saturation, **wet), 1.0, rtol=1e-9)
    p = P.replace({"jarvis_deficit": 1.5})
    np.testing.assert_allclose(factor("jarvis", p, vapour_pressure=saturation - 1.5, **wet), 0.5, rtol=1e-6)
    cool = wet | {"air_temperature": 10.0, "vapour_pressure": 10.0}
    np.testing.assert_allclose(factor("jarvis", **cool), 0.75, rtol=1e-12)
    assert factor("jarvis", **wet | {"air_temperature": -6.0, "vapour_pressure": 0.2}) == 1e-3


@pytest.mark.parametrize("name", SCHEMES)
def test_factors_stay_within_bounds_with_finite_derivatives(name):
    rng = np.random.default_rng(0)
    scheme = cv.STRESSES[name]()
    for _ in range(200):
        forcing = one(
            soil_water_content=rng.uniform(0, 0.8),
            air_temperature=rng.uniform(-60, 60),
            vapour_pressure=rng.uniform(0.001, 10),
        )
        bounds = {n: (cv.PARAMETER_TABLE[n].lower, cv.PARAMETER_TABLE[n].upper) for n in scheme.reads}
        p = P.replace({n: jnp.asarray(rng.uniform(*b)) for n, b in bounds.items()})
        value, derivative = jax.value_and_grad(lambda f, p: scheme(f, None, p), (0, 1), allow_int=True)(forcing, p)
        assert 1e-3 <= value <= 1.0
        assert all(np.isfinite(d).all() for d in jax.tree.leaves(derivative) if d.dtype == np.float64)


@pytest.mark.parametrize("name", SCHEMES)
def test_derivatives_against_central_differences(name):
    """In the interior of every ramp."""
    scheme = cv.STRESSES[name]()
    values = {"soil_water_content": 0.08, "air_temperature": 18.0, "vapour_pressure": 1.1}
    parameters = {n: float(cv.PARAMETER_TABLE[n].default) for n in scheme.reads if n != "feddes_wet_moisture"}

    def f(x):
        forcing = one()
        for key in values:
            object.__setattr__(forcing, key, x[key])
        return scheme(forcing, None, P.replace({n: x[n] for n in parameters}))

    x = {k: jnp.asarray(v) for k, v in (values | parameters).items()}
    gradient = jax.grad(f)(x)
    moved = 0
    for key in x:
        step = 1e-5 * max(1.0, abs(float(x[key])))
        difference = (f(x | {key: x[key] + step}) - f(x | {key: x[key] - step})) / (2 * step)
        np.testing.assert_allclose(gradient[key], difference, rtol=1e-5, atol=1e-9)
        moved += abs(float(difference)) > 1e-6
    assert moved >= 3


@pytest.mark.parametrize("name", SCHEMES)
def test_the_form_to_train(name):
    scheme = cv.STRESSES[name]()
    trained = cv.TrainableStress(scheme)
    for parameter, value in trained.values().items():
        np.testing.assert_allclose(value, cv.PARAMETER_TABLE[parameter].default, rtol=1e-12)
    weather = synthetic_weather(SYNTHETIC_SITES["SYN-Ari"], 30, 0)
    columns = {n: jnp.asarray(weather[n].values) for n in cv.FORCING_TABLE if n in weather}
    expected = jax.vmap(lambda f: scheme(f, None, P))(cv.Forcing(**columns))
    np.testing.assert_allclose(trained(columns), expected, rtol=1e-9)
    np.testing.assert_allclose(
        trained({k: v.astype(jnp.float32) for k, v in columns.items()}), expected, rtol=1e-3, atol=2e-4
    )
    assert trained.raw.dtype == jnp.float64 and trained.raw.shape == (len(scheme.reads),)


def test_a_ramp_in_training_never_turns_round():
    for raw in np.random.default_rng(0).normal(0, 20, (50, 2)):
        values = SoilMoisture().to_values(jnp.asarray(raw))
        assert 0.02 - 1e-12 <= values["field_capacity"] - values["wilting_point"] <= 0.45 + 1e-12


def test_errors_say_what_to_do():
    with pytest.raises(
        ValueError, match="field_capacity - wilting_point starts at -0.01 m3 m-3, outside its training range"
    ):
        cv.TrainableStress(SoilMoisture(), {"wilting_point": 0.06, "field_capacity": 0.05})
    with pytest.raises(ValueError, match="Feddes reads wilting_point, .* got a value of kball"):
        cv.TrainableStress(Feddes(), {"kball": 8.0})
    with pytest.raises(ValueError, match="NoStress has no parameters"):
        cv.TrainableStress(NoStress())
    with pytest.raises(ValueError, match=r"parameter 'jarvis_deficit' starts at 0.1, outside"):
        cv.TrainableStress(Jarvis(), {"jarvis_deficit": 0.1})


@pytest.mark.parametrize("name", SCHEMES)
def test_the_canopy_feels_it(name):
    """A name, the scheme and its factor from outside give the same fluxes; dry soil closes stomata."""
    site = SYNTHETIC_SITES["SYN-Ari"].model_copy(update={"n_layers": 1})
    weather = synthetic_weather(site, 20, 3).isel(time=slice(480, 528))
    weather["soil_water_content"][:] = 0.07
    forcing = cv.Forcing.from_dataset(weather)
    by_name = cv.Canopy(site, stress=name)
    by_factor = jax.vmap(lambda f: cv.STRESSES[name]()(f, None, P))(forcing)
    fluxes = cv.Canopy(site).solve(forcing, np.asarray(by_factor)).fluxes
    np.testing.assert_allclose(by_name(forcing).LE, fluxes.LE, atol=1e-9)
    assert np.abs(by_name(forcing).LE - cv.Canopy(site)(forcing).LE).max() > 1.0
