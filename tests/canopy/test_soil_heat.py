"""Ground heat with storage: energy, what it changes, and where there is none."""

import numpy as np
import pytest

import canveg_jax as cv
from canveg_jax.physics.soil_properties import volumetric_heat_capacity
from canveg_jax.synthetic import synthetic_weather

SITE = cv.Site.named("US-Bi1", n_layers=1)
TIGHT = cv.SolverOptions(tolerance=1e-9)


@pytest.fixture(scope="module")
def forcing():
    weather = synthetic_weather(SITE, 2, 3, aridity=0.6, start="2019-06-01")
    assert "soil_temperature_tendency" in weather
    return {name: weather[name].values for name in cv.FORCING_TABLE}


@pytest.fixture(scope="module")
def solved(forcing):
    """Fluxes by kind of soil heat and by what is known of the tendency."""
    canopies = {
        heat: cv.Canopy(SITE.model_copy(update={"soil_heat": heat}), options=TIGHT)
        for heat in ("storage", "conduction")
    }
    unknown = {**forcing, "soil_temperature_tendency": np.full(96, np.nan)}
    absent = {name: column for name, column in forcing.items() if name != "soil_temperature_tendency"}
    return {
        "storage": canopies["storage"].solve(cv.Forcing(**forcing)).fluxes,
        "not known": canopies["storage"].solve(cv.Forcing(**unknown)).fluxes,
        "no column": canopies["storage"].solve(cv.Forcing(**absent)).fluxes,
        "conduction": canopies["conduction"].solve(cv.Forcing(**forcing)).fluxes,
    }


def test_energy_closes_with_storage(solved):
    for kind, x in solved.items():
        assert np.abs(x.Rnet - x.LE - x.H - x.G).max() < 1e-6, kind


def test_without_a_tendency_there_is_no_storage(solved):
    for kind in ("not known", "no column"):
        for flux in ("G", "LE"):  # of programs of their own: equal but for rounding
            given, expected = (getattr(solved[k], flux) for k in (kind, "conduction"))
            np.testing.assert_allclose(given, expected, rtol=1e-14, atol=1e-13)


def test_ground_heat_is_conduction_plus_what_the_soil_takes_up(forcing, solved):
    """The surface cools where the soil below warms, so that the whole difference of G is less than the storage."""
    capacity = volumetric_heat_capacity(forcing["soil_water_content"], cv.Parameters())
    tendency = np.nan_to_num(forcing["soil_temperature_tendency"])
    storage = np.asarray(capacity) * SITE.soil_depth * tendency / 3600.0
    difference = np.asarray(solved["storage"].G - solved["conduction"].G)
    large = np.abs(storage) > 1.0
    assert large.sum() > 20
    share = (difference / np.where(large, storage, 1.0))[large]
    assert 0.5 < share.min() and share.max() < 1.0
    cooler = np.asarray(solved["storage"].soil_surface_temperature - solved["conduction"].soil_surface_temperature)
    assert (np.sign(cooler) == -np.sign(storage))[large].all()


def test_sites_of_one_canopy_share_their_soil_heat():
    with pytest.raises(ValueError, match="soil_heat"):
        cv.Canopy([SITE, SITE.model_copy(update={"soil_heat": "conduction"})])
