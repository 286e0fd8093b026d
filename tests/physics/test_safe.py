"""Functions with finite derivatives, and the soil-moisture stress."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from canveg_jax.forcing import Forcing
from canveg_jax.parameters import Parameters
from canveg_jax.physics.safe import power, relative_expm1
from canveg_jax.stress.soil_moisture import soil_moisture_stress
from tests.canopy.test_forcing import COLUMNS
from tests.physics.checks import all_finite


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


def test_soil_moisture_stress():
    forcing = Forcing(**COLUMNS)

    def stress(theta):
        row = Forcing(**(COLUMNS | {"soil_water_content": np.asarray(theta)}))
        return np.asarray(soil_moisture_stress(row, Parameters()))

    assert stress([0.0, 0.05, 0.06]) == pytest.approx([1e-3, 1e-3, 10 * 0.01 / 0.45], rel=1e-12)
    assert stress([0.0949, 0.096, 0.3]) == pytest.approx([10 * 0.0449 / 0.45, 1.0, 1.0], rel=1e-12)
    assert soil_moisture_stress(forcing, Parameters()).shape == (3,)
