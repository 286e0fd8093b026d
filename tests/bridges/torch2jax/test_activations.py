"""Activations: torch's values and derivatives at random points, far out (+-100), and at the kinks."""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import nn

from bridges import torch2jax

ACTIVATIONS = [
    nn.ReLU(), nn.LeakyReLU(), nn.LeakyReLU(0.3), nn.PReLU(), nn.RReLU(), nn.ELU(), nn.ELU(0.5), nn.SELU(),
    nn.CELU(2.0), nn.GELU(), nn.GELU(approximate="tanh"), nn.SiLU(), nn.Mish(), nn.Softplus(),
    nn.Softplus(beta=3, threshold=5), nn.Hardtanh(),
    nn.Hardtanh(-2, 0.5), nn.Hardswish(), nn.Hardsigmoid(), nn.Tanh(), nn.Sigmoid(), nn.ReLU6(),
    nn.Softsign(), nn.LogSigmoid(), nn.Tanhshrink(), nn.Softshrink(), nn.Hardshrink(), nn.Threshold(0.1, 20.0),
    nn.Softmax(-1), nn.LogSoftmax(-1), nn.Softmin(-1), nn.GLU(-1),
]  # fmt: skip
KINKS = [0.0, -0.0, 0.1, 0.5, -0.5, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0, 5 / 3, 6.0, 20.0]


ROWS = 128


class All(nn.Module):
    """Activation number i of the input's slice i, so that one backward pass gives every derivative."""

    def __init__(self):
        super().__init__()
        self.activations = nn.ModuleList(ACTIVATIONS)

    def forward(self, x):
        return [activation(x[:, i]) for i, activation in enumerate(self.activations)]


@pytest.fixture(scope="module", params=[torch.float32, torch.float64], ids=["float32", "float64"])
def converted(request):
    module = All().to(request.param).eval()
    fn, params = torch2jax(module, torch.randn(4, len(ACTIVATIONS), 2, dtype=request.param), verify=False)

    @jax.jit
    def run(x):
        outputs, pull = jax.vjp(lambda x: fn(params, x), x)
        return outputs, pull(
            [jnp.broadcast_to(jnp.array([0.5, 1.5], o.dtype)[: o.shape[1]], o.shape) for o in outputs]
        )[0]

    return module, run, request.param


def compare(converted, points: torch.Tensor, tolerance: float):
    """All activations at pairs of points; error relative to the value, or to 1 for small ones.

    In float32 a derivative may also differ by torch's own distance to its float64 one (tanh-GELU cancels digits).
    The slope 1/6 of Hardsigmoid is a float32 number in torch's float64 backward, hence its own bound.
    """
    module, run, dtype = converted
    points = points.to(dtype).reshape(-1, 2)
    points = points[torch.arange(ROWS) % len(points)]
    x = points[:, None].repeat(1, len(ACTIVATIONS), 1).requires_grad_()
    outputs, slopes = run(x.detach().numpy())
    expected = module(x)
    weight = torch.tensor([0.5, 1.5], dtype=dtype)
    (gradients,) = torch.autograd.grad(sum((o * weight[: o.shape[1]]).sum() for o in expected), x)
    precise = x.detach().double().requires_grad_()
    wide = copy.deepcopy(module).double()(precise)
    (exact,) = torch.autograd.grad(sum((o * weight[: o.shape[1]].double()).sum() for o in wide), precise)
    for i, activation in enumerate(module.activations):
        for what, a, b, c in (
            ("value", outputs[i], expected[i].detach(), expected[i].detach()),
            ("derivative", slopes[:, i], gradients[:, i], exact[:, i]),
        ):
            assert np.isfinite(a).all(), f"{activation}: {what} is not finite"
            rounding = (b - c).abs().numpy() if dtype is torch.float32 else 0.0
            error = np.abs(a - b.numpy()) / np.maximum(np.abs(b.numpy()), 1.0) - rounding
            allowed = 1e-8 if isinstance(activation, nn.Hardsigmoid) and what == "derivative" else tolerance
            worst = np.unravel_index(error.argmax(), error.shape)
            row = points[worst[0]].tolist()
            assert error.max() <= max(allowed, tolerance), (
                f"{activation}: {what} {a[worst]!r}, torch {b[worst]!r}, at {row}"
            )


def test_random_points(converted):
    torch.manual_seed(0)
    compare(converted, 4 * torch.randn(100, 2, dtype=torch.float64), 1e-6 if converted[2] is torch.float32 else 1e-12)


def test_far_out_values_and_derivatives_are_finite(converted):
    compare(converted, torch.tensor([100.0, -100.0, -100.0, 100.0, 100.0, 100.0, 30.0, -30.0]), 1e-6)


def test_kinks_have_the_derivatives_of_torch(converted):
    compare(converted, torch.tensor([v for v in KINKS for _ in range(2)]), 1e-6)


def test_derivatives_of_clamp_extremes_and_norms_at_ties():
    """Where several values are equal, or a norm is 0, the subgradient is torch's."""

    class Ties(nn.Module):
        def forward(self, x):
            return (
                x.clamp(min=0), x.clamp(-1, 1), torch.maximum(x, torch.zeros_like(x)), x.abs(), x.max(-1).values,
                x.amax(-1), x.min(-1).values, torch.linalg.vector_norm(x, dim=-1), x.std(-1), x**2, x.pow(3.0),
                torch.relu(x) ** 0, torch.where(x > 0, x, -x), x.max(), x.sort(-1).values,
            )  # fmt: skip

    module, x = Ties(), torch.tensor([[0.0, 0.0, 0.0], [1.0, -1.0, 1.0], [-1.0, 0.0, 0.0]], dtype=torch.float64)
    fn, params = torch2jax(module, x, verify=False)
    outputs, pull = jax.vjp(lambda x: fn(params, x), x.numpy())
    leaf = x.clone().requires_grad_()
    expected = module(leaf)
    for i, (ours, value) in enumerate(zip(outputs, expected, strict=True)):
        (gradient,) = torch.autograd.grad(value.sum(), leaf, retain_graph=True)
        (slope,) = pull(tuple(jnp.ones_like(o) if j == i else jnp.zeros_like(o) for j, o in enumerate(outputs)))
        np.testing.assert_allclose(ours, value.detach(), rtol=1e-12, err_msg=f"output {i}")
        np.testing.assert_allclose(slope, gradient, rtol=1e-12, atol=1e-15, err_msg=f"output {i}")
