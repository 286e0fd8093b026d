"""Tracers of PyTorch that run a function on real tensors and record the operators they meet.

They do not see into a bridged call: its result would enter the graph as a constant, and every later run of the graph would
return the numbers of the example.
"""

from __future__ import annotations

from ..errors import TransformError
from .upstream import dispatch_modes, is_jit_tracing, proxy_mode


def check_recording(name: str) -> None:
    """Refuse a call that such a tracer would replace by a constant.

    Args:
        name: of the bridged function.

    Raises:
        TransformError: inside `torch.jit.trace`, or `make_fx` with real tensors.
    """
    if is_jit_tracing():
        raise TransformError(
            f"{name}: torch.jit.trace (and the exporters built on it) cannot record a JAX function; its result on the example "
            "would become a constant. Use torch.export.export or torch.compile, which record the call, or trace only the "
            "torch modules around it."
        )
    if dispatch_modes() and proxy_mode() is not None:
        raise TransformError(
            f"{name}: make_fx with real tensors cannot record a JAX function; its result on the example would become a "
            "constant. Use make_fx(..., tracing_mode='fake') or 'symbolic', torch.export.export or torch.compile, which record "
            "the call."
        )
