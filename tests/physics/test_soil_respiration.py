"""Soil respiration, both schemes."""

import jax
import numpy as np
import pytest

from canveg_jax import Parameters
from canveg_jax.physics.soil_respiration import alfalfa_respiration, q10_respiration, soil_temperature_at
from tests.physics.checks import all_finite, derivative_error, precision_error, relative_error


def test_worked_values(p):
    assert float(q10_respiration(295.0, 0.25, p)) == pytest.approx(3.0931713797, rel=1e-10)
    assert float(alfalfa_respiration(22.0, 2.0, 295.0, 0.25, 0.8)) == pytest.approx(7.6801812851, rel=1e-10)
    assert float(alfalfa_respiration(0.0, 0.0, 290.0, 0.07, 0.8)) == pytest.approx(5.6870323021, rel=1e-10)


def test_as_published(published, p):
    record = published("soil_respiration")
    t, theta, height = (record.given(n) for n in ("T_soil_K", "soilmoisture", "zcanopy"))
    dark = record.given("veg_Rd")
    assert relative_error(q10_respiration(t, theta, p), record.made("q10_power")) < 1e-11
    gross = record.given("veg_Ps") + dark
    assert relative_error(alfalfa_respiration(gross, dark, t, theta, height), record.made("alfalfa")) < 1e-11


def test_depth_of_respiration_is_the_published_node(published, arrays, p):
    """At the fixed point the published node 9 lies on the straight line between surface and deep temperature."""
    record = published("soil_energy")
    t = soil_temperature_at(
        p.respiration_depth_fraction, record.given("T_soil_up_boundary"), record.given("T_soil_low_bound")
    )
    fixed = arrays["residual_Tsoil_sfc"] < 1e-8
    assert fixed.sum() > 40
    assert relative_error(np.asarray(t)[fixed], record.made("T_soil")[fixed, 9]) < 1e-10


def test_soil_temperature_is_linear():
    assert soil_temperature_at(0.0, 300.0, 290.0) == 300 and soil_temperature_at(1.0, 300.0, 290.0) == 290
    assert soil_temperature_at(0.25, 300.0, 290.0) == 297.5


def test_ten_degrees_multiply_by_q10(p):
    ratio = q10_respiration(300.0, 0.2, p) / q10_respiration(290.0, 0.2, p)
    assert float(ratio) == pytest.approx(1.7, rel=1e-12)
    assert float(q10_respiration(283.15, 1.0, p)) == pytest.approx(5.0, rel=1e-12)
    halved = q10_respiration(290.0, 0.1, p) / q10_respiration(290.0, 0.2, p)
    assert float(halved) == pytest.approx(0.5**0.8, rel=1e-12)


def test_dry_soil_respires_nothing_and_has_finite_gradients(p):
    assert q10_respiration(290.0, 0.0, p) == 0

    def f(theta, q10c):
        return q10_respiration(290.0, theta, p.replace({"q10c": q10c}))

    gradient = jax.jit(jax.grad(f, argnums=(0, 1)))
    assert all_finite(gradient(0.0, 0.8)) and gradient(0.0, 0.8)[1] == 0
    assert all_finite(gradient(1e-12, 0.8))


def test_derivatives_and_single_precision(p):
    inputs = {
        "t": np.array([275.0, 290.0, 305.0]), "theta": np.array([0.05, 0.2, 0.5]), "q10a": np.array([2.0, 5.0, 9.0]),
        "q10b": np.array([1.2, 1.7, 2.5]), "q10c": np.array([0.4, 0.8, 1.2]),
    }  # fmt: skip
    errors = derivative_error(lambda t, theta, **c: q10_respiration(t, theta, Parameters().replace(c)), inputs)
    assert max(errors.values()) < 1e-8, errors
    drivers = {
        "gross": np.array([2.0, 20.0, 40.0]), "dark": np.array([0.5, 1.0, 2.0]), "t": np.array([280.0, 290.0, 300.0]),
        "theta": np.array([0.1, 0.2, 0.4]), "height": np.array([0.2, 0.5, 1.5]),
    }  # fmt: skip
    errors = derivative_error(
        lambda gross, dark, t, theta, height: alfalfa_respiration(gross, dark, t, theta, height), drivers
    )
    assert max(errors.values()) < 1e-8, errors
    assert precision_error(lambda t, theta, p: q10_respiration(t, theta, p), inputs["t"], inputs["theta"], p) < 1e-5
    assert precision_error(alfalfa_respiration, *drivers.values()) < 1e-4
