"""Programs kept on disk give the same numbers, are found again, and never stand in the way of a transformation."""

import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import canveg_jax as cv
from canveg_jax import fixed_point, stored_programs

from .segments import random_segments
from .synthetic_sites import small_site

ROWS = 4


@pytest.fixture(scope="module")
def forcing() -> cv.Forcing:
    made = random_segments(ROWS, seed=3).at(np.arange(ROWS), np.linspace(0.1, 0.9, ROWS))
    return cv.Forcing(**{name: made[name] for name in cv.FORCING_TABLE if name in made})


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> cv.Site:
    return small_site("alfalfa", 2, tmp_path_factory.mktemp("sites"))


@pytest.fixture
def folder(tmp_path):
    """Programs are kept in a folder of this test alone."""
    cv.keep_programs(tmp_path / "programs")
    yield tmp_path / "programs"
    cv.keep_programs(None)


def value_and_derivative(site, forcing):
    def loss(parameters, stress):
        fluxes = cv.Canopy(site).compute(parameters, forcing, stress).fluxes
        return jnp.sum(fluxes.LE) + jnp.sum(fluxes.NEE)

    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(cv.Parameters(), jnp.full(ROWS, 0.8))


def count_passes_traced(monkeypatch):
    """A list that grows whenever the canopy is traced."""
    traced, one_pass = [], fixed_point.one_pass

    def counted(*arguments, **settings):
        traced.append(1)
        return one_pass(*arguments, **settings)

    monkeypatch.setattr(fixed_point, "one_pass", counted)
    return traced


def test_the_same_numbers_and_no_second_trace(site, forcing, folder, monkeypatch):
    cv.keep_programs(None)
    direct = value_and_derivative(site, forcing)
    assert not folder.exists()
    cv.keep_programs(folder)
    kept = value_and_derivative(site, forcing)
    assert len(list(folder.iterdir())) == 2, "one program forward, one backward"
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13), kept, direct)
    cv.keep_programs(folder)  # forgets what is in memory
    traced = count_passes_traced(monkeypatch)
    again = value_and_derivative(site, forcing)
    assert not traced, "the program on disk was not used"
    jax.tree.map(np.testing.assert_array_equal, again, kept)
    assert len(list(folder.iterdir())) == 2


def test_what_the_program_depends_on_makes_another_one(site, forcing, folder, tmp_path):
    def number_of_programs():
        return len(list(folder.iterdir()))

    def trace(canopy, forcing):
        jax.eval_shape(canopy.compute, cv.Parameters(), forcing)

    trace(cv.Canopy(site), forcing)
    trace(cv.Canopy(site.model_copy(update={"latitude": 10.0, "name": "elsewhere"})), forcing)
    assert number_of_programs() == 1, "the numbers of a site are arguments"
    others = (
        (cv.Canopy(site, options=cv.SolverOptions(max_passes=99)), forcing),
        (cv.Canopy(site, smooth_colimitation=True), forcing),
        (cv.Canopy(small_site("alfalfa", 3, tmp_path)), forcing),
        (cv.Canopy(site), jax.tree.map(lambda y: y[:3], forcing)),
    )
    for known, (canopy, columns) in enumerate(others, start=1):
        trace(canopy, columns)
        assert number_of_programs() == known + 1


def test_a_damaged_file_is_written_again(site, forcing, folder):
    canopy = cv.Canopy(site)
    first = canopy.solve(forcing).fluxes.LE
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 3])
    cv.keep_programs(folder)
    np.testing.assert_array_equal(cv.Canopy(site).solve(forcing).fluxes.LE, first)
    assert path.stat().st_size == len(whole)


def test_a_folder_that_cannot_be_written_is_no_error(site, forcing, tmp_path):
    (tmp_path / "a_file").write_text("not a folder")
    cv.keep_programs(tmp_path / "a_file" / "programs")
    try:
        assert np.isfinite(cv.Canopy(site).solve(forcing).fluxes.LE).all()
    finally:
        cv.keep_programs(None)


def test_under_vmap_the_code_runs(site, forcing, folder):
    """A stored program has no batching rule."""

    def latent(stress):
        return cv.Canopy(site).compute({}, forcing, stress).fluxes.LE.sum()

    stresses = jnp.linspace(0.5, 1.0, 2)[:, None] * jnp.ones(ROWS)
    together = jax.jit(jax.vmap(jax.value_and_grad(latent)))(stresses)
    one = jax.jit(jax.value_and_grad(latent))
    for k, stress in enumerate(stresses):
        alone = one(stress)
        np.testing.assert_allclose(together[0][k], alone[0], rtol=1e-9)
        np.testing.assert_allclose(together[1][k], alone[1], rtol=1e-6)


def test_a_changed_equation_is_never_answered_by_an_old_program(tmp_path):
    """The key holds a digest of all modules."""
    package = Path(stored_programs.__file__).parent
    copy = tmp_path / "canveg_jax"
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__", "data"))
    shutil.copytree(package / "data", copy / "data", ignore=shutil.ignore_patterns("*.npz", "__pycache__"))
    before = stored_programs._digest.__wrapped__(copy)
    assert before == stored_programs._digest(package)
    changed = copy / "io" / "fluxnet.py"
    assert changed.exists()
    changed.write_text(changed.read_text() + "\n")
    assert stored_programs._digest.__wrapped__(copy) != before
