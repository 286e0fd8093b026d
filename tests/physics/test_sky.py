"""Beam and diffuse short-wave, and long-wave from the sky."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canveg_jax.physics import sky
from tests.physics.checks import all_finite, derivative_error, precision_error, relative_error

WORKED = [  # sin beta, Rg, Ta (degC) -> q, PAR beam, PAR diffuse, NIR beam, NIR diffuse, sky long-wave; 101 kPa
    (0.9632488498, 900, 25, 0.8625587391, 1640.502942, 429.4970584, 331.9118725, 118.0881275, 385.9815005),
    (0.1772226894, 45, 8, 0.3230422551, 7.256996035, 96.24300397, 1.43312939, 21.06687061, 325.867448),
    (-0.4480293847, 0, 18, 0.89, 0, 0, 0, 0, 333.8504323),
    (0.100787306, 30, 10, 0.4889976455, 6.692091428, 62.30790857, 1.620071294, 13.37992871, 321.4356752),
]


@pytest.mark.parametrize("row", WORKED)
def test_worked_values(row):
    sine, shortwave, celsius, *expected = row
    x = sky.split_shortwave(sine, float(shortwave), 101.0)
    longwave = sky.sky_longwave(sine, x.q, celsius + 273.15)
    made = (x.q, x.par_beam, x.par_diffuse, x.nir_beam, x.nir_diffuse, longwave)
    assert [float(v) for v in made] == pytest.approx(expected, rel=1e-9)


def test_worked_row_of_chapter_one():
    x = sky.split_shortwave(0.9598921177, 1008.57, 101.04)
    made = [float(v) for v in (x.par_beam, x.par_diffuse, x.nir_beam, x.nir_diffuse)]
    assert made == pytest.approx([2014.2819266, 305.4290734, 408.3891183, 95.8958817], rel=1e-9)
    assert float(sky.sky_longwave(0.9598921177, x.q, 302.59)) == pytest.approx(419.031091493, rel=1e-10)


def test_split_as_published_by_day(published):
    record = published("diffuse_direct")
    sine, shortwave = record.given("sin_beta"), record.given("rglobal")
    x = sky.split_shortwave(sine, shortwave, record.given("P_kPa"))
    day = sine > 0
    assert 10 < day.sum() < 40
    assert relative_error(x.q, record.made("ratrad")) < 1e-12
    for name in ("par_beam", "par_diffuse", "nir_beam", "nir_diffuse"):
        assert relative_error(getattr(x, name)[day], record.made(name)[day]) < 1e-11, name
    # With the sun down the published model drops what radiation is left; here it is diffuse.
    night = np.asarray((x.par_diffuse / 4.6 + x.nir_diffuse)[~day])
    assert night == pytest.approx(shortwave[~day], abs=1e-12)
    assert not record.made("par_diffuse")[~day].any() and not np.asarray(x.par_beam[~day]).any()


def test_sky_longwave_as_published_away_from_the_horizon(published):
    record, sine = published("sky_longwave"), published("diffuse_direct").given("sin_beta")
    q, t = record.given("ratrad"), record.given("T_air_K")
    assert relative_error(sky.sky_longwave(1.0, q, t), record.made("ir_in")) < 1e-13
    plain = (sine > 0.1) | (sine < 0)
    ours = sky.sky_longwave(sine, q, t)
    assert relative_error(ours[plain], record.made("ir_in")[plain]) < 1e-13


@given(sine=st.floats(-1, 1), shortwave=st.floats(0, 1500), pressure=st.floats(50, 110))
def test_no_radiation_is_lost(sine, shortwave, pressure):
    x = sky.split_shortwave(sine, shortwave, pressure)
    total = (x.par_beam + x.par_diffuse) / 4.6 + x.nir_beam + x.nir_diffuse
    assert float(total) == pytest.approx(shortwave, rel=1e-12, abs=1e-12)
    assert min(float(v) for v in x) >= 0
    assert 0.22 <= x.q <= 0.89


@given(sine=st.floats(-1, 1), q=st.floats(0.22, 0.89), t=st.floats(230, 325))
def test_sky_emits_less_than_a_black_body_and_clouds_add(sine, q, t):
    black = 5.670367e-8 * t**4
    emitted = float(sky.sky_longwave(sine, q, t))
    assert 0.73 * black < emitted <= black * (1 + 1e-12)
    assert float(sky.sky_longwave(sine, 0.22, t)) >= emitted * (1 - 1e-12)


def test_nothing_jumps_at_the_horizon():
    sine = np.linspace(-0.02, 0.02, 4001)
    x = sky.split_shortwave(sine, 60.0, 100.0)
    for name in ("par_beam", "nir_beam", "par_diffuse", "nir_diffuse"):
        change = np.abs(np.diff(np.asarray(getattr(x, name))))
        assert change.max() < 0.02, name
    longwave = np.asarray(sky.sky_longwave(sine, x.q, 290.0))
    assert np.abs(np.diff(longwave)).max() < 0.01
    assert longwave[0] == pytest.approx(float(sky.sky_longwave(-0.5, 0.89, 290.0)), rel=1e-12)


def test_blend_of_the_sky_ends_where_the_published_formula_starts():
    q, t = 0.3, 285.0
    at = [float(sky.sky_longwave(s, q, t)) for s in (0.1 - 1e-9, 0.1, 0.1 + 1e-9, 0.9)]
    assert at[1] == at[2] == at[3] and at[0] == pytest.approx(at[1], abs=1e-9)


def test_clearer_sky_has_more_beam():
    for sine in (0.1, 0.4, 1.0):
        shortwave = np.linspace(100, 1000, 20) * sine
        x = sky.split_shortwave(sine, shortwave, 101.0)
        share = np.asarray(x.par_beam / (x.par_beam + x.par_diffuse))
        inside = np.asarray((x.q > 0.22) & (x.q < 0.89))
        assert np.all(np.diff(share) > -1e-15) and np.all(np.diff(share)[inside[1:]] > 0) and inside.any()
        assert share[-1] > 5 * share[0]


def test_clouds_cut_the_beam():
    darker = sky.split_shortwave(0.8, np.array([900.0, 600.0, 300.0]), 101.0)
    assert np.all(np.diff(np.asarray(darker.par_beam) / np.array([900.0, 600.0, 300.0])) < 0)


def test_derivatives():
    rng = np.random.default_rng(1)
    sine = rng.uniform(0.15, 0.95, 12)
    inputs = {"sine": sine, "shortwave": 650 * sine, "pressure": rng.uniform(80, 103, 12)}
    q = np.asarray(sky.split_shortwave(sine, 650 * sine, inputs["pressure"]).q)
    assert np.all((q > 0.23) & (q < 0.88))
    for part in range(4):

        def one(sine, shortwave, pressure, part=part):
            return sky.split_shortwave(sine, shortwave, pressure)[part]

        errors = derivative_error(one, inputs)
        assert max(errors.values()) < 1e-6, (part, errors)
    inputs = {
        "sine": np.array([0.03, 0.05, 0.08]),
        "q": np.array([0.3, 0.5, 0.7]),
        "t": np.array([265.0, 285.0, 300.0]),
    }
    assert max(derivative_error(lambda sine, q, t: sky.sky_longwave(sine, q, t), inputs).values()) < 1e-6


def test_gradients_are_finite_at_every_switch():
    gradient = jax.jit(jax.grad(lambda x: sum(sky.split_shortwave(*x)) + sky.sky_longwave(x[0], 0.5, 273.16)))
    for sine in (-1.0, -1e-300, 0.0, 1e-300, 1e-3, 0.0676, 0.1, 1.0):
        for shortwave in (0.0, 1e-12, 300.0, 1400.0):
            assert all_finite(gradient((sine, shortwave, 101.0))), (sine, shortwave)


def test_single_precision():
    sine = np.array([-0.3, 0.0, 0.02, 0.3, 0.9])
    error = precision_error(lambda s, r, p: sky.split_shortwave(s, r, p), sine, 500 * np.abs(sine), np.full(5, 101.0))
    assert error < 3e-6
    assert precision_error(sky.sky_longwave, sine, np.full(5, 0.5), jnp.linspace(250, 310, 5)) < 1e-6
