"""Bridged functions under `torch.compile` and `torch.export`: custom operators with fake implementations and autograd.

Dynamo does not look into a bridged function; it records a call of `traced`, and AOTAutograd, running that with fake
tensors, arrives here by `call_symbolic`. The operators take a handle (an integer in the graph) of the kernel and its
numbers. In plain eager mode none of this is used, as it costs more than an `autograd.Function`.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import jax
import torch
from torch import Tensor

from .._runtime.config import current_config, with_config
from .._runtime.convert import require_width, results_to_torch
from .._runtime.upstream import constant_for_dynamo, recorded_by_dynamo, torch_tree
from ..errors import BridgeError
from .autograd import run_backward, run_kernel
from .kernel import Kernel, OutputSpec
from .pytree import SCALARS
from .symbolic import Shape, output_shapes

_operations: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
_entries: weakref.WeakValueDictionary[int, _Entry] = weakref.WeakValueDictionary()
_numbers = itertools.count()


def register(operation: Any) -> str:
    """Handle of an operation, valid as long as the operation lives. A text, since Dynamo makes a symbol of a number that
    differs from one call of the same code to the next."""
    handle = str(next(_numbers))
    _operations[handle] = operation
    return handle


class _Nothing:
    """Stands for None, which Dynamo does not record among the arguments of a call: a container without contents."""


torch_tree.register_pytree_node(
    _Nothing, lambda _: ([], None), lambda _leaves, _context: _Nothing(), serialized_type_name="bridges.Nothing"
)


def without_none(tree: Any) -> Any:
    """The tree with stand-ins for None."""
    return torch_tree.tree_map(lambda leaf: _Nothing() if leaf is None else leaf, tree)


def _with_none(tree: Any) -> Any:
    is_nothing = lambda leaf: isinstance(leaf, _Nothing)  # noqa: E731
    return torch_tree.tree_map(lambda leaf: None if is_nothing(leaf) else leaf, tree, is_leaf=is_nothing)


def _call_operation(handle: str, args: tuple, kwargs: dict) -> Any:
    return _find(_operations, handle)(_with_none(args), _with_none(kwargs))


traced: Callable[[str, tuple, dict], Any] = _call_operation
"""What Dynamo records. `prepare` makes it of the plain function, since that imports the compiler (seconds)."""


@constant_for_dynamo
def prepare() -> bool:
    """Make `traced`. Dynamo runs this function instead of tracing it."""
    global traced
    if traced is _call_operation:
        traced = recorded_by_dynamo(_call_operation)
    return True


class _Entry:
    """A kernel with the numbers of one call, as the operators see it."""

    def __init__(self, kernel: Kernel, extras: Sequence, wanted: tuple[bool, ...]):
        self.kernel, self.extras, self.wanted = kernel, extras, wanted
        self.forward = kernel.forward(wanted, packed=False) if any(wanted) else kernel.primal
        self.handle = next(_numbers)
        self.config = current_config()
        self.n_leaves: int | None = None
        self.residuals: dict[tuple, Any] = {}

    def trace(self, shapes: Sequence[jax.ShapeDtypeStruct]) -> tuple[Sequence, OutputSpec, Any]:
        """Shapes of the outputs and residuals for given shapes of the tensors, the output spec and the residuals."""
        result = self.forward.eval_shape(*shapes, *self.extras)
        if self.n_leaves is None:
            self.n_leaves = len(result.leaves)
        if not any(self.wanted):
            return result.leaves, result.tag, None
        return result.leaves, result.tag.outputs, result.tag.residuals()

    def check(self, leaves: Sequence, tensors: Sequence[Tensor]) -> None:
        """Refuse results that the compiled program has no place for.

        Raises:
            BridgeError: another number of outputs and residuals than when it was compiled.
        """
        if self.n_leaves is not None and len(leaves) != self.n_leaves:
            raise BridgeError(
                f"{self.kernel.name}: the program was compiled for {self.n_leaves} outputs and residuals, but there "
                f"are {len(leaves)} for shapes {[tuple(t.shape) for t in tensors]}. Compile it with dynamic=False."
            )


def _find(registry: weakref.WeakValueDictionary, handle: int | str) -> Any:
    found = registry.get(handle)
    if found is None:
        raise BridgeError(
            "a compiled graph calls a bridged function that no longer exists. Keep the function alive, or trace again."
        )
    return found


def _entry(handle: int) -> _Entry:
    return _find(_entries, handle)


def call_symbolic(kernel: Kernel, tensors: list[Tensor], extras: list) -> tuple[OutputSpec, list[Tensor]]:
    """Record a kernel in the graph that is being traced.

    Returns:
        The output spec and the outputs, fake tensors.
    """
    for tensor in tensors:
        require_width(tensor.dtype)
    grad = torch.is_grad_enabled()
    wanted = tuple(grad and t.requires_grad and d for t, d in zip(tensors, kernel.differentiable, strict=True))
    numbers = [(type(x), x) if isinstance(x, SCALARS) else id(x) for x in extras]
    entry = kernel.cached(("entry", wanted, current_config(), *numbers), lambda: _Entry(kernel, extras, wanted))
    _entries[entry.handle] = entry
    _, spec, _ = entry.trace([Shape.of(t).at_hint() for t in tensors])
    op = torch.ops.bridges.forward if any(wanted) else torch.ops.bridges.primal
    return spec, op(entry.handle, tensors)[: len(spec.differentiable)]


def _signature(tensors: Sequence[Tensor]) -> tuple:
    return tuple((tuple(t.shape), t.dtype) for t in tensors)


@torch.library.custom_op("bridges::primal", mutates_args=())
def _primal_operator(handle: int, tensors: list[Tensor]) -> list[Tensor]:
    entry = _entry(handle)
    with with_config(entry.config):
        result = run_kernel(entry.kernel, entry.forward, tensors, entry.extras)
        entry.check(result.leaves, tensors)
        return results_to_torch(result.leaves)


@torch.library.custom_op("bridges::forward", mutates_args=())
def _forward_operator(handle: int, tensors: list[Tensor]) -> list[Tensor]:
    entry = _entry(handle)
    with with_config(entry.config):
        result = run_kernel(entry.kernel, entry.forward, tensors, entry.extras)
        entry.check(result.leaves, tensors)
        entry.residuals[_signature(tensors)] = result.tag.residuals()
        return results_to_torch(result.leaves)


@torch.library.custom_op("bridges::backward", mutates_args=())
def _backward_operator(
    handle: int, present: list[bool], tensors: list[Tensor], kept: list[Tensor], cotangents: list[Tensor]
) -> list[Tensor]:
    entry = _entry(handle)
    residuals = entry.residuals[_signature(tensors)]
    with with_config(entry.config):
        return run_backward(residuals, tuple(present), tensors, entry.extras, kept, cotangents)


def _fake_outputs(handle: int, tensors: list[Tensor]) -> list[Tensor]:
    entry = _entry(handle)
    shapes = output_shapes(lambda s: entry.trace(s)[0], [Shape.of(t) for t in tensors])
    device = tensors[0].device if tensors else torch.device("cpu")
    return [torch.empty(s.sizes, dtype=s.dtype, device=device) for s in shapes]


_primal_operator.register_fake(_fake_outputs)
_forward_operator.register_fake(_fake_outputs)


@_backward_operator.register_fake
def _(
    handle: int, present: list[bool], tensors: list[Tensor], kept: list[Tensor], cotangents: list[Tensor]
) -> list[Tensor]:
    wanted = _entry(handle).wanted
    return [torch.empty(t.shape, dtype=t.dtype, device=t.device) for t, w in zip(tensors, wanted, strict=True) if w]


def _save(ctx: Any, inputs: tuple, output: list[Tensor]) -> None:
    handle, tensors = inputs
    entry = _entry(handle)
    spec = entry.trace([Shape.of(t).at_hint() for t in tensors])[1]
    n = len(spec.differentiable)
    ctx.save_for_backward(*tensors, *output[n:])
    ctx.handle, ctx.n_tensors, ctx.differentiable = handle, len(tensors), spec.differentiable


def _gradients_of_operator(ctx: Any, gradients: list[Tensor | None]) -> tuple:
    saved = ctx.saved_tensors
    cotangents = [g for g, d in zip(gradients, ctx.differentiable, strict=False) if d]
    present = [g is not None for g in cotangents]
    given = [g for g in cotangents if g is not None]
    tensors, kept = list(saved[: ctx.n_tensors]), list(saved[ctx.n_tensors :])
    supply = iter(torch.ops.bridges.backward(ctx.handle, present, tensors, kept, given))
    return None, [next(supply) if w else None for w in _entry(ctx.handle).wanted]


_forward_operator.register_autograd(_gradients_of_operator, setup_context=_save)
