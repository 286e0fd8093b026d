"""Functions of torch that are written anew for the export: values and gradients are torch's, for other sizes too."""

import jax
import numpy as np
import pytest
import torch
from torch import nn

from bridges import torch2jax
from bridges._torch2jax.rewrites import REWRITES
from tests.bridges.torch_networks import Function


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


INDEX = torch.tensor([[0, 1], [2, 0], [1, 1], [0, 2], [2, 2]])
COUNTS, WEIGHTS = torch.tensor([1, 3, 2]), torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)

CASES = {
    "along an axis": (lambda x: x.take_along_dim(INDEX[: x.shape[0]], 1), draw(5, 3), None),
    "along an axis, of a free size": (
        lambda x, i: torch.take_along_dim(x, i, 1),
        (draw(4, 3), INDEX[:4]),
        (draw(5, 3), INDEX),
    ),
    "along an axis, expanded": (lambda x: torch.take_along_dim(x, INDEX[:1], 1), draw(4, 3), draw(5, 3)),
    "along the first axis": (lambda x: torch.take_along_dim(x, INDEX.T[:, :3], 0), draw(4, 3), draw(6, 3)),
    "from all": (lambda x: torch.take_along_dim(x, INDEX), draw(4, 3), draw(5, 3)),
    "covariance": (lambda x: torch.cov(x.T), draw(4, 3), draw(7, 3)),
    "covariance of rows": (lambda x: x.cov(correction=0), draw(4, 3), draw(5, 3)),
    "variance": (lambda x: torch.cov(x[0]), draw(4, 3), None),
    "weighted covariance": (lambda x: torch.cov(x, fweights=COUNTS, aweights=WEIGHTS), draw(4, 3), draw(2, 3)),
    "covariance of counts": (lambda x: torch.cov(x, fweights=COUNTS), draw(4, 3), None),
    "correlation": (lambda x: x.T.corrcoef(), draw(4, 3), draw(9, 3)),
    "pairs": (lambda x: torch.combinations(x[0]), draw(4, 3), None),
    "triples": (lambda x: torch.combinations(x[0], 3, with_replacement=True), draw(4, 3), None),
}


def values_and_gradients(run, *inputs):
    leaves = [t.clone().requires_grad_(t.is_floating_point()) for t in inputs]
    out = run(*leaves)
    weights = torch.linspace(0.5, 1.5, out.numel(), dtype=out.dtype).reshape(out.shape)
    return out.detach(), torch.autograd.grad((out * weights).sum(), [t for t in leaves if t.requires_grad]), weights


def compare(module, example, given) -> None:
    fn, params = torch2jax(module, example)
    given = given if isinstance(given, tuple) else (given,)
    expected, gradients, weights = values_and_gradients(module, *given)
    arrays = [t.numpy() for t in given]
    floats = tuple(i for i, t in enumerate(given) if t.is_floating_point())
    np.testing.assert_allclose(fn(params, *arrays), expected, rtol=1e-12, atol=1e-14)
    ours = jax.grad(lambda *a: (fn(params, *a) * weights.numpy()).sum(), argnums=floats)(*arrays)
    for a, b in zip(ours, gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", CASES)
def test_values_and_gradients_are_those_of_torch(kind):
    function, example, other = CASES[kind]
    compare(Function(function), example, example if other is None else other)


@pytest.mark.parametrize(
    "options", [{}, {"full": True, "reduction": "sum"}, {"reduction": "none", "eps": 0.5}], ids=str
)
def test_the_gaussian_loss(options):
    variance = draw(4, 3).abs() + 0.1
    longer = draw(6, 3), draw(6, 3), draw(6, 1).abs() + 0.1
    compare(nn.GaussianNLLLoss(**options), (draw(4, 3), draw(4, 3), variance), tuple(t.expand(6, 3) for t in longer))
    compare(nn.GaussianNLLLoss(**options), (draw(4, 3), draw(4, 3), variance[:, 0]), (*longer[:2], longer[2][:, 0]))


def test_a_negative_variance_gives_nan_where_torch_raises():
    fn, params = torch2jax(nn.GaussianNLLLoss(), (draw(4, 3), draw(4, 3), draw(4, 3).abs()))
    assert np.isnan(fn(params, draw(4, 3).numpy(), draw(4, 3).numpy(), -np.ones((4, 3))))


def test_the_correlation_of_one_variable():
    """Its gradient is rounding alone."""
    fn, params = torch2jax(Function(lambda x: torch.corrcoef(x[0])), draw(4, 3), verify=False)
    np.testing.assert_allclose(fn(params, draw(4, 3).numpy()), 1.0, rtol=1e-14)


def test_every_rewritten_function_is_tried():
    seen = set()

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            seen.add(func)
            return func(*args, **(kwargs or {}))

    with Watch():
        for function, example, _ in CASES.values():
            function(*(example if isinstance(example, tuple) else (example,)))
        nn.GaussianNLLLoss()(draw(2), draw(2), draw(2).abs())
        torch.corrcoef(draw(3))
    assert {f for f in REWRITES if f not in seen} == set()
