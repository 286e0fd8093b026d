"""Short-wave transfer: dense linear solve, published fields, conservation."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canveg_jax.physics import leaf_angle, shortwave, two_stream
from tests.independent import radiation
from tests.physics.checks import all_finite, derivative_error, precision_error, relative_error

PAR, NIR = (0.05, 0.05, 0.05), (0.60, 0.20, 0.10)
"""Default reflectance, transmittance, ground reflectance."""
transfer = jax.jit(shortwave.transfer)
penetration = jax.jit(shortwave.beam_penetration, static_argnums=4)


def streams(beam, beam_in, diffuse_in, reflect, transmit, ground, tau_d):
    """`D`, `U` on the levels: the equations that `transfer` solves, put together from its parts."""
    n = beam.at_top.shape[0]
    layers = two_stream.factorise(tau_d + (1 - tau_d) * transmit, (1 - tau_d) * reflect, ground, n)
    caught = beam_in * beam.intercepted
    return two_stream.solve(layers, transmit * caught, reflect * caught, diffuse_in, ground * beam_in * beam.at_ground)


WORKED = [  # sin beta, G, tau_d, layer LAI; optics; beam, diffuse; levels D; levels U (bottom to top); spherical, 0.95
    (0.9632488498, 0.4971068215, 0.5543326712, 0.75, PAR, 1640.502942, 429.4970584,
     (74.68282003, 114.1227495, 176.0146347, 273.8005768, 429.4970584),
     (22.57857388, 23.93689261, 29.82108854, 40.76883318, 58.31582138)),
    (0.9632488498, 0.4971068215, 0.5543326712, 0.75, NIR, 331.9118725, 118.0881275,
     (80.55575268, 108.1410399, 128.1869209, 134.921669, 118.0881275),
     (15.68090875, 59.3398136, 101.8292162, 144.0224292, 185.5232773)),
    (0.1772226894, 0.4901243775, 0.7328435698, 0.375, PAR, 7.256996035, 96.24300397,
     (30.08277389, 40.27164103, 53.89636129, 72.07800677, 96.24300397),
     (1.511188716, 1.677425648, 2.003329824, 2.542584888, 3.410257163)),
    (0.1772226894, 0.4901243775, 0.7328435698, 0.375, NIR, 1.43312939, 21.06687061,
     (9.685242958, 12.1079807, 14.81024906, 17.81337883, 21.06687061),
     (0.9713088068, 2.732592666, 4.597670152, 6.671584383, 9.161431538)),
    (0.100787306, 0.490031793, 0.3910794462, 1.25, PAR, 6.692091428, 62.30790857,
     (2.002298566, 4.742893558, 11.23825083, 26.62805065, 62.30790857),
     (0.1001149284, 0.1866032712, 0.4208213512, 0.9891421139, 2.64754142)),
    (0.100787306, 0.490031793, 0.3910794462, 1.25, NIR, 1.620071294, 13.37992871,
     (1.764244763, 3.314307746, 5.535283941, 8.874813123, 13.37992871),
     (0.1764244763, 1.301371778, 2.689764419, 4.624927854, 8.22936646)),
]  # fmt: skip


@pytest.mark.parametrize("row", WORKED)
def test_worked_fields(row):
    sine, g, tau_d, layer_lai, (rho, tau, ground), beam_in, diffuse, down, up = row
    beam = penetration(sine, g, 0.95, layer_lai, 4)
    field = streams(beam, beam_in, diffuse, rho, tau, ground, tau_d)
    assert np.asarray(field.down) == pytest.approx(np.array(down), rel=3e-9)
    assert np.asarray(field.up) == pytest.approx(np.array(up), rel=3e-9)
    chi = (1 - tau_d) / layer_lai
    band = transfer(beam, beam_in, diffuse, rho, tau, ground, tau_d, chi)
    assert float(band.up_top) == pytest.approx(up[-1], rel=1e-8)
    # Published absorption takes both streams at the bottom and all of the leaf area; here it closes.
    alpha = 1 - rho - tau
    closing = alpha * chi * (np.array(down[1:]) + np.array(up[:-1]))
    assert np.asarray(band.shaded) == pytest.approx(closing, rel=1e-8)
    assert np.asarray(band.sunlit - band.shaded) == pytest.approx(np.full(4, alpha * g / sine * beam_in), rel=1e-9)


def test_worked_beam():
    beam = penetration(0.9632488498, 0.4971068215, 0.95, 0.75, 4)
    flux = 1640.502942 * np.append(np.asarray(beam.at_top), 0.0)
    assert flux[:4] == pytest.approx([544.3823727, 786.3122481, 1135.758582, 1640.502942], rel=1e-9)
    assert 1640.502942 * float(beam.at_ground) == pytest.approx(376.8886577, rel=1e-9)
    bottom = 0.95 * np.asarray(beam.at_top - beam.intercepted)
    assert bottom == pytest.approx([0.2182527173, 0.3152467703, 0.4553461117, 0.6577072344], rel=1e-9)


@pytest.mark.parametrize("band_name", ["par_transfer", "nir_transfer"])
def test_fields_as_published_when_converged(published, band_name):
    """Flux fields agree; sunlit fraction and absorption differ by the level at which they are taken, which is applied here."""
    record = published(band_name)
    names = ("sin_beta", "Gfunc", "inbeam", "indiffuse")
    sine, g, beam_in, diffuse = (record.given(n) for n in names)
    rho, tau, ground = (float(record.given(n)) for n in ("reflect", "trans", "soil_refl"))
    layer_lai, tau_d = record.given("dff")[:, 0], record.given("integ_exp_diff")[:, 0]
    omega = float(record.given("leaf_clumping_factor"))
    beam = jax.jit(jax.vmap(lambda s, g, dl: shortwave.beam_penetration(s, g, omega, dl, 50)))(sine, g, layer_lai)
    field = jax.jit(jax.vmap(lambda b, i, d, t: streams(b, i, d, rho, tau, ground, t)))(beam, beam_in, diffuse, tau_d)
    day = sine > 0
    made = record.made("beam_flux")[:, 1:]
    assert relative_error((beam_in[:, None] * np.asarray(beam.at_top))[day], made[day]) < 1e-8
    assert relative_error(field.down[day], record.made("dn_flux")[day]) < 1e-8
    assert relative_error(field.up[day], record.made("up_flux")[day]) < 1e-8
    bottom = np.minimum(1.0, omega * np.asarray(beam.at_top - beam.intercepted))
    assert relative_error(bottom[day], record.made("prob_beam")[day, :50]) < 1e-8

    chi = (1 - tau_d) / layer_lai
    several = jax.jit(jax.vmap(lambda b, i, d, t, c: shortwave.transfer(b, i, d, rho, tau, ground, t, c)))
    band = several(beam, beam_in, diffuse, tau_d, chi)
    alpha = 1 - rho - tau
    down, up = record.made("dn_flux")[day], record.made("up_flux")[day]
    assert relative_error(alpha * (down + up)[:, :-1], record.made("sh_abs")[day]) < 1e-8  # both streams at the bottom
    assert relative_error(band.shaded[day], alpha * chi[day, None] * (down[:, 1:] + up[:, :-1])) < 1e-8
    direct = np.asarray(band.sunlit - band.shaded)[day]
    assert relative_error(direct, record.made("sun_abs")[day] - record.made("sh_abs")[day]) < 1e-8
    assert relative_error(band.up_top[day], up[:, -1]) < 1e-8
    net = made[day, 0] * 0 + record.made("beam_flux")[day, 0] + down[:, 0] - up[:, 0]
    assert relative_error(band.ground_net[day], net) < 1e-8
    assert not np.asarray(band.sunlit)[~day].any() and not np.asarray(band.up_top)[~day].any()


@pytest.mark.parametrize("band_name", ["par_transfer", "nir_transfer"])
def test_published_single_sweep_is_what_loses_radiation(published, band_name):
    """One sweep from zero upward flux gives the published field, which lies below the exact one everywhere."""
    record = published(band_name)
    rho, tau = float(record.given("reflect")), float(record.given("trans"))
    tau_d = record.given("integ_exp_diff")[:, :1]
    t, r = tau_d + (1 - tau_d) * tau, (1 - tau_d) * rho
    beam = record.made("beam_flux")
    caught = np.diff(beam, axis=1)
    down, up = np.zeros_like(beam), np.zeros_like(beam)
    down[:, -1] = record.given("indiffuse")
    for j in range(50, 0, -1):
        down[:, j - 1] = t[:, 0] * down[:, j] + tau * caught[:, j - 1]
    up[:, 1:] = r * down[:, 1:] + rho * caught
    up[:, 0] = record.given("soil_refl") * (down[:, 0] + beam[:, 0])
    assert np.abs(down - record.made_in_one_sweep("dn_flux")).max() < 1e-9
    assert np.abs(up - record.made_in_one_sweep("up_flux")).max() < 1e-9
    day = record.given("sin_beta") > 0
    assert np.all(up <= record.made("up_flux") + 1e-9)
    assert record.made("up_flux")[day, -1].mean() > 1.3 * up[day, -1].mean()


def random_case(seed: int, n: int):
    rng = np.random.default_rng(seed)
    rho, tau = rng.uniform(0, 0.6), rng.uniform(0, 0.38)
    weights = leaf_angle.leaf_angle_weights(list(leaf_angle.DENSITIES)[seed % 6])
    layer_lai, omega, sine = rng.uniform(0.01, 8) / n, rng.uniform(0.4, 1.0), rng.uniform(0.02, 1.0)
    g = float(leaf_angle.mean_projection(sine, jnp.asarray(weights)))
    caught, chi = radiation.intercepted_diffuse(layer_lai, omega, list(weights))
    return rho, tau, rng.uniform(0, 0.6), layer_lai, omega, sine, g, caught, chi, *rng.uniform(0, 900, 2)


@pytest.mark.parametrize("n", [1, 4, 50])
def test_against_a_dense_solve(n):
    for seed in range(12):
        rho, tau, ground, layer_lai, omega, sine, g, caught, chi, beam_in, diffuse = random_case(seed, n)
        beam = penetration(sine, g, omega, layer_lai, n)
        band = transfer(beam, beam_in, diffuse, rho, tau, ground, 1 - caught, chi)
        x = radiation.shortwave_band(
            n, layer_lai, beam_in, diffuse, g / sine, omega, caught, chi, rho, tau, ground
        )  # fmt: skip
        size = beam_in + diffuse
        for name, expected in (("sunlit", "sun"), ("shaded", "shade"), ("up_top", "out"), ("ground_net", "soil")):
            error = np.abs(np.asarray(getattr(band, name)) - x[expected]).max()
            assert error < 1e-11 * size, (n, seed, name)
        sunlit = radiation.sunlit_fraction(n, layer_lai, g / sine, omega, True)
        assert np.asarray(beam.sunlit) == pytest.approx(sunlit, rel=1e-10)


def test_sunlit_fraction_is_the_mean_over_the_layer():
    beam = penetration(0.6, 0.5, 0.8, 0.7, 3)
    depth = (np.arange(20000) + 0.5) / 20000
    inside = np.exp(-0.5 / 0.6 * 0.8 * 0.7 * depth).mean()
    assert np.asarray(beam.sunlit) == pytest.approx(0.8 * np.asarray(beam.at_top) * inside, rel=1e-8)


_SKY_G = np.asarray(leaf_angle.sky_projection(jnp.asarray(leaf_angle.leaf_angle_weights("plagiophile"))))


optics = st.tuples(st.floats(0, 0.7), st.floats(0, 0.29), st.floats(0, 1.0))


@pytest.mark.parametrize("n", [1, 7])
@given(
    optics=optics, lai=st.floats(0, 12), omega=st.floats(0.3, 1), sine=st.floats(-1, 1, allow_subnormal=False),
    g=st.floats(0.2, 0.9),
    beam_in=st.floats(0, 1200), diffuse=st.floats(0, 600),
)  # fmt: skip
@settings(max_examples=100)
def test_everything_is_reflected_or_absorbed(n, optics, lai, omega, sine, g, beam_in, diffuse):
    beam_in = beam_in if sine > 0 else 0.0
    p, band = canopy_and_ground(n, optics, lai, omega, sine, g, beam_in, diffuse)
    leaves = lai / n * np.sum(p * band.sunlit + (1 - p) * band.shaded)
    total = float(leaves + band.ground_net + band.up_top)
    assert total == pytest.approx(beam_in + diffuse, rel=1e-9, abs=1e-12)
    assert min(np.min(v) for v in band) >= 0
    assert np.all((p >= 0) & (p <= 1))


@partial(jax.jit, static_argnums=0)
def _canopy_and_ground(n, optics, lai, omega, sine, g, beam_in, diffuse):
    tau_d, chi = leaf_angle.diffuse_interception(lai / n, omega, jnp.asarray(_SKY_G))
    beam = shortwave.beam_penetration(sine, g, omega, lai / n, n)
    return beam.sunlit, shortwave.transfer(beam, beam_in, diffuse, *optics, tau_d, chi)


def canopy_and_ground(*arguments):
    """Sunlit fraction and `Band` as NumPy arrays."""
    return jax.tree.map(np.asarray, _canopy_and_ground(*arguments))


def test_conservative_scattering_over_a_white_ground_reflects_everything():
    for n in (1, 50):
        beam = penetration(0.5, 0.5, 0.9, 3.0 / n, n)
        band = transfer(beam, 400.0, 200.0, 0.65, 0.35, 1.0, 0.4 ** (1 / n), 0.5)
        assert float(band.up_top) == pytest.approx(600, rel=1e-11)
        assert np.abs(np.asarray(band.sunlit)).max() < 1e-10 and band.ground_net == 0


def test_black_leaves_transmit_what_they_do_not_catch():
    beam = penetration(0.5, 0.5, 0.9, 0.4, 5)
    field = streams(beam, 400.0, 200.0, 0.0, 0.0, 0.3, 0.7)
    assert np.asarray(field.down) == pytest.approx(200 * 0.7 ** np.arange(5, -1, -1), rel=1e-12)
    assert np.asarray(field.up) == pytest.approx(float(field.up[0]) * 0.7 ** np.arange(6), rel=1e-12)


def test_fields_are_linear_in_the_input():
    beam = penetration(0.7, 0.5, 0.95, 0.5, 5)
    one = transfer(beam, 300.0, 100.0, *NIR, 0.7, 0.6)
    two = transfer(beam, 600.0, 200.0, *NIR, 0.7, 0.6)
    assert all(relative_error(b, 2 * np.asarray(a)) < 1e-13 for a, b in zip(one, two, strict=True))


def test_reflection_converges_with_the_number_of_layers():
    out = [canopy_and_ground(n, NIR, 3.0, 0.95, 0.6, 0.5, 400.0, 100.0)[1].up_top for n in (10, 20, 40, 80)]
    steps = -np.diff(out)
    assert np.all(steps > 0) and np.all(steps[1:] < 0.7 * steps[:-1])
    assert steps[-1] < 0.015 * out[-1]


def test_more_light_is_caught_and_less_passes_as_leaves_grow():
    ground = []
    for lai in (0.0, 0.1, 1.0, 3.0, 8.0):
        ground.append(float(canopy_and_ground(7, PAR, lai, 0.95, 0.6, 0.5, 400.0, 100.0)[1].ground_net))
    assert ground[0] == pytest.approx(0.95 * 500, rel=1e-12)
    assert np.all(np.diff(ground) < 0) and ground[-1] < 10


def absorbed_by_shaded(sine, g, omega, lai, beam_in, diffuse, rho, tau, ground):
    tau_d, chi = leaf_angle.diffuse_interception(lai / 3, omega, jnp.asarray(_SKY_G))
    beam = shortwave.beam_penetration(sine, g, omega, lai / 3, 3)
    band = shortwave.transfer(beam, beam_in, diffuse, rho, tau, ground, tau_d, chi)
    weights = jnp.asarray([0.3, -0.5, 0.9])
    return weights @ (band.shaded + beam.sunlit * band.sunlit) + 0.2 * band.ground_net - 0.7 * band.up_top


def test_derivatives_include_the_leaf_area_path():
    rng = np.random.default_rng(3)
    ranges = {
        "sine": (0.1, 1), "g": (0.3, 0.8), "omega": (0.5, 1), "lai": (0.2, 6), "beam_in": (100, 900), "diffuse": (50, 400),
        "rho": (0.05, 0.6), "tau": (0.05, 0.3), "ground": (0.05, 0.5),
    }  # fmt: skip
    inputs = {name: rng.uniform(*r, 15) for name, r in ranges.items()}
    errors = derivative_error(absorbed_by_shaded, inputs)
    assert max(errors.values()) < 1e-7, errors


def test_gradients_are_finite_at_night_and_without_leaves():
    gradient = jax.jit(jax.grad(lambda x: absorbed_by_shaded(*x)))
    for sine in (-0.7, -1e-9, 0.0, 1e-9, 1e-3, 1.0):
        for lai in (0.0, 1e-6, 12.0):
            x = (sine, 0.5, 0.95, lai, 0.0, 100.0, *NIR)
            assert all_finite(gradient(x)), (sine, lai)


def test_single_precision():
    def f(sine, g, omega, lai, beam_in, diffuse, rho, tau, ground, sky_g):
        tau_d, chi = leaf_angle.diffuse_interception(lai / 50, omega, sky_g)
        beam = shortwave.beam_penetration(sine, g, omega, lai / 50, 50)
        return shortwave.transfer(beam, beam_in, diffuse, rho, tau, ground, tau_d, chi)

    assert precision_error(jax.jit(f), 0.6, 0.5, 0.95, 4.0, 500.0, 200.0, *NIR, _SKY_G) < 1e-5
    assert precision_error(jax.jit(f), -0.01, 0.5, 0.95, 4.0, 0.0, 20.0, *PAR, _SKY_G) < 1e-5
