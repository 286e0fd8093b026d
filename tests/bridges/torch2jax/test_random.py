"""Randomness by an explicit key: torch's distributions, dropout in training, one key for one result."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import nn

from bridges import NetworkError, torch2jax
from bridges._torch2jax.operators import RANDOM, TABLE
from tests.bridges.torch_networks import Function, Sequence

N = 20_000
LIKE = torch.zeros(N, dtype=torch.float64)
CHANCES = torch.linspace(0, 1, N, dtype=torch.float64)
WEIGHTS = torch.tensor([1.0, 2.0, 0.0, 3.0], dtype=torch.float64)
F64 = {"dtype": torch.float64}

DISTRIBUTIONS: dict[str, tuple] = {
    "aten.bernoulli.default": (CHANCES,),
    "aten.bernoulli.p": (LIKE, 0.3),
    "aten.rand.default": ([N], F64),
    "aten.randn.default": ([N], F64),
    "aten.rand_like.default": (LIKE,),
    "aten.randn_like.default": (LIKE,),
    "aten.randint.default": (7, [N]),
    "aten.randint.low": (-2, 7, [N]),
    "aten.randint_like.default": (LIKE, 5),
    "aten.randint_like.low_dtype": (LIKE, -3, 5),
    "aten.randperm.default": (N,),
    "aten.uniform.default": (LIKE, -1.0, 3.0),
    "aten.normal_functional.default": (LIKE, 2.0, 0.5),
    "aten.normal.Tensor_Tensor": (CHANCES, 1 + CHANCES),
    "aten.normal.Tensor_float": (CHANCES, 0.5),
    "aten.normal.float_Tensor": (2.0, 1 + CHANCES),
    "aten.normal.float_float": (2.0, 0.5, [N], F64),
    "aten.exponential.default": (LIKE, 2.0),
    "aten.multinomial.default": (WEIGHTS, N, True),
}


def drawing(seed: int):
    return lambda sampler: sampler(jax.random.key(seed))


@pytest.mark.parametrize("name", list(DISTRIBUTIONS))
def test_the_distribution_is_that_of_torch(name):
    """Quantiles of 20,000 numbers each, within five standard errors of the distribution function (0.035)."""
    assert name in RANDOM
    args, kwargs = DISTRIBUTIONS[name], {}
    if isinstance(args[-1], dict):
        args, kwargs = args[:-1], args[-1]
    _, base, overload = name.split(".")
    torch.manual_seed(3)
    theirs = getattr(getattr(torch.ops.aten, base), overload)(*args, **kwargs)
    arrays = [jnp.asarray(a.numpy()) if isinstance(a, torch.Tensor) else a for a in args]
    ours = TABLE[name](drawing(0), *arrays, **kwargs)
    assert ours.shape == tuple(theirs.shape) and ours.dtype == jnp.asarray(theirs.numpy()).dtype
    a, b = np.sort(np.asarray(ours, float)), np.sort(theirs.double().numpy())
    points = np.unique(np.concatenate([a[:: N // 200], b[:: N // 200]]))
    share = np.searchsorted(a, points, side="right") / N - np.searchsorted(b, points, side="right") / N
    assert np.abs(share).max() < 5 * np.sqrt(0.25 * 2 / N)
    assert not np.array_equal(ours, TABLE[name](drawing(1), *arrays, **kwargs))


def test_multinomial_without_replacement_draws_each_class_once():
    drawn = np.stack(
        [TABLE["aten.multinomial.default"](drawing(i), jnp.asarray(WEIGHTS.numpy()), 3) for i in range(400)]
    )
    assert (np.sort(drawn, axis=1) == [0, 1, 3]).all()
    assert abs((drawn[:, 0] == 3).mean() - 0.5) < 5 * np.sqrt(0.25 / 400)


def test_dropout_keeps_the_mean_and_drops_the_share():
    fn, params = torch2jax(nn.Dropout(0.3).train(), torch.ones(4, 5000))
    x = jnp.ones((4, 5000), jnp.float32)
    y = np.asarray(jax.jit(fn)(params, x, rng=jax.random.key(1)))
    assert set(np.unique(y)) == {0.0, np.float32(1 / 0.7)}
    assert abs((y == 0).mean() - 0.3) < 5 * np.sqrt(0.21 / y.size)
    np.testing.assert_array_equal(y, fn(params, x, rng=jax.random.key(1)))
    assert (y != fn(params, x, rng=jax.random.key(2))).any()
    slope = jax.grad(lambda x: fn(params, x, rng=jax.random.key(1)).sum())(x)
    np.testing.assert_array_equal(slope, y)


def test_two_layers_drop_different_entries():
    fn, params = torch2jax(Function(lambda x: (nn.functional.dropout(x), nn.functional.dropout(x))), torch.ones(2, 300))
    first, second = fn(params, jnp.ones((2, 300), jnp.float32), rng=jax.random.key(0))
    assert 0.35 < (np.asarray(first) == np.asarray(second)).mean() < 0.65
    assert len(fn.random) == 2 and all("native_dropout" in origin for origin in fn.random)


@pytest.mark.parametrize(
    "layer",
    [nn.Dropout(0.4), nn.AlphaDropout(0.4), nn.FeatureAlphaDropout(0.4), nn.Dropout1d(0.4), nn.RReLU()],
    ids=lambda m: type(m).__name__,
)
def test_random_layers_agree_with_torch_on_the_same_random_numbers_and_on_average(layer):
    """The check gives torch the numbers that JAX drew; averages over many keys follow torch's over many calls."""
    x = torch.linspace(-1, 2, 12, dtype=torch.float64).reshape(1, 3, 4)
    fn, params = torch2jax(layer.train(), x)
    keys = jax.random.split(jax.random.key(5), 4000)
    ours = np.asarray(jax.jit(jax.vmap(lambda key: fn(params, x.numpy(), rng=key)))(keys))[:, 0]
    theirs = torch.cat([layer(x) for _ in range(4000)]).detach().numpy()
    error = np.sqrt((ours.var(0) + theirs.var(0)) / 4000)
    assert (np.abs(ours.mean(0) - theirs.mean(0)) <= 5 * error + 1e-12).all()
    np.testing.assert_allclose(ours.std(0), theirs.std(0), rtol=0.15, atol=1e-9)


def test_recurrent_and_attention_dropout():
    lstm = Sequence(nn.LSTM, num_layers=2, dropout=0.5).train()
    fn, params = torch2jax(lstm, torch.randn(2, 5, 2))
    x = jnp.ones((3, 5, 2), jnp.float32)
    first, second = (fn(params, x, rng=jax.random.key(i))["last"] for i in (0, 1))
    assert (np.asarray(first) != np.asarray(second)).any()
    attention = Function(lambda q: nn.functional.scaled_dot_product_attention(q, q, q, dropout_p=0.5))
    fn, params = torch2jax(attention, torch.randn(2, 3, 4))
    y = jnp.ones((2, 3, 4), jnp.float32)
    assert (np.asarray(fn(params, y, rng=jax.random.key(0))) != np.asarray(fn(params, y, rng=jax.random.key(1)))).any()


def test_without_a_key_the_error_names_the_layer_and_both_remedies():
    module = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5)).train()
    fn, params = torch2jax(module, torch.randn(4, 3))
    with pytest.raises(
        NetworkError, match=r"native_dropout.*'1' \(Dropout\)[\s\S]*rng=jax.random.key[\s\S]*module.eval\(\)"
    ):
        fn(params, jnp.ones((2, 3), jnp.float32))
    fn, params = torch2jax(module.eval(), torch.randn(4, 3))
    assert fn.random == [] and np.isfinite(fn(params, jnp.ones((2, 3), jnp.float32), rng=jax.random.key(0))).all()


def test_an_error_in_a_random_network_is_found_by_the_check(monkeypatch):
    doubled = lambda draw, x, p, train: (2 * x, jnp.ones(x.shape, bool))  # noqa: E731
    monkeypatch.setitem(TABLE, "aten.native_dropout.default", doubled)
    with pytest.raises(NetworkError, match="random numbers|differs"):
        torch2jax(nn.Dropout(0.5).train(), torch.ones(4, 5))
