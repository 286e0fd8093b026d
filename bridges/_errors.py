"""What the bridge refuses. Every message says what was expected, what came and what to do."""

from __future__ import annotations


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
