"""Tensors to JAX arrays and back: the same memory where dtype, layout and alignment allow, one explicit copy elsewhere."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import jax
import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensor

copies: Counter[str] = Counter()
"""Debug counter: how many imports had to copy, by reason (`layout`, `alignment`)."""

_WIDE = {torch.float64: "float64", torch.complex128: "complex128", torch.int64: "int64"}
_ALIGNMENT = 64
"""Bytes; XLA's CPU client shares a buffer only at this alignment."""


class BridgeError(TypeError):
    """A tensor that cannot cross the bridge without changing its meaning; the message says how to mend it."""


def to_jax(tensor: torch.Tensor) -> Any:
    """What a jitted JAX function can be called with: the tensor's memory, detached from autograd.

    On the CPU this is a NumPy view (cheaper than a `jax.Array`, shared by XLA without a copy when aligned to 64 bytes);
    bfloat16 and CUDA tensors go through DLPack on the tensor's own device and current stream.

    Raises:
        BridgeError: a 64-bit tensor while JAX runs in 32 bits, or a tensor that has no memory (fake, meta, sparse).
    """
    if tensor.is_sparse or tensor.layout is not torch.strided or tensor.is_quantized:
        raise BridgeError(f"expected a dense tensor, got layout {tensor.layout}. Call .to_dense() first.")
    if isinstance(tensor, FakeTensor) or tensor.device.type == "meta":
        raise BridgeError(
            f"a {type(tensor).__name__} on {tensor.device} has no values to hand to JAX. Run the bridged function outside "
            "FakeTensorMode and on a real device."
        )
    if tensor.dtype in _WIDE and not jax.config.jax_enable_x64:
        raise BridgeError(
            f"got a {_WIDE[tensor.dtype]} tensor, but JAX runs in 32 bits and would truncate it. Call "
            'jax.config.update("jax_enable_x64", True) before using JAX, or convert the tensor (for example .float(), .int()).'
        )
    tensor = tensor.detach()
    if tensor.is_neg() or tensor.is_conj():
        tensor = tensor.resolve_neg().resolve_conj()
    if not tensor.is_contiguous():
        copies["layout"] += 1
        tensor = tensor.contiguous()
    if tensor.device.type == "cpu" and tensor.dtype is not torch.bfloat16:
        if tensor.data_ptr() % _ALIGNMENT and tensor.numel():
            copies["alignment"] += 1
        return tensor.numpy()
    if tensor.device.type == "cuda":
        _require_gpu_backend(tensor)
        with torch.cuda.device(tensor.device):
            return jax.dlpack.from_dlpack(tensor)
    return jax.dlpack.from_dlpack(tensor)


def to_torch(array: Any) -> torch.Tensor:
    """A tensor on the array's memory; waits on the CPU until the array is computed, so inputs may be changed after it."""
    return torch.from_dlpack(array)


def _require_gpu_backend(tensor: torch.Tensor) -> None:
    if jax.default_backend() != "gpu":
        raise BridgeError(
            f"got a tensor on {tensor.device}, but JAX has no GPU backend (it runs on {jax.default_backend()}). Install "
            "jax with its CUDA plugin, for example `pip install 'jax[cuda13]'`, or move the tensor to the CPU."
        )


def leave_gpu_memory_to_torch() -> None:
    """Ask JAX not to take most of the GPU's memory at its first operation, unless the user has decided otherwise.

    Takes effect only before JAX starts its backend; `XLA_PYTHON_CLIENT_PREALLOCATE` overrides it.
    """
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


def is_differentiable(dtype: Any) -> bool:
    """Whether a NumPy-like or torch dtype carries derivatives."""
    if isinstance(dtype, torch.dtype):
        return dtype.is_floating_point or dtype.is_complex
    return jax.dtypes.issubdtype(np.dtype(dtype) if not hasattr(dtype, "type") else dtype, np.inexact)
