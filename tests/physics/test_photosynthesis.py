"""Leaf biochemistry: temperature and light responses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canveg_jax import Parameters
from canveg_jax.physics import photosynthesis
from canveg_jax.physics.photosynthesis import kinetics
from tests.physics.checks import all_finite, derivative_error, precision_error, relative_error

rates = jax.jit(kinetics)

WORKED = [  # T -> Kco, Gamma*, dark respiration, Jm, Vm, J at 1000 umol m-2 s-1
    (273.15, 21.155389, 27.538404, 0.19567529, 32.866103, 21.699242, 32.505381),
    (283.15, 73.97966, 30.586769, 0.3533339, 77.199147, 50.969321, 72.844476),
    (298.16, 413.75116, 36.276142, 0.796347, 226.91391, 149.81575, 157.95121),
    (308.15, 1185.6542, 40.207027, 1.308978, 211.77746, 139.82219, 152.57336),
    (318.15, 3183.3019, 44.652778, 2.0864299, 57.311346, 37.838765, 55.460368),
]


@pytest.mark.parametrize("row", WORKED)
def test_worked_values(row):
    t, kco, gamma, dark, jm, vm, j = row
    p = Parameters(light_inhibition=0.0)
    x = rates(t, 1000.0, p)
    made = [float(v) for v in (x.kco, x.gamma, x.dark_respiration, x.vm, x.j)]
    assert made == pytest.approx([kco, gamma, dark, vm, j], rel=5e-8)
    full = photosynthesis.peaked_response(p.jmopt, p.ejm, p.toptjm, p.hkin, t)
    assert float(full) == pytest.approx(jm, rel=5e-8)


@pytest.mark.parametrize("leaf_class", ["sun", "shade"])
def test_as_published_but_for_the_step_of_respiration(published, p, leaf_class):
    """Dark respiration, both capacities and both limits, from the published intercellular CO2."""
    record = published(f"leaf_ps_{leaf_class}")
    t, light = record.given("Tlk"), record.given("Iphoton")
    x = rates(t, light, Parameters(light_inhibition=0.0))
    dark = np.where(light > 10.0, 0.4, 1.0) * np.asarray(x.dark_respiration)  # published as a step, here a logistic
    assert relative_error(dark, record.made("hypo_rd")) < 1e-10
    logistic = 1 - 0.6 / (1 + np.exp(-(light - 10) / 2))
    assert relative_error(rates(t, light, p).dark_respiration, np.asarray(x.dark_respiration) * logistic) < 1e-10
    for stomata in ("hypo", "amphi"):
        ci, rd = record.made(f"{stomata}_ci"), record.made(f"{stomata}_rd")
        wj, wc = record.made(f"{stomata}_wj"), record.made(f"{stomata}_wc")
        assert relative_error(np.asarray(x.vm) / 2 - rd, record.made(f"{stomata}_jsucrose")) < 1e-9
        kept = (wj > rd) & (wc > rd)  # elsewhere the published ci is that of another rule (P12)
        assert kept.sum() > 500
        electrons = x.j * (ci - x.gamma) / (4 * ci + 8 * x.gamma)
        rubisco = x.vm * (ci - x.gamma) / (ci + x.kco)
        assert relative_error(electrons[kept], wj[kept]) < 1e-9
        assert relative_error(rubisco[kept], wc[kept]) < 1e-9


def test_arrhenius_and_peak_at_their_references():
    assert photosynthesis.arrhenius(3.0, 5e4, 298.16, 298.16) == 3.0
    assert photosynthesis.peaked_response(7.0, 5.5e4, 303.0, 2e5, 303.0) == pytest.approx(7.0, rel=1e-14)


@given(rate=st.floats(5, 300), optimum=st.floats(288, 318), energy=st.floats(3e4, 9e4), t=st.floats(255, 330))
def test_peak_is_at_its_optimum(rate, optimum, energy, t):
    assert float(photosynthesis.peaked_response(rate, energy, optimum, 2e5, t)) <= rate * (1 + 1e-12)


def test_light_response_starts_with_the_quantum_yield_and_saturates(p):
    assert float(rates(300.0, 1e-6, p).j) == pytest.approx(0.22e-6, rel=1e-12)
    jm = float(photosynthesis.peaked_response(p.jmopt, p.ejm, p.toptjm, p.hkin, 300.0))
    assert float(rates(300.0, 1e6, p).j) == pytest.approx(jm, rel=1e-5)
    light = np.linspace(0, 2500, 200)
    j = np.asarray(rates(300.0, light, p).j)
    assert np.all(np.diff(j) > 0) and np.all(np.diff(j, 2) < 1e-12) and j[0] == 0


def test_light_inhibition_is_smooth_and_keeps_the_published_ends(p):
    light = np.linspace(0, 60, 6001)
    dark = np.asarray(photosynthesis.light_inhibited_respiration(1.0, light, p))
    assert dark[0] == pytest.approx(1 - 0.6 / (1 + np.exp(5)), rel=1e-12) and dark[-1] == pytest.approx(0.4, abs=1e-9)
    assert dark[1000] == pytest.approx(0.7, rel=1e-12)
    assert np.all(np.diff(dark) <= 0) and np.abs(np.diff(dark)).max() < 1e-3


def test_rates_stay_physical_and_constant_outside_the_range_of_the_polynomials(p):
    t = np.linspace(200.0, 400.0, 401)
    x = rates(t, 800.0, p)
    assert all_finite(x) and min(float(jnp.min(v)) for v in x) > 0
    for edge, outside in ((255.0, t < 255), (330.0, t > 330)):
        at = rates(edge, 800.0, p)
        for name in x._fields:
            assert relative_error(getattr(x, name)[outside], float(getattr(at, name))) < 1e-14


def test_gamma_rises_with_temperature():
    t = np.linspace(255, 330, 300)
    assert np.all(np.diff(np.asarray(photosynthesis.co2_compensation_point(t, 210.0))) > 0)
    assert float(photosynthesis.co2_compensation_point(298.16, 210.0)) == pytest.approx(500 * 210 / 2894.4643, rel=5e-8)


def test_derivatives():
    rng = np.random.default_rng(7)
    n = 12
    inputs = {
        "t": rng.uniform(260, 325, n), "light": rng.uniform(1, 2000, n), "vcopt": rng.uniform(10, 200, n),
        "jmopt": rng.uniform(20, 400, n), "toptvc": rng.uniform(290, 315, n), "toptjm": rng.uniform(290, 315, n),
        "qalpha": rng.uniform(0.1, 0.4, n),
    }  # fmt: skip

    def f(t, light, **changes):
        x = kinetics(t, light, Parameters().replace(changes))
        return x.vm / 50 + x.kco / 500 + x.j / 50 + x.gamma / 40 + x.dark_respiration

    errors = derivative_error(f, inputs, 3e-5)
    assert max(errors.values()) < 1e-6, errors


def test_gradients_are_finite_in_the_dark_and_at_the_clips(p):
    gradient = jax.jit(jax.grad(lambda x: sum(kinetics(*x, p))))
    for t in (200.0, 255.0, 300.0, 330.0, 360.0):
        for light in (0.0, 10.0, 1e4):
            assert all_finite(gradient((t, light)))


def test_single_precision(p):
    assert precision_error(rates, np.linspace(260, 325, 30), np.linspace(0, 2000, 30), p) < 5e-5
