"""JAX functions as PyTorch functions. Generic, except `bridges.canopy`, which knows the canopy."""

from ._convert import copies as copies
from ._errors import BridgeError as BridgeError
from ._errors import ConversionError as ConversionError
from ._errors import DeviceError as DeviceError
from ._errors import ForkError as ForkError
from ._errors import TransformError as TransformError
from ._exported import NetworkError as NetworkError
from ._exported import UnsupportedOperatorError as UnsupportedOperatorError
from ._jax2torch import jax2torch as jax2torch
from ._jax_module import JaxModule as JaxModule
from ._jax_program import JaxProgram as JaxProgram
from ._process import leave_gpu_memory_to_torch
from ._process import worker_context as worker_context
from ._torch2jax import torch2jax as torch2jax

leave_gpu_memory_to_torch()


def __getattr__(name: str):
    if name == "TorchCanopy":
        from .canopy import TorchCanopy

        return TorchCanopy
    raise AttributeError(f"module 'bridges' has no attribute '{name}'")
