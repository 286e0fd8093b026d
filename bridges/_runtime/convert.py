"""Tensors to JAX arrays and back: the same memory where dtype, layout and alignment allow, one counted copy
elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import jax
import ml_dtypes
import numpy as np
import torch

from ..errors import ConversionError
from .config import settings
from .device import only_cpu, require_backend
from .upstream import (
    FakeTensor,
    FunctionalTensor,
    capsule_of_array,
    is_legacy_batched,
    is_wrapped_by_transform,
    is_wrapper_subclass,
    tensor_from_capsule,
)

copies: Counter[str] = Counter()
"""Debug counter: imports that had to copy, by reason (`layout`, `alignment`, `conjugate`, `negative`)."""

_CPU_ALIGNMENT = 64
"""Bytes; XLA's CPU client shares a host buffer only at this alignment."""

_GPU_ALIGNMENT = 16
"""Bytes; XLA's GPU executables assume it of their parameters."""

_SHARE_PERMUTED = 1 << 20
"""Bytes; a permuted tensor (`.T`, channels last) of at least this size is shared and JAX compiles for its layout.
Smaller ones are copied, which costs less than the sharing."""

_NATIVE = {
    torch.bool, torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.int8, torch.int16, torch.int32,
    torch.int64, torch.float16, torch.float32, torch.float64, torch.complex64, torch.complex128,
}  # fmt: skip

_REINTERPRETED = {
    torch.bfloat16: (torch.int16, ml_dtypes.bfloat16),
    torch.float8_e4m3fn: (torch.uint8, ml_dtypes.float8_e4m3fn),
    torch.float8_e5m2: (torch.uint8, ml_dtypes.float8_e5m2),
    torch.float8_e4m3fnuz: (torch.uint8, ml_dtypes.float8_e4m3fnuz),
    torch.float8_e5m2fnuz: (torch.uint8, ml_dtypes.float8_e5m2fnuz),
}
"""dtypes that NumPy knows only through ml_dtypes: same bits, another name."""

_KNOWN = _NATIVE | set(_REINTERPRETED)
_WIDE = {torch.float64, torch.complex128, torch.int64, torch.uint64}
_NARROW = _NATIVE - _WIDE
_WIDE_NUMPY = {np.dtype(name) for name in ("float64", "complex128", "int64", "uint64")}
_PLAIN = {torch.Tensor, torch.nn.Parameter, torch.nn.Buffer}


def _capsule_by_numpy(array: jax.Array) -> Any:
    """DLPack capsule of a CPU array; waits until it is computed."""
    return np.asarray(array).__dlpack__(max_version=(1, 0))


_to_capsule = capsule_of_array or _capsule_by_numpy
"""What `jax.Array.__dlpack__` calls in the end (it waits, too): a fifth of the cost of a NumPy view in between. But the memory
comes free at the next call of JAX only, so large arrays take the other way."""
_SMALL = 1 << 14


def to_jax(tensor: torch.Tensor) -> Any:
    """What a jitted JAX function can be called with: the tensor's memory, detached from autograd.

    On the CPU this is a NumPy view (cheaper than a `jax.Array`; XLA shares it without a copy when it starts at a
    multiple of 64 bytes), for large permuted tensors a `jax.Array` with their layout. CUDA tensors go through DLPack on
    their own device, ordered after torch's current stream.

    Raises:
        ConversionError: a 64-bit tensor while JAX runs in 32 bits, a dtype JAX lacks, or a tensor without plain memory.
        DeviceError: JAX has no backend for the tensor's device.
    """
    # What nearly all tensors are, found out in a few steps. `Tensor.numpy` refuses memory that does not hold the values
    # (negative and conjugate bits, sparse tensors, tensors of a `torch.func` transformation).
    if type(tensor) in _PLAIN and (
        (dtype := tensor.dtype) in _NARROW or (dtype in _NATIVE and settings.jax_enable_x64)
    ):
        try:
            if not tensor.data_ptr() % _CPU_ALIGNMENT and tensor.is_contiguous():
                return tensor.detach().numpy() if tensor.requires_grad else tensor.numpy()
        except (RuntimeError, TypeError):
            pass
    return _unusual_to_jax(tensor)


def _unusual_to_jax(tensor: torch.Tensor) -> Any:
    if type(tensor) not in _PLAIN:
        _require_memory(tensor)
    dtype = tensor.dtype
    if tensor.layout is not torch.strided or dtype not in _KNOWN:
        raise ConversionError(_describe_unknown(tensor))
    if dtype in _WIDE:
        require_width(dtype)
    if tensor.requires_grad:
        tensor = tensor.detach()
    if tensor.is_conj():
        copies["conjugate"] += 1
        tensor = tensor.resolve_conj()
    if tensor.is_neg():
        copies["negative"] += 1
        tensor = tensor.resolve_neg()
    if tensor.is_cpu:
        try:
            return _cpu_to_jax(tensor)
        except RuntimeError:
            _require_memory(tensor)
            raise
    _require_memory(tensor)
    require_backend(tensor.device)
    return _cuda_to_jax(tensor)


def _cpu_to_jax(tensor: torch.Tensor) -> Any:
    if not tensor.is_contiguous():
        if _shares_permuted(tensor):
            return jax.dlpack.from_dlpack(tensor)
        copies["layout"] += 1
        tensor = tensor.contiguous()
    elif tensor.data_ptr() % _CPU_ALIGNMENT:
        copies["alignment"] += 1
    if tensor.dtype in _REINTERPRETED:
        bits, meaning = _REINTERPRETED[tensor.dtype]
        return tensor.view(bits).numpy().view(meaning)
    return tensor.numpy()


def _cuda_to_jax(tensor: torch.Tensor) -> jax.Array:
    """Share a CUDA tensor. `from_dlpack` makes JAX's stream wait for torch's current stream on the tensor's device."""
    with torch.cuda.device(tensor.device):
        if not tensor.is_contiguous() and not _is_permuted(tensor):
            copies["layout"] += 1
            tensor = tensor.contiguous()
        if tensor.data_ptr() % _GPU_ALIGNMENT:
            copies["alignment"] += 1
            tensor = tensor.clone()
        return jax.dlpack.from_dlpack(tensor)


def require_width(dtype: torch.dtype) -> None:
    """Refuse 64-bit tensors while JAX runs in 32 bits.

    Raises:
        ConversionError: it would be truncated.
    """
    if dtype in _WIDE and not settings.jax_enable_x64:
        raise ConversionError(_describe_wide(str(dtype).removeprefix("torch."), "tensor", ".float(), .int()"))


def is_plain(tensor: torch.Tensor) -> bool:
    """Whether a tensor is of one of torch's own classes, which never stand for other tensors."""
    return type(tensor) in _PLAIN


def is_symbolic(tensor: torch.Tensor) -> bool:
    """Whether a tensor stands for others in a graph that is being traced (torch.compile, torch.export)."""
    return type(tensor) not in _PLAIN and isinstance(tensor, (FakeTensor, FunctionalTensor))


def to_torch(array: jax.Array) -> torch.Tensor:
    """A tensor on the array's memory. The array must not be used in JAX afterwards if the tensor is changed in place.

    On the CPU this waits until the array is computed, so that the inputs of the computation may be changed afterwards.
    On a GPU torch's current stream waits for it.

    Raises:
        ConversionError: torch has no such dtype (typed random keys, 4-bit integers ...).
    """
    try:
        return torch.from_dlpack(array)
    except (BufferError, RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise ConversionError(
            f"a JAX array of dtype {array.dtype} has no torch equivalent. Return it as another dtype (astype), a "
            "random key by jax.random.key_data."
        ) from error


def result_to_torch(array: jax.Array) -> torch.Tensor:
    """`to_torch` for a result of a compiled function; on the CPU at a fifth of the cost.

    Raises:
        ConversionError: as `to_torch`.
    """
    return results_to_torch([array])[0]


def results_to_torch(arrays: Sequence[jax.Array]) -> list[torch.Tensor]:
    """The same for all results of a compiled function."""
    if only_cpu():
        try:
            return [
                tensor_from_capsule(_to_capsule(array) if array.size <= _SMALL else _capsule_by_numpy(array))
                for array in arrays
            ]
        except (BufferError, RuntimeError, TypeError, ValueError):
            jax.block_until_ready(arrays)  # raises if it was the computation that failed
    return [to_torch(array) for array in arrays]


def copy_to_torch(array: jax.Array) -> torch.Tensor:
    """A tensor with memory of its own on torch's default device, where torch makes parameters.

    JAX makes arrays on its own default device, which is the first GPU where there is one; torch need not be able to use it.

    Raises:
        ConversionError: as `to_torch`.
    """
    if any(device.platform != "cpu" for device in array.devices()):
        array = jax.device_put(array, jax.devices("cpu")[0])
    return to_torch(array).to(torch.get_default_device(), copy=True)


def check_array(value: Any) -> None:
    """Refuse NumPy values that JAX would silently truncate to 32 bits.

    Raises:
        ConversionError: a 64-bit array or NumPy scalar while JAX runs in 32 bits, or one of a dtype JAX lacks.
    """
    if not isinstance(value, (np.ndarray, np.generic)):
        return
    if value.dtype.kind in "OSUMmV" and value.dtype.name not in ml_dtypes.__all__:
        raise ConversionError(
            f"a NumPy array of dtype {value.dtype} has no JAX equivalent. Convert it to numbers first."
        )
    if value.dtype in _WIDE_NUMPY and not settings.jax_enable_x64:
        raise ConversionError(_describe_wide(value.dtype.name, "NumPy array", ".astype('float32'), .astype('int32')"))


def _describe_wide(dtype: str, what: str, remedy: str) -> str:
    return (
        f"got a {dtype} {what}, but JAX runs in 32 bits and would truncate it. Call "
        f'jax.config.update("jax_enable_x64", True) before using JAX, or convert the {what} (for example {remedy}).'
    )


def _describe_unknown(tensor: torch.Tensor) -> str:
    if tensor.layout is not torch.strided:
        return f"expected a dense tensor, got layout {tensor.layout}. Call .to_dense() first."
    return (
        f"got a tensor of dtype {tensor.dtype}, which JAX does not have. Convert it first (quantised: .dequantize())."
    )


def _require_memory(tensor: torch.Tensor) -> None:
    if isinstance(tensor, FakeTensor) or tensor.device.type == "meta":
        raise ConversionError(
            f"a {type(tensor).__name__} on device {tensor.device} has no values to hand to JAX. Call with real tensors."
        )
    if is_wrapped_by_transform(tensor) or is_legacy_batched(tensor):
        raise ConversionError(
            "got a tensor of a torch.func transformation where plain memory is needed. Transform the bridged function "
            "itself (torch.func.vmap, grad, jacrev); is_grads_batched and vectorize=True are not supported."
        )
    own, plain = (getattr(kind, "__torch_dispatch__", None) for kind in (type(tensor), torch.Tensor))
    if own is not plain and not _is_subclass_with_own_memory(tensor):
        raise ConversionError(
            f"got a {type(tensor).__module__}.{type(tensor).__name__}, a tensor subclass that wraps others. Pass the "
            "plain tensor in it (for a DTensor: .to_local() or .full_tensor())."
        )


def _is_subclass_with_own_memory(tensor: torch.Tensor) -> bool:
    return not is_wrapper_subclass(tensor) and tensor.data_ptr() != 0


def _shares_permuted(tensor: torch.Tensor) -> bool:
    return (
        tensor.numel() * tensor.element_size() >= _SHARE_PERMUTED
        and tensor.data_ptr() % _CPU_ALIGNMENT == 0
        and _is_permuted(tensor)
    )


def _is_permuted(tensor: torch.Tensor) -> bool:
    """Whether the elements fill one block of memory without gaps or repetition, in any order of dimensions."""
    expected = 1
    for stride, size in sorted((s, n) for s, n in zip(tensor.stride(), tensor.shape, strict=True) if n != 1):
        if stride != expected:
            return False
        expected *= size
    return True
