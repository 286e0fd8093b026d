"""The table of ATen operators: what it holds, and how torch's dtypes and promotion are kept in JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import torch

from ..._runtime.dtypes import jax_dtype, torch_dtype
from ...errors import BridgeError

TABLE: dict[str, Callable] = {}
"""JAX equivalent of each operator by its full name, e.g. `aten.add.Tensor`. Same arguments as the operator."""


RANDOM: set[str] = set()
"""Operators of the table that may draw random numbers; their first argument is `draw` (see `random_aten`)."""


class UnsupportedOperatorError(BridgeError, NotImplementedError):
    """A torch network uses operators (or options of them) that have no JAX equivalent here; the message names them."""


def aten(*names: str) -> Callable[[Callable], Callable]:
    """Enter a function into the table under operator names, each `operator.overload` (without the leading `aten.`)."""

    def enter(function: Callable) -> Callable:
        for name in names:
            key = f"aten.{name}"
            if key in TABLE:
                raise ValueError(f"the table of operators has {key} twice")
            TABLE[key] = function
        return function

    return enter


def random_aten(*names: str) -> Callable[[Callable], Callable]:
    """As `aten`, for functions that take `draw` first: `draw(sampler)` gives `sampler(key)`, or raises without a key."""
    RANDOM.update(f"aten.{name}" for name in names)
    return aten(*names)


def _stand_in(operand: Any) -> Any:
    if isinstance(operand, (bool, int, float, complex)):
        return operand
    return torch.empty((1,) if jnp.ndim(operand) else (), dtype=torch_dtype(operand.dtype))


def promote(*operands: Any) -> list[jax.Array]:
    """Operands in the dtype in which torch combines them: numbers and 0-d tensors yield to tensors of their kind."""
    dtype = _stand_in(operands[0])
    for operand in operands[1:]:
        dtype = torch.result_type(dtype, _stand_in(operand))
        dtype = torch.empty((1,) if any(jnp.ndim(o) for o in operands) else (), dtype=dtype)
    if isinstance(dtype, torch.Tensor):
        return [jnp.asarray(o, jax_dtype(dtype.dtype)) for o in operands]
    return [jnp.asarray(o) for o in operands]


def floating(x: Any) -> jax.Array:
    """An operand of a transcendental function: integers become torch's default floating dtype."""
    x = jnp.asarray(x)
    return x if jnp.issubdtype(x.dtype, jnp.inexact) else x.astype(jax_dtype(torch.get_default_dtype()))


def axes(dim: Any, ndim: int) -> tuple[int, ...]:
    """Axes of a reduction; torch's None and [] both mean all."""
    if dim is None or (isinstance(dim, (list, tuple)) and not dim):
        return tuple(range(ndim))
    dims = dim if isinstance(dim, (list, tuple)) else (dim,)
    return tuple(d % max(ndim, 1) for d in dims) if ndim else ()
