"""Stability parameter and its effect on dispersion."""

import jax
import numpy as np
import pytest

from canveg_jax.physics.stability import dispersion_factor, stability_parameter
from tests.physics.checks import all_finite, derivative_error, precision_error, relative_error

A, B = 0.7182, 0.31


def test_as_published_but_for_height_and_heat(published):
    """Published with the heat of the canopy alone and the full height; the formula is the same."""
    record = published("stability")
    heat, height = record.given("HH"), float(record.given("meas_ht"))
    rest = [record.given(n) for n in ("air_density", "T_air_K", "ustar")]
    made = np.asarray(stability_parameter(heat, height, *rest))
    assert relative_error(made, record.made("zL")) < 1e-12
    assert (made == 0.25).any() and (made < 0).any()


def test_factor_is_the_published_one_but_for_its_jump():
    zeta = np.array([-3.0, -1.0, -1e-12])
    published = 0.973 * -A / (zeta - A)  # 0.973 just below neutral, 1 at neutral
    assert np.asarray(dispersion_factor(zeta, A, B)) == pytest.approx(published / 0.973, rel=1e-14)
    assert [float(dispersion_factor(z, A, B)) for z in (0.0, 0.25)] == pytest.approx([1.0, 0.9225], rel=1e-14)


def test_worked_row_of_chapter_four():
    """Pass 1 of the day of test T5: zeta of the printed canopy heat (total less soil)."""
    density = 1.1912021199
    zeta = stability_parameter(511.497853 - 468.255039, 5.0, density, 295.97, 0.460613)
    assert float(zeta) == pytest.approx(-0.02447723, rel=2e-7)


def test_continuous_and_one_at_neutral():
    zeta = np.linspace(-3, 0.25, 65_001)
    psi = np.asarray(dispersion_factor(zeta, A, B))
    assert np.abs(np.diff(psi)).max() < 2 / A * (zeta[1] - zeta[0])
    assert float(dispersion_factor(0.0, A, B)) == float(dispersion_factor(-0.0, A, B)) == 1
    assert np.all(np.diff(psi[zeta < 0]) > 0) and np.all(np.diff(psi[zeta > 0]) < 0) and psi.min() > 0


def test_heat_makes_the_air_unstable_and_wind_neutral():
    arguments = (3.0, 1.2, 290.0)
    assert stability_parameter(200.0, *arguments, 0.3) < 0 < stability_parameter(-20.0, *arguments, 0.3)
    assert float(stability_parameter(0.0, *arguments, 0.3)) == 0
    assert abs(float(stability_parameter(200.0, *arguments, 5.0))) < 1e-3
    assert stability_parameter(1e4, *arguments, 0.1) == -3 and stability_parameter(-1e4, *arguments, 0.1) == 0.25
    obukhov = -1.2 * 1005 * 290 * 0.3**3 / (0.4 * 9.8 * 50)
    assert float(stability_parameter(50.0, *arguments, 0.3)) == pytest.approx(3.0 / obukhov, rel=1e-12)


def test_derivatives_and_single_precision():
    inputs = {
        "heat": np.array([-15.0, 20.0, 200.0]), "height": np.array([4.0, 4.2, 4.4]), "density": np.array([1.1, 1.15, 1.2]),
        "t": np.array([280.0, 290.0, 300.0]), "u": np.array([0.4, 0.5, 0.6]),
    }  # fmt: skip

    def f(heat, height, density, t, u):
        return dispersion_factor(stability_parameter(heat, height, density, t, u), A, B)

    errors = derivative_error(f, inputs)
    assert max(errors.values()) < 1e-7, errors
    assert precision_error(f, *inputs.values()) < 1e-6


def test_gradients_are_finite_at_neutral_and_at_the_limits():
    gradient = jax.jit(jax.grad(lambda z: dispersion_factor(z, A, B)))
    assert all(all_finite(gradient(z)) for z in (-3.0, -1e-300, 0.0, 1e-300, A, 0.25, 1.0))
    of_heat = jax.jit(jax.grad(lambda h: stability_parameter(h, 4.0, 1.2, 290.0, 0.3)))
    assert all(all_finite(of_heat(h)) for h in (-1e6, 0.0, 1e6))
