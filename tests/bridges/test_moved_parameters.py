"""Parameters that differ between the half-hours of a TorchCanopy: values, derivatives, bounds, refusals."""

import math

import numpy as np
import pytest
import torch

import canveg_jax as cv
from bridges import ConversionError, TorchCanopy
from canveg_jax.parameters import UnknownParameterError
from canveg_jax.solver.acceptance import PARAMETER
from tests.bridges.test_canopy import SITE, rows, weather

TIGHT = cv.SolverOptions(tolerance=1e-10, max_passes=200, adjoint_tolerance=1e-12, adjoint_max_passes=300)
ROWS = 16
MOVED = ("kball", "vcopt", "soil_respiration_factor")


@pytest.fixture(scope="module")
def op():
    return TorchCanopy(cv.Canopy(SITE, options=TIGHT), ("kball", "q10a"))


@pytest.fixture(scope="module")
def forcing():
    return rows(weather(1), 20, 20 + ROWS)


@pytest.fixture
def values():
    """Different numbers for every half-hour."""
    grid = torch.linspace(0.0, 1.0, ROWS, dtype=torch.float64)
    return {"kball": 6.0 + 6.0 * grid, "vcopt": 200.0 - 90.0 * grid, "soil_respiration_factor": 0.5 + grid}


def test_each_half_hour_has_its_own(op, forcing, values):
    """As NumPy arrays of one number per half-hour in the canopy itself, and different from the module's own values."""
    columns = {name: column.numpy() for name, column in forcing.items()}
    canopy = cv.Canopy(SITE, options=TIGHT)
    direct = canopy.compute({name: value.numpy() for name, value in values.items()}, columns)
    out = op(forcing, parameters=values)
    own = op(forcing)
    for name in ("LE", "H", "NEE", "G"):
        np.testing.assert_allclose(out[name].detach(), getattr(direct.fluxes, name), rtol=1e-8, atol=1e-8)
        assert (out[name] - own[name]).abs().max() > 1e-3
    respired = out["soil_respiration"].detach() / values["soil_respiration_factor"]
    assert (respired / own["soil_respiration"].detach()).sub(1.0).abs().max() < 0.2  # it warms or cools a little


def test_derivatives_to_the_numbers_of_each_half_hour(op, forcing, values):
    weights = torch.linspace(0.5, 1.5, ROWS, dtype=torch.float64)

    def loss(given):
        out = op(forcing, parameters=given)
        return ((out["LE"] + 3.0 * out["NEE"] + 0.5 * out["H"]) * weights).sum()

    given = {name: value.clone().requires_grad_() for name, value in values.items()}
    loss(given).backward()
    for name in MOVED:
        for row in (0, 7, 15):
            ends, step = [], 1e-4 * float(values[name][row])
            for sign in (1.0, -1.0):
                shifted = {**values, name: values[name].clone()}
                shifted[name][row] += sign * step
                with torch.no_grad():
                    ends.append(loss(shifted).item())
            numeric = (ends[0] - ends[1]) / (2 * step)
            assert given[name].grad[row].item() == pytest.approx(numeric, rel=2e-6, abs=1e-9), (name, row)


def test_a_value_that_is_no_number_leaves_its_row_out(op, forcing, values):
    """It is flagged with its reason; the derivatives of the others are those of a batch with a good row in its place."""

    def gradients(given):
        given = {name: value.clone().requires_grad_() for name, value in given.items()}
        out = op(forcing, parameters=given)
        used = out["converged"] & (torch.arange(ROWS) != 5)
        op.zero_grad()
        torch.where(used, out["LE"], 0.0).sum().backward()
        return out, [value.grad for value in given.values()] + [z.grad.clone() for z in op.raw.values()]

    broken = {name: value.clone() for name, value in values.items()}
    broken["vcopt"][5] = torch.nan
    out, damaged = gradients(broken)
    _, sound = gradients(values)
    assert out["reason"][5] == PARAMETER and not out["converged"][5] and out["LE"][5].isnan()
    assert out["converged"].sum() == ROWS - 1
    assert all(torch.equal(a, b) for a, b in zip(damaged, sound, strict=True))


def test_factors_multiply_and_shifts_stay_within_bounds(op):
    twice = torch.full((3,), 2.0, dtype=torch.float64)
    shift = torch.tensor([-40.0, 0.0, 1.0], dtype=torch.float64)
    moved = op.moved_parameters(factors={"kball": twice, "vcopt": twice}, shifts={"surface_moisture_ratio": shift})
    np.testing.assert_allclose(moved["kball"].detach(), 2 * 8.17, rtol=1e-9)
    np.testing.assert_allclose(moved["vcopt"], 2 * 171.0, rtol=1e-12)
    info = cv.PARAMETER_TABLE["surface_moisture_ratio"]
    odds = (info.default - info.lower) / (info.upper - info.default)
    expected = [info.lower, info.default, info.lower + (info.upper - info.lower) * odds * math.e / (1 + odds * math.e)]
    np.testing.assert_allclose(moved["surface_moisture_ratio"].detach(), expected, rtol=1e-9)


def test_what_moves_is_tuned_as_well(op):
    """The derivative reaches the module's own number and the network's."""
    factor = torch.tensor([0.5, 2.0], dtype=torch.float64, requires_grad=True)
    shift = torch.tensor([0.1, -0.2], dtype=torch.float64, requires_grad=True)
    op.zero_grad()
    moved = op.moved_parameters(factors={"kball": factor}, shifts={"q10a": shift})
    (moved["kball"].sum() + moved["q10a"].sum()).backward()
    np.testing.assert_allclose(factor.grad, 8.17, rtol=1e-9)
    assert op.raw["kball"].grad is not None and op.raw["q10a"].grad is not None
    share = (moved["q10a"].detach() - 0.1) / 39.9
    np.testing.assert_allclose(shift.grad, 39.9 * share * (1 - share), rtol=1e-9)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_move_that_is_no_number_leaves_no_trace(op, broken):
    """The value is no number; what the half-hours share has the gradient of the others, to the last bit."""
    gradients = []
    for first in (broken, 0.5):
        move = torch.tensor([first, 0.3, -0.1], dtype=torch.float64, requires_grad=True)
        op.zero_grad()
        moved = op.moved_parameters(factors={"kball": move}, shifts={"q10a": move})
        used = torch.tensor([False, True, True])
        for value in moved.values():
            assert bool(value[0].isnan()) == (not math.isfinite(first))
        sum(torch.where(used, value, 0.0).sum() for value in moved.values()).backward()
        gradients.append([move.grad, *(z.grad.clone() for z in op.raw.values())])
    assert all(torch.equal(a, b) and b.isfinite().all() for a, b in zip(*gradients, strict=True))


def test_sum_of_reflectance_and_transmittance_is_bounded():
    op = TorchCanopy(cv.Canopy(SITE), ("nir_reflect", "nir_trans"))
    moved = op.moved_parameters(shifts={"nir_reflect": torch.tensor([8.0]), "nir_trans": torch.tensor([8.0])})
    assert 0.99 < (moved["nir_reflect"] + moved["nir_trans"]).item() < 0.999


def test_sites_move_from_their_own_values():
    op = TorchCanopy(cv.Canopy([SITE, SITE]), ("kball",), per_site=True)
    with torch.no_grad():
        op.raw["kball"][1] += 1.0
    own = op.parameter_values()["kball"].detach()
    site = torch.tensor([1, 0, 1])
    moved = op.moved_parameters(factors={"kball": torch.ones(3, dtype=torch.float64)}, site=site)
    np.testing.assert_allclose(moved["kball"].detach(), own[site], rtol=1e-12)
    assert own[0] != own[1]


@pytest.mark.parametrize(
    ("parameters", "error", "text"),
    [
        ({"kbal": torch.ones(ROWS)}, UnknownParameterError, "kball"),
        ({"kball": torch.ones(ROWS, 1)}, ValueError, r"one number per half-hour, \[time\]; got shape \[16, 1\]"),
        ({"kball": 8.0}, ValueError, "got a float"),
        ({"kball": torch.ones(3)}, ConversionError, r"parameters\['kball'\]"),
    ],
)
def test_mistakes_are_named(op, forcing, parameters, error, text):
    with pytest.raises(error, match=text):
        op(forcing, parameters=parameters)
