"""Leaf angles: projection and diffuse transmission of all six distributions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canveg_jax.physics import leaf_angle
from tests.independent import radiation
from tests.physics.checks import derivative_error, precision_error, relative_error

CODES = ["erectophile", "spherical", "planophile", "plagiophile", "extremophile", "uniform"]
"""By published code 0..5, under their right names (the published names of 0 and 2 are exchanged)."""
each_distribution = pytest.mark.parametrize("name", CODES)

ZENITH = np.array([0.5, 15, 30, 45, 60, 75, 85, 89])
WORKED_G = {
    "erectophile": (0.42413073, 0.42824959, 0.44500782, 0.47038129, 0.49773786, 0.51927135, 0.52667869, 0.52761251),
    "spherical": (0.49956981, 0.49721170, 0.49481748, 0.49278569, 0.49123921, 0.49028794, 0.49002287, 0.48999996),
    "planophile": (0.82880284, 0.80077891, 0.72078149, 0.60126930, 0.46288532, 0.33575031, 0.27974014, 0.27047354),
    "plagiophile": (0.67901573, 0.65663230, 0.59897515, 0.52946041, 0.47243499, 0.44082131, 0.43313630, 0.43232454),
    "extremophile": (0.57391783, 0.57239620, 0.56681416, 0.54219019, 0.48818819, 0.41420035, 0.37328253, 0.36576150),
    "uniform": (0.62646678, 0.61451425, 0.58289466, 0.53582530, 0.48031159, 0.42751083, 0.40320941, 0.39904302),
}
WORKED_TAU = {  # layer LAI 0.01, 0.1, 1, 3 with clumping 0.95
    "erectophile": (0.9909792126, 0.9163518967, 0.4789829618, 0.1459420883),
    "spherical": (0.9909281950, 0.9152788214, 0.4644082230, 0.1278177202),
    "planophile": (0.9909152305, 0.9125381767, 0.4152599232, 0.0771986171),
    "plagiophile": (0.9907608754, 0.9128386694, 0.4381888043, 0.0995396350),
    "extremophile": (0.9911227684, 0.9155346580, 0.4465460937, 0.1064502220),
    "uniform": (0.9909415039, 0.9141741604, 0.4422197936, 0.1027280851),
}
EXACT_G = {  # exact integral at 0.5 and 60 degrees
    "erectophile": (0.42442, 0.50876), "spherical": (0.5, 0.5), "planophile": (0.84879, 0.47288),
    "plagiophile": (0.67904, 0.47245), "extremophile": (0.59418, 0.50919), "uniform": (0.63661, 0.49082),
}  # fmt: skip
SKY_WEIGHTS_SUM = 1.000164512069605
"""Published sum of the sky weights, by which the published transmission is too large."""


def published_weights(name: str) -> np.ndarray:
    """The published quadrature: trapezoid over the class midpoints, which omits both end half-classes."""
    angles = leaf_angle.class_angles()
    density = leaf_angle.DENSITIES[name](angles) * (1.0 if name == "spherical" else 2.0 / np.pi)
    weights = density * np.pi / 100
    weights[[0, -1]] /= 2
    return weights


@each_distribution
def test_projection_worked(published_pi, name):
    cosine = np.cos(np.deg2rad(ZENITH))
    g = leaf_angle.mean_projection(cosine, jnp.asarray(published_weights(name)))
    assert np.asarray(g) == pytest.approx(np.array(WORKED_G[name]), abs=6e-9)


@each_distribution
def test_diffuse_transmission_worked(published_pi, name):
    sky_g = leaf_angle.sky_projection(jnp.asarray(published_weights(name)))
    tau = [leaf_angle.diffuse_interception(dl, 0.95, sky_g)[0] for dl in (0.01, 0.1, 1.0, 3.0)]
    assert np.array(tau) * SKY_WEIGHTS_SUM == pytest.approx(np.array(WORKED_TAU[name]), rel=1e-9)


@each_distribution
def test_projection_near_the_exact_integral(name):
    g = leaf_angle.mean_projection(np.cos(np.deg2rad([0.5, 60.0])), jnp.asarray(leaf_angle.leaf_angle_weights(name)))
    assert np.asarray(g) == pytest.approx(np.array(EXACT_G[name]), abs=5e-5)


@pytest.mark.parametrize("code", range(6))
def test_as_published_but_for_quadrature_and_pi(published, published_pi, code):
    record = published("leaf_angle")
    weights = jnp.asarray(published_weights(CODES[code]))
    day = record.given("sin_beta") > 0
    g = leaf_angle.mean_projection(np.cos(record.given("theta_rad")[day]), weights)
    sky_g = leaf_angle.sky_projection(weights)
    assert relative_error(g, record.made(f"type{code}_Gfunc")[day]) < 1e-8
    assert relative_error(sky_g, record.made(f"type{code}_Gfunc_Sky")) < 1e-8
    layer = record.given("dff")[:, 0]
    tau, _ = jax.vmap(lambda dl: leaf_angle.diffuse_interception(dl, 0.95, sky_g))(layer)
    assert relative_error(np.asarray(tau) * SKY_WEIGHTS_SUM, record.made(f"type{code}_integ_exp_diff")) < 1e-8


@each_distribution
def test_projection_by_brute_force(name):
    """Mean of |cos| of the angle between leaf normal and direction, over leaf azimuth and inclination class."""
    azimuth = (np.arange(4000) + 0.5) * np.pi / 4000
    inclination, weights = leaf_angle.class_angles(), leaf_angle.leaf_angle_weights(name)
    zenith = np.deg2rad([0.5, 20.0, 47.0, 63.0, 80.0, 89.5])
    expected = []
    for theta in zenith:
        dot = np.cos(theta) * np.cos(inclination)[:, None] + np.sin(theta) * np.sin(inclination)[:, None] * np.cos(
            azimuth
        )
        expected.append(weights @ np.abs(dot).mean(axis=1))
    g = leaf_angle.mean_projection(np.cos(zenith), jnp.asarray(weights))
    assert np.asarray(g) == pytest.approx(np.array(expected), rel=1e-6)


@each_distribution
def test_interception_by_brute_force(name):
    weights = leaf_angle.leaf_angle_weights(name)
    sky_g = leaf_angle.sky_projection(jnp.asarray(weights))
    for layer_lai, clumping in ((0.02, 0.95), (0.7, 0.5), (4.0, 1.0)):
        tau, chi = leaf_angle.diffuse_interception(layer_lai, clumping, sky_g)
        caught, per_area = radiation.intercepted_diffuse(layer_lai, clumping, list(weights))
        assert float(1 - tau) == pytest.approx(caught, rel=1e-11)
        assert float(chi) == pytest.approx(per_area, rel=1e-11)


@each_distribution
def test_weights_are_shares(name):
    for n in (2, 9, 50):
        weights = leaf_angle.leaf_angle_weights(name, n)
        assert weights.sum() == pytest.approx(1, rel=1e-14) and weights.min() >= 0


def test_mean_inclination_bears_out_the_names():
    mean = {n: np.rad2deg(leaf_angle.leaf_angle_weights(n) @ leaf_angle.class_angles()) for n in CODES}
    assert mean["planophile"] == pytest.approx(26.8, abs=0.1)
    assert mean["erectophile"] == pytest.approx(63.2, abs=0.1)
    assert mean["spherical"] == pytest.approx(57.3, abs=0.1)
    assert mean["plagiophile"] == mean["extremophile"] == pytest.approx(45, abs=1e-9)


@each_distribution
def test_mean_projection_over_the_hemisphere_is_a_half(name):
    """The sphere of directions sees half the leaf area on average, whatever the leaf angles."""
    mu = (np.arange(2000) + 0.5) / 2000
    g = leaf_angle.mean_projection(mu, jnp.asarray(leaf_angle.leaf_angle_weights(name)))
    assert float(jnp.mean(g)) == pytest.approx(0.5, abs=2e-6)


@given(layer_lai=st.floats(0, 12), clumping=st.floats(0.3, 1.0), name=st.sampled_from(CODES))
def test_interception_bounds(layer_lai, clumping, name):
    sky_g = jnp.asarray(_SKY[name])
    tau, chi = leaf_angle.diffuse_interception(layer_lai, clumping, sky_g)
    limit = float(leaf_angle.diffuse_interception(0.0, clumping, sky_g)[1])
    assert 0 < tau <= 1 and 0 < chi <= limit * (1 + 1e-12)
    # At least the thinnest path (vertical leaves seen from the zenith transmit no less than exp(-2 Omega L)).
    assert float(tau) >= np.exp(-2 * clumping * layer_lai) * (1 - 1e-9)


_SKY = {name: np.asarray(leaf_angle.sky_projection(jnp.asarray(leaf_angle.leaf_angle_weights(name)))) for name in CODES}


def test_interception_is_continuous_at_no_leaves():
    sky_g = jnp.asarray(_SKY["spherical"])
    tau, chi = leaf_angle.diffuse_interception(0.0, 0.95, sky_g)
    assert tau == 1
    near = [float(leaf_angle.diffuse_interception(dl, 0.95, sky_g)[1]) for dl in (1e-9, 1e-6, 1e-5)]
    assert near == pytest.approx([float(chi)] * 3, rel=1e-4)
    across = [float(leaf_angle.diffuse_interception(2e-4 * (1 + d), 0.95, sky_g)[1]) for d in (-1e-3, 0, 1e-3)]
    assert across[2] - across[1] == pytest.approx(across[1] - across[0], rel=1e-2)


@each_distribution
def test_derivatives(name):
    weights = jnp.asarray(leaf_angle.leaf_angle_weights(name))
    # Between two classes: where the direction crosses a class's inclination, the curvature is infinite.
    cosine = np.cos(np.deg2rad([3.6, 19.8, 45.0, 70.2, 86.4]))
    assert derivative_error(lambda mu: leaf_angle.mean_projection(mu, weights), {"mu": cosine}, 1e-5)["mu"] < 1e-6
    sky_g = leaf_angle.sky_projection(weights)
    errors = derivative_error(
        lambda dl, omega: leaf_angle.diffuse_interception(dl, omega, sky_g)[1],
        {"dl": np.array([0.01, 0.1, 1.0, 5.0]), "omega": np.array([0.4, 0.95, 0.7, 1.0])},
    )
    assert max(errors.values()) < 1e-7


def test_gradients_are_finite_at_the_edges():
    weights = jnp.asarray(leaf_angle.leaf_angle_weights("uniform"))
    gradient = jax.jit(jax.grad(lambda mu: leaf_angle.mean_projection(mu, weights)))
    for mu in (1.0, 1e-3, float(np.cos(leaf_angle.class_angles()[7]))):
        assert np.isfinite(gradient(mu)), mu
    sky_g = leaf_angle.sky_projection(weights)
    at_zero = jax.grad(lambda dl: leaf_angle.diffuse_interception(dl, 0.95, sky_g)[1])(0.0)
    assert np.isfinite(at_zero) and at_zero < 0


def test_single_precision():
    weights = leaf_angle.leaf_angle_weights("planophile")
    assert precision_error(leaf_angle.mean_projection, np.linspace(0.01, 1, 40), weights) < 2e-5
    assert precision_error(leaf_angle.diffuse_interception, 0.3, 0.95, _SKY["planophile"]) < 1e-6
