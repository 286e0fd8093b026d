"""Dispersion matrix: well-mixed flights, flux-gradient limit, seeds and their scatter, cache, CSV, published matrices."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from canveg_jax import SITES, Site, dispersion_matrix
from canveg_jax.files import cache_folder
from canveg_jax.physics import random_flight as flight
from canveg_jax.physics.dispersion import BATCHES, cache_key, generate, read_dispersion_csv

SMALL = flight.Grid(2, 4, 3.0)


@pytest.fixture(scope="module")
def small():
    """`generate` by seed for a grid of 2 canopy and 4 air layers."""
    return {seed: generate(SMALL, 16_000, seed) for seed in (0, 1)}


def diffusivity(z):
    """Far-field `sigma_w^2 T_L` above the canopy, in h u*."""
    return 1.25**2 * np.where(z < 1.5, 0.25, 0.4 * (z - 0.6) / 1.56)


@partial(jax.jit, static_argnums=1)
def _mixed(key, steps: int, sigma_ground, top=1.4):
    """Particles mixed from the start between two reflecting walls; heights after `steps`."""
    key, first, second = jax.random.split(key, 3)
    z = jax.random.uniform(first, (100_000,), jnp.float32, 0.0, top)
    sigma, _ = flight.velocity_scale(z, sigma_ground)
    w = sigma * jax.random.normal(second, z.shape, jnp.float32)

    def step(i, state):
        z, w = state
        xi = jax.random.normal(jax.random.fold_in(key, i), z.shape, jnp.float32)
        z, w = flight._advance(z, w, xi, sigma_ground)
        outside = (z < 0) | (z > top)
        z = jnp.where(z < 0, -z, jnp.where(z > top, 2 * top - z, z))
        return z, jnp.where(outside, -w, w)

    return jax.lax.fori_loop(0, steps, step, (z, w))[0]


def crowding(sigma_ground: float) -> np.ndarray:
    """Density of mixed particles in seven bins after 10 h/u*, relative to even mixing."""
    z = np.asarray(_mixed(jax.random.key(0), 400, jnp.float32(sigma_ground)))
    return np.histogram(z, bins=7, range=(0, 1.4))[0] * 7 / z.size


def test_mixed_particles_stay_mixed():
    """Thomson's criterion; the finite time step crowds the ground, where the turbulence changes fastest, by a few percent."""
    density = crowding(0.3125)
    assert density.sum() == pytest.approx(7, rel=1e-12)
    assert np.abs(density[1:] - 1).max() < 0.03 and abs(density[0] - 1) < 0.08


def test_turbulence_is_continuous_at_the_canopy_top():
    """With the published 0.25 at the ground `sigma_w` jumps there from 1.1875 to 1.25."""
    below, above = (flight.velocity_scale(jnp.asarray(1.0 + d), 0.3125)[0] for d in (-1e-9, 1e-9))
    assert float(above - below) == pytest.approx(0, abs=1e-8) and float(above) == 1.25
    assert float(flight.velocity_scale(jnp.asarray(1 - 1e-9), 0.25)[0]) == pytest.approx(1.1875, abs=1e-8)
    z = jnp.linspace(0.0, 0.999, 50)
    _, gradient = flight.velocity_scale(z, 0.3125)
    slope = jax.vmap(jax.grad(lambda z: flight.velocity_scale(z, 0.3125)[0] ** 2))(z)
    assert np.asarray(gradient) == pytest.approx(np.asarray(slope), rel=1e-12)
    assert SMALL.sigma_ground == 0.3125


def test_bins_cover_the_model_s_layers_up_to_the_tower():
    grid = flight.Grid(4, 3, 2.5)
    assert grid.widths == pytest.approx([0.25] * 4 + [0.5] * 3) and grid.widths.sum() == pytest.approx(2.5)
    z = jnp.array([0.0, 0.249, 0.25, 0.999, 1.0, 1.499, 1.51, 2.499, 2.5, 9.0])
    assert np.asarray(flight.bin_of(z, grid)).tolist() == [0, 0, 1, 3, 4, 4, 5, 6, 7, 7]


def test_every_particle_is_accounted_for():
    """Each spends its first step in the bin above its layer, and leaves within the limit."""
    counts, inside, made = flight.fly(jax.random.key(3, impl="rbg"), 500, SMALL, 4000.0)
    assert inside == 0 and counts.shape == (2, 6)
    assert counts[0, 1] >= 500 and counts[1, 2] >= 500 and counts.min() >= 0
    assert counts.sum() <= made


def test_flights_cut_by_the_limit_are_counted():
    _, inside, _ = flight.fly(jax.random.key(3, impl="rbg"), 500, SMALL, 2.5)
    assert 500 < inside <= 1000


@pytest.mark.slow
def test_same_seed_same_matrix(small):
    again = generate(SMALL, 16_000, 0)
    assert np.array_equal(again[0], small[0][0]) and np.array_equal(again[1], small[0][1])
    assert not np.array_equal(small[0][0], small[1][0])


def test_scatter_between_seeds_is_what_the_standard_error_says(small):
    (a, error_a, cut), (b, error_b, _) = small[0], small[1]
    assert cut == 0 and not a[-1].any() and not error_a[-1].any()
    z = (a - b)[:-1] / np.hypot(error_a, error_b)[:-1]
    assert 0.5 < np.sqrt(np.mean(z**2)) < 1.6 and np.abs(z).max() < 4
    assert error_a[:-1].max() < 0.03 * a.max()


def test_sources_below_see_the_same_air_above(small):
    """Above all sources the flux is the same, so the far concentration does not depend on the source layer."""
    matrix, error, _ = small[0]
    difference = matrix[3:-1, 0] - matrix[3:-1, 1]
    assert np.all(np.abs(difference) < 4 * np.hypot(error[3:-1, 0], error[3:-1, 1]) + 0.02)
    assert np.all(np.diff(matrix[2:, 0]) < 0) and matrix[0, 0] > matrix[1, 0] > matrix[2, 0]


@pytest.mark.parametrize("name", ["US-Bi1", "US-Whs"])
def test_gradient_far_from_sources_is_flux_over_diffusivity(name):
    """`dD/dz = -1 / (sigma_w^2 T_L)` between 1.7 h and 4 h, away from sources and from the absorbing top."""
    site = Site.named(name)
    matrix = dispersion_matrix(site).matrix[50:, :40].mean(axis=1)
    top = site.measurement_height / site.canopy_height
    z = 1 + (np.arange(50) + 0.5) * (top - 1) / 50
    inner = (z > 1.7) & (z < 4.0)
    ratio = -np.diff(matrix) / np.diff(z) * diffusivity(0.5 * (z[1:] + z[:-1]))
    chosen = ratio[inner[1:] & inner[:-1]]
    assert chosen.size > 10 and chosen.mean() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("n_layers", [1, 50])
@pytest.mark.parametrize("name", list(SITES))
def test_presets_are_shipped_with_their_standard_error(name, n_layers):
    site = Site.named(name, n_layers=n_layers)
    made = dispersion_matrix(site)
    assert made.source == "shipped with the package"
    assert made.matrix.shape == made.standard_error.shape == (n_layers + 50, n_layers)
    assert made.matrix.dtype == np.float64 and np.isfinite(made.matrix).all() and not made.matrix[-1].any()
    assert made.matrix[:n_layers].min() > 0 and made.standard_error.max() < 0.25


def test_cache_on_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("CANVEG_CACHE", str(tmp_path))
    site = Site.named("US-Whs", n_layers=2, n_air_layers=4, measurement_height=3.0, dispersion_particles=16_000)
    first = dispersion_matrix(site)
    assert first.source == "generated from 16000 flights"
    files = list((cache_folder() / "dispersion").iterdir())
    assert cache_folder() == tmp_path and len(files) == 1 and files[0].name.startswith("dispersion-2x4-3-")
    second = dispersion_matrix(site)
    assert second.source == f"cache {files[0].name}"
    assert second.matrix == pytest.approx(first.matrix, rel=1e-6)
    assert second.standard_error == pytest.approx(first.standard_error, rel=1e-3)


def test_key_of_the_cache_holds_what_determines_the_matrix():
    grid = flight.Grid(2, 4, 3.0)
    keys = {
        cache_key(g, particles, seed)
        for g in (grid, grid._replace(n_layers=3), grid._replace(top=3.01), grid._replace(sigma_ground=0.25))
        for particles in (1000, 2000)
        for seed in (0, 1)
    }
    assert len(keys) == 16
    assert cache_key(flight.Grid(2, 4, 5.0 / 2.5), 1000, 0) == cache_key(flight.Grid(2, 4, 2.0), 1000, 0)


def test_csv_is_read_and_refused(tmp_path):
    path = tmp_path / "d.csv"
    table = np.array([[5.0, 4.0], [3.0, 3.5], [1.0, 1.2], [0.5, 0.5]])
    np.savetxt(path, table, delimiter=",")
    assert read_dispersion_csv(path, 2, 2) == pytest.approx(table - table[-1])
    site = Site.named("US-Bi1", n_layers=2, n_air_layers=2, dispersion=path)
    made = dispersion_matrix(site)
    assert made.source == "CSV d.csv" and made.standard_error is None and made.matrix[0, 0] == 4.5
    with pytest.raises(ValueError, match=r"expected 5 rows .* x 3 columns .*got 4 x 2. Check n_layers"):
        read_dispersion_csv(path, 3, 2)
    path.write_text("1.0\n0.5\n0.0\n")
    assert read_dispersion_csv(path, 1, 2).shape == (3, 1)
    path.write_text("1.0,0.5,0.0\n")
    assert read_dispersion_csv(path, 1, 2).shape == (3, 1)
    path.write_text("1.0\nnan\n0.0\n")
    with pytest.raises(ValueError, match="has 1 values that are not numbers"):
        read_dispersion_csv(path, 1, 2)


def test_the_time_limit_of_the_published_single_layer_matrix_is_what_cuts_it():
    """The published limit is 1000 s, at h = 18 m; printed rows 1, 2, 3, 11, 26, 50, of a domain of 51 h. Most flights are cut."""
    matrix, error, cut = generate(flight.Grid(1, 50, 51.0, 0.25), 1600, 0, 1000 / 18)
    rows = [0, 1, 2, 10, 25, 49]
    printed = np.array([7.93, 6.47, 4.63, 1.45, 0.349, 0.0076])
    assert np.all(np.abs(matrix[rows, 0] - printed) < 4 * error[rows, 0])
    assert 0.88 < cut < 0.95


@pytest.mark.slow
def test_the_published_matrix_is_the_same_flight_in_a_lower_domain(shared):
    """With the published domain (2 h), ground value and limit the flights give the published matrix."""
    published = read_dispersion_csv(shared / "data" / "dij" / "Dij_US-Bi1_50L.csv", 50, 50)
    particles = 32_000
    matrix, error, cut = generate(flight.Grid(50, 50, 2.0, 0.25), particles, 0, 1000 / 0.8)
    assert cut == 0 and BATCHES * 50 <= particles
    z = (matrix - published)[:-1] / np.hypot(error, 0.045)[:-1]  # 0.045: published scatter of an element
    assert np.sqrt(np.mean(z**2)) < 1.15 and abs(z.mean()) < 0.2
    # The repairs: up to the tower (3.5 s m-1 more by the logarithm), less crowding near the ground.
    added = dispersion_matrix(Site.named("US-Bi1")).matrix[:50] - published[:50]
    assert np.log((6.25 - 0.6) / (2.0 - 0.6)) / 0.4006 == pytest.approx(3.48, abs=0.01)
    assert added[:, 49].mean() == pytest.approx(3.0, abs=0.3)
    assert added[0, 0] < added[49, 0]


def test_published_single_layer_matrices_are_read(shared, tower):
    matrix = read_dispersion_csv(shared / "data" / "dij" / f"Dij_{tower}_1L.csv", 1, 50)
    assert matrix.shape == (51, 1) and matrix[-1] == 0 and np.all(np.diff(matrix[:, 0]) < 0)
    assert matrix[[0, 1, 2, 10, 25, 49], 0] == pytest.approx([12.03, 10.22, 8.26, 4.33, 2.05, 0.128], abs=0.012)
