"""JAX functions as PyTorch functions. Generic, except the modules of the canopy and `bridges.in_loop`."""

from typing import TYPE_CHECKING, Any

from ._jax2torch.function import jax2torch as jax2torch
from ._modules.jax_module import JaxModule as JaxModule
from ._modules.jax_program import JaxProgram as JaxProgram
from ._runtime.convert import copies as copies
from ._runtime.process import leave_gpu_memory_to_torch
from ._runtime.process import worker_context as worker_context
from ._torch2jax.export import NetworkError as NetworkError
from ._torch2jax.export import UnsupportedOperatorError as UnsupportedOperatorError
from ._torch2jax.network import torch2jax as torch2jax
from .errors import BridgeError as BridgeError
from .errors import ConversionError as ConversionError
from .errors import DeviceError as DeviceError
from .errors import ForkError as ForkError
from .errors import TransformError as TransformError

if TYPE_CHECKING:
    from .canopies import TorchCanopies as TorchCanopies
    from .canopy import TorchCanopy as TorchCanopy
    from .in_loop import InLoop as InLoop

leave_gpu_memory_to_torch()


def __getattr__(name: str) -> Any:
    if name == "TorchCanopies":
        from .canopies import TorchCanopies

        return TorchCanopies
    if name == "TorchCanopy":
        from .canopy import TorchCanopy

        return TorchCanopy
    if name == "InLoop":
        from .in_loop import InLoop

        return InLoop
    raise AttributeError(f"module 'bridges' has no attribute '{name}'")
