"""Tensors without axes, which torch takes for vectors of one number where an axis is named."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def takes_scalars(operator: Callable) -> Callable:
    """The operator `(x, ...)`, which gives 0-d results for a 0-d `x`."""

    @functools.wraps(operator)
    def of_any(x: Any, *args: Any, **kwargs: Any) -> Any:
        if jnp.ndim(x):
            return operator(x, *args, **kwargs)
        return jax.tree.map(lambda y: y.reshape(()), operator(jnp.reshape(x, 1), *args, **kwargs))

    return of_any
