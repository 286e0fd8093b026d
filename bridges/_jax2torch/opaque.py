"""Functions that `torch.compile` runs as they are, where it does not record a bridged function in its graph: after a
graph break (a `torch.func` transformation, a NumPy argument, `backward` inside the compiled function) Dynamo would
otherwise trace on into JAX itself, which fails."""

from __future__ import annotations

from typing import TypeVar

from torch._C._dynamo.eval_frame import _FrameAction, _FrameExecStrategy, set_code_exec_strategy

F = TypeVar("F")


def opaque(function: F) -> F:
    """Keep Dynamo out of a function and of all that it calls: what `torch.compiler.disable` does, without cost at the
    call and without importing the compiler (seconds)."""
    function._torchdynamo_disable = True
    set_code_exec_strategy(function.__code__, _FrameExecStrategy(_FrameAction.SKIP, _FrameAction.SKIP))
    return function
