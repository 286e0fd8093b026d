"""A stress scheme inside the iteration: a pure-JAX closure with weights, against constants and central differences."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import canveg_jax as cv
from canveg_jax.stress import LoopClosure
from canveg_jax.synthetic import SYNTHETIC_SITES, synthetic_weather

TIGHT = cv.SolverOptions(tolerance=1e-10, max_passes=200, adjoint_tolerance=1e-12, adjoint_max_passes=300)
ROWS = 24


class WarmLeavesClose(cv.AbstractStress):
    """`1 / (1 + exp(-(w0 - w1 (T_leaf - 298 K) / 10 K)))`: two weights, elementwise in the leaves."""

    in_loop: ClassVar[bool] = True
    weights: jax.Array

    def __call__(self, forcing, leaf, parameters):
        del forcing, parameters
        return jax.nn.sigmoid(self.weights[0] - self.weights[1] * (leaf.temperature - 298.0) / 10.0)


class Network(cv.AbstractStress):
    """A small network of everything that a leaf tells, and of soil water; its activation is a function, not an array."""

    in_loop: ClassVar[bool] = True
    mlp: eqx.nn.MLP

    def __call__(self, forcing, leaf, parameters):
        del parameters
        water = forcing.soil_water_content * jnp.ones_like(leaf.humidity)
        features = jnp.stack([
            leaf.humidity, leaf.vapour_pressure_deficit, (leaf.temperature - 298.0) / 10.0, leaf.absorbed_par / 1000.0,
            leaf.air_co2 / 400.0, leaf.relative_depth, water,
        ], axis=-1)  # fmt: skip
        return jax.nn.sigmoid(jax.vmap(jax.vmap(self.mlp))(features)[..., 0])


@pytest.fixture(scope="module", params=[1, pytest.param(3, marks=pytest.mark.slow)])
def canopy(request):
    site = SYNTHETIC_SITES["SYN-Ari"].model_copy(update={"n_layers": request.param})
    return cv.Canopy(site, options=TIGHT)


@pytest.fixture(scope="module")
def forcing():
    weather = synthetic_weather(SYNTHETIC_SITES["SYN-Ari"], 60, 3)
    rows = np.random.default_rng(0).permutation(weather.sizes["time"])[:ROWS]
    return cv.Forcing.from_dataset(weather.isel(time=np.sort(rows)))


def summed(canopy, scheme, slope, forcing):
    if not isinstance(forcing, cv.Forcing):
        forcing = cv.Forcing(**forcing)
    fluxes = canopy.compute({"kball": slope}, forcing, scheme).fluxes
    return (fluxes.LE / 100).sum() + (fluxes.NEE / 10).sum() + (fluxes.H / 100).sum()


def test_derivatives_to_weights_parameters_and_forcing(canopy, forcing):
    """Two weights, the slope of all half-hours and their air temperature, each moved by itself."""
    columns = {name: getattr(forcing, name) for name in cv.FORCING_TABLE}
    columns["longwave_in"] = jnp.full(ROWS, 300.0)
    columns["observed_canopy_height"] = jnp.full(ROWS, 1.0)
    start = {"weights": jnp.array([1.5, 0.8]), "slope": jnp.full(ROWS, 9.0), **columns}

    @jax.jit
    def value(x):
        return summed(canopy, WarmLeavesClose(x["weights"]), x["slope"], {name: x[name] for name in columns})

    derivative = jax.jit(jax.grad(value))(start)
    assert np.abs(derivative["weights"]).min() > 0.01, "a test of derivatives that vanish would show nothing"

    def difference(name, direction):
        def at(h):
            return float(value(start | {name: start[name] + h * direction}))

        coarse, fine = ((at(h) - at(-h)) / (2 * h) for h in (2e-3, 1e-3))
        return (4 * fine - coarse) / 3

    for k in range(2):
        np.testing.assert_allclose(derivative["weights"][k], difference("weights", jnp.eye(2)[k]), rtol=1e-6)
    for name in ("slope", "air_temperature", "vapour_pressure", "soil_temperature"):
        np.testing.assert_allclose(derivative[name].sum(), difference(name, jnp.ones(ROWS)), rtol=1e-5)


@pytest.mark.slow
def test_a_closure_that_is_constant_is_that_stress(canopy, forcing):
    constant = WarmLeavesClose(jnp.array([1.0, 0.0]))
    inside = canopy.solve(forcing, constant)
    outside = canopy.solve(forcing, np.full(ROWS, jax.nn.sigmoid(1.0)))
    assert inside.diagnostics.converged.all()
    np.testing.assert_allclose(inside.fluxes.LE, outside.fluxes.LE, atol=1e-7)
    np.testing.assert_allclose(inside.profiles.stomatal_conductance, outside.profiles.stomatal_conductance, rtol=1e-8)


def test_the_factor_is_that_of_the_solution(canopy, forcing):
    """At the solution, the stress that the closure gives for the solved leaves, put in from outside, changes nothing."""
    scheme = WarmLeavesClose(jnp.array([1.0, 1.5]))
    inside = canopy.solve(forcing, scheme)
    night = np.asarray(forcing.shortwave_in) <= 0
    assert night.any()
    leaves = inside.profiles.leaf_temperature[:, 1, :]  # shaded; no leaf is sunlit at night
    factor = np.asarray(jax.nn.sigmoid(1.0 - 1.5 * (leaves - 298.0) / 10.0))
    outside = canopy.solve(forcing, factor)
    np.testing.assert_allclose(inside.fluxes.LE[night], outside.fluxes.LE[night], atol=1e-6)
    assert np.abs(inside.fluxes.LE - canopy.solve(forcing).fluxes.LE).max() > 1.0


def test_parts_of_a_batch_are_the_batch(canopy, forcing):
    scheme = WarmLeavesClose(jnp.array([1.0, 1.5]))
    parts = cv.Canopy(canopy.site, options=TIGHT._replace(rows_at_once=7))
    np.testing.assert_allclose(
        parts.solve(forcing, scheme).fluxes.LE, canopy.solve(forcing, scheme).fluxes.LE, atol=1e-7
    )


@pytest.mark.slow
def test_a_network_inside_the_canopy(forcing):
    canopy = cv.Canopy(SYNTHETIC_SITES["SYN-Ari"].model_copy(update={"n_layers": 1}), options=TIGHT)
    scheme = Network(eqx.nn.MLP(7, 1, 4, 1, key=jax.random.key(0)))
    slope = jnp.full(ROWS, 9.0)
    value, gradient = eqx.filter_jit(eqx.filter_value_and_grad(lambda s: summed(canopy, s, slope, forcing)))(scheme)
    leaves = jax.tree.leaves(gradient)
    assert len(leaves) == 4 and all(np.abs(g).max() > 0 for g in leaves)
    norm = jnp.sqrt(sum((g**2).sum() for g in leaves))
    compute = eqx.filter_jit(lambda s: summed(canopy, s, slope, forcing))

    def along(h):
        return float(compute(eqx.apply_updates(scheme, jax.tree.map(lambda g: h * g / norm, gradient))))

    steps = [(along(h) - along(-h)) / (2 * h) for h in (2e-3, 1e-3)]
    np.testing.assert_allclose(norm, (4 * steps[1] - steps[0]) / 3, rtol=1e-6)
    assert np.isfinite(value)


def test_a_scheme_outside_the_loop_is_no_closure():
    with pytest.raises(ValueError, match="SoilMoisture is not evaluated in the loop"):
        LoopClosure.of(cv.STRESSES["soil_moisture"](), jnp.float64)
