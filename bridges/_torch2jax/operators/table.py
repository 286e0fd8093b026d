"""The table of ATen operators: what it holds, and how torch's dtypes and promotion are kept in JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from ...errors import BridgeError

TABLE: dict[str, Callable] = {}
"""JAX equivalent of each operator by its full name, e.g. `aten.add.Tensor`. Same arguments as the operator."""


class UnsupportedOperatorError(BridgeError):
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


def jax_dtype(dtype: torch.dtype) -> np.dtype:
    """JAX's dtype for torch's. Integers narrow to 32 bits when JAX runs without x64.

    Raises:
        BridgeError: a 64-bit floating dtype while JAX runs in 32 bits, or a dtype JAX does not have.
    """
    name = str(dtype).removeprefix("torch.")
    if name in ("float64", "complex128") and not jax.config.jax_enable_x64:
        raise BridgeError(
            f"the network computes in {name}, but JAX runs in 32 bits and would truncate it. Call "
            'jax.config.update("jax_enable_x64", True) before using JAX, or convert the network first (module.float()).'
        )
    try:
        return jax.dtypes.canonicalize_dtype(jnp.dtype(name))
    except TypeError as error:
        raise BridgeError(f"the network uses the dtype {dtype}, which JAX does not have. Convert it first.") from error


def torch_dtype(dtype: Any) -> torch.dtype:
    """torch's dtype for JAX's."""
    return getattr(torch, jnp.dtype(dtype).name)


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
