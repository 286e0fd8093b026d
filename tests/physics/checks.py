"""Checks that every module passes: derivatives by central differences, single against double precision."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np


def relative_error(value, expected) -> float:
    """Largest `|value - expected| / |expected|`; 0 where both are 0, infinite where one is not finite."""
    value, expected = np.broadcast_arrays(np.asarray(value, float), np.asarray(expected, float))
    assert value.size, "nothing to compare"
    size = np.where(expected == 0, 1.0, np.abs(expected))
    error = np.where(value == expected, 0.0, np.abs(value - expected) / size)
    return float(np.max(np.where(np.isfinite(value) & np.isfinite(expected), error, np.inf)))


def derivative_error(f: Callable, inputs: Mapping[str, np.ndarray], step: float = 1e-4) -> dict[str, float]:
    """Largest relative error of the reverse-mode derivative of `f` by each input, over a batch.

    Relative to the difference plus 1 % of `max |f| / max |x|`, so that a derivative that vanishes is compared too.

    Args:
        f: scalars by keyword -> scalar.
        inputs: `[n]` samples of each argument, away from kinks.
        step: relative step of the fourth-order central difference.
    """
    inputs = {name: jnp.asarray(x, float) for name, x in inputs.items()}
    value = jax.jit(jax.vmap(lambda x: f(**x)))
    gradient = jax.jit(jax.vmap(jax.grad(lambda x: f(**x))))(inputs)
    size = float(jnp.max(jnp.abs(value(inputs))))
    errors = {}
    for name, x in inputs.items():
        h = step * jnp.maximum(jnp.abs(x), 1e-2)

        def at(k, name=name, x=x, h=h):
            return value({**inputs, name: x + k * h})

        difference = (8.0 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12.0 * h)
        floor = 1e-2 * size / float(jnp.max(jnp.abs(x)) + 1e-2)
        error = jnp.abs(gradient[name] - difference) / (jnp.abs(difference) + floor)
        errors[name] = float(jnp.max(jnp.where(jnp.isfinite(error), error, jnp.inf)))
    return errors


def precision_error(f: Callable, *inputs) -> float:
    """Largest difference of `f` in single from double precision, relative to the largest value of each output.

    `f` takes arrays (and pytrees of them); asserts that single precision stays single.
    """
    double = f(*jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), inputs))
    single = f(*jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), inputs))
    worst = 0.0
    for x, y in zip(jax.tree.leaves(single), jax.tree.leaves(double), strict=True):
        assert x.dtype == jnp.float32 and y.dtype == jnp.float64, (x.dtype, y.dtype)
        worst = max(worst, float(jnp.max(jnp.abs(x - y)) / jnp.max(jnp.abs(y))))
    return worst


def all_finite(tree) -> bool:
    return all(bool(jnp.all(jnp.isfinite(x))) for x in jax.tree.leaves(tree))
