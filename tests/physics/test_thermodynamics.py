"""Saturation vapour pressure, latent heat, air density."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from canveg_jax.physics import thermodynamics as th
from tests.physics.checks import derivative_error, precision_error, relative_error

WORKED = [  # T, e_s, slope, lambda
    (268.15, 422.0448, 31.944727, 2513817.5),
    (285.15, 1402.1635, 92.33634, 2473194.5),
    (295.15, 2642.0185242, 160.8382121, 2449494.5),
    (298.15, 3165.1206, 188.27695, 2442384.5),
    (313.15, 7362.0392, 391.20285, 2406834.5),
]
"""Published. Below 273 K the published latent heat carries 333 J kg-1 of fusion, which the package drops."""


@pytest.mark.parametrize(("t", "saturation", "slope", "latent"), WORKED)
def test_worked_values(t, saturation, slope, latent):
    fusion = 333.0 if t < 273 else 0.0
    assert th.saturation_vapour_pressure(t) == pytest.approx(saturation, rel=2e-8)
    assert th.latent_heat_of_vaporisation(t) + fusion == latent
    scale = 1.0 + fusion / th.latent_heat_of_vaporisation(t)
    assert th.clausius_clapeyron_slope(t) * scale == pytest.approx(slope, rel=2e-8)


def test_air_density_worked():
    assert th.air_density(101.18, 295.97) == pytest.approx(1.1912021199, rel=1e-10)
    assert th.molar_air_density(101.18, 295.97) == pytest.approx(41.1184715171, rel=1e-11)


def test_as_published_but_for_the_heat_of_fusion(published):
    record = published("thermo")
    t = record.given("T_K")
    fusion = np.where(t < 273.0, 333.0, 0.0)
    latent = np.asarray(th.latent_heat_of_vaporisation(t))
    assert relative_error(th.saturation_vapour_pressure(t), record.made("es")) < 1e-12
    assert relative_error(latent + fusion, record.made("llambda")) < 1e-14
    slope = np.asarray(th.clausius_clapeyron_slope(t)) * (latent + fusion) / latent
    assert relative_error(slope, record.made("desdt")) < 1e-12
    assert fusion.any() and not fusion.all()


def test_densities_as_published(arrays):
    density = th.air_density(arrays["met__P_kPa"], arrays["met__T_air_K"])
    molar = th.molar_air_density(arrays["met__P_kPa"], arrays["met__T_air_K"])
    assert relative_error(density, arrays["met__air_density"]) < 1e-12
    assert relative_error(molar, arrays["met__air_density_mole"]) < 1e-12


def test_derivative_of_saturation_is_exact():
    t = jnp.linspace(230.0, 330.0, 101)
    exact = jax.vmap(jax.grad(th.saturation_vapour_pressure))(t)
    given = th.saturation_vapour_pressure_derivative(t, th.saturation_vapour_pressure(t))
    assert relative_error(given, exact) < 1e-12
    assert float(jnp.min(given)) > 0
    errors = derivative_error(lambda t: th.saturation_vapour_pressure(t), {"t": np.asarray(t)})
    assert errors["t"] < 1e-8


def test_clausius_clapeyron_is_close_to_the_true_slope():
    t = jnp.linspace(270.0, 315.0, 50)
    true = th.saturation_vapour_pressure_derivative(t, th.saturation_vapour_pressure(t))
    error = np.asarray(th.clausius_clapeyron_slope(t) / true - 1)
    assert np.abs(error).max() < 4e-3
    assert th.clausius_clapeyron_slope(298.0) / th.saturation_vapour_pressure_derivative(
        298.0, th.saturation_vapour_pressure(298.0)
    ) == pytest.approx(1, abs=8e-4)


def test_latent_heat_has_no_jump_at_freezing():
    below, above = (th.latent_heat_of_vaporisation(273.0 + d) for d in (-1e-9, 1e-9))
    assert float(below - above) == pytest.approx(2370 * 2e-9, rel=1e-3)


def test_molar_conversion_is_the_gas_law_within_a_percent():
    pressure = np.array([60.0, 85.0, 101.3])
    assert np.asarray(th.molar_conversion(pressure)) == pytest.approx(8.314 / (1000 * pressure), rel=0.0095)
    assert th.molar_conversion(101.3) == pytest.approx(0.022624 / 273.15, rel=1e-14)


def test_single_precision():
    """The exponent is a sum of terms up to 55: its rounding alone is 3e-6."""
    t = np.linspace(230.0, 330.0, 101)
    assert precision_error(th.saturation_vapour_pressure, t) < 1e-5
    assert precision_error(th.clausius_clapeyron_slope, t) < 1e-5
