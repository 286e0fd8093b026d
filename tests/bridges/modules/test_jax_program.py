"""A torch network inside a JAX program, its weights trained by torch."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import nn

from bridges import JaxProgram, NetworkError, jax2torch, torch2jax


def stress_network(dtype=torch.float64) -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1), nn.Sigmoid()).to(dtype)


def leaf_temperature(network, air, steps=30):
    """Fixed point T = air + 5 (1 - stress(T, air)), one compiled loop with the network inside it."""

    def step(_, leaf):
        features = jnp.stack([leaf / 10, air / 10], axis=-1)
        return air + 5 * (1 - network(features)[:, 0])

    return jax.lax.fori_loop(0, steps, step, air)


def torch_temperature(network, air, steps=30):
    leaf = air
    for _ in range(steps):
        leaf = air + 5 * (1 - network(torch.stack([leaf / 10, air / 10], dim=-1))[:, 0])
    return leaf


AIR = torch.linspace(10, 30, 6, dtype=torch.float64)


def test_parameters_stay_torch_and_are_trained_by_torch():
    """By hand: jax2torch of a function that takes the parameters and runs the network in a loop."""
    network = stress_network()
    fn, _ = torch2jax(network, torch.zeros(2, 2, dtype=torch.float64), verify=False)
    solve = jax2torch(lambda params, air: leaf_temperature(lambda x: fn(params, x), air))
    twin = copy.deepcopy(network)
    target = AIR + 2.0
    losses = []
    optimisers = [torch.optim.Adam(n.parameters(), lr=0.05) for n in (network, twin)]
    for _ in range(40):
        for optimiser, run in (
            (optimisers[0], lambda: solve(dict(network.named_parameters()), AIR)),
            (optimisers[1], lambda: torch_temperature(twin, AIR)),
        ):
            optimiser.zero_grad()
            loss = (run() - target).square().mean()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
    ours, theirs = losses[::2], losses[1::2]
    np.testing.assert_allclose(ours, theirs, rtol=1e-7)
    assert ours[-1] < 0.05 * ours[0]
    for a, b in zip(network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)


@pytest.fixture(scope="module")
def program():
    return JaxProgram(leaf_temperature, stress_network(), torch.zeros(2, 2, dtype=torch.float64), verify=False)


def test_program_equals_torch_in_value_and_gradients(program):
    air = AIR.clone().requires_grad_()
    own = torch.autograd.grad(program(air).sum(), [*program.network.parameters(), air])
    theirs = torch.autograd.grad(torch_temperature(program.network, air).sum(), [*program.network.parameters(), air])
    for a, b in zip(own, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(program(AIR), torch_temperature(program.network, AIR), rtol=1e-12, atol=0)


def test_program_is_a_module(program):
    assert list(program.state_dict()) == [f"network.{n}" for n in ("0.weight", "0.bias", "2.weight", "2.bias")]
    value = program(AIR)
    for twin in (copy.deepcopy(program), pickle.loads(pickle.dumps(program))):
        torch.testing.assert_close(twin(AIR), value, rtol=1e-14, atol=0)
        with torch.no_grad():
            twin.network[0].weight.zero_()
        assert not torch.allclose(twin(AIR), value)
    torch.testing.assert_close(program(AIR), value, rtol=0, atol=0)


def test_dtype_mode_and_buffers_are_followed():
    network = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 1), nn.Dropout(0.5)).eval()
    model = JaxProgram(lambda net, x: net(x) * 2, network, torch.randn(2, 2), verify=False)
    x = torch.randn(3, 2)
    torch.testing.assert_close(model(x), 2 * network(x))
    network[0].running_mean.copy_(torch.tensor([3.0, -1.0]))
    torch.testing.assert_close(model(x), 2 * network(x))
    model.double()
    torch.testing.assert_close(model(x.double()), 2 * network(x.double()))
    network[2].train()
    with pytest.raises(NetworkError, match=r"native_dropout[\s\S]*module.eval\(\)"):
        model(x.double())


def test_a_program_with_a_key_drops_entries_in_training():
    network = nn.Dropout(0.5).train()
    model = JaxProgram(lambda net, x: net(x, rng=jax.random.key(3)), network, torch.ones(2, 3), verify=False)
    y = model(torch.ones(40, 3))
    assert set(y.unique().tolist()) == {0.0, 2.0}
    torch.testing.assert_close(model(torch.ones(40, 3)), y)
