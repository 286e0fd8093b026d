"""Where a bridged call runs: on the device of its tensors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import jax
import torch

from ..errors import DeviceError

_known: dict[str, bool] = {}
"""Answers that do not change once JAX runs."""


def has_gpu() -> bool:
    """Whether JAX has a GPU backend (starts JAX)."""
    if "gpu" not in _known:
        _known["gpu"] = any(device.platform == "gpu" for device in _gpu_devices())
    return _known["gpu"]


def _gpu_devices() -> list:
    try:
        return jax.devices("gpu")
    except RuntimeError:
        return []


def only_cpu() -> bool:
    """Whether the CPU is JAX's only backend (starts JAX)."""
    if "only_cpu" not in _known:
        _known["only_cpu"] = jax.default_backend() == "cpu" and not has_gpu()
    return _known["only_cpu"]


def require_backend(device: torch.device) -> None:
    """Check that JAX can compute on a torch device.

    Raises:
        DeviceError: JAX has no backend for it.
    """
    if device.type == "cpu" or (device.type == "cuda" and has_gpu()):
        return
    if device.type == "cuda":
        raise DeviceError(
            f"got a tensor on {device}, but JAX has no GPU backend (it runs on {jax.default_backend()}). Install JAX "
            "with the CUDA plugin that matches torch, for example `pip install 'jax[cuda13]'`, check that "
            "JAX_PLATFORMS does not exclude it, or move the tensor to the CPU with .cpu()."
        )
    raise DeviceError(f"got a tensor on {device}; the bridge shares memory on 'cpu' and 'cuda'. Move it with .cpu().")


def run_on(tensors: Iterable[torch.Tensor]) -> contextlib.AbstractContextManager:
    """Context in which JAX places host data where the tensors are.

    CPU tensors must not be sent to a GPU because that is JAX's default device. Tensors on a GPU fix the device by
    themselves; 0-d CPU tensors may accompany them, as in torch.

    Raises:
        DeviceError: tensors on several devices.
    """
    devices = {tensor.device for tensor in tensors}
    if len(devices) > 1:
        devices = {tensor.device for tensor in tensors if tensor.dim() or tensor.device.type != "cpu"}
        if len(devices) > 1:
            raise DeviceError(
                f"expected all tensors on one device, got {', '.join(sorted(map(str, devices)))}. Move them with "
                ".to(device)."
            )
    if not devices:
        return contextlib.nullcontext()
    (device,) = devices
    require_backend(device)
    if device.type == "cpu":
        return jax.default_device(jax.devices("cpu")[0])
    return jax.default_device(_gpu_devices()[device.index or 0])
