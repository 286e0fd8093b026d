"""Long-wave transfer: dense linear solve, published fields, isothermal enclosure, conservation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canveg_jax.physics import longwave, two_stream
from tests.independent import radiation
from tests.physics.checks import all_finite, precision_error, relative_error

SIGMA = 5.670367e-8
factorise = jax.jit(longwave.factorise, static_argnums=3)


def field_in(layers, *temperatures_and_optics):
    names = ("leaf_emissivity", "soil_emissivity", "tau_d", "sunlit", "longwave_in", "sun", "shade", "surface")
    return longwave.transfer(layers, **dict(zip(names, temperatures_and_optics, strict=True)))


transfer = jax.jit(field_in)


def field_of(eps, eps_soil, tau_d, sunlit, sky, sun, shade, surface):
    sunlit = jnp.asarray(sunlit)
    layers = factorise(eps, eps_soil, tau_d, sunlit.shape[0])
    return transfer(layers, eps, eps_soil, tau_d, sunlit, sky, jnp.asarray(sun), jnp.asarray(shade), surface)


WORKED = [  # sky, tau_d, air K, sunlit share; D levels; U levels (bottom to top)
    (385.9815005, 0.5543326712, 298.15, (0.2182527173, 0.3152467703, 0.4553461117, 0.6577072344),
     (443.6650387, 442.5174112, 436.5916877, 420.9193313, 385.9815005),
     (484.4149146, 466.8901937, 459.312863, 457.8744766, 460.7719569)),
    (333.8504323, 0.5543326712, 291.15, (0.0, 0.0, 0.0, 0.0),
     (397.5831649, 393.8731599, 385.2016396, 367.5693055, 333.8504323),
     (441.2032705, 423.8197916, 415.2804633, 411.6494931, 410.6958667)),
]  # fmt: skip


@pytest.mark.parametrize("row", WORKED)
def test_worked_values(row):
    sky, tau_d, air, sunlit, down, up = row
    sun, shade = air + np.array([1.0, 2, 3, 4]), air + np.array([-1.0, -0.5, 0, 0.5])
    field = field_of(0.98, 0.98, tau_d, sunlit, sky, sun, shade, air + 6)
    assert np.asarray(field.incident) == pytest.approx(np.array(down[1:]) + np.array(up[:-1]), rel=1e-9)
    assert float(field.down_ground) == pytest.approx(down[0], rel=1e-9)
    assert float(field.up_top) == pytest.approx(up[-1], rel=1e-9)


def test_as_published(published):
    """The published loop is converged, so the fields agree; what leaves absorb differs by the level of the streams."""
    record = published("longwave_transfer")
    eps, eps_soil = float(record.given("ep")), float(record.given("epsoil"))
    columns = [record.given(n) for n in ("ir_in", "Tsfc_sun", "Tsfc_shade", "soil_sfc_temperature")]
    tau_d, sunlit = record.given("integ_exp_diff")[:, 0], record.given("prob_beam")[:, :50]

    def one(tau_d, sunlit, sky, sun, shade, surface):
        layers = longwave.factorise(eps, eps_soil, tau_d, 50)
        return field_in(layers, eps, eps_soil, tau_d, sunlit, sky, sun, shade, surface)

    field = jax.jit(jax.vmap(one))(tau_d, sunlit, *columns)
    down, up = record.made("ir_dn"), record.made("ir_up")
    assert relative_error(field.incident, down[:, 1:] + up[:, :-1]) < 1e-10
    assert relative_error(field.down_ground, down[:, 0]) < 1e-10
    assert relative_error(field.up_top, up[:, -1]) < 1e-10
    assert relative_error(record.made("shade"), (down + up)[:, :-1]) < 1e-12  # both streams at the bottom
    balance = (1 - tau_d[:, None]) * (eps * np.asarray(field.incident) - 2 * record.made("IR_source"))
    assert np.abs(balance - record.made("balance")).max() < 1e-9


@pytest.mark.parametrize("n", [1, 3, 50])
def test_against_a_dense_solve(n):
    rng = np.random.default_rng(n)
    for _ in range(8):
        eps, eps_soil = rng.uniform(0.9, 1.0, 2)
        tau_d = rng.uniform(0.05, 0.99)
        sunlit, sky = rng.uniform(0, 1, n), rng.uniform(150, 450)
        sun, shade, surface = rng.uniform(260, 320, n), rng.uniform(260, 320, n), rng.uniform(260, 330)
        caught, scatter = 1 - tau_d, 0.5 * (1 - eps) * (1 - tau_d)
        emitted = caught * eps * SIGMA * (sunlit * sun**4 + (1 - sunlit) * shade**4)
        matrix = radiation.transfer_matrix(n, tau_d + scatter, scatter, 1 - eps_soil)
        down, up = radiation.solve_transfer(matrix, sky, eps_soil * SIGMA * surface**4, emitted, emitted)
        field = field_of(eps, eps_soil, tau_d, sunlit, sky, sun, shade, surface)
        assert np.asarray(field.incident) == pytest.approx(down[1:] + up[:-1], rel=1e-12)
        assert float(field.down_ground) == pytest.approx(down[0], rel=1e-12)
        assert float(field.up_top) == pytest.approx(up[-1], rel=1e-12)


temperature = st.floats(230, 340)


@pytest.mark.parametrize("n", [1, 6])
@given(eps=st.floats(0.9, 1), eps_soil=st.floats(0.9, 1), tau_d=st.floats(0, 1), t=temperature)
def test_isothermal_enclosure_exchanges_nothing(n, eps, eps_soil, tau_d, t):
    black = SIGMA * t**4
    field = field_of(eps, eps_soil, tau_d, np.full(n, 0.3), black, np.full(n, t), np.full(n, t), t)
    assert np.asarray(field.incident) == pytest.approx(np.full(n, 2 * black), rel=1e-12)
    assert float(field.down_ground) == pytest.approx(black, rel=1e-12)
    assert float(field.up_top) == pytest.approx(black, rel=1e-12)


@pytest.mark.parametrize("n", [1, 6])
@given(
    eps=st.floats(0.9, 1), eps_soil=st.floats(0.9, 1), lai=st.floats(0.01, 10), caught=st.floats(1e-4, 0.999),
    share=st.floats(0, 1), sky=st.floats(50, 600), sun=temperature, shade=temperature, surface=temperature,
)  # fmt: skip
@settings(max_examples=100)
def test_gains_of_leaves_and_ground_are_what_does_not_leave(
    n, eps, eps_soil, lai, caught, share, sky, sun, shade, surface
):
    p, ts, th = np.full(n, share), np.linspace(sun, sun + 3, n), np.linspace(shade, shade - 2, n)
    field = field_of(eps, eps_soil, 1 - caught, p, sky, ts, th, surface)
    chi = caught / (lai / n)
    emitted = 2 * SIGMA * (p * ts**4 + (1 - p) * th**4)
    leaves = np.sum(lai / n * chi * eps * (np.asarray(field.incident) - emitted))
    ground = eps_soil * (float(field.down_ground) - SIGMA * surface**4)
    assert leaves + ground == pytest.approx(sky - float(field.up_top), abs=1e-9 * (sky + SIGMA * 340**4))


def test_without_leaves_the_ground_sees_the_sky():
    field = field_of(0.98, 0.96, 1.0, np.zeros(4), 310.0, np.full(4, 300.0), np.full(4, 295.0), 305.0)
    assert float(field.down_ground) == pytest.approx(310, rel=1e-14)
    assert float(field.up_top) == pytest.approx(0.96 * SIGMA * 305**4 + 0.04 * 310, rel=1e-14)


def test_warmer_leaves_send_more_both_ways():
    cool = field_of(0.97, 0.96, 0.6, np.full(3, 0.4), 320.0, np.full(3, 295.0), np.full(3, 294.0), 300.0)
    warm = field_of(0.97, 0.96, 0.6, np.full(3, 0.4), 320.0, np.full(3, 297.0), np.full(3, 294.0), 300.0)
    assert warm.down_ground > cool.down_ground and warm.up_top > cool.up_top


def test_derivatives():
    """By every input along random directions (the fields are smooth), fourth-order differences."""
    n, rng = 4, np.random.default_rng(0)
    weights = rng.normal(size=n)

    def f(x):
        eps, eps_soil, tau_d, sunlit, sky, sun, shade, surface = x
        layers = longwave.factorise(eps, eps_soil, tau_d, n)
        field = field_in(layers, eps, eps_soil, tau_d, sunlit, sky, sun, shade, surface)
        return weights @ field.incident + 0.3 * field.down_ground - 0.8 * field.up_top

    x = (0.96, 0.95, 0.7, rng.uniform(0.1, 0.9, n), 330.0, rng.uniform(280, 300, n), rng.uniform(280, 300, n), 303.0)
    x = jax.tree.map(jnp.asarray, x)
    value, gradient = jax.jit(f), jax.jit(jax.grad(f))(x)
    for k in range(len(x)):
        direction = tuple(v * rng.uniform(0.5, 1.5, v.shape) if i == k else 0 * v for i, v in enumerate(x))

        def at(h, direction=direction):
            return value(jax.tree.map(lambda base, slope: base + h * slope, x, direction))

        h = 1e-3
        difference = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
        expected = sum(jnp.sum(g * d) for g, d in zip(gradient, direction, strict=True))
        assert float(expected) == pytest.approx(float(difference), rel=1e-7), k


def test_gradients_are_finite_for_black_leaves_and_none():
    def f(eps, tau_d):
        layers = longwave.factorise(eps, 1.0, tau_d, 3)
        z = jnp.full(3, 300.0)
        return field_in(layers, eps, 1.0, tau_d, jnp.zeros(3), 300.0, z, z, 300.0).up_top

    gradient = jax.jit(jax.grad(f, argnums=(0, 1)))
    for eps, tau_d in ((1.0, 1.0), (1.0, 0.0), (0.9, 1.0), (0.9, 0.0)):
        assert all_finite(gradient(eps, tau_d))


def test_two_stream_equations_hold_for_any_sources():
    n, rng = 9, np.random.default_rng(5)
    t, r, a0 = 0.55, 0.3, 0.4
    up_source, down_source = rng.uniform(0, 50, (2, n))
    layers = two_stream.factorise(t, r, a0, n)
    x = two_stream.solve(layers, jnp.asarray(down_source), jnp.asarray(up_source), 120.0, 33.0)
    down, up = np.asarray(x.down), np.asarray(x.up)
    assert down[:-1] == pytest.approx(t * down[1:] + r * up[:-1] + down_source, rel=1e-13)
    assert up[1:] == pytest.approx(t * up[:-1] + r * down[1:] + up_source, rel=1e-13)
    assert down[-1] == 120 and up[0] == pytest.approx(a0 * down[0] + 33, rel=1e-13)
    assert np.all(np.asarray(layers.reflectance) <= 1) and np.all(np.asarray(layers.gain) >= 1)


def test_single_precision():
    rng = np.random.default_rng(2)
    arguments = (
        0.97,
        0.95,
        0.9,
        rng.uniform(0, 1, 50),
        320.0,
        rng.uniform(285, 300, 50),
        rng.uniform(280, 295, 50),
        300.0,
    )
    assert precision_error(jax.jit(lambda *x: field_of(*x)), *arguments) < 2e-6
