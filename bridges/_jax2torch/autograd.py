"""A kernel as a differentiable torch operation.

Two `autograd.Function`s carry it. Plain autograd uses `JaxFunction`: forward keeps the residuals of JAX's own vjp as
saved tensors and backward runs the compiled pullback on them. Under `torch.func` transformations and forward mode
`JaxTransform` keeps the inputs only; its derivatives, and the backward of a backward (`create_graph=True`), are kernels
themselves and come back here.

The saved inputs carry torch's version counters, so an input changed in place between forward and backward raises
torch's own error, as for any torch operation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from weakref import ref

import jax
import numpy as np
import torch

from .._runtime.config import JaxConfig, current_config, with_config
from .._runtime.convert import results_to_torch, to_jax
from .._runtime.device import only_cpu, run_on
from .._runtime.upstream import (
    apply_without_search,
    forward_mode_is_active,
    opaque,
    transforms_are_active,
    unwrap_if_dead,
)
from ..errors import explained, name_function
from .kernel import Kernel, Mask, OutputSpec, Tagged
from .residuals import Residuals


class KernelCall:
    """One call of a kernel: its arguments that are no tensors, and afterwards what its outputs are."""

    __slots__ = ("kernel", "extras", "spec")

    def __init__(self, kernel: Kernel, extras: Sequence = ()):
        self.kernel, self.extras = kernel, extras
        self.spec: OutputSpec = None  # type: ignore[assignment]


def run(call: KernelCall, tensors: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
    """Outputs of a kernel, connected to autograd where a tensor needs it; sets `call.spec`."""
    if transforms_are_active() or forward_mode_is_active():
        return JaxTransform.apply(call, *tensors)
    if torch.is_grad_enabled():
        for tensor, differentiable in zip(tensors, call.kernel.differentiable, strict=True):
            if differentiable and tensor.requires_grad:
                return _connect(call, *map(unwrap_if_dead, tensors))
    return _run_primal(call, tensors)


def execute(name: str, compiled: Callable, arrays: list, tensors: Sequence[torch.Tensor]) -> Any:
    """Run an executable on the device of its tensors.

    Args:
        name: of the function, for errors.
        compiled: the executable.
        arrays: its arguments.
        tensors: those that decide the device.
    """
    try:
        if only_cpu():
            return compiled(*arrays)
        with run_on(tensors):
            return compiled(*arrays)
    except Exception as error:
        better = explained(error, name)
        if better is error:
            name_function(error, name, arrays)
            raise
        raise better from None


def run_kernel(kernel: Kernel, compiled: Callable, tensors: Sequence[torch.Tensor], extras: Sequence) -> Tagged:
    """Run the primal or forward executable of a kernel."""
    arrays = [to_jax(t) for t in tensors]
    arrays += extras
    return execute(kernel.name, compiled, arrays, tensors)


def run_backward(
    residuals: Residuals,
    present: tuple[bool, ...],
    tensors: Sequence[torch.Tensor],
    extras: Sequence,
    kept: Sequence[Any],
    cotangents: Sequence[torch.Tensor],
) -> list[torch.Tensor]:
    """Gradients of the tensors that forward was asked for.

    Args:
        residuals: of the forward pass.
        present: which differentiable outputs have a cotangent.
        tensors, extras: inputs of the forward pass.
        kept: its residuals, as arrays or as tensors.
        cotangents: those present.
    """
    arrays = [to_jax(tensors[i]) for i in residuals.tensors]
    arrays += [to_jax(k) if isinstance(k, torch.Tensor) else k for k in kept]
    arrays += [to_jax(c) for c in cotangents]
    arrays += [extras[i] for i in residuals.extras]
    result = execute(residuals.name, residuals.backward(present), arrays, (*tensors, *cotangents))
    return results_to_torch(result)


def _run_primal(call: KernelCall, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    result = run_kernel(call.kernel, call.kernel.primal, tensors, call.extras)
    call.spec = result.tag
    return results_to_torch(result.leaves)


class JaxFunction(torch.autograd.Function):
    """Plain autograd, with residuals."""

    @staticmethod
    def forward(ctx: Any, call: KernelCall, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        plan = call.kernel.plan(ctx.needs_input_grad[1:])
        extras = _owned(call.extras)
        result = run_kernel(call.kernel, plan.forward, tensors, extras)
        spec, kept_by_kernel = result.tag
        residuals = kept_by_kernel()
        leaves = results_to_torch(result.leaves)
        n = len(spec.differentiable)
        call.spec = spec
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, *leaves[n:])
        ctx.state = _State(call, extras, plan.wanted, residuals, [ref(x) for x in result.leaves[n:]], current_config())
        if False in spec.differentiable:
            ctx.mark_non_differentiable(*_select(leaves[:n], tuple([not d for d in spec.differentiable])))
        return tuple(leaves[:n])

    @staticmethod
    @opaque
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        saved = ctx.saved_tensors
        call, extras, wanted, residuals, arrays, config = ctx.state
        n = len(wanted)
        if torch.is_grad_enabled() or forward_mode_is_active():
            return None, *_differentiable_gradients(call, extras, config, saved[:n], wanted, gradients)
        cotangents = _select(gradients, call.spec.differentiable)
        present = tuple([g is not None for g in cotangents])
        if True not in present:
            return (None,) * (n + 1)
        kept = [_array_or(t, r()) for t, r in zip(saved[n:], arrays, strict=True)]
        with with_config(config):
            result = run_backward(residuals, present, saved[:n], extras, kept, _select(cotangents, present))
        return None, *_for_tensors(result, saved, wanted)


_connect = apply_without_search(JaxFunction)
"""`JaxFunction.apply`; `run` has looked for `torch.func` transformations already."""


def _owned(extras: Sequence) -> Sequence:
    """What to keep for backward: a NumPy array may be changed by its owner, and has no version counter that would tell."""
    return [x.copy() if isinstance(x, np.ndarray) else x for x in extras]


def _select(items: Sequence, chosen: Mask) -> Sequence:
    return [x for x, c in zip(items, chosen, strict=True) if c] if False in chosen else items


def _for_tensors(gradients: Sequence, tensors: Sequence, wanted: Mask) -> list[torch.Tensor | None]:
    """Gradients of the wanted tensors, on their devices (a 0-d CPU tensor may accompany CUDA tensors), None for the
    others."""
    supply = iter(gradients)
    full = [next(supply) if w else None for w in wanted]
    if only_cpu():
        return full
    return [g if g is None or g.device == t.device else g.to(t.device) for g, t in zip(full, tensors, strict=False)]


class _State(NamedTuple):
    """What a graph node keeps besides its saved tensors. `kept` refers weakly to the arrays behind the saved
    residuals."""

    call: KernelCall
    extras: Sequence
    wanted: Mask
    residuals: Residuals
    kept: list[ref]
    config: JaxConfig


def _array_or(tensor: torch.Tensor, array: jax.Array | None) -> Any:
    """The array whose memory a saved tensor is, if torch's hooks have left it there, else the tensor."""
    if array is not None and only_cpu() and array.unsafe_buffer_pointer() == tensor.data_ptr():
        return array
    return tensor


class JaxTransform(torch.autograd.Function):
    """`torch.func` transformations and forward mode: every derivative is a kernel of the inputs."""

    @staticmethod
    def forward(call: KernelCall, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(_run_primal(call, tensors))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[torch.Tensor, ...]) -> None:
        call, *tensors = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)
        ctx.call, ctx.extras, ctx.config = call, _owned(call.extras), current_config()
        ctx.mark_non_differentiable(*[x for x, d in zip(output, call.spec.differentiable, strict=True) if not d])

    @staticmethod
    @opaque
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        kernel = ctx.call.kernel
        needed = tuple([n and d for n, d in zip(ctx.needs_input_grad[1:], kernel.differentiable, strict=True)])
        return None, *_differentiable_gradients(ctx.call, ctx.extras, ctx.config, ctx.saved_tensors, needed, gradients)

    @staticmethod
    @opaque
    def jvp(ctx: Any, _: Any, *tangents: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        kernel, spec = ctx.call.kernel, ctx.call.spec
        moving = tuple([t is not None and d for t, d in zip(tangents, kernel.differentiable, strict=True)])
        if not any(moving):
            return (None,) * len(spec.differentiable)
        given = [t for t, m in zip(tangents, moving, strict=True) if t is not None and m]
        result = iter(run(KernelCall(kernel.jvp(moving), ctx.call.extras), (*ctx.saved_tensors, *given)))
        return tuple([next(result) if d else None for d in spec.differentiable])

    @staticmethod
    @opaque
    def vmap(info: Any, in_dims: tuple, call: KernelCall, *tensors: torch.Tensor) -> tuple:
        del info
        inner = KernelCall(call.kernel.vmap(tuple(in_dims[1:])), call.extras)
        outputs = run(inner, tensors)
        call.spec = inner.spec
        return tuple(outputs), (0,) * len(outputs)


def _differentiable_gradients(
    call: KernelCall,
    extras: Sequence,
    config: JaxConfig,
    tensors: Sequence[torch.Tensor],
    needed: Mask,
    gradients: Sequence[torch.Tensor | None],
) -> list[torch.Tensor | None]:
    """Gradients as a function of inputs and cotangents that is itself differentiable."""
    cotangents = _select(gradients, call.spec.differentiable)
    present = tuple([g is not None for g in cotangents])
    if True not in present or True not in needed:
        return [None] * len(tensors)
    of_gradients = KernelCall(call.kernel.vjp(needed, present), extras)
    with with_config(config):
        result = run(of_gradients, (*tensors, *_select(cotangents, present)))
    return _for_tensors(result, tensors, needed)
