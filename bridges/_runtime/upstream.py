"""Every name of torch and JAX outside their public interface that the bridge uses, and what it is for.

Such names may go with any release. They are looked up here and nowhere else, so that a missing one is reported by name when
the bridge is imported, not by an `AttributeError` in the middle of a backward pass.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any, TypeVar

import torch

from ..errors import BridgeError

TESTED = "torch 2.11 to 2.14 and jax 0.10 to 0.12"
"""Versions with which the tests of the bridge have passed."""

USES: dict[str, str] = {
    "torch._C._from_dlpack": "a tensor on the memory of a result, at a fraction of the cost of torch.from_dlpack",
    "torch._C._is_any_autocast_enabled": "whether to look for autocast at a call",
    "torch._C._are_functorch_transforms_active": "whether a call is inside torch.func.vmap, grad, jvp ...",
    "torch._C._functorch.unwrap_if_dead": "the tensor behind one that a torch.func transformation has left",
    "torch._C._functorch.is_functorch_wrapped_tensor": "recognising tensors of a torch.func transformation",
    "torch._C._functorch.is_legacy_batchedtensor": "recognising tensors of is_grads_batched and vectorize=True",
    "torch._C._FunctionBase.apply": "torch.autograd.Function.apply without its search for torch.func transformations",
    "torch._C._dynamo.eval_frame._FrameAction": "keeping torch.compile out of JAX",
    "torch._C._dynamo.eval_frame._FrameExecStrategy": "keeping torch.compile out of JAX",
    "torch._C._dynamo.eval_frame.set_code_exec_strategy": "keeping torch.compile out of JAX",
    "torch._C._is_tracing": "refusing torch.jit.trace, which would make a constant of a result",
    "torch._C._len_torch_dispatch_stack": "whether a tracer may be recording operators",
    "torch.fx.experimental.proxy_tensor.get_proxy_mode": "refusing make_fx with real tensors, which would make a constant",
    "torch.autograd.forward_ad._current_level": "whether a call is inside forward_ad.dual_level",
    "torch._ops.HigherOrderOperator": "recognising autocast and no_grad regions in an exported network",
    "torch._subclasses.fake_tensor.FakeTensor": "recognising tensors without values (torch.compile, torch.export)",
    "torch._subclasses.functional_tensor.FunctionalTensor": "recognising tensors of AOTAutograd (torch.compile)",
    "torch.utils._python_dispatch.TorchDispatchMode": "running torch with random numbers that JAX drew",
    "torch.utils._python_dispatch.is_traceable_wrapper_subclass": "recognising tensors that wrap others",
    "torch.utils._pytree.tree_flatten": "the leaves of inputs and results of a torch network, in torch's order",
    "torch.utils._pytree.register_pytree_node": "arguments that are None under torch.compile",
    "jax._src.xla_bridge.backends_are_initialized": "whether JAX runs already, without starting it",
    "jax.interpreters.ad.Zero": "outputs without a cotangent in a pullback",
}
"""What is needed at every import of the bridge, by full name."""

USES_OF_THE_COMPILER: dict[str, str] = {
    "torch._dynamo.nonstrict_trace": "recording a bridged function in a graph of torch.compile",
}
"""What is looked up under `torch.compile` only, since it lies in a package that takes seconds to import."""

USES_WITH_A_SUBSTITUTE: dict[str, str] = {
    "jaxlib._jax.buffer_to_dlpack_managed_tensor": "handing small results to torch faster than through NumPy",
}
"""What the bridge does without where it is missing, at some cost."""


def missing(uses: Mapping[str, str]) -> dict[str, str]:
    """Those of the names that the installed torch and JAX do not have, with what each is for."""
    return {name: purpose for name, purpose in uses.items() if _find(name) is _ABSENT}


def require(uses: Mapping[str, str]) -> None:
    """Check that torch and JAX have the names.

    Raises:
        BridgeError: some are missing; the message has each with its purpose, the versions and the remedy.
    """
    absent = missing(uses)
    if absent:
        names = "\n".join(f"  {name}: {purpose}" for name, purpose in absent.items())
        raise BridgeError(
            f"torch {version('torch')} and jax {version('jax')} lack private names that the bridge uses:\n{names}\n"
            f"It was tested with {TESTED}; install such versions, or a newer bridge."
        )


_ABSENT = object()


def _find(name: str, otherwise: Any = _ABSENT) -> Any:
    try:
        return pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return otherwise


require(USES)

tensor_from_capsule: Callable = _find("torch._C._from_dlpack")
any_autocast: Callable[[], bool] = _find("torch._C._is_any_autocast_enabled")
transforms_are_active: Callable[[], bool] = _find("torch._C._are_functorch_transforms_active")
unwrap_if_dead: Callable = _find("torch._C._functorch.unwrap_if_dead")
is_jit_tracing: Callable[[], bool] = _find("torch._C._is_tracing")
dispatch_modes: Callable[[], int] = _find("torch._C._len_torch_dispatch_stack")
proxy_mode: Callable = _find("torch.fx.experimental.proxy_tensor.get_proxy_mode")
is_wrapped_by_transform: Callable = _find("torch._C._functorch.is_functorch_wrapped_tensor")
is_legacy_batched: Callable = _find("torch._C._functorch.is_legacy_batchedtensor")
is_wrapper_subclass: Callable = _find("torch.utils._python_dispatch.is_traceable_wrapper_subclass")
TorchDispatchMode: Any = _find("torch.utils._python_dispatch.TorchDispatchMode")
HigherOrderOperator: Any = _find("torch._ops.HigherOrderOperator")
FakeTensor: Any = _find("torch._subclasses.fake_tensor.FakeTensor")
FunctionalTensor: Any = _find("torch._subclasses.functional_tensor.FunctionalTensor")
torch_tree: Any = _find("torch.utils._pytree")
backends_are_initialized: Callable[[], bool] = _find("jax._src.xla_bridge.backends_are_initialized")
Zero: Any = _find("jax.interpreters.ad.Zero")
capsule_of_array: Callable | None = _find("jaxlib._jax.buffer_to_dlpack_managed_tensor", None)

_forward_ad: Any = _find("torch.autograd.forward_ad")
_eval_frame: Any = _find("torch._C._dynamo.eval_frame")
F = TypeVar("F", bound=Callable)


def forward_mode_is_active() -> bool:
    """Whether forward-mode derivatives are being computed (`torch.autograd.forward_ad.dual_level`)."""
    return _forward_ad._current_level >= 0


def apply_without_search(function: type[torch.autograd.Function]) -> Callable:
    """`function.apply` for calls that are known to be outside `torch.func` transformations.

    `torch.autograd.Function.apply` looks for them first, then calls the `apply` of its base class; this is the latter, bound to
    `function` as a class method.
    """
    return vars(torch._C._FunctionBase)["apply"].__get__(None, function)


def opaque(function: F) -> F:
    """Keep Dynamo out of a function and of all that it calls: what `torch.compiler.disable` does, without cost at the
    call and without importing the compiler (seconds).

    Where `torch.compile` does not record a bridged function in its graph (after a graph break: a `torch.func`
    transformation, a NumPy argument, `backward` inside the compiled function), Dynamo would otherwise trace on into JAX
    itself, which fails.
    """
    code: Any = function
    code._torchdynamo_disable = True
    skip = _eval_frame._FrameAction.SKIP
    _eval_frame.set_code_exec_strategy(code.__code__, _eval_frame._FrameExecStrategy(skip, skip))
    return function


def constant_for_dynamo(function: F) -> F:
    """Let Dynamo run a function instead of tracing it, and take its result for a constant: what
    `torch.compiler.assume_constant_result` does, without importing the compiler."""
    marked: Any = function
    marked._dynamo_marked_constant = True
    return function


def recorded_by_dynamo(function: Callable) -> Callable:
    """A function that Dynamo records as one call, without looking into it. Imports the compiler."""
    require(USES_OF_THE_COMPILER)
    import torch._dynamo

    return torch._dynamo.nonstrict_trace(function)
