"""What the bridge refuses. Every message says what was expected, what came and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_SHOWN = 6
"""Arguments of a call that an error lists."""


class BridgeError(Exception):
    """Base of all errors of the bridge."""


class ConversionError(BridgeError, TypeError):
    """A value that cannot cross the bridge without changing its meaning."""


class DeviceError(BridgeError, RuntimeError):
    """Tensors on devices that JAX cannot use, or that do not go together."""


class ForkError(BridgeError, RuntimeError):
    """JAX used in a process forked from one where JAX was already running; it would hang."""


class TransformError(BridgeError, RuntimeError):
    """A transformation (forward mode, batched gradients, DataParallel ...) that the function does not allow."""


def explained(error: Exception, name: str) -> Exception:
    """JAX's error about a derivative that does not exist, in the terms of a torch user; other errors as they are."""
    text = str(error)
    if "forward-mode" in text and "custom_vjp" in text:
        return TransformError(
            f"{name} has no forward-mode derivative: it defines its reverse derivative by jax.custom_vjp. Use reverse "
            "mode (backward, torch.func.grad, vjp, jacrev) instead of jvp, jacfwd, hessian or dual numbers."
        )
    if "Reverse-mode differentiation does not work" in text:
        return TransformError(
            f"{name} cannot be differentiated in reverse here, because it runs a loop of unknown length "
            "(lax.while_loop, or fori_loop with traced bounds) in the function itself or, for a second derivative, in "
            "its own jax.custom_vjp rule. Give the function a jax.custom_vjp rule, use a scan, or drop "
            "create_graph=True."
        )
    return error


def name_function(error: Exception, name: str, arrays: Sequence[Any]) -> None:
    """Add the name of the bridged function, and what it was called with, to an error from inside it; its type stays.

    Python's own errors (JAX's about shapes are such) get it in their message, others in a note.
    """
    if isinstance(error, BridgeError):
        return
    given = [f"{a.dtype}{list(a.shape)}" if hasattr(a, "dtype") else repr(a) for a in arrays[:_SHOWN]]
    more = f" and {len(arrays) - _SHOWN} more" if len(arrays) > _SHOWN else ""
    place = f"in the JAX function {name}, called with {', '.join(given) or 'no arrays'}{more}"
    if type(error) in (TypeError, ValueError, IndexError):
        error.args = (f"{error} ({place})",)
    else:
        error.add_note(f"({place})")
