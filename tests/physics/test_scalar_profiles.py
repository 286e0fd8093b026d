"""Air profiles from sources and dispersion, and sums over the column."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from canveg_jax.physics.scalar_profiles import column_sources, scalar_profiles
from canveg_jax.physics.stability import dispersion_factor
from canveg_jax.physics.thermodynamics import latent_heat_of_vaporisation
from tests.physics.checks import derivative_error, precision_error, relative_error

D = np.array([[5.0, 4.0], [3.0, 3.5], [1.0, 1.2], [0.0, 0.0]])
WORKED = [  # zeta, profile: published with the soil source outside psi and psi = 0.973 just below neutral
    (-1.0, 0.973 * 0.7182 / 1.7182, (295.9614355042, 295.6514247468, 295.2194010806, 295.0)),
    (0.0, 1.0, (296.6041666667, 296.1458333333, 295.3875, 295.0)),
    (0.25, 0.9225, (296.5202083333, 296.08125, 295.3655416667, 295.0)),
]


def profiles_of(dispersion, sources, soil, *rest):
    names = ("friction_velocity", "psi", "density", "molar_density", "reference_temperature", "n_layers")
    return scalar_profiles(dispersion, sources, soil, **dict(zip(names, rest, strict=True)))


def heat_profile(sources, soil, psi, volume_heat=1200.0):
    three, ground = jnp.zeros((3, 2)).at[0].set(sources), jnp.array([soil, 0.0, 0.0])
    density = volume_heat / 1005.0
    return 295.0 + profiles_of(jnp.asarray(D), three, ground, 0.4, psi, density, 40.0, 295.0, 2).temperature


@pytest.mark.parametrize(("zeta", "psi", "profile"), WORKED)
def test_worked_profile(zeta, psi, profile):
    sources = 0.4 * jnp.array([100.0, 200.0])
    made = heat_profile(psi * sources, 50.0, 1.0)
    assert np.asarray(made) == pytest.approx(np.array(profile), rel=1e-12)
    # Ours: one factor on all sources, 1 at neutral.
    ours = heat_profile(sources, 50.0, dispersion_factor(zeta, 0.7182, 0.31))
    factor = psi / 0.973 if zeta < 0 else psi
    assert np.asarray(ours) == pytest.approx(295 + factor * (np.array(WORKED[1][2]) - 295), rel=1e-12)


def published_matrix(shared, tower):
    return np.loadtxt(shared / "data" / "dij" / f"Dij_{tower}_50L.csv", delimiter=",")


def test_as_published_but_for_stability_of_the_soil_source_and_molar_mass(shared, tower, published):
    """Published: no psi on the soil, 0.973 at neutral, CO2 by 28.97/44; its vapour factor uses the blended temperature."""
    record = published("profile_update")
    names = ("source_H", "source_LE", "source_Ps")
    heat, vapour, uptake = (record.given(n) * record.given("delz")[0] for n in names)
    soil = np.stack([record.given(n) for n in ("soil_heat", "soil_evap", "soil_resp")], axis=1)
    zeta = record.given("zL")
    psi = np.where(zeta < 0, 0.973, 1.0) * np.asarray(dispersion_factor(zeta, 0.7182, 0.31))
    sources = psi[:, None, None] * np.stack([heat, vapour, -uptake], axis=1)
    matrix = jnp.asarray(published_matrix(shared, tower))
    others = [record.given(n) for n in ("ustar", "air_density", "air_density_mole", "T_air_K")]

    def one(sources, soil, u_star, density, molar, reference):
        return profiles_of(matrix, sources, soil, u_star, 1.0, density, molar, reference, 50)

    made = jax.jit(jax.vmap(one))(sources, soil, *others)
    reference_t, reference_e = record.given("T_air_K")[:, None], record.given("eair_Pa")[:, None]
    scale = np.abs(record.made("Tair_K_unblended") - reference_t).max()
    error = np.asarray(made.temperature) - (record.made("Tair_K_unblended") - reference_t)
    assert np.abs(error).max() < 1e-8 * scale
    blended = record.made("Tair_K")[:, 50]
    factor = np.asarray(latent_heat_of_vaporisation(blended)) * 18.01 / (8314.0 * blended)
    assert relative_error(factor, record.made("fact_lecoef")) < 1e-12
    ours_above = np.asarray(made.temperature[:, 50]) + reference_t[:, 0]
    ours = np.asarray(latent_heat_of_vaporisation(ours_above)) * 18.01 / (8314.0 * ours_above)
    vapour_made = np.asarray(made.vapour_pressure) * (ours / factor)[:, None]
    published_e = record.made("eair_Pa_unblended") - reference_e
    assert np.abs(vapour_made - published_e).max() < 1e-8 * np.abs(published_e).max()
    published_c = record.made("co2") - record.given("CO2")[:, None]
    co2 = np.asarray(made.co2) / (28.97 / 44.0)
    assert np.abs(co2 - published_c).max() < 1e-8 * np.abs(published_c).max()
    assert relative_error(record.given("air_density_mole") * 28.97 / 44, record.made("fact_co2")) < 1e-12


def test_column_sums_as_published(published):
    record = published("canopy_totals")
    p, layer = record.given("prob_beam"), record.given("dff")[:, :1]
    for total, leaf in (("veg_Ps", "Ps"), ("veg_Rd", "Resp"), ("veg_LE", "LE"), ("veg_H", "H"), ("veg_gs", "gs")):
        made = column_sources(layer, p, record.given(f"sun_{leaf}"), record.given(f"shade_{leaf}")).sum(axis=1)
        assert relative_error(made, record.made(total)) < 1e-10, total
    assert relative_error(record.made("veg_Ps") + record.made("veg_Rd"), record.made("veg_GPP")) < 1e-12
    # Published net exchange leaves out leaf respiration.
    assert relative_error(record.given("soil_resp") - record.made("veg_GPP"), record.made("can_NEE")) < 1e-10


def test_linear_and_zero_at_the_top():
    rng = np.random.default_rng(0)
    sources, soil = jnp.asarray(rng.normal(size=(3, 2))), jnp.asarray(rng.normal(size=3))

    def co2(factor, u_star=0.3, psi=0.9):
        return profiles_of(jnp.asarray(D), factor * sources, factor * soil, u_star, psi, 1.2, 41.0, 290.0, 2)

    one, three = co2(1.0), co2(3.0)
    assert relative_error(three.co2, 3 * np.asarray(one.co2)) < 1e-13
    assert relative_error(three.temperature, 3 * np.asarray(one.temperature)) < 1e-13
    assert all(float(v[-1]) == 0 for v in one)
    assert relative_error(co2(1.0, 0.6).co2, np.asarray(one.co2) / 2) < 1e-13
    assert relative_error(co2(1.0, 0.3, 0.45).co2, np.asarray(one.co2) / 2) < 1e-13


def test_signs_and_units():
    """A warm, moist, respiring ground makes the air above it warm, moist and rich in CO2; by hand for one layer."""
    made = profiles_of(
        jnp.array([[2.0], [0.5], [0.0]]), jnp.array([[100.0], [200.0], [-10.0]]), jnp.array([50.0, 20.0, 4.0]), 0.5, 0.8,
        1.2, 41.0, 290.0, 1,
    )  # fmt: skip
    assert float(made.temperature[0]) == pytest.approx(0.8 * 2.0 * 150 / (0.5 * 1.2 * 1005), rel=1e-13)
    assert float(made.co2[0]) == pytest.approx(0.8 * 2.0 * -6 / (0.5 * 41.0), rel=1e-13)
    above = 290 + float(made.temperature[1])
    per_pascal = (3149000 - 2370 * above) * 0.01801 / (8.314 * above)
    assert float(made.vapour_pressure[0]) == pytest.approx(0.8 * 2.0 * 220 / (0.5 * per_pascal), rel=1e-13)


def test_column_sources_weigh_by_sunlit_share():
    assert np.asarray(column_sources(0.5, jnp.array([0.0, 1.0, 0.25]), 8.0, 4.0)) == pytest.approx([2.0, 4.0, 2.5])


def test_derivatives_and_single_precision():
    rng = np.random.default_rng(1)
    inputs = {
        "heat": rng.uniform(50, 300, 6), "soil": rng.uniform(10, 100, 6), "u": rng.uniform(0.1, 0.8, 6),
        "psi": rng.uniform(0.3, 1, 6), "density": rng.uniform(1, 1.3, 6), "reference": rng.uniform(270, 310, 6),
    }  # fmt: skip

    def f(heat, soil, u, psi, density, reference):
        sources = jnp.stack([heat, 2 * heat, -0.1 * heat])[:, None] * jnp.array([1.0, 0.6], heat.dtype)
        ground = jnp.stack([soil, soil, 0.05 * soil])
        made = profiles_of(jnp.asarray(D, heat.dtype), sources, ground, u, psi, density, 34 * density, reference, 2)
        weights = jnp.array([0.3, 1.0, -0.5, 0.1], heat.dtype)
        return weights @ made.temperature + weights @ made.vapour_pressure / 50 + weights @ made.co2 / 10

    errors = derivative_error(f, inputs)
    assert max(errors.values()) < 1e-8, errors
    assert precision_error(jax.vmap(f), *inputs.values()) < 1e-5
