"""Elementary functions with cheap and finite derivatives, and the soil-moisture stress."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from canveg_jax.forcing import Forcing
from canveg_jax.parameters import Parameters
from canveg_jax.physics.elementary import (
    inverse,
    logarithm,
    newton_or_midpoint,
    positive_power,
    power,
    ratio,
    relative_expm1,
    root,
)
from canveg_jax.stress.soil_moisture import soil_moisture_stress
from tests.canopy.test_forcing import COLUMNS
from tests.physics.checks import all_finite, derivative_error, relative_error


def test_relative_expm1_and_its_derivative():
    x = np.array([0.0, 1e-12, 1e-5, 0.99e-4, 1.01e-4, 1e-3, 0.5, 30.0, 800.0])
    exact = np.where(x == 0, 1.0, -np.expm1(-x) / np.where(x == 0, 1, x))
    assert np.asarray(relative_expm1(x)) == pytest.approx(exact, rel=2e-13)
    slope = jax.vmap(jax.grad(relative_expm1))(jnp.asarray(x))
    assert float(slope[0]) == -0.5 and all_finite(slope)
    expected = (np.exp(-x[4:]) * (1 + x[4:]) - 1) / x[4:] ** 2
    assert np.asarray(slope)[4:] == pytest.approx(expected, rel=1e-6)


def test_power_at_zero():
    assert float(power(4.0, 0.5)) == 2 and float(power(0.0, 0.67)) == 0
    for base in (0.0, 1e-300, 0.3):
        assert all_finite(jax.grad(lambda b, e: power(b, e), argnums=(0, 1))(base, 1.7))
    assert [float(g) for g in jax.grad(power, argnums=(0, 1))(0.0, 0.5)] == [0, 0]


def test_values_and_derivatives_are_those_of_the_plain_operations():
    x, y = np.random.default_rng(0).uniform(0.1, 9.0, (2, 20))
    plain = {
        ratio: lambda x, y: x / y, inverse: lambda x: 1 / x, root: np.sqrt, logarithm: np.log,
        lambda x: positive_power(x, 0.37): lambda x: x**0.37,
    }  # fmt: skip
    for f, g in plain.items():
        inputs = {"x": x, "y": y} if f is ratio else {"x": x}

        def slope(f=f, **inputs):
            return jax.grad(f)(*inputs.values())

        assert relative_error(f(*inputs.values()), g(*inputs.values())) < 8e-15
        assert max(derivative_error(f, inputs).values()) < 1e-7
        assert max(derivative_error(slope, inputs).values()) < 1e-7  # the rules can be differentiated again


def test_safeguarded_newton_finds_the_root_where_newton_alone_would_leave():
    def f(x):  # flat at both ends: from 6 a plain Newton step goes to about -200
        return -jnp.tanh(x - 1.0)

    x, low, high = (jnp.asarray(v) for v in (6.0, -10.0, 10.0))
    first = newton_or_midpoint(x, f(x), jax.grad(f)(x), low, high)
    assert [float(v) for v in first] == [-2.0, -10.0, 6.0]  # the midpoint of the shrunk bracket
    for _ in range(12):
        x, low, high = newton_or_midpoint(x, f(x), jax.grad(f)(x), low, high)
        assert low <= x <= high
    assert float(x) == pytest.approx(1.0, abs=1e-15)


def test_soil_moisture_stress():
    forcing = Forcing(**COLUMNS)

    def stress(theta):
        row = Forcing(**(COLUMNS | {"soil_water_content": np.asarray(theta)}))
        return np.asarray(soil_moisture_stress(row, Parameters()))

    assert stress([0.0, 0.05, 0.06]) == pytest.approx([1e-3, 1e-3, 10 * 0.01 / 0.45], rel=1e-12)
    assert stress([0.0949, 0.096, 0.3]) == pytest.approx([10 * 0.0449 / 0.45, 1.0, 1.0], rel=1e-12)
    assert soil_moisture_stress(forcing, Parameters()).shape == (3,)
