"""Anderson acceleration alone: known fixed points, rows that do not disturb each other, and what happens at the limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from canveg_jax.solver import anderson

ROWS, SIZE = 7, 6
ONES = jnp.ones(SIZE)


def linear_problem(seed: int, contraction: float):
    """`u = A u + b` with a spectral radius of `contraction` (above 1 the plain iteration diverges), and its solution."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(ROWS, SIZE, SIZE))
    a *= contraction / np.abs(np.linalg.eigvals(a)).max(axis=1)[:, None, None]
    b = rng.normal(size=(ROWS, SIZE))
    return jnp.asarray(a), jnp.asarray(b), np.linalg.solve(np.eye(SIZE) - a, b[..., None])[..., 0]


@pytest.mark.parametrize("contraction", [0.5, 0.95, 1.5])
def test_linear_problems_are_solved_in_as_many_passes_as_unknowns(contraction):
    """With a history as long as the unknowns it is GMRES: also where plain iteration diverges."""
    a, b, exact = linear_problem(0, contraction)
    step = lambda u: jnp.einsum("bij,bj->bi", a, u) + b  # noqa: E731
    solve = jax.jit(lambda: anderson.solve(step, b, ONES, ONES, tolerance=1e-8, max_passes=40, depth=SIZE))
    found = solve()
    assert found.converged.all()
    assert found.passes.max() <= 3 * SIZE
    error = np.abs(found.value - exact).max()
    assert error < 1e-8 * np.abs(np.linalg.inv(np.eye(SIZE) - a)).sum(axis=2).max()


def test_the_residual_is_that_of_the_returned_value():
    a, b, _ = linear_problem(1, 0.9)
    step = lambda u: jnp.einsum("bij,bj->bi", a, u) + b  # noqa: E731
    scale = jnp.arange(1.0, SIZE + 1)
    found = anderson.solve(step, b, scale, ONES, tolerance=1e-6, max_passes=50)
    np.testing.assert_allclose(
        found.residual, jnp.abs(scale * (step(found.value) - found.value)).max(axis=1), rtol=1e-9, atol=1e-15
    )
    assert (found.residual <= 1e-6).all()


def test_a_relative_residual_is_that_of_the_returned_value_over_that_of_the_first_pass():
    a, b, _ = linear_problem(1, 0.9)
    b = b.at[2].set(0.0)
    step = lambda u: jnp.einsum("bij,bj->bi", a, u) + b  # noqa: E731
    for passes in (1, 4, 50):
        found = anderson.solve(
            step, jnp.zeros_like(b), ONES, ONES, tolerance=1e-6, max_passes=passes, depth=SIZE, relative=True
        )
        residual = jnp.abs(step(found.value) - found.value).max(axis=1)
        expected = jnp.where(jnp.arange(ROWS) == 2, 0.0, residual / jnp.abs(b).max(axis=1))
        np.testing.assert_allclose(found.residual, expected, rtol=1e-6, atol=1e-15)
        np.testing.assert_array_equal(found.converged, expected <= 1e-6)
        assert found.converged.all() == (passes == 50)


def test_rows_do_not_disturb_each_other():
    """A row alone takes the same path as in the batch; one that never converges or is not a number spoils none."""
    a, b, exact = linear_problem(2, 0.8)
    a = a.at[3].set(jnp.eye(SIZE))  # u = u + b has no solution
    b = b.at[5].set(jnp.nan)
    step = lambda u: jnp.einsum("bij,bj->bi", a, u) + b  # noqa: E731
    options = {"tolerance": 1e-9, "max_passes": 60, "max_change": 5.0 * ONES}
    found = anderson.solve(step, jnp.nan_to_num(b), ONES, ONES, **options)
    good = np.array([0, 1, 2, 4, 6])
    assert found.converged[good].all() and not found.converged[jnp.array([3, 5])].any()
    assert found.passes[3] == found.passes[5] == 60
    np.testing.assert_allclose(found.value[good], exact[good], atol=1e-7)
    assert jnp.isfinite(found.value).all()
    row = anderson.solve(lambda u: u @ a[0].T + b[0], b[:1], ONES, ONES, **options)
    assert row.passes[0] == found.passes[0]
    np.testing.assert_allclose(row.value[0], found.value[0], atol=1e-13)


def test_scalar_equations_against_their_known_roots():
    """`u = cos u` and the square root of 2 by a badly damped iteration, in one batch of one unknown each."""
    step = lambda u: jnp.stack([jnp.cos(u[0]), 1.0 + 1.0 / (1.0 + u[1])])  # noqa: E731
    found = anderson.solve(step, jnp.ones((2, 1)), jnp.ones(1), jnp.ones(1), tolerance=1e-14, max_passes=50)
    np.testing.assert_allclose(found.value[:, 0], [0.7390851332151607, np.sqrt(2.0)], rtol=1e-13)
    assert found.passes.max() <= 10


def test_a_start_at_the_solution_takes_one_pass():
    found = anderson.solve(lambda u: 0.5 * u, jnp.zeros((3, 2)), ONES[:2], ONES[:2], tolerance=0.0, max_passes=9)
    assert (found.passes == 1).all() and found.converged.all() and (found.value == 0).all()


def test_changes_are_limited():
    """A pass moves a component by `max_change` at the most."""
    limit = jnp.array([0.1, 1.0])
    found = anderson.solve(
        lambda u: u + 10.0, jnp.zeros((1, 2)), ONES[:2], ONES[:2], tolerance=1e-9, max_passes=1 + 4, max_change=limit
    )
    assert not found.converged[0]
    assert (jnp.abs(found.value[0]) <= 5 * limit + 1e-12).all()


@pytest.mark.parametrize("mixing", [0.3, 1.0])
def test_the_weight_of_a_plain_pass_does_not_move_the_fixed_point(mixing):
    a, b, exact = linear_problem(3, 0.7)
    step = lambda u: jnp.einsum("bij,bj->bi", a, u) + b  # noqa: E731
    found = anderson.solve(step, b, ONES, mixing * ONES, tolerance=1e-10, max_passes=80)
    assert found.converged.all()
    np.testing.assert_allclose(found.value, exact, atol=1e-8)


def test_the_last_rows_go_on_alone(monkeypatch):
    """With `rest` the slowest rows leave a large batch, and nothing changes but the work."""
    monkeypatch.setattr(anderson, "SMALLEST_BATCH", 16)
    rows = 64
    rate = jnp.linspace(0.1, 0.9, rows).at[jnp.array([3, 40])].set(0.97)[:, None] * jnp.linspace(1.0, 0.3, SIZE)
    sizes = []

    def step_of(rate):
        def step(u):
            sizes.append(u.shape[0])
            return jnp.sin(rate * u) + 1.0

        return step

    start = jnp.zeros((rows, SIZE))
    settings = {"tolerance": 1e-10, "max_passes": 60}
    whole = anderson.solve(step_of(rate), start, ONES, ONES, **settings)
    assert set(sizes) == {rows}
    sizes.clear()
    parted = anderson.solve(step_of(rate), start, ONES, ONES, rest=lambda r: step_of(rate[r]), **settings)
    assert set(sizes) == {rows, rows // anderson.COMPACTION}
    assert whole.converged.all() and parted.converged.all()
    np.testing.assert_array_equal(whole.passes, parted.passes)
    np.testing.assert_allclose(whole.value, parted.value, atol=1e-12)
