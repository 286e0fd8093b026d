"""Energy is conserved: canopy plus soil at the solution, short-wave always."""

import hypothesis.strategies as st
import jax
import numpy as np
import pytest
from hypothesis import given, settings

import canveg_jax as cv
from canveg_jax.io import read_tower
from canveg_jax.physics.column import conditions, prepare
from canveg_jax.synthetic import synthetic_weather
from tests.canopy.synthetic_sites import random_sites

N_SITES, N_LAYERS, DAYS = 6, 4, 2
TIGHT = cv.SolverOptions(tolerance=1e-8, max_passes=300)
UNTRAINED = ("hkin", "tk_25", "nir_reflect", "nir_trans")


def closure(fluxes) -> np.ndarray:
    """`Rnet - LE - H - G`, W m-2."""
    return np.asarray(fluxes.Rnet - fluxes.LE - fluxes.H - fluxes.G)


def shortwave_error(canopy: cv.Canopy, forcing: cv.Forcing) -> np.ndarray:
    """Incoming short-wave minus what is reflected, absorbed by leaves and by soil, W m-2."""
    site = jax.tree.map(np.asarray, canopy.site_arrays)
    if len(canopy.sites) > 1:
        site = jax.tree.map(lambda x: x[forcing.site], site)
    axes = (
        0,
        jax.tree.map(lambda x: 0 if np.ndim(x) else None, canopy.parameters),
        0 if len(canopy.sites) > 1 else None,
    )

    def prepared(forcing, p, site, stress):
        return prepare(conditions(forcing, p, site, canopy.scheme), p, site, stress, canopy.scheme)

    x = jax.jit(jax.vmap(prepared, in_axes=(*axes, 0)))(forcing, canopy.parameters, site, np.ones(len(forcing)))
    sunlit, shaded = x.absorbed_shortwave[:, 0], x.absorbed_shortwave[:, 1]
    leaves = x.conditions.layer_lai * (x.sunlit * sunlit + (1 - x.sunlit) * shaded).sum(1)
    return np.asarray(x.conditions.shortwave_in - x.shortwave_out - x.soil_shortwave - leaves)


@pytest.fixture(scope="module")
def canopies(tmp_path_factory) -> dict[str, cv.Canopy]:
    """One canopy of six random sites, solved to a tight tolerance and to the default one."""
    sites = random_sites(N_SITES, N_LAYERS, tmp_path_factory.mktemp("sites"), seed=3)
    return {"tight": cv.Canopy(sites, options=TIGHT), "default": cv.Canopy(sites)}


@st.composite
def situations(draw):
    """Two days of weather at each of the sites, and parameters within their bounds, different at each site."""
    seed, month = draw(st.integers(0, 10**6)), draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    tuned = draw(st.sets(st.sampled_from([n for n in cv.PARAMETER_TABLE if n not in UNTRAINED])))
    parameters = {
        name: rng.uniform(cv.PARAMETER_TABLE[name].lower, cv.PARAMETER_TABLE[name].upper, N_SITES) for name in tuned
    }
    share = rng.dirichlet((3, 2, 2), N_SITES)
    parameters |= {"nir_reflect": 0.999 * share[:, 0], "nir_trans": 0.999 * share[:, 1]}
    return seed, month, {name: np.repeat(value, 48 * DAYS) for name, value in parameters.items()}


def weather(canopy: cv.Canopy, seed: int, month: int) -> cv.Forcing:
    start = f"2021-{month:02d}-11"
    towers = [
        synthetic_weather(site, DAYS, seed=seed + i, aridity=(seed % 97 / 97 + i / N_SITES) % 1, start=start)
        for i, site in enumerate(canopy.sites)
    ]
    columns = {name: np.concatenate([tower[name].values for tower in towers]) for name in cv.FORCING_TABLE}
    return cv.Forcing(site=np.repeat(np.arange(N_SITES), 48 * DAYS), **columns)


@settings(max_examples=8)
@given(situations())
def test_energy_closes_to_the_tolerance(canopies, situation):
    seed, month, parameters = situation
    for name, bound in (("tight", 1e-6), ("default", 2e-3)):
        canopy = canopies[name]
        canopy.parameters = cv.Parameters(**{**FULL, **parameters})
        forcing = weather(canopy, seed, month)
        solution = canopy.solve(forcing)
        assert solution.diagnostics.converged.all()
        error = np.abs(closure(solution.fluxes))
        assert error.max() <= bound
        assert np.median(error) <= max(1e-9, 2 * np.median(solution.diagnostics.residual))


@settings(max_examples=8)
@given(situations())
def test_shortwave_is_reflected_or_absorbed(canopies, situation):
    seed, month, parameters = situation
    canopy = canopies["tight"]
    canopy.parameters = cv.Parameters(**{**FULL, **parameters})
    forcing = weather(canopy, seed, month)
    assert np.max(np.abs(shortwave_error(canopy, forcing))) <= 1e-9 * float(np.max(forcing.shortwave_in))


FULL = {name: np.full(N_SITES * 48 * DAYS, info.default) for name, info in cv.PARAMETER_TABLE.items()}
"""Default parameters, one for each half-hour: the compiled program is the same whichever are changed."""


@pytest.mark.slow
@pytest.mark.parametrize("n_layers", [1, 50])
@pytest.mark.parametrize("site", ["US-Bi1", "US-Hn1"])
def test_complete_records(shared, site, n_layers):
    """Every half-hour of both towers, training and test files together."""
    worst = {}
    for tolerance in (1e-8, None):
        canopy = cv.Canopy(
            cv.Site.named(site, n_layers=n_layers), options=cv.SolverOptions(tolerance=tolerance, max_passes=300)
        )
        errors, residuals, shortwave = [], [], []
        for part in ("", "-test"):
            forcing = cv.Forcing.from_dataset(read_tower(shared / "data" / site / f"{site}-forcings{part}.csv"))
            solution = canopy.solve(forcing)
            assert solution.diagnostics.converged.all()
            errors.append(np.abs(closure(solution.fluxes)))
            residuals.append(solution.diagnostics.residual)
            shortwave.append(np.abs(shortwave_error(canopy, forcing)))
        assert np.concatenate(shortwave).max() <= 1e-9 * 1000
        worst[tolerance] = np.concatenate(errors).max()
        print(f"{site} {n_layers} layers, tolerance {tolerance}: {sum(map(len, errors))} half-hours, worst closure "
              f"{worst[tolerance]:.2e}, worst residual {np.concatenate(residuals).max():.2e} W m-2")  # fmt: skip
    assert worst[1e-8] <= 1e-6
    assert worst[None] <= 1e-3
