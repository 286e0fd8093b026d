"""A kernel as a differentiable torch operation.

Two `autograd.Function`s carry it. Plain autograd uses `_Eager`: forward keeps the residuals of JAX's own vjp as saved tensors and
backward runs the compiled pullback on them. Under `torch.func` transformations and forward mode `_Functional` keeps the
inputs only; its derivatives, and the backward of a backward (`create_graph=True`), are kernels themselves and come back here.

The saved inputs carry torch's version counters, so an input changed in place between forward and backward raises torch's own
error, as for any torch operation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import torch
from torch.autograd import forward_ad

from ._config import current_config
from ._convert import result_to_torch, to_jax
from ._device import only_cpu, run_on
from ._errors import explained
from ._kernel import Kernel, OutputSpec
from ._residuals import Residuals


class Call:
    """One call of a kernel: its arguments that are no tensors, and afterwards what its outputs are."""

    __slots__ = ("kernel", "extras", "spec")

    def __init__(self, kernel: Kernel, extras: Sequence = ()):
        self.kernel, self.extras = kernel, extras
        self.spec: OutputSpec = None  # type: ignore[assignment]


def run(call: Call, tensors: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
    """Outputs of a kernel, connected to autograd where a tensor needs it; sets `call.spec`."""
    if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
        return _Functional.apply(call, *tensors)
    if torch.is_grad_enabled():
        for tensor, differentiable in zip(tensors, call.kernel.differentiable, strict=True):
            if differentiable and tensor.requires_grad:
                return _Eager.apply(call, *tensors)
    return _evaluate(call, tensors)


def execute(name: str, compiled: Callable, tensors: Sequence[torch.Tensor], extras: Sequence = ()) -> Any:
    """Run an executable on the device of its tensors; `name` is shown in errors."""
    arrays = [to_jax(t) for t in tensors]
    arrays += extras
    context = run_on(tensors)
    try:
        if context is None:
            return compiled(*arrays)
        with context:
            return compiled(*arrays)
    except (TypeError, ValueError, NotImplementedError) as error:
        better = explained(error, name)
        if better is error:
            raise
        raise better from None


def execute_backward(
    residuals: Residuals,
    present: tuple[bool, ...],
    tensors: Sequence[torch.Tensor],
    extras: Sequence,
    kept: Sequence[torch.Tensor],
    cotangents: Sequence[torch.Tensor],
) -> Sequence[jax.Array]:
    """Gradients of the tensors that forward was asked for, from its inputs and what it kept."""
    compiled = residuals.backward(present)
    supplied = [tensors[i] for i in residuals.tensors]
    return execute(residuals.name, compiled, (*supplied, *kept, *cotangents), [extras[i] for i in residuals.extras])


def _evaluate(call: Call, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    result = execute(call.kernel.name, call.kernel.primal, tensors, call.extras)
    call.spec = result.tag
    return [result_to_torch(x) for x in result.leaves]


def _to_torch_like(array: jax.Array, tensor: torch.Tensor) -> torch.Tensor:
    """Gradient on the device of its tensor (a 0-d CPU tensor may accompany CUDA tensors)."""
    gradient = result_to_torch(array)
    return gradient if only_cpu() else gradient.to(tensor.device)


class _Eager(torch.autograd.Function):
    """Plain autograd, with residuals."""

    @staticmethod
    def forward(ctx: Any, call: Call, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        kernel = call.kernel
        wanted = tuple([n and d for n, d in zip(ctx.needs_input_grad[1:], kernel.differentiable, strict=True)])
        # A NumPy array may be changed by its owner before backward, and has no version counter that would tell.
        extras = [x.copy() if isinstance(x, np.ndarray) else x for x in call.extras]
        result = execute(kernel.name, kernel.forward(wanted), tensors, extras)
        spec, residuals = result.tag
        leaves = [result_to_torch(x) for x in result.leaves]
        n = len(spec.differentiable)
        call.spec = spec
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, *leaves[n:])
        ctx.call, ctx.extras, ctx.wanted, ctx.residuals, ctx.config = call, extras, wanted, residuals, current_config()
        outputs = leaves[:n]
        if not all(spec.differentiable):
            ctx.mark_non_differentiable(*[x for x, d in zip(outputs, spec.differentiable, strict=True) if not d])
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        saved = ctx.saved_tensors
        n = len(ctx.wanted)
        if torch.is_grad_enabled() or forward_ad._current_level >= 0:
            return None, *_pull_back(ctx, ctx.extras, saved[:n], ctx.wanted, ctx.call.spec, gradients)
        cotangents = [g for g, d in zip(gradients, ctx.call.spec.differentiable, strict=True) if d]
        present = tuple([g is not None for g in cotangents])
        if not any(present):
            return (None,) * (n + 1)
        given = [g for g in cotangents if g is not None]
        with ctx.config.active():
            arrays = execute_backward(ctx.residuals, present, saved[:n], ctx.extras, saved[n:], given)
        supply = iter(arrays)
        return None, *[_to_torch_like(next(supply), t) if m else None for t, m in zip(saved, ctx.wanted, strict=False)]


class _Functional(torch.autograd.Function):
    """`torch.func` transformations and forward mode: every derivative is a kernel of the inputs."""

    @staticmethod
    def forward(call: Call, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(_evaluate(call, tensors))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[torch.Tensor, ...]) -> None:
        call, *tensors = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)
        ctx.call, ctx.config = call, current_config()
        ctx.mark_non_differentiable(*[x for x, d in zip(output, call.spec.differentiable, strict=True) if not d])

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        kernel = ctx.call.kernel
        needed = tuple([n and d for n, d in zip(ctx.needs_input_grad[1:], kernel.differentiable, strict=True)])
        return None, *_pull_back(ctx, ctx.call.extras, ctx.saved_tensors, needed, ctx.call.spec, gradients)

    @staticmethod
    def jvp(ctx: Any, _: Any, *tangents: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        kernel, spec = ctx.call.kernel, ctx.call.spec
        moving = tuple([t is not None and d for t, d in zip(tangents, kernel.differentiable, strict=True)])
        if not any(moving):
            return (None,) * len(spec.differentiable)
        given = [t for t, m in zip(tangents, moving, strict=True) if m]
        result = iter(run(Call(kernel.jvp(moving), ctx.call.extras), (*ctx.saved_tensors, *given)))
        return tuple([next(result) if d else None for d in spec.differentiable])

    @staticmethod
    def vmap(info: Any, in_dims: tuple, call: Call, *tensors: torch.Tensor) -> tuple:
        del info
        inner = Call(call.kernel.vmap(tuple(in_dims[1:])), call.extras)
        outputs = run(inner, tensors)
        call.spec = inner.spec
        return tuple(outputs), (0,) * len(outputs)


def _pull_back(
    ctx: Any,
    extras: Sequence,
    tensors: Sequence[torch.Tensor],
    needed: tuple[bool, ...],
    spec: OutputSpec,
    gradients: Sequence[torch.Tensor | None],
) -> list[torch.Tensor | None]:
    """Gradients as a function of inputs and cotangents that is itself differentiable."""
    cotangents = [g for g, d in zip(gradients, spec.differentiable, strict=True) if d]
    present = tuple([g is not None for g in cotangents])
    if not any(present) or not any(needed):
        return [None] * len(tensors)
    call = Call(ctx.call.kernel.vjp(needed, present), extras)
    with ctx.config.active():
        result = iter(run(call, (*tensors, *[g for g in cotangents if g is not None])))
    return [next(result) if n else None for n in needed]
