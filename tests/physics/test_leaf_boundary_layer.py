"""Boundary-layer resistances: published regimes one by one, and their continuous join."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canveg_jax import Parameters
from canveg_jax.physics.leaf_boundary_layer import leaf_boundary_layer
from tests.independent import leaf
from tests.independent.column import DEFAULTS
from tests.physics.checks import all_finite, derivative_error, precision_error, relative_error

resistances = jax.jit(leaf_boundary_layer)

FORCED = [  # leaf K, air K, wind, kPa, leaf length; published resistances to heat, vapour, CO2
    (298.15, 297.15, 2.0, 101.3, 0.04, 28.887108, 26.072551, 35.379569),
    (303.15, 300.15, 8.0, 101.3, 0.1, 16.072812, 14.50679, 19.685223),
    (290.15, 295.15, 0.5, 85.0, 0.04, 53.246752, 48.058762, 65.214112),
    (305.15, 300.15, 0.1, 101.3, 0.04, 128.01796, 115.54479, 156.79036),
    (297.0, 295.0, 0.5, 101.18, 0.04, 58.12069427, 52.45782124, 71.18348735),
]
FREE = [  # the same with Grashof number; the published free regime below Gr = 1e5
    (305.15, 300.15, 0.09, 101.3, 0.04, 59332.939, 258.92437, 233.6966, 317.11837),
]


@pytest.mark.parametrize("row", FORCED)
def test_worked_forced_convection(row):
    """A leaf at air temperature has forced convection alone: the published forced regimes."""
    _, air, wind, pressure, length, *expected = row
    made = resistances(air, air, wind, pressure, Parameters(lleaf=length))
    assert [float(r) for r in made] == pytest.approx(expected, rel=4e-8)


@pytest.mark.parametrize("row", FREE)
def test_worked_free_convection(row):
    """Published `0.5 Gr^0.25`; here `0.5 [(Gr + 1)^0.25 - 1]`, which has a finite slope at Gr = 0."""
    t, air, _, pressure, length, grashof, *expected = row
    made = resistances(t, air, 0.09, pressure, Parameters(lleaf=length, betfac=0.0))
    ratio = grashof**0.25 / ((grashof + 1) ** 0.25 - 1)
    assert [float(r) for r in made] == pytest.approx([r * ratio for r in expected], rel=4e-8)


@pytest.mark.parametrize("leaf_class", ["sun", "shade"])
def test_as_published_but_for_the_join_of_free_and_forced(published, p, leaf_class):
    record = published(f"boundary_layer_{leaf_class}")
    air, wind, t = record.given("Tair_K"), record.given("wind"), record.given("Tsfc")
    pressure = record.given("P_kPa")[:, None]
    forced = resistances(air, air, wind, pressure, p)
    free = resistances(t, air, wind, pressure, Parameters(betfac=0.0))
    both = resistances(t, air, wind, pressure, p)
    viscosity = 13.27e-6 * (101.3 / pressure) * (air / 273.16) ** 1.81
    reynolds = 0.04 * wind / viscosity
    grashof = np.maximum(9.8 * 0.04**3 / 13.27e-6**2 * (t - air) / air, 0.0)
    is_free = grashof > reynolds**2
    assert reynolds.max() < 14000 and not np.any(is_free & (grashof >= 1e5)) and is_free.mean() < 0.2
    ratio = np.where(is_free, np.maximum(grashof, 1e-9) ** 0.25 / np.maximum((grashof + 1) ** 0.25 - 1, 1e-9), 1.0)
    for name, published_name in (("heat", "heat"), ("vapour", "vapor"), ("co2", "co2")):
        at = np.where(is_free, np.asarray(getattr(free, name)) / ratio, np.asarray(getattr(forced, name)))
        assert relative_error(at, record.made(published_name)) < 1e-10, name
        joined = (np.asarray(getattr(forced, name)) ** -3.0 + np.asarray(getattr(free, name)) ** -3.0) ** (-1 / 3)
        assert relative_error(getattr(both, name), joined) < 1e-10, name


condition = {
    "excess": st.floats(-15, 30), "air": st.floats(255, 320), "wind": st.floats(0.02, 20), "pressure": st.floats(60, 105),
    "length": st.floats(0.005, 0.1),
}  # fmt: skip


@given(**condition)
def test_against_the_slow_code(excess, air, wind, pressure, length):
    made = resistances(air + excess, air, wind, pressure, Parameters(lleaf=length))
    expected = leaf.boundary_layer(air + excess, air, wind, pressure, DEFAULTS | {"lleaf": length})
    assert [float(r) for r in made] == pytest.approx([float(r) for r in expected], rel=1e-10)


@given(**condition)
def test_ratios_are_those_of_the_diffusivities(excess, air, wind, pressure, length):
    made = resistances(air + excess, air, wind, pressure, Parameters(lleaf=length))
    assert float(made.vapour / made.heat) == pytest.approx((18.69 / 21.78) ** 0.67, rel=1e-12)
    assert float(made.co2 / made.heat) == pytest.approx((18.69 / 13.81) ** 0.67, rel=1e-12)
    assert float(made.vapour / made.heat) == pytest.approx(0.90256701, rel=1e-7)
    assert float(made.co2 / made.heat) == pytest.approx(1.2247529, rel=1e-7)


def test_continuous_and_monotone_in_wind_and_excess():
    p = Parameters(lleaf=0.1)
    wind = np.geomspace(0.02, 20, 4000)
    heat = np.asarray(resistances(300.0, 300.0, wind, 101.3, p).heat)
    assert np.all(np.diff(heat) < 0) and np.abs(np.diff(np.log(heat))).max() < 2e-3
    reynolds = 0.1 * wind / (13.27e-6 * (300 / 273.16) ** 1.81)
    assert reynolds[0] < (0.66 / 0.036) ** (1 / 0.3) < reynolds[-1]  # where laminar and turbulent law cross
    excess = np.linspace(-5, 25, 6001)
    heat = np.asarray(resistances(300.0 + excess, 300.0, 0.05, 101.3, p).heat)
    assert np.all(np.diff(heat) <= 0) and np.abs(np.diff(np.log(heat))).max() < 2e-3
    assert np.ptp(heat[excess <= 0]) == 0 and heat[-1] < 0.8 * heat[0]


def test_derivatives(p):
    rng = np.random.default_rng(4)
    n = 12
    inputs = {
        "air": rng.uniform(265, 310, n), "excess": np.concatenate([rng.uniform(0.5, 15, 8), rng.uniform(-9, -0.5, 4)]),
        "wind": rng.uniform(0.05, 3, n), "pressure": rng.uniform(70, 103, n), "length": rng.uniform(0.01, 0.08, n),
        "factor": rng.uniform(1, 2, n),
    }  # fmt: skip

    def f(air, excess, wind, pressure, length, factor):
        r = leaf_boundary_layer(air + excess, air, wind, pressure, p.replace({"lleaf": length, "betfac": factor}))
        return r.heat + 0.5 * r.vapour - 0.7 * r.co2

    errors = derivative_error(f, inputs)
    assert max(errors.values()) < 1e-6, errors


def test_gradients_are_finite_where_free_convection_starts(p):
    gradient = jax.jit(jax.grad(lambda x: leaf_boundary_layer(*x, p).heat))
    for excess in (-1.0, 0.0, 1e-12, 1.0):
        for wind in (0.02, 5.0):
            assert all_finite(gradient((300.0 + excess, 300.0, wind, 101.3))), (excess, wind)


def test_single_precision(p):
    def f(t, air, wind, pressure, p):
        return leaf_boundary_layer(t, air, wind, pressure, p)

    t = np.array([280.0, 300.0, 305.0, 320.0])
    assert precision_error(f, t, jnp.full(4, 300.0), np.array([0.05, 0.3, 1.0, 9.0]), np.full(4, 95.0), p) < 5e-6
