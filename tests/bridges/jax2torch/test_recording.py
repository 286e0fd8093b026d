"""Tracers that would make a constant of a bridged call: it refuses, and names those that record it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

import canveg_jax as cv
from bridges import InLoop, JaxModule, JaxProgram, TorchCanopy, TransformError, jax2torch
from canveg_jax.forcing import STAND_IN

# torch.jit is deprecated as a whole; it must refuse all the same.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*torch.jit.*:DeprecationWarning", "ignore:.*torch.jit.*:FutureWarning", "ignore::torch.jit.TracerWarning"
)


def double(x):
    return jnp.tanh(2 * x)


def canopy(in_loop=None):
    """Its heat flux as a function of the air temperature. Nothing is compiled before the call is refused."""
    module = TorchCanopy(cv.Canopy(cv.Site.named("US-Bi1", n_layers=1)), ("kball",), in_loop=in_loop)

    def sensible_heat(air_temperature):
        forcing = {name: torch.full_like(air_temperature, value) for name, value in STAND_IN.items()}
        return module({**forcing, "air_temperature": air_temperature + 15})["H"]

    return sensible_heat


def network():
    return torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Sigmoid())


KINDS = {
    "function": lambda: jax2torch(double),
    "module": lambda: JaxModule(eqx.nn.Linear(3, 2, key=jax.random.key(0))),
    "program": lambda: JaxProgram(
        lambda network, x: jax.lax.fori_loop(0, 3, lambda _, y: network(y[:, None])[:, 0], x),
        network().double(), torch.zeros(3, 1, dtype=torch.float64), verify=False,
    ),
    "canopy": canopy,
    "network in the loop": lambda: canopy(InLoop(network().double(), ["leaf_vpd"])),
}  # fmt: skip
DOUBLE = {"function", "program", "canopy", "network in the loop"}


def example(kind: str) -> torch.Tensor:
    return torch.linspace(0, 1, 3, dtype=torch.float64 if kind in DOUBLE else torch.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_jit_trace_is_refused(kind):
    f = KINDS[kind]()
    with pytest.raises(TransformError, match=r"torch.jit.trace .*constant. Use torch.export.export or torch.compile"):
        torch.jit.trace(lambda x: f(x) * 2, (example(kind),), check_trace=False)


@pytest.mark.parametrize("kind", KINDS)
def test_make_fx_with_real_tensors_is_refused(kind):
    f = KINDS[kind]()
    with pytest.raises(TransformError, match=r"make_fx with real tensors .*constant. Use .*tracing_mode='fake'"):
        make_fx(lambda x: f(x) * 2)(example(kind))


def test_derivatives_are_refused_too_and_the_function_works_afterwards():
    f = jax2torch(double)
    x = example("function")
    for gradient in (
        torch.func.grad(lambda x: f(x).sum()),
        lambda x: torch.autograd.grad(f(x.requires_grad_()).sum(), x)[0],
    ):
        with pytest.raises(TransformError, match="make_fx with real tensors"):
            make_fx(gradient)(x.clone())
    torch.testing.assert_close(f(x), torch.tanh(2 * x))


@pytest.mark.parametrize("mode", ["fake", "symbolic"])
def test_the_remedy_records_the_call(mode):
    f = jax2torch(double)
    graph = make_fx(lambda x: f(x) * 2, tracing_mode=mode)(example("function"))
    other = torch.linspace(-1, 2, 3, dtype=torch.float64)
    torch.testing.assert_close(graph(other), 2 * torch.tanh(2 * other))
