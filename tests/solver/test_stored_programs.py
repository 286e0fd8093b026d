"""Programs kept on disk give the same numbers, are found again, and never stand in the way of a transformation."""

import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import canveg_jax as cv
from canveg_jax.solver import implicit, stored_programs
from tests.canopy.segments import random_segments
from tests.canopy.synthetic_sites import small_site

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


def loss(site, forcing, parameters, stress):
    fluxes = cv.Canopy(site).compute(parameters, forcing, stress).fluxes
    return jnp.sum(fluxes.LE) + jnp.sum(fluxes.NEE)


def value_and_derivative(site, forcing, stress):
    return jax.jit(jax.value_and_grad(lambda p, s: loss(site, forcing, p, s), argnums=(0, 1)))(cv.Parameters(), stress)


def solved_anew(site, forcing):
    """Latent heat by a program that is traced now (`Canopy.solve` would share the one of an earlier canopy)."""
    return np.asarray(jax.jit(cv.Canopy(site).compute)(cv.Parameters(), forcing).fluxes.LE)


def count_passes_traced(monkeypatch):
    """A list that grows whenever the canopy is traced."""
    traced, one_pass = [], implicit.one_pass

    def counted(*arguments, **settings):
        traced.append(1)
        return one_pass(*arguments, **settings)

    monkeypatch.setattr(implicit, "one_pass", counted)
    return traced


@pytest.mark.slow
def test_the_same_numbers(site, forcing, folder):
    """Under `vmap`, where a stored program has no rule, the code itself runs; so this compares the two as well."""
    stresses = jnp.asarray([[0.8], [0.5]]) * jnp.ones(ROWS)
    by_code = jax.jit(
        jax.vmap(jax.value_and_grad(lambda p, s: loss(site, forcing, p, s), argnums=(0, 1)), in_axes=(None, 0))
    )(cv.Parameters(), stresses)
    for k, stress in enumerate(stresses):
        direct = jax.tree.map(lambda y, k=k: y[k], by_code)
        kept = value_and_derivative(site, forcing, stress)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-11), kept, direct)


def test_no_second_trace(site, forcing, folder, monkeypatch):
    stress = jnp.full(ROWS, 0.8)
    kept = value_and_derivative(site, forcing, stress)
    assert len(list(folder.iterdir())) == 2, "one program forward, one backward"
    cv.keep_programs(folder)  # forgets what is in memory
    traced = count_passes_traced(monkeypatch)
    again = value_and_derivative(site, forcing, stress)
    assert not traced, "the program on disk was not used"
    jax.tree.map(np.testing.assert_array_equal, again, kept)


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
    first = solved_anew(site, forcing)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 3])
    cv.keep_programs(folder)
    np.testing.assert_array_equal(solved_anew(site, forcing), first)
    assert path.stat().st_size == len(whole)


def test_a_folder_that_cannot_be_written_is_no_error(site, forcing, tmp_path):
    (tmp_path / "a_file").write_text("not a folder")
    cv.keep_programs(tmp_path / "a_file" / "programs")
    try:
        assert np.isfinite(solved_anew(site, forcing)).all()
    finally:
        cv.keep_programs(None)


@pytest.mark.parametrize(
    "module", ["physics/wind.py", "solver/implicit.py", "stress/soil_moisture.py", "io/formats/fluxnet.py"]
)
def test_a_changed_equation_is_never_answered_by_an_old_program(module, tmp_path):
    """The key of a stored program holds a digest of all modules of the package."""
    package = Path(cv.__file__).parent
    copy = tmp_path / "canveg_jax"
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__", "data"))
    shutil.copytree(package / "data", copy / "data", ignore=shutil.ignore_patterns("*.npz", "__pycache__"))
    before = stored_programs._digest.__wrapped__(copy)
    assert before == stored_programs._package_digest()
    changed = copy / module
    assert changed.exists()
    changed.write_text(changed.read_text() + "\n")
    assert stored_programs._digest.__wrapped__(copy) != before
