"""A function that is compiled again and again says so once, and names the argument that keeps changing."""

import warnings

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from bridges import jax2torch
from bridges._jax2torch.retracing import LIMIT

W = torch.ones(3, requires_grad=True)


def product(x, w, options=None, *, power=1):
    scale = 1.0 if options is None else sum(jnp.sum(v) for v in options.values())
    return (x * scale) ** power @ w


def warned(run) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for k in range(1, 2 * LIMIT):
            run(k)
    return [str(w.message) for w in caught if "has been compiled for" in str(w.message)]


def test_a_changing_shape():
    f = jax2torch(product)
    (text,) = warned(lambda k: f(torch.ones(k, 3), W))
    assert f"product has been compiled for {LIMIT} different sets" in text
    assert f"the shape of argument x keeps changing, float32[{LIMIT - 3}, 3]" in text and "vectorized" in text


def test_the_argument_that_changes_most_is_named():
    f = jax2torch(lambda a, tree: a.sum() + tree["long"].sum() + tree["odd"].sum())
    (text,) = warned(
        lambda k: f(
            torch.ones(k % 2 + 1), {"long": torch.ones(k), "odd": torch.ones(3).to([W.dtype, torch.float64][k % 2])}
        )
    )
    assert "the shape of argument tree['long'] keeps changing" in text


def test_arguments_that_change_together_are_all_named():
    f = jax2torch(lambda x, y: x + y)
    (text,) = warned(lambda k: f(torch.ones(k), torch.ones(k)))
    assert "the shape of argument x (and argument y) keeps changing" in text


def test_a_changing_static_value():
    f = jax2torch(product, static_argnames="power")
    (text,) = warned(lambda k: f(torch.ones(2, 3), W, power=k))
    assert f"the value of argument power keeps changing, {LIMIT - 3}, " in text and "tensor or a number" in text


def test_a_changing_text():
    f = jax2torch(lambda x, labels: x * len(labels["name"]))
    (text,) = warned(lambda k: f(W, {"name": "n" * k}))
    assert "the value of argument labels['name'] keeps changing" in text


def test_a_changing_structure():
    f = jax2torch(product)
    (text,) = warned(lambda k: f(torch.ones(2, 3), W, {f"key{k}": torch.ones(1)}))
    assert "the structure of the arguments keeps changing" in text and "options['key" in text and "same keys" in text


def test_a_function_under_vmap():
    f = jax2torch(product)
    (text,) = warned(lambda k: torch.func.vmap(f, in_dims=(0, None))(torch.ones(k, 2, 3), W.detach()))
    assert "the shape of argument x keeps changing" in text


def test_ordinary_use_is_not_warned_of():
    """Padded batches of every size, several dtypes and sets of gradients, numbers that change, training and evaluation."""
    f = jax2torch(lambda x, w, k: x @ w * k, vectorized="x")

    def run(k):
        for grad in (True, False):
            f(torch.ones(8 * k, 3), W.detach().requires_grad_(grad), 0.1 * k)
            f(torch.ones(8 * k, 3, dtype=torch.float64), W.detach().double().requires_grad_(grad), np.float64(k))

    assert warned(run) == []


@pytest.mark.parametrize("n", [LIMIT - 1, LIMIT])
def test_the_limit(n):
    f = jax2torch(lambda x: x.sum())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            for k in range(n):
                f(torch.ones(k))
    assert len(caught) == (n >= LIMIT)
