"""torch's dtypes and JAX's, and copies of tensors as JAX arrays."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from ..errors import BridgeError
from .config import settings
from .convert import to_jax


def torch_dtype(dtype: Any) -> torch.dtype:
    """torch's dtype for JAX's."""
    return getattr(torch, jnp.dtype(dtype).name)


def jax_dtype(dtype: torch.dtype) -> np.dtype:
    """JAX's dtype for torch's. Integers narrow to 32 bits when JAX runs without x64.

    Raises:
        BridgeError: a 64-bit floating dtype while JAX runs in 32 bits, or a dtype JAX does not have.
    """
    name = str(dtype).removeprefix("torch.")
    if name in ("float64", "complex128") and not settings.jax_enable_x64:
        raise BridgeError(
            f"the network computes in {name}, but JAX runs in 32 bits and would truncate it. Call "
            'jax.config.update("jax_enable_x64", True) before using JAX, or convert the network first (module.float()).'
        )
    try:
        return jax.dtypes.canonicalize_dtype(jnp.dtype(name))
    except TypeError as error:
        raise BridgeError(f"the network uses the dtype {dtype}, which JAX does not have. Convert it first.") from error


def is_array(leaf: Any) -> bool:
    """Whether a leaf is an array of JAX or NumPy, or a NumPy scalar."""
    return isinstance(leaf, (jax.Array, np.ndarray, np.generic))


def copy_to_jax(tensor: torch.Tensor) -> jax.Array:
    """A copy of a tensor as JAX array, so that an optimiser step in place does not reach JAX.

    Raises:
        BridgeError: as `jax_dtype`.
    """
    tensor = tensor.detach()
    if tensor.dtype is torch.int64 and not settings.jax_enable_x64:
        tensor = tensor.int()
    return jnp.array(to_jax(tensor), dtype=jax_dtype(tensor.dtype), copy=True)
