"""The canopy against the independent slow solution of ten half-hours (`tests/independent`): 1e-6 in every flux."""

from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import canveg_jax as cv
from tests.independent.cases import CASES, case_dispersion, solutions

TIGHT = cv.SolverOptions(tolerance=1e-9, max_passes=200)
FLUXES = (
    "LE", "H", "Rnet", "G", "NEE", "GPP", "nee_published", "soil_respiration", "soil_surface_temperature", "zeta",
    "shortwave_out", "longwave_out", "longwave_in",
)  # fmt: skip
PROFILES = {
    "air_temperature": lambda s: s["T_air"],
    "vapour_pressure": lambda s: s["e_air"],
    "co2": lambda s: s["co2_air"],
    "leaf_temperature": lambda s: np.stack([s["T_sun"], s["T_shade"]]),
    "sunlit": lambda s: np.asarray(s["sunlit"]),
    "wind": lambda s: np.asarray(s["column"].wind),
    "net_assimilation": lambda s: s["made"]["leaves"]["A"],
    "latent_heat": lambda s: s["made"]["leaves"]["LE"],
    "sensible_heat": lambda s: s["made"]["leaves"]["H"],
    "absorbed_par": lambda s: s["made"]["par"],
}
"""Profile of the package -> the same one of the independent solution."""

each_case = pytest.mark.parametrize("name", list(CASES))


class Pair(NamedTuple):
    """One case solved both ways: `fluxes`, `profiles`, `diagnostics` of the package are those of its row."""

    fluxes: Any
    profiles: Any
    diagnostics: Any
    independent: dict


def solve_together(names: list[str], folder: Path) -> dict[str, Pair]:
    """Solve cases of equal shape as one batch: a site, a dispersion CSV and parameters for each half-hour."""
    cases = [CASES[name] for name in names]
    sites = []
    for name, case in zip(names, cases, strict=True):
        path = folder / f"{name.replace(' ', '_')}.csv"
        np.savetxt(path, case_dispersion(name), delimiter=",", fmt="%.18e")
        sites.append(cv.Site(name=name, dispersion=path, **case["site"]))
    changed = {key for case in cases for key in case["parameters"]}
    parameters = cv.Parameters(
        **{key: np.array([c["parameters"].get(key, cv.PARAMETER_TABLE[key].default) for c in cases]) for key in changed}
    )
    columns = {key: np.array([case["forcing"][key] for case in cases]) for key in cv.FORCING_TABLE}
    forcing = cv.Forcing(site=np.arange(len(names)), **columns)
    stress = np.array([case["stress"] for case in cases])
    solution = cv.Canopy(sites, parameters, options=TIGHT).solve(forcing, stress)

    def row(tree, i):
        return type(tree)(**{key: value[i] for key, value in vars(tree).items()})

    return {
        name: Pair(
            row(solution.fluxes, i),
            solution.profiles._replace(**{k: v[i] for k, v in solution.profiles._asdict().items()}),
            solution.diagnostics._replace(**{k: v[i] for k, v in solution.diagnostics._asdict().items()}),
            solutions()[name],
        )
        for i, name in enumerate(names)
    }


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> dict[str, Pair]:
    groups = defaultdict(list)
    for name, case in CASES.items():
        site = case["site"]
        groups[site["n_layers"], site["n_air_layers"], site["soil_respiration"]].append(name)
    folder = tmp_path_factory.mktemp("dispersion")
    return {name: pair for names in groups.values() for name, pair in solve_together(names, folder).items()}


@each_case
def test_every_flux(pairs, name):
    pair = pairs[name]
    assert pair.diagnostics.converged
    for flux in FLUXES:
        assert getattr(pair.fluxes, flux) == pytest.approx(pair.independent[flux], rel=0, abs=1e-6), flux


@each_case
def test_every_profile(pairs, name):
    pair = pairs[name]
    for profile, independent in PROFILES.items():
        np.testing.assert_allclose(
            getattr(pair.profiles, profile), independent(pair.independent), rtol=0, atol=1e-6, err_msg=profile
        )


@each_case
def test_the_two_differ_by_the_error_of_the_slow_one_at_the_most(pairs, name):
    """Far below the bar of 1e-6: what is left is the slow solution's own last change."""
    pair = pairs[name]
    worst = max(abs(float(getattr(pair.fluxes, flux)) - pair.independent[flux]) for flux in ("LE", "H", "Rnet", "G"))
    assert worst < 1e-8
