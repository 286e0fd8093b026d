"""Thermal conductivity of the soil and resistance of its surface to vapour."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canveg_jax import Parameters
from canveg_jax.physics.soil_properties import surface_vapour_resistance, thermal_conductivity, volumetric_heat_capacity
from tests.independent import soil
from tests.independent.column import DEFAULTS
from tests.physics.checks import all_finite, derivative_error, precision_error, relative_error

conductivity = jax.jit(thermal_conductivity)

WORKED = [  # theta, T_ref, P -> K_s, R_ss
    (0.07966999999999990, 295.97, 101.18, 0.1753550622, 4302.6695530),
    (0.073, 291.55, 100.88, 0.1564184144, 4427.4284499),
    (0.25, 287.15, 100.0, 0.49764025, None),
    (0.25, 296.15, 100.0, 0.52661321, None),
    (0.10067, 302.59, 101.04, 0.253518465317, 3931.105072),
]


@pytest.mark.parametrize("row", WORKED)
def test_worked_values(p, row):
    theta, t, pressure, k_s, r_ss = row
    assert float(conductivity(theta, t, pressure, p)) == pytest.approx(k_s, rel=1.2e-8)
    if r_ss is not None:
        assert float(surface_vapour_resistance(theta, p)) == pytest.approx(r_ss, rel=1e-9)


@pytest.mark.parametrize(("theta", "r_ss"), [(0.0, 6034.385), (0.1, 3942.479), (0.3, 1626.233)])
def test_worked_surface_resistance(p, theta, r_ss):
    assert float(surface_vapour_resistance(theta, p)) == pytest.approx(r_ss, abs=6e-4)


def test_as_published(published, p):
    record = published("soil_energy")
    theta, t, pressure = (record.given(n) for n in ("soilmoisture", "T_air_K", "P_kPa"))
    assert t.min() > 273  # below, the published slope carries the 333 J kg-1 of fusion
    assert relative_error(conductivity(theta, t, pressure, p), record.made("intermediate_K_soil")) < 1e-11
    assert relative_error(surface_vapour_resistance(theta, p), record.made("intermediate_resistance_h2o")) < 1e-11


@given(theta=st.floats(0, 0.8), t=st.floats(250, 320), pressure=st.floats(60, 105))
def test_against_the_slow_code_and_within_the_components(p, theta, t, pressure):
    made = float(conductivity(theta, t, pressure, p))
    assert made == pytest.approx(soil.conductivity(theta, t, pressure, DEFAULTS), rel=1e-12)
    assert 0.024 < made < 2.5


def test_wetter_soil_conducts_better_and_lets_more_vapour_out(p):
    theta = np.linspace(0, 0.6, 200)
    assert np.all(np.diff(np.asarray(conductivity(theta, 295.0, 100.0, p))) > 0)
    assert np.all(np.diff(np.asarray(surface_vapour_resistance(theta, p))) < 0)


def test_one_material_has_its_own_conductivity():
    """With all components of conductivity K the mixture has K, whatever the weights."""
    air = 0.024
    same = Parameters(
        mineral_conductivity=air, water_conductivity=air, organic_conductivity=air, organic_conductivity_sum=air
    )
    assert float(conductivity(0.0, 290.0, 100.0, same)) == pytest.approx(air, rel=1e-12)


def test_no_pore_air_beyond_saturation(p):
    full, over = (float(conductivity(theta, 290.0, 100.0, p)) for theta in (0.6, 0.7))
    assert over > 0 and np.isfinite(over) and abs(over - full) < 0.2 * full


def test_derivatives(p):
    inputs = {
        "theta": np.array([0.05, 0.15, 0.3, 0.5]), "t": np.array([275.0, 290.0, 300.0, 310.0]),
        "pressure": np.array([80.0, 95.0, 100.0, 102.0]), "k_m": np.array([2.0, 2.5, 4.0, 6.0]),
        "ratio": np.array([0.1, 0.1, 0.3, 0.5]),
    }  # fmt: skip

    def f(theta, t, pressure, k_m, ratio):
        q = p.replace({"mineral_conductivity": k_m, "surface_moisture_ratio": ratio})
        return thermal_conductivity(theta, t, pressure, q) + 1e-3 * surface_vapour_resistance(theta, q)

    errors = derivative_error(f, inputs)
    assert max(errors.values()) < 1e-6, errors


def test_gradients_are_finite_in_dry_and_in_saturated_soil(p):
    for f in (
        lambda theta: thermal_conductivity(theta, 290.0, 100.0, p),
        lambda theta: surface_vapour_resistance(theta, p),
    ):
        gradient = jax.jit(jax.grad(f))
        assert all(all_finite(gradient(theta)) for theta in (0.0, 1e-8, 0.6, 0.8))
    wet = Parameters(surface_moisture_ratio=1.0)
    for theta in (0.395, 0.5):
        assert surface_vapour_resistance(theta, wet) == 0
        assert jax.grad(lambda theta: surface_vapour_resistance(theta, wet))(theta) == 0


def test_single_precision(p):
    theta = np.linspace(0.0, 0.55, 20)
    assert precision_error(conductivity, theta, np.full(20, 290.0), np.full(20, 99.0), p) < 1e-5
    assert precision_error(surface_vapour_resistance, theta, p) < 1e-5


def test_heat_capacity_is_that_of_the_parts_by_volume():
    """Dry minerals, pure organic matter and water, and a mixture by hand."""
    capacity = volumetric_heat_capacity
    assert float(capacity(0.0, Parameters(porosity=0.3, organic_fraction=0.0))) == pytest.approx(0.7 * 1.94e6)
    assert float(capacity(0.0, Parameters(porosity=0.7, organic_fraction=0.3))) == pytest.approx(0.3 * 2.5e6)
    wet = capacity(0.2, Parameters(porosity=0.6, organic_fraction=0.08))
    assert float(wet) == pytest.approx(0.32 * 1.94e6 + 0.08 * 2.5e6 + 0.2 * 4.19e6)
