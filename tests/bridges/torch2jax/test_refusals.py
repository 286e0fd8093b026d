"""What torch2jax refuses, and that every message names the place and the remedy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import nn

from bridges import BridgeError, NetworkError, UnsupportedOperatorError, torch2jax
from tests.bridges.torch_networks import Function


class Decomposing(nn.Module):
    def forward(self, x):
        values, vectors = torch.linalg.eig(x.T @ x)
        return x @ vectors.real + torch.special.bessel_j0(values.real)


class RoundStraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def test_all_unknown_operators_are_named_with_their_origin():
    module = nn.Sequential(nn.Linear(3, 3), Decomposing())
    with pytest.raises(UnsupportedOperatorError) as caught:
        torch2jax(module, torch.randn(4, 3))
    text = str(caught.value)
    assert "aten.linalg_eig.default (in '1' (Decomposing)" in text and "aten.special_bessel_j0.default" in text
    assert "test_refusals.py line" in text and "values, vectors = torch.linalg.eig(x.T @ x)" in text
    assert isinstance(caught.value, BridgeError)


@pytest.mark.parametrize("dropout", [nn.Dropout(0.5), nn.AlphaDropout(0.5), nn.RReLU()], ids=lambda m: type(m).__name__)
def test_randomness_in_training_mode_is_refused_without_a_key(dropout):
    module = nn.Sequential(nn.Linear(3, 3), dropout)
    fn, params = torch2jax(module, torch.randn(4, 3), verify=False)
    with pytest.raises(NetworkError, match=r"'1' \((Alpha)?(Dropout|RReLU)\)[\s\S]*module.eval\(\)"):
        fn(params, jnp.zeros((2, 3), jnp.float32))
    torch2jax(module.eval(), torch.randn(4, 3), verify=False)


def test_training_mode_without_effect_is_accepted():
    fn, _ = torch2jax(nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.0)), torch.randn(4, 3), verify=False)
    assert "aten.linear.default" in fn.operators


def test_batch_normalisation_in_training_mode_is_refused():
    with pytest.raises(NetworkError, match=r"changes buffer running_mean, .* Call module.eval\(\) first"):
        torch2jax(nn.BatchNorm1d(3), torch.randn(4, 3))


def test_changed_inputs_are_refused():
    with pytest.raises(NetworkError, match="changes input leaves_0"):
        torch2jax(Function(lambda x: x.add_(1)), torch.randn(4, 3))


def test_branching_on_values_is_refused():
    with pytest.raises(NetworkError, match="cannot be traced[\\s\\S]*torch.where"):
        torch2jax(Function(lambda x: x + 1 if x.sum() > 0 else x), torch.randn(4, 3))


def test_a_size_the_network_branches_on_is_checked():
    fn, params = torch2jax(Function(lambda x: x + 1 if x.shape[0] > 3 else x), torch.zeros(5, 2))
    np.testing.assert_array_equal(fn(params, jnp.zeros((7, 2), jnp.float32)), np.ones((7, 2)))
    with pytest.raises(NetworkError, match="branches on this size and was converted for 4 to any, got 2"):
        fn(params, jnp.zeros((2, 2), jnp.float32))


def test_no_grad_and_detach_stop_gradients():
    def half_detached(x):
        with torch.no_grad():
            y = 2 * x
        return x * y + x * x.detach()

    fn, params = torch2jax(Function(half_detached), torch.randn(4, 3))
    slope = jax.grad(lambda x: fn(params, x).sum())(jnp.full((2, 3), 5.0, jnp.float32))
    np.testing.assert_allclose(slope, np.full((2, 3), 15.0))


def test_a_custom_backward_is_found_by_the_check():
    module = Function(lambda x: RoundStraightThrough.apply(3 * x))
    with pytest.raises(NetworkError, match="gradient to input 0 differs from torch's.*verify=False"):
        torch2jax(module, torch.randn(4, 3))
    torch2jax(module, torch.randn(4, 3), verify=False)


@pytest.fixture(scope="module")
def linear():
    return torch2jax(nn.Linear(3, 2), (torch.zeros(2, 3),), verify=False)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((4, 2), np.float32), r"input 0 must be float32\[4, 3\], got float32\[4, 2\]"),
        (np.zeros(3, np.float32), r"input 0 must be float32\[.*, 3\], got float32\[3\]"),
        (np.zeros((4, 3)), r"must be float32\[4, 3\], got float64\[4, 3\].*dtypes always"),
        (np.zeros((4, 3), int), "got int64"),
        (torch.zeros(4, 3), "is a torch tensor; expected a JAX array"),
        ({"x": np.zeros((4, 3), np.float32)}, "expected inputs PyTreeDef"),
    ],
    ids=["features", "rank", "double", "integer", "tensor", "dict"],
)
def test_other_inputs_than_the_example(linear, x, message):
    fn, params = linear
    with pytest.raises(NetworkError, match=message):
        fn(params, x)


def test_other_parameters_than_the_networks(linear):
    fn, params = linear
    x = jnp.zeros((2, 3), jnp.float32)
    with pytest.raises(NetworkError, match=r"lacks \['bias'\] and has unknown \['Bias'\]"):
        fn({"weight": params["weight"], "Bias": params["bias"]}, x)
    with pytest.raises(NetworkError, match=r"parameter bias must be float32\[2\], got float32\[5\]"):
        fn({**params, "bias": jnp.zeros(5, jnp.float32)}, x)


def test_a_double_network_without_x64():
    with jax.enable_x64(False), pytest.raises(BridgeError, match="float64.*jax_enable_x64"):
        torch2jax(nn.Linear(3, 2).double(), torch.zeros(2, 3).double())


def test_integers_without_x64():
    module = nn.Embedding(4, 2)
    with jax.enable_x64(False):
        fn, params = torch2jax(module, torch.tensor([0, 3, 1]))
        got = fn(params, np.array([3, 0], np.int64))
    np.testing.assert_array_equal(got, module(torch.tensor([3, 0])).detach())


def test_an_index_outside_an_embedding_gives_nan_not_another_row():
    fn, params = torch2jax(nn.Embedding(4, 2), torch.tensor([0, 3]), verify=False)
    rows = np.asarray(fn(params, np.array([4, -1, 1])))
    assert np.isnan(rows[:2]).all() and np.isfinite(rows[2]).all()


def test_repeats_in_a_tensor_need_the_size_of_the_result():
    repeats = torch.tensor([1, 0, 2])
    module = Function(lambda x, n: x.repeat_interleave(n, 1, output_size=3))
    fn, params = torch2jax(module, (torch.ones(2, 3), repeats), free_axes=[0, None])
    x = jnp.arange(6.0, dtype=jnp.float32).reshape(2, 3)
    np.testing.assert_array_equal(fn(params, x, np.array([2, 1, 0])), [[0, 0, 1], [3, 3, 4]])
    assert np.isnan(fn(params, x, np.array([2, 2, 0]))).all()
    with pytest.raises(BridgeError):
        torch2jax(Function(lambda x: x.repeat_interleave(repeats, 1)), torch.ones(2, 3))


def test_values_fixed_by_the_example():
    fn, params = torch2jax(Function(lambda x, power, mask: x**power), (torch.ones(2, 3), 3, None), verify=False)
    x = jnp.full((4, 3), 2.0, jnp.float32)
    np.testing.assert_array_equal(fn(params, x, 3, None), np.full((4, 3), 8.0))
    with pytest.raises(NetworkError, match="input 1 was fixed to 3 by the conversion, got 2"):
        fn(params, x, 2, None)


class Packed(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(3, 2, batch_first=True)

    def forward(self, x, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return nn.utils.rnn.pad_packed_sequence(self.rnn(packed)[0], batch_first=True)[0]


ROWS = torch.linspace(-1, 1, 12).reshape(4, 3)
REFUSED = {
    "max_norm": (
        lambda: nn.Sequential(nn.Embedding(5, 2, max_norm=1.0)), torch.tensor([0, 3]), r"embedding '0' has max_norm.*renorm",
    ),
    "unbatched": (lambda: nn.LSTM(3, 2), ROWS, r"axis 0 of input tensor 0 \(size 4\)[\s\S]*free_axes=None[\s\S]*recurrent"),
    "packed": (Packed, (torch.ones(2, 3, 3), torch.tensor([3, 2])), r"\(in 'rnn' \(LSTM\)\)[\s\S]*padded sequence"),
    "ctc": (
        nn.CTCLoss, (torch.zeros(6, 2, 4), torch.ones(2, 2, dtype=int), torch.tensor([6, 6]), torch.tensor([2, 2])),
        r"\(CTCLoss\)[\s\S]*optax.ctc_loss",
    ),
    "functional gradients": (
        lambda: Function(torch.func.vmap(torch.func.grad(lambda x: x.sin().sum()))), ROWS, r"torch.func[\s\S]*jax.grad",
    ),
    "mask": (lambda: Function(lambda x: x[x > 0]), ROWS, r"x\[x > 0\]|boolean mask[\s\S]*torch.where"),
    "unique": (lambda: Function(torch.unique), ROWS, r"_unique2[\s\S]*sort, cummax and searchsorted"),
    "fractional": (
        lambda: nn.FractionalMaxPool2d(2, output_size=3), torch.ones(1, 1, 8, 8),
        r"\(FractionalMaxPool2d\)[\s\S]*AdaptiveMaxPool",
    ),
    "bessel": (lambda: Function(torch.special.bessel_j0), ROWS, r"bessel_j0[\s\S]*i0e"),
    "hermite": (lambda: Function(lambda x: torch.special.hermite_polynomial_h(x, 3)), ROWS, r"hermite[\s\S]*recurrence"),
    "loss of a target": (
        nn.SoftMarginLoss, (ROWS, torch.sign(ROWS)), r"SoftMarginLoss: .* torch has none.*target.detach\(\)",
    ),
    "step": (lambda: Function(torch.heaviside), (ROWS, ROWS**2), r"torch has none here: derivative for aten::heaviside.*verify"),
}  # fmt: skip
"""Network, inputs, and what the error says: the layer or operator, and the way round it."""


@pytest.mark.parametrize("kind", REFUSED)
def test_a_refusal_names_the_place_and_the_way_round_it(kind):
    make, inputs, message = REFUSED[kind]
    with pytest.raises(BridgeError, match=message):
        torch2jax(make(), inputs)


def test_the_ways_round_work():
    torch2jax(nn.LSTM(3, 2), ROWS, free_axes=None)
    fn, params = torch2jax(nn.SoftMarginLoss(), (ROWS, torch.sign(ROWS)), verify=False)
    np.testing.assert_allclose(
        fn(params, ROWS.numpy(), np.sign(ROWS.numpy())), nn.SoftMarginLoss()(ROWS, torch.sign(ROWS)), rtol=1e-6
    )


def test_batches_of_different_sizes_are_refused_where_torch_refuses_them():
    module = nn.MultiheadAttention(4, 2, kdim=3, vdim=5, batch_first=True).eval()
    shapes = (3, 4), (6, 3), (6, 5)
    fn, params = torch2jax(module, tuple(torch.randn(2, *s) for s in shapes))
    given = [torch.randn(5, *s) for s in shapes]
    np.testing.assert_allclose(
        fn(params, *(t.numpy() for t in given))[0], module(*given)[0].detach(), rtol=1e-4, atol=1e-6
    )
    with pytest.raises(NetworkError, match=r"input 2 must be float32\[5, 6, 5\], got float32\[3, 6, 5\]"):
        fn(params, given[0].numpy(), given[1].numpy(), given[2][:3].numpy())
