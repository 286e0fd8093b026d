"""Energy balance of a leaf: printed solutions, bisection, the published expansions and their defects."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canveg_jax.physics.leaf_energy import leaf_energy_balance, vapour_conductance
from canveg_jax.physics.thermodynamics import air_density, latent_heat_of_vaporisation
from tests.independent import leaf
from tests.physics import published_leaf
from tests.physics.checks import all_finite, derivative_error, precision_error, relative_error

SIGMA = 5.670367e-8


def balance_of(guess, absorbed, emissivity, air, vapour, pressure, r_heat, conductance):
    return leaf_energy_balance(
        guess, absorbed, emissivity, air_temperature=air, vapour_pressure=vapour, pressure=pressure,
        heat_resistance=r_heat, conductance=conductance,
    )  # fmt: skip


@jax.jit
def balance(guess, absorbed, stomatal, r_heat, r_vapour, air, vapour, pressure, sides, emissivity=0.98):
    conductance = vapour_conductance(stomatal, r_vapour, sides)
    return balance_of(guess, absorbed, emissivity, air, vapour, pressure, r_heat, conductance)


def converged(*arguments):
    """As a column does: the solution is the guess of the next pass."""
    guess = arguments[4]
    for _ in range(6):
        made = balance(guess, *arguments)
        guess = made.temperature
    return made


WORKED = [  # sides, Q, g_s, r_h, r_v, T_a, e_a, P -> T, LE, H (option N)
    (2, 1250, 0.008, 40, 35, 298.15, 1500, 101.3, 299.86304, 249.50513, 101.91017),
    (1, 1250, 0.008, 40, 35, 298.15, 1500, 101.3, 300.15183, 228.8586, 119.09016),
    (2, 780, 0.0012, 120, 107, 288.15, 1200, 101.3, 288.24704, 10.777118, 1.9910098),
    (1, 720, 0.0012, 120, 107, 285.15, 1500, 101.3, 284.7594, -2.6690393, -8.0989075),
    (1, 1450, 0.0015, 30, 27, 315.15, 900, 85.0, 317.20501, 195.40801, 129.39809),
]


@pytest.mark.parametrize("row", WORKED)
def test_worked_solutions(row):
    sides, absorbed, stomatal, r_heat, r_vapour, air, vapour, pressure, t, latent, sensible = row
    x = converged(float(absorbed), stomatal, float(r_heat), float(r_vapour), air, float(vapour), pressure, sides)
    assert float(x.temperature) == pytest.approx(t, abs=6e-6)
    assert [float(x.latent_heat), float(x.sensible_heat)] == pytest.approx([latent, sensible], rel=2e-7)


def test_worked_solution_below_freezing():
    """Published with 333 J kg-1 of fusion in the latent heat, which here enters through the conductance."""
    latent = float(latent_heat_of_vaporisation(268.15))
    scale = (latent + 333) / latent
    conductance = float(vapour_conductance(0.004, 54.0, 2)) * scale
    t = 268.15
    for _ in range(6):
        x = balance_of(t, 800.0, 0.98, 268.15, 300.0, 101.3, 60.0, conductance)
        t = x.temperature
    assert float(t) == pytest.approx(272.04737, abs=6e-6)
    assert [float(x.latent_heat), float(x.sensible_heat)] == pytest.approx([19.376606, 171.86447], rel=2e-7)


def test_conductance_of_one_and_two_faces():
    assert float(vapour_conductance(0.008, 35.0, 2)) == pytest.approx(0.0070175439, rel=1e-8)
    assert float(vapour_conductance(0.008, 35.0, 1)) == pytest.approx(0.00625, rel=1e-12)
    both = vapour_conductance(0.008, 35.0, 2)
    a_face = 1 / (35.0 + 2 / 0.008)
    assert float(both) == pytest.approx(2 * a_face, rel=1e-14)


condition = {
    "absorbed": st.floats(250, 1500), "stomatal": st.floats(1e-6, 0.03), "r_heat": st.floats(3, 300),
    "air": st.floats(250, 320), "humidity": st.floats(0.05, 1.1), "pressure": st.floats(70, 103),
    "sides": st.sampled_from([1, 2]), "emissivity": st.floats(0.4, 0.99),
}  # fmt: skip


@given(**condition)
@settings(max_examples=150)
def test_against_bisection(absorbed, stomatal, r_heat, air, humidity, pressure, sides, emissivity):
    vapour = humidity * float(leaf.saturation_vapour_pressure(air))
    r_vapour = 0.9 * r_heat
    x = converged(absorbed, stomatal, r_heat, r_vapour, air, vapour, pressure, sides, emissivity)
    density = 28.97 * pressure / (8.314 * air)
    g = 1 / (r_vapour / sides + 1 / stomatal)
    heat, k_e = 2 * density * 1005 / r_heat, 0.622 * density * leaf.latent_heat(air) * g / (1000 * pressure)
    low_high = [np.array([v]) for v in (absorbed, air, vapour, heat, k_e)]
    t = leaf.bisect_leaf_temperature(low_high[0], 1.0, *low_high[1:], emissivity)[0]
    if abs(t - air) < 75:
        assert float(x.temperature) == pytest.approx(t, abs=1e-9)
        closure = absorbed - float(x.emitted + x.sensible_heat + x.latent_heat)
        assert closure == pytest.approx(0, abs=1e-8)


def test_three_steps_from_a_near_guess_are_enough():
    rng = np.random.default_rng(0)
    n = 2000
    air = rng.uniform(260, 315, n)
    arguments = (
        rng.uniform(400, 1200, n), rng.uniform(1e-4, 0.02, n), rng.uniform(10, 200, n), rng.uniform(9, 180, n), air,
        rng.uniform(0.1, 1, n) * leaf.saturation_vapour_pressure(air), rng.uniform(80, 102, n), 1,
    )  # fmt: skip
    exact = converged(*arguments).temperature
    once = balance(exact + rng.uniform(-5, 5, n), *arguments)
    assert float(jnp.max(jnp.abs(once.temperature - exact))) < 1e-6
    closure = arguments[0] - (once.emitted + once.sensible_heat + once.latent_heat)
    assert float(jnp.max(jnp.abs(closure))) < 1e-4
    again = balance(exact, *arguments).temperature
    assert float(jnp.max(jnp.abs(again - exact))) < 1e-9


def published_case(record, kind):
    names = ("qin", f"{kind}_gs", "rb_heat", "rb_vapor", "Tair_K", "eair_Pa")
    return *(record.given(n) for n in names), record.given("P_kPa")[:, None], 1 if kind == "hypo" else 2


@pytest.mark.parametrize("leaf_class", ["sun", "shade"])
@pytest.mark.parametrize("kind", ["hypo", "amphi"])
def test_published_expansions_and_the_exact_balance(published, leaf_class, kind):
    """Two separate quadratics give the published numbers; the exact balance is near their temperature."""
    record = published(f"leaf_energy_{leaf_class}")
    case = published_case(record, kind)
    quadratics = published_leaf.energy(*case)
    assert relative_error(quadratics["Tsfc"], record.made(f"{kind}_Tsfc")) < 1e-11
    assert np.abs(quadratics["LE"] - record.made(f"{kind}_LE")).max() < 1e-7
    assert np.abs(quadratics["H"] - record.made(f"{kind}_H")).max() < 1e-7
    x = converged(*case)
    absorbed = case[0]
    assert float(np.abs(absorbed - (x.emitted + x.sensible_heat + x.latent_heat)).max()) < 1e-8
    # No deficit of these days is clipped, so the published temperature is good; its latent heat is what does not close.
    deficit = leaf.saturation_vapour_pressure(case[4]) - case[5]
    assert 0 < deficit.min() and deficit.max() < 5000
    assert np.abs(np.asarray(x.temperature) - record.made(f"{kind}_Tsfc")).max() < 0.01
    diagnosed = absorbed - record.made(f"{kind}_Lout") - record.made(f"{kind}_H")
    assert np.abs(np.asarray(x.latent_heat) - diagnosed).max() < 0.25
    assert np.abs(diagnosed - record.made(f"{kind}_LE") - record.made(f"{kind}_closure")).max() < 1e-9
    density = np.asarray(air_density(case[6], case[4]))
    assert relative_error(x.sensible_heat, 2 * density * 1005 / case[2] * (np.asarray(x.temperature) - case[4])) < 1e-9


def test_limits():
    """Dry closed leaf: radiation and convection alone; saturated isothermal enclosure: nothing moves; dew is negative."""
    air = 290.0
    black = 2 * 0.98 * SIGMA * air**4
    still = converged(black, 0.01, 50.0, 45.0, air, float(leaf.saturation_vapour_pressure(air)), 100.0, 1)
    assert float(still.temperature) == pytest.approx(air, abs=1e-10)
    assert abs(float(still.latent_heat)) < 1e-7 and abs(float(still.sensible_heat)) < 1e-7
    closed = converged(black + 100, 1e-12, 50.0, 45.0, air, 1000.0, 100.0, 1)
    assert abs(float(closed.latent_heat)) < 1e-6 and float(closed.sensible_heat) > 50
    tight = converged(black + 100, 0.01, 1e-3, 1e-3, air, float(leaf.saturation_vapour_pressure(air)), 100.0, 1)
    assert float(tight.temperature) == pytest.approx(air, abs=1e-3)
    dew = converged(black - 60, 0.01, 50.0, 45.0, air, float(leaf.saturation_vapour_pressure(air)), 100.0, 1)
    assert dew.temperature < air and dew.latent_heat < 0 and dew.sensible_heat < 0


def test_warms_with_radiation_and_cools_with_open_stomata():
    absorbed = np.linspace(600, 1300, 50)
    t = np.asarray(converged(absorbed, 0.005, 40.0, 36.0, 298.0, 1500.0, 100.0, 1).temperature)
    assert np.all(np.diff(t) > 0)
    stomatal = np.linspace(1e-4, 0.03, 50)
    x = converged(np.full(50, 1100.0), stomatal, 40.0, 36.0, 298.0, 1500.0, 100.0, 1)
    assert np.all(np.diff(np.asarray(x.temperature)) < 0) and np.all(np.diff(np.asarray(x.latent_heat)) > 0)


def test_derivatives_are_those_of_the_solution():
    """One call, its guess held fixed, has the derivative of the solution; by central differences of the solution."""
    rng = np.random.default_rng(3)
    n = 12
    inputs = {
        "absorbed": rng.uniform(600, 1200, n), "stomatal": rng.uniform(1e-3, 0.02, n), "r_heat": rng.uniform(20, 150, n),
        "air": rng.uniform(275, 310, n), "vapour": rng.uniform(400, 1500, n), "pressure": rng.uniform(80, 102, n),
        "emissivity": rng.uniform(0.5, 0.98, n),
    }  # fmt: skip

    def f(absorbed, stomatal, r_heat, air, vapour, pressure, emissivity):
        t = air
        for _ in range(5):
            x = balance_of(
                t, absorbed, emissivity, air, vapour, pressure, r_heat, vapour_conductance(stomatal, 0.9 * r_heat, 1)
            )
            t = x.temperature
        return x.temperature + 0.1 * x.latent_heat - 0.05 * x.sensible_heat + 0.02 * x.emitted

    errors = derivative_error(f, inputs, 1e-5)
    assert max(errors.values()) < 2e-6, errors


def test_gradients_are_finite_for_closed_stomata_and_extreme_leaves():
    gradient = jax.jit(jax.grad(lambda x: sum(balance(*x, 1))))
    for stomatal in (1e-9, 0.03):
        for absorbed in (200.0, 2000.0):
            assert all_finite(gradient((300.0, absorbed, stomatal, 40.0, 36.0, 300.0, 1000.0, 101.0)))


def test_single_precision():
    rng = np.random.default_rng(5)
    air = rng.uniform(270, 310, 100)
    arguments = (
        air + 1, rng.uniform(700, 1100, 100), rng.uniform(1e-3, 0.02, 100), rng.uniform(20, 150, 100),
        rng.uniform(20, 150, 100), air, rng.uniform(500, 1000, 100), np.full(100, 95.0),
    )  # fmt: skip
    assert precision_error(lambda *x: balance(*x, 1), *arguments) < 1e-4
