"""All leaves of a column: the parts put together by hand, the tangent against central differences, layers apart."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from canveg_jax import LEAF_INPUTS, Parameters
from canveg_jax.physics.conductance import Stomata
from canveg_jax.physics.constants import STEFAN_BOLTZMANN
from canveg_jax.physics.gas_exchange import gas_exchange
from canveg_jax.physics.leaf_boundary_layer import leaf_boundary_layer
from canveg_jax.physics.leaf_energy import leaf_energy_balance, vapour_conductance
from canveg_jax.physics.leaf_exchange import leaf_environment, leaf_exchange, linearised, tangent_response
from canveg_jax.physics.photosynthesis import kinetics
from canveg_jax.physics.state import LeafDrivers, LeafExchange, Scheme
from canveg_jax.physics.thermodynamics import molar_conversion, saturation_vapour_pressure

N = 4
P = Parameters(kball=9.0)


def column(seed: int):
    """A half-hour's prepared leaves (sunlit and shaded, `N` layers) and drivers near them."""
    rng = np.random.default_rng(seed)
    draw = lambda low, high, *shape: jnp.asarray(rng.uniform(low, high, shape or (N,)))  # noqa: E731
    wind, par, shortwave = draw(0.5, 3.0), draw(0.0, 1200.0, 2, N), draw(0.0, 500.0, 2, N)
    x = SimpleNamespace(
        conditions=SimpleNamespace(pressure=jnp.asarray(98.0), chi=draw(0.4, 0.9)),
        wind=wind, absorbed_par=par, absorbed_shortwave=shortwave, stress=draw(0.3, 1.0), forcing=None,
    )  # fmt: skip
    drivers = LeafDrivers(
        leaf_temperature=draw(285.0, 308.0, 2, N), air_temperature=draw(288.0, 303.0), vapour_pressure=draw(600.0, 1500.0),
        co2=draw(360.0, 420.0), incident=draw(600.0, 800.0),
    )  # fmt: skip
    return x, drivers


def respond(drivers, x, sides=1.0, smooth=False):
    return leaf_exchange(drivers, x, P, sides, Scheme(N, smooth_colimitation=smooth))


def in_balance(drivers, x, sides=1.0, smooth=False):
    """The drivers with leaf temperatures that close each leaf's energy balance: there the tangent is the derivative."""

    def step(_, temperature):
        found = respond(drivers._replace(leaf_temperature=temperature), x, sides, smooth).temperature
        return 0.5 * (temperature + found)

    return drivers._replace(leaf_temperature=jax.lax.fori_loop(0, 200, step, drivers.leaf_temperature))


@pytest.mark.parametrize("sides", [1.0, 2.0])
def test_it_is_the_chain_of_its_parts(sides):
    """Layer 2, shaded, from the single modules; absorbed = emitted + sensible + latent once the temperature stands."""
    x, drivers = column(0)
    leaf, air, vapour, co2, incident = (d[..., 2] for d in drivers)
    drivers = in_balance(drivers, x, sides)
    response = respond(drivers, x, sides)
    leaf = drivers.leaf_temperature[1, 2]
    boundary = leaf_boundary_layer(leaf, air, x.wind[2], x.conditions.pressure, P)
    volume = leaf * molar_conversion(x.conditions.pressure)
    humidity = vapour / saturation_vapour_pressure(leaf) * x.stress[2]
    rates = kinetics(leaf, x.absorbed_par[1, 2], P)
    gas = gas_exchange(rates, co2, sides / (boundary.co2 * volume), Stomata(P.bprime, P.kball * humidity))
    absorbed = x.absorbed_shortwave[1, 2] + P.ep * x.conditions.chi[2] * incident
    conductance = vapour_conductance(gas.conductance * volume, boundary.vapour, sides)
    energy = leaf_energy_balance(
        leaf,
        absorbed,
        P.ep * x.conditions.chi[2],
        air_temperature=air,
        vapour_pressure=vapour,
        pressure=x.conditions.pressure,
        heat_resistance=boundary.heat,
        conductance=conductance,
        steps=8,
    )
    expected = (
        energy.temperature,
        energy.sensible_heat,
        energy.latent_heat,
        gas.net,
        rates.dark_respiration,
        gas.conductance,
    )
    for name, ours, theirs in zip(LeafExchange._fields, response, expected, strict=True):
        np.testing.assert_allclose(ours[1, 2], theirs, rtol=1e-9, err_msg=name)
    emitted = 2.0 * P.ep * x.conditions.chi[2] * STEFAN_BOLTZMANN * leaf**4
    assert abs(absorbed - emitted - response.sensible_heat[1, 2] - response.latent_heat[1, 2]) < 1e-6


def test_stomata_on_both_faces_couple_better():
    x, drivers = column(1)
    one, two = respond(drivers, x, 1.0), respond(drivers, x, 2.0)
    lit = x.absorbed_par > 200
    assert (two.net >= one.net)[lit].all()


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("driver", LeafDrivers._fields)
def test_the_tangent_against_central_differences(driver, smooth):
    x, drivers = column(5)  # no leaf within a step of the air's temperature, where free convection has a kink
    drivers = in_balance(drivers, x, smooth=smooth)
    tangent = linearised(drivers, x, P, 1.0, Scheme(N, smooth_colimitation=smooth))
    step = {"leaf_temperature": 1e-3, "air_temperature": 1e-3, "vapour_pressure": 0.05, "co2": 0.01, "incident": 0.05}[
        driver
    ]

    def moved(sign):
        return drivers._replace(**{driver: getattr(drivers, driver) + sign * step})

    above, below, at = (respond(moved(s), x, smooth=smooth) for s in (1.0, -1.0, 0.0))
    on_tangent = tangent_response(tangent, moved(1.0))
    for name, high, low, mid, ours in zip(LeafExchange._fields, above, below, at, on_tangent, strict=True):
        slope = (high - low) / (2.0 * step)
        size = jnp.abs(slope).max() + 1e-4
        np.testing.assert_allclose((ours - mid) / step, slope, rtol=1e-5, atol=1e-6 * size, err_msg=name)


def test_the_tangent_touches_the_response():
    x, drivers = column(3)
    for ours, exact in zip(
        tangent_response(linearised(drivers, x, P, 1.0, Scheme(N)), drivers), respond(drivers, x), strict=True
    ):
        np.testing.assert_allclose(ours, exact, rtol=1e-14)


def test_leaves_of_a_layer_feel_their_layer_alone():
    """The response is elementwise, which the tangent relies on: its derivative has no entry between two layers."""
    x, drivers = column(4)
    jacobian = jax.jacfwd(lambda d: respond(d, x))(drivers)
    apart = ~np.eye(N, dtype=bool)
    for y in jacobian:
        assert np.abs(np.asarray(y.co2)[:, apart]).max() == 0
        assert np.abs(np.asarray(y.air_temperature)[:, apart]).max() == 0
        across = np.asarray(y.leaf_temperature)
        assert np.abs(across[0, :, 1]).max() == np.abs(across[1, :, 0]).max() == 0


def test_the_state_of_a_leaf_as_a_closure_sees_it():
    """Two leaves of each of two layers, by hand; saturation at 20 and 30 degC is 2.34 and 4.24 kPa."""
    temperature = jnp.array([[293.15, 303.15], [293.15, 303.15]])
    seen = leaf_environment(
        temperature, jnp.array([3000.0, 1000.0]), jnp.array([390.0, 410.0]), jnp.array([[800.0, 900.0], [50.0, 60.0]])
    )
    saturation = np.array([2339.0, 4243.0])
    np.testing.assert_allclose(seen.humidity[0], [1.0, 1000.0 / saturation[1]], rtol=5e-3)
    np.testing.assert_allclose(seen.vapour_pressure_deficit[1], [0.0, (saturation[1] - 1000.0) / 1000.0], rtol=5e-3)
    np.testing.assert_array_equal(seen.relative_depth, [[0.75, 0.25], [0.75, 0.25]])  # the first layer is the lowest
    np.testing.assert_array_equal(seen.air_co2, [[390.0, 410.0], [390.0, 410.0]])
    inputs = {name: np.asarray(info.of(seen)) for name, info in LEAF_INPUTS.items()}
    np.testing.assert_allclose(inputs["inverse_leaf_humidity"] * inputs["leaf_humidity"], 1.0, rtol=1e-15)
    for name, field in (("leaf_vpd", seen.vapour_pressure_deficit), ("leaf_temperature", temperature),
                        ("absorbed_par", seen.absorbed_par), ("air_co2", seen.air_co2),
                        ("relative_depth", seen.relative_depth), ("leaf_humidity", seen.humidity)):  # fmt: skip
        np.testing.assert_array_equal(inputs[name], field)
    extreme = leaf_environment(jnp.full((2, 1), 320.0), jnp.array([1.0]), jnp.array([400.0]), jnp.zeros((2, 1)))
    assert (extreme.humidity == 0.01).all()
