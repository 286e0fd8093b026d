"""`jax2torch`: a JAX function as a differentiable PyTorch function, compiled once forward and once backward."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch

from . import compiled as _compiled
from .operation import Operation


def jax2torch(
    fn: Callable,
    *,
    static_argnames: str | Sequence[str] = (),
    nondiff_argnames: str | Sequence[str] = (),
    vectorized: bool | str | Sequence[str] = False,
    name: str | None = None,
) -> Callable:
    """Make a JAX function callable with torch tensors, and differentiable by torch.

    Any pytree goes in and comes out: dicts, lists, tuples, NamedTuples, dataclasses (registered with JAX or not), None,
    Python numbers; numbers in a result become 0-d tensors. Tensors share their memory with JAX where dtype, layout and
    alignment allow (`bridges.copies` counts the others). Forward and backward are each traced and compiled once per
    structure, shapes, dtypes, devices and set of inputs that need gradients; backward computes only the gradients that
    are needed. Without gradients (`torch.no_grad`, no input requires one) nothing is kept for a backward pass.

    Backward, double backward, `torch.func.vmap/grad/vjp/jacrev`, forward mode (`torch.func.jvp/jacfwd`, dual numbers)
    and `torch.compile` work. Tensors given to the function must not be changed in place before backward has run; torch
    raises its own error if they are. Under `torch.autocast`, half-precision tensors are cast to float32, as for a
    float32 operation.

    Example:
        >>> f = jax2torch(lambda x, w: jnp.tanh(x @ w).sum())
        >>> f(x, w).backward()

    Args:
        fn: a JAX function of arrays.
        static_argnames: arguments that are compiled in; they must be hashable.
        nondiff_argnames: arguments whose tensors are never differentiated.
        vectorized: the rows (first axis) of the arguments do not interact. Batches are then padded to a few sizes
            (powers of two up to 256, multiples of 256 above), so that a ragged last batch does not compile again. True:
            every tensor with an axis has rows; or the names of the arguments that do. Every result must have rows.
        name: shown in the profile and in errors; by default the function's own.

    Returns:
        A function with the signature of `fn`. Its `operation.traces` counts traces by executable (`primal`, `forward`,
        `backward`).

    Raises:
        ValueError: a name is not an argument of `fn`.

    Raises (when called):
        ConversionError: a value cannot be handed over without changing its meaning.
        DeviceError: tensors on several devices, or on one that JAX does not have.
        ForkError: called in a process forked while JAX was running.
        TransformError: a derivative the function does not have.
    """
    operation = Operation(fn, _names(static_argnames), _names(nondiff_argnames), vectorized, name)
    handle = _compiled.register(operation)

    @functools.wraps(fn, updated=())
    def bridged(*args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_dynamo_compiling():
            _compiled.prepare()
            return _compiled.traced(handle, _compiled.without_none(args), _compiled.without_none(kwargs))
        return operation(args, kwargs)

    bridged.operation = operation  # type: ignore[attr-defined]
    return bridged


def _names(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)
