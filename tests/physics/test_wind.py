"""Wind in the canopy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from canveg_jax.physics.column import canopy_heights
from canveg_jax.physics.wind import wind_profile
from tests.physics.checks import derivative_error, precision_error, relative_error


def test_worked_values():
    heights = canopy_heights(0.8, 4)
    assert np.asarray(heights) == pytest.approx([0.2, 0.4, 0.6, 0.8])
    profile = wind_profile(3.0, heights, 0.8, 5.0, 2.0)
    assert np.asarray(profile) == pytest.approx([0.23002402, 0.37924549, 0.62527011, 1.0308961], rel=5e-8)
    calm = wind_profile(0.75, heights, 0.8, 5.0, 2.0)
    assert np.asarray(calm) == pytest.approx([0.057506005, 0.094811374, 0.15631753, 0.25772403], rel=5e-8)
    low = wind_profile(5.236, canopy_heights(0.8, 50)[:2], 0.8, 5.0, 2.0)
    assert np.asarray(low) == pytest.approx([0.2534405546, 0.2637836598], rel=1e-9)


def test_as_published(published, p):
    record = published("wind_profile")
    heights, top, tower = record.given("zht")[:50], float(record.given("veg_ht")), float(record.given("meas_ht"))
    assert np.asarray(canopy_heights(top, 50)) == pytest.approx(heights, rel=1e-12)
    profile = jax.vmap(lambda u: wind_profile(u, heights, top, tower, p.wind_extinction))(record.given("wind"))
    assert relative_error(profile, record.made("wind")) < 1e-12


def test_logarithm_above_and_exponential_inside():
    """At the canopy top the neutral logarithm from measurement height; inside `du/dz = a u / h`."""
    z = np.linspace(0.05, 2.0, 100)
    u = np.asarray(wind_profile(4.0, z, 2.0, 10.0, 3.0))
    assert u[-1] == pytest.approx(4.0 * np.log(0.8 / 0.2) / np.log((10 - 1.2) / 0.2), rel=1e-12)
    assert np.diff(np.log(u)) / np.diff(z) == pytest.approx(np.full(99, 3.0 / 2.0), rel=1e-9)


def test_proportional_to_the_wind_above_and_uniform_without_drag():
    z = jnp.array([0.1, 0.5, 1.0])
    once, twice = wind_profile(2.0, z, 1.0, 4.0, 2.0), wind_profile(4.0, z, 1.0, 4.0, 2.0)
    assert relative_error(twice, 2 * np.asarray(once)) < 1e-14
    assert np.ptp(np.asarray(wind_profile(2.0, z, 1.0, 4.0, 0.0))) == 0


def test_derivatives_and_single_precision():
    def f(wind, z, h, zm, a):
        return wind_profile(wind, z, h, zm, a)

    inputs = {
        "wind": np.array([0.8, 3.0, 7.0]), "z": np.array([0.1, 0.5, 0.9]), "h": np.array([1.0, 1.2, 0.9]),
        "zm": np.array([5.0, 4.0, 9.0]), "a": np.array([2.0, 0.6, 4.0]),
    }  # fmt: skip
    assert max(derivative_error(f, inputs).values()) < 1e-9
    assert precision_error(f, *inputs.values()) < 2e-6
