"""Derivatives of LE, H and NEE to every tunable parameter, every forcing variable and the stress factor against central
differences of the converged model."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import canveg_jax as cv
from canveg_jax.canopy import _solution
from canveg_jax.io import read_tower
from canveg_jax.solver.implicit import Inputs
from canveg_jax.solver.options import Axes, Static
from canveg_jax.synthetic import SYNTHETIC_SITES, synthetic_weather

OUTPUTS = ("LE", "H", "NEE")
TIGHT = cv.SolverOptions(tolerance=1e-10, max_passes=200, adjoint_tolerance=1e-12, adjoint_max_passes=300)
FORCING_STEPS = {
    "day_of_year": 1e-2, "hour": 1e-3, "air_temperature": 3e-3, "shortwave_in": 5e-2, "vapour_pressure": 3e-4,
    "wind_speed": 1e-3, "co2": 3e-2, "pressure": 1e-2, "friction_velocity": 1e-4, "soil_temperature": 3e-3,
    "soil_water_content": 3e-5, "lai": 3e-4, "longwave_in": 1e-1,
}  # fmt: skip
"""Half-width of the central differences; parameters use 1e-4 of their range, the stress 1e-4."""


@partial(jax.jit, static_argnums=(0, 1))
def outputs(scheme, options, fixed, x):
    """Outputs and convergence at the inputs `x`, all else `fixed`; one program for all sites of a shape."""
    parameters, columns, site = fixed
    p = cv.Parameters(**parameters | {name: x[name] for name in cv.TUNABLE})
    f = cv.Forcing(**columns | {name: x[name] for name in FORCING_STEPS if name in x})
    f = eqx.tree_at(lambda f: f.site, f, None)
    static = Static(scheme, Axes.of(p, site, None, site_by_row=False), options)
    solution = _solution(static, Inputs(forcing=f, stress=x["stress"], parameters=p, site=site))
    return jnp.stack([getattr(solution.fluxes, name) for name in OUTPUTS]), solution.diagnostics.converged


@partial(jax.jit, static_argnums=(0, 1))
def pull(scheme, options, fixed, x, cotangent):
    return jax.vjp(lambda x: outputs(scheme, options, fixed, x)[0], x)[1](cotangent)[0]


def relative_errors(canopy: cv.Canopy, forcing: cv.Forcing, stress: float) -> dict[tuple[str, str], np.ndarray]:
    """`|derivative - difference| / (|difference| + 1e-3 rms)` per half-hour, by input and output.

    The differences are extrapolated from two steps (error of fourth order). The rms over the half-hours keeps
    derivatives that vanish out of the denominator.
    """
    rows = len(forcing)
    parameters = {name: np.full(rows, float(value)) for name, value in canopy.parameters.values.items()}
    columns = {name: np.asarray(getattr(forcing, name), dtype=float) for name in cv.FORCING_TABLE}
    # Two kinks on which measured numbers lie exactly: whole days (the declination is that of the day), and no light.
    columns["day_of_year"] = np.floor(columns["day_of_year"]) + 0.3
    columns["shortwave_in"] = np.maximum(columns["shortwave_in"], 0.5)
    inputs = {name: parameters[name] for name in cv.TUNABLE}
    inputs |= {name: columns[name] for name in FORCING_STEPS if np.isfinite(columns[name]).all()}
    inputs["stress"] = np.full(rows, stress)
    model = canopy.scheme, canopy.options, (parameters, columns, canopy.site_arrays)

    assert np.asarray(outputs(*model, inputs)[1]).all()
    one = np.eye(len(OUTPUTS))[:, :, None] * np.ones(rows)
    exact = [pull(*model, inputs, cotangent) for cotangent in one]
    errors = {}
    for name, value in inputs.items():
        info = cv.PARAMETER_TABLE.get(name)
        step = 1e-4 * (info.upper - info.lower) if info else FORCING_STEPS.get(name, 1e-4)

        def difference(h, name=name, value=value):
            up, down = (np.asarray(outputs(*model, inputs | {name: value + s})[0]) for s in (h, -h))
            return (up - down) / (2.0 * h)

        extrapolated = (4.0 * difference(step / 2.0) - difference(step)) / 3.0
        for i, output in enumerate(OUTPUTS):
            rms = np.sqrt(np.mean(extrapolated[i] ** 2))
            gap = np.abs(np.asarray(exact[i][name]) - extrapolated[i])
            errors[name, output] = np.where(gap > 0, gap / (np.abs(extrapolated[i]) + 1e-3 * rms + 1e-300), 0.0)
    return errors


def check(errors: dict[tuple[str, str], np.ndarray], n_inputs: int) -> None:
    assert len(errors) == n_inputs * len(OUTPUTS)
    everything = np.concatenate(list(errors.values()))
    assert np.isfinite(everything).all()
    report = {key: f"median {np.median(e):.1e}, 99 % {np.percentile(e, 99):.1e}" for key, e in errors.items()}
    assert np.median(everything) <= 1e-6, report
    assert np.percentile(everything, 99) <= 1e-4, report
    for key, e in errors.items():
        assert np.median(e) <= 1e-5, f"{key}: {report[key]}"


def test_synthetic_tower():
    """Three layers, amphistomatous, measured long-wave."""
    site = SYNTHETIC_SITES["SYN-Ari"].model_copy(update={"n_layers": 3})
    weather = synthetic_weather(site, 60, 3)
    rows = np.random.default_rng(0).permutation(weather.sizes["time"])[:64]
    forcing = cv.Forcing.from_dataset(weather.isel(time=np.sort(rows)))
    check(relative_errors(cv.Canopy(site, options=TIGHT), forcing, 0.7), len(cv.TUNABLE) + len(FORCING_STEPS) + 1)


@pytest.mark.slow
def test_a_derivative_whose_adjoint_fails_is_not_a_number():
    """One pass of the adjoint is not enough; half-hours that the loss leaves out have none and stay clean."""
    site = SYNTHETIC_SITES["SYN-Ari"].model_copy(update={"n_layers": 2})
    forcing = cv.Forcing.from_dataset(synthetic_weather(site, 1, 3).isel(time=slice(16, 32)))
    rows = len(forcing)
    canopy = cv.Canopy(site, options=cv.SolverOptions(adjoint_max_passes=1))
    parameters = {name: np.full(rows, float(value)) for name, value in canopy.parameters.values.items()}
    columns = {name: np.asarray(getattr(forcing, name), dtype=float) for name in cv.FORCING_TABLE}
    inputs = {name: parameters[name] for name in cv.TUNABLE} | {"stress": np.full(rows, 0.7)}
    used = np.arange(rows) % 2 == 0
    cotangent = np.ones((len(OUTPUTS), 1)) * used
    gradients = pull(canopy.scheme, canopy.options, (parameters, columns, canopy.site_arrays), inputs, cotangent)
    for name, gradient in gradients.items():
        assert np.isnan(np.asarray(gradient)[used]).all() and not np.asarray(gradient)[~used].any(), name


@pytest.mark.slow
@pytest.mark.parametrize("n_layers", [1, 50])
@pytest.mark.parametrize("name", ["US-Bi1", "US-Hn1"])
def test_random_half_hours_of_a_tower(shared, name, n_layers):
    tower = read_tower(shared / "data" / name / f"{name}-forcings.csv")
    rows = np.flatnonzero(tower["forcing_complete"].values)
    rows = np.sort(np.random.default_rng(1).permutation(rows)[:200])
    canopy = cv.Canopy(cv.Site.named(name, n_layers=n_layers), options=TIGHT)
    forcing = cv.Forcing.from_dataset(tower.isel(time=rows))
    check(relative_errors(canopy, forcing, 0.8), len(cv.TUNABLE) + len(FORCING_STEPS))


def test_a_flipped_sign_would_be_seen():
    """The check itself: an error of one per cent in one of many derivatives fails it."""
    fine = {("kball", "LE"): np.full(200, 1e-9), ("ep", "H"): np.full(200, 1e-9), ("ep", "NEE"): np.full(200, 1e-9)}
    check(fine, 1)
    for broken in (1e-2, 2.0, np.nan):
        with pytest.raises(AssertionError):
            check(fine | {("ep", "H"): np.full(200, broken)}, 1)


@pytest.mark.parametrize("n_layers", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_no_derivative_is_nan_at_the_edges(n_layers):
    """No leaves, night, sun at the horizon, saturated air, calm, freezing, dry soil: finite values and derivatives."""
    site = cv.Site.named("US-Whs", n_layers=n_layers)
    canopy = cv.Canopy(site)
    base = {
        "day_of_year": 180.0, "hour": 12.0, "air_temperature": 20.0, "shortwave_in": 700.0, "vapour_pressure": 1.0,
        "wind_speed": 2.0, "co2": 400.0, "pressure": 90.0, "friction_velocity": 0.3, "soil_temperature": 18.0,
        "soil_water_content": 0.2, "lai": 1.5,
    }  # fmt: skip
    edges = [
        {}, {"lai": 0.0}, {"hour": 0.0, "shortwave_in": 0.0}, {"hour": 0.0, "shortwave_in": 30.0},
        {"shortwave_in": 0.0}, {"vapour_pressure": 2.339}, {"vapour_pressure": 4.0}, {"wind_speed": 0.0},
        {"friction_velocity": 0.0}, {"air_temperature": -35.0, "vapour_pressure": 0.02, "soil_temperature": -5.0},
        {"air_temperature": 48.0, "vapour_pressure": 0.3}, {"soil_water_content": 0.0}, {"soil_water_content": 0.7},
        {"shortwave_in": 1400.0}, {"air_temperature": 0.0}, {"lai": 10.0},
    ]  # fmt: skip
    columns = {name: np.array([(base | edge)[name] for edge in edges]) for name in base}
    parameters = {name: np.full(len(edges), float(v)) for name, v in canopy.parameters.values.items()}

    def total(parameters, columns, stress):
        solution = canopy.compute(parameters, cv.Forcing(**columns), stress)
        return sum(getattr(solution.fluxes, name).sum() for name in OUTPUTS), solution

    gradient = jax.jit(jax.grad(total, argnums=(0, 1, 2), has_aux=True))
    gradients, solution = gradient(parameters, columns, np.full(len(edges), 0.5))
    assert np.asarray(solution.diagnostics.converged).all()
    for path, leaf in jax.tree_util.tree_leaves_with_path((gradients, solution.fluxes)):
        bad = np.flatnonzero(~np.isfinite(np.asarray(leaf)))
        assert bad.size == 0, (jax.tree_util.keystr(path), [edges[i] for i in bad])
