"""Stress networks and the soil-moisture ramp."""

import jax
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import canveg_jax as cv
from canveg_jax.io import vapour_pressure_deficit
from lightning_modules import (
    NETWORK_INPUTS,
    ScalingStatistics,
    SoilMoistureStress,
    StressNetwork,
    StressScheme,
    TowerDataset,
)
from lightning_modules.closures.registry import build_stress, stress_specification
from lightning_modules.data.inputs import with_scaled_lai
from tests.lightning.towers import SITE


@pytest.fixture(scope="module")
def forcing(tower):
    return TowerDataset([tower]).forcing


@pytest.fixture(scope="module")
def statistics(tower):
    return ScalingStatistics.of(TowerDataset([tower]), [SITE])


@pytest.mark.parametrize("options", [{}, {"monotone": True}, {"activation": "silu", "hidden": [4]}])
def test_factor_is_in_0_1_starts_near_initial_and_has_the_dtype_of_the_forcing(forcing, statistics, options):
    network = StressNetwork(initial=0.92, **options)
    network.set_statistics(statistics)
    for dtype in (torch.float64, torch.float32):
        factor = network({name: column.to(dtype) for name, column in forcing.items()})
        assert factor.shape == forcing["lai"].shape and factor.dtype == dtype
        assert abs(factor.mean() - 0.92) < 0.04 and factor.std() < 0.06
    with torch.no_grad():
        for p in network.parameters():
            p.mul_(50.0)
    wild = network(forcing)
    assert ((wild > 0) & (wild <= 1)).all()


def test_deficit_is_that_of_the_tower_reader(tower, forcing):
    ours = NETWORK_INPUTS["vapour_pressure_deficit"].compute(forcing)
    np.testing.assert_allclose(ours, vapour_pressure_deficit(tower).values, rtol=1e-12, atol=1e-12)


def test_inputs_are_standardised_by_the_buffers(forcing, statistics):
    network = StressNetwork(["soil_water_content", "lai"])
    network.set_statistics(statistics)
    seen = []
    network.perceptron.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    network.double()(forcing)
    np.testing.assert_allclose(seen[0].mean(0), 0.0, atol=1e-9)
    np.testing.assert_allclose(seen[0].std(0, correction=0), 1.0, rtol=1e-9)
    assert {"input_mean", "input_sd"} <= set(network.state_dict())


def test_only_the_configured_inputs_matter(forcing):
    network = StressNetwork(["soil_water_content"])
    column = forcing["soil_water_content"]
    assert torch.equal(network({"soil_water_content": column}), network(forcing))


@given(seed=st.integers(0, 10_000), scale=st.floats(0.1, 20.0))
def test_monotone_whatever_the_weights(seed, scale):
    torch.manual_seed(seed)
    network = StressNetwork(hidden=[5, 4], monotone=True).double()
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(scale * torch.randn_like(p))
    start = torch.rand(20, dtype=torch.float64)
    base = {
        "soil_water_content": start * 0.4, "vapour_pressure": start.flip(0) * 2.0,
        "air_temperature": 10.0 + 20.0 * start,
        "shortwave_in": 500.0 * start, "lai": 3.0 * start,
    }  # fmt: skip
    factor = network(base)
    assert (network({**base, "soil_water_content": base["soil_water_content"] + 0.05}) >= factor - 1e-12).all()
    assert (network({**base, "vapour_pressure": base["vapour_pressure"] + 0.1}) >= factor - 1e-12).all()


def test_monotone_network_can_learn_a_response_that_depends_on_a_free_input():
    network = StressNetwork(["soil_water_content", "air_temperature"], [12, 12], monotone=True)
    water, warm = torch.rand(400) * 4 - 2, torch.rand(400) * 4 - 2
    forcing = {"soil_water_content": water, "air_temperature": warm}
    wanted = 0.2 + 0.7 * torch.sigmoid(3.0 * (water - 0.8 * torch.sin(2.0 * warm)))
    optimiser = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(600):
        optimiser.zero_grad()
        loss = (network(forcing) - wanted).square().mean()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.05 * wanted.var().item()


def test_soil_moisture_stress_is_that_of_the_physics():
    water = torch.linspace(0.0, 0.4, 60, dtype=torch.float64)
    parameters = cv.Parameters(wilting_point=0.08, field_capacity=0.3)
    columns = {name: np.zeros(60) for name in cv.FORCING_TABLE} | {"soil_water_content": water.numpy()}
    expected = cv.soil_moisture_stress(cv.Forcing(**columns), parameters)
    module = SoilMoistureStress(0.08, 0.3)
    factor = module({"soil_water_content": water})
    np.testing.assert_allclose(factor.detach(), expected, rtol=1e-12)
    factor.sum().backward()
    assert (module.raw.grad != 0).all()
    assert module({"soil_water_content": water.float()}).dtype == torch.float32


@pytest.mark.parametrize("name", ["feddes", "jarvis"])
def test_other_schemes_are_those_of_the_physics_and_can_be_trained(tower, forcing, name):
    rows = slice(600, 632)
    columns = {n: c[rows] for n, c in forcing.items()}
    columns["soil_water_content"] = torch.linspace(0.02, 0.58, 32, dtype=torch.float64)
    expected = jax.vmap(lambda f: cv.STRESSES[name]()(f, None, cv.Parameters(wilting_point=0.06)))(
        cv.Forcing(**{n: c.numpy() for n, c in columns.items()})
    )
    module = build_stress({"module": name, "wilting_point": 0.06})
    assert isinstance(module, StressScheme)
    factor = module(columns)
    np.testing.assert_allclose(factor.detach(), expected, rtol=1e-9)
    assert float(factor.detach().std()) > 0.1
    factor.sum().backward()
    raw = module.get("raw")
    assert raw.grad is not None and (raw.grad != 0).any() and torch.isfinite(raw.grad).all()
    assert module.values()["wilting_point"].item() == pytest.approx(0.06, rel=1e-9)
    assert module({n: c.float() for n, c in columns.items()}).dtype == torch.float32
    assert stress_specification(module) == {"module": name, "wilting_point": 0.06}


def test_lai_is_scaled_as_in_the_canopy():
    sites = [cv.Site.named("US-Bi1"), cv.Site.named("US-Hn1")]
    lai = torch.tensor([2.0, 30.0])
    scaled = with_scaled_lai({"lai": lai}, torch.tensor([0, 1]), sites)["lai"]
    torch.testing.assert_close(scaled, torch.tensor([2.0, 3.0]))
    torch.testing.assert_close(with_scaled_lai({"lai": lai}, None, sites[1:])["lai"], 0.1 * lai)
    with pytest.raises(ValueError, match="need a site index"):
        with_scaled_lai({"lai": lai}, None, sites)


def test_specification_rebuilds_the_module():
    for module in (StressNetwork(["lai"], [3], activation="silu", initial=0.9), SoilMoistureStress(0.1, 0.25), None):
        again = build_stress(stress_specification(module))
        assert type(again) is type(module)
        if module is not None:
            again.load_state_dict(module.state_dict())
            assert again.config == module.config
    foreign = torch.nn.Linear(1, 1)
    assert build_stress(foreign) is foreign
    with pytest.raises(ValueError, match="build it and pass it"):
        build_stress(stress_specification(foreign))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inputs": ["soil_water"]}, "Did you mean 'soil_water_content'"),
        ({"inputs": []}, "at least one"),
        ({"inputs": ["lai", "lai"]}, "different inputs"),
        ({"hidden": []}, "at least one layer"),
        ({"activation": "relu"}, "tanh, silu"),
        ({"initial": 1.0}, "between 0.001 and 1"),
        ({"monotone": True, "activation": "silu"}, "increasing activation"),
        ({"monotone": True, "inputs": ["lai"]}, "none of the inputs has a known direction"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(ValueError, match=message):
        StressNetwork(**arguments)


def test_soil_moisture_start_outside_its_range_is_refused():
    with pytest.raises(ValueError, match="outside its training range"):
        SoilMoistureStress(wilting_point=0.3, field_capacity=0.4)
    with pytest.raises(ValueError, match="field_capacity - wilting_point"):
        SoilMoistureStress(wilting_point=0.1, field_capacity=0.1)
