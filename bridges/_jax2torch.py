"""`jax2torch`: a JAX function as a differentiable PyTorch function, compiled once forward and once backward."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import torch

from ._convert import BridgeError, is_differentiable, to_jax, to_torch


def jax2torch(
    fn: Callable,
    *,
    static_argnames: Sequence[str] = (),
    nondiff_argnames: Sequence[str] = (),
    name: str | None = None,
) -> Callable:
    """Make a JAX function callable with torch tensors, and differentiable by torch.

    Any pytree goes in and comes out (dicts, tuples, NamedTuples, registered dataclasses, None, Python numbers); tensors in
    it are shared with JAX without a copy where possible. The function is traced and compiled once per structure, shapes,
    dtypes and set of inputs that need gradients; the backward pass likewise, and it computes only the gradients that are
    needed. Without gradients (`torch.no_grad`, no input requires one) nothing is kept for a backward pass.

    Example:
        >>> f = jax2torch(lambda x, w: jnp.tanh(x @ w).sum())
        >>> f(x, w).backward()

    Args:
        fn: a JAX function of arrays.
        static_argnames: arguments that are compiled in; they must be hashable.
        nondiff_argnames: arguments whose tensors are never differentiated.
        name: shown in the profile and in errors; by default the function's own.

    Returns:
        A function with the signature of `fn`. `fn.traces` counts how often it was traced forward.

    Raises (when called):
        BridgeError: a tensor cannot be handed over without changing its meaning.
        RuntimeError: double backward (`create_graph=True`), which is not supported.
    """
    op = _Operation(
        fn, tuple(static_argnames), tuple(nondiff_argnames), name or getattr(fn, "__name__", "jax_function")
    )

    @functools.wraps(fn, updated=())
    def bridged(*args: Any, **kwargs: Any) -> Any:
        return op(args, kwargs)

    bridged.operation = op  # type: ignore[attr-defined]
    return bridged


class _Call(NamedTuple):
    """Structure of one call, hashable: the tree, which leaves are arrays, static values, which leaves need gradients."""

    tree: Any
    static: tuple[Any, ...]
    wanted: tuple[bool, ...]


class _Executables(NamedTuple):
    primal: Callable
    forward: Callable
    backward: Callable
    layout: dict[str, Any]


class _Operation:
    """A JAX function with its compiled executables, one set per call structure."""

    def __init__(self, fn: Callable, static: tuple[str, ...], nondiff: tuple[str, ...], name: str):
        self.fn, self.static, self.nondiff, self.name = fn, static, nondiff, name
        self.signature = inspect.signature(fn) if static or nondiff else None
        self.traces = 0
        self._compiled: dict[_Call, _Executables] = {}

    def __call__(self, args: tuple, kwargs: dict) -> Any:
        blocked: frozenset[int] = frozenset()
        if self.signature is not None:
            bound = self.signature.bind(*args, **kwargs)
            bound.apply_defaults()
            args, kwargs = (), dict(bound.arguments)
        fixed = {k: kwargs.pop(k) for k in self.static if k in kwargs}
        leaves, tree = jax.tree.flatten((args, kwargs))
        if self.nondiff:
            marked = jax.tree.flatten(
                (args, {k: jax.tree.map(lambda _, k=k: k in self.nondiff, v) for k, v in kwargs.items()})
            )[0]
            blocked = frozenset(i for i, m in enumerate(marked) if m is True)
        tensors, arrays, static, wanted = [], [], [tuple(sorted(fixed.items()))], []
        grad = torch.is_grad_enabled()
        for i, leaf in enumerate(leaves):
            if isinstance(leaf, torch.Tensor):
                tensors.append(leaf)
                arrays.append(to_jax(leaf))
                static.append(_ARRAY)
                wanted.append(grad and leaf.requires_grad and i not in blocked and is_differentiable(leaf.dtype))
            elif isinstance(leaf, (str, type)) or callable(leaf):
                static.append(leaf)
            else:
                arrays.append(leaf)
                static.append(_ARRAY)
                tensors.append(None)
                wanted.append(False)
        call = _Call(tree, tuple(static), tuple(wanted))
        compiled = self._compiled.get(call)
        if compiled is None:
            compiled = self._compiled[call] = self._compile(call)
        if not any(wanted):
            floats, others = compiled.primal(arrays)
            return _assemble(compiled.layout, [to_torch(x) for x in floats], [to_torch(x) for x in others])
        outputs = _Bridge.apply(compiled, arrays, *[t for t, w in zip(tensors, wanted, strict=True) if w])
        n = compiled.layout["n_floats"]
        return _assemble(compiled.layout, list(outputs[:n]), list(outputs[n:]))

    def _compile(self, call: _Call) -> _Executables:
        layout: dict[str, Any] = {}
        fixed = dict(call.static[0])

        def run(arrays: list) -> tuple[list, list]:
            self.traces += 1
            supply = iter(arrays)
            leaves = [next(supply) if s is _ARRAY else s for s in call.static[1:]]
            args, kwargs = jax.tree.unflatten(call.tree, leaves)
            out_leaves, out_tree = jax.tree.flatten(self.fn(*args, **kwargs, **fixed))
            out_leaves = [jnp.asarray(x) for x in out_leaves]
            is_float = [bool(jnp.issubdtype(x.dtype, jnp.inexact)) for x in out_leaves]
            layout.update(tree=out_tree, is_float=is_float, n_floats=sum(is_float))
            floats = [x for x, f in zip(out_leaves, is_float, strict=True) if f]
            return floats, [x for x, f in zip(out_leaves, is_float, strict=True) if not f]

        def forward(arrays: list) -> tuple[list, list, Any]:
            differentiated = [a for a, w in zip(arrays, call.wanted, strict=True) if w]

            def of_differentiated(chosen: list) -> tuple[list, list]:
                supply = iter(chosen)
                return run([next(supply) if w else a for a, w in zip(arrays, call.wanted, strict=True)])

            floats, pullback, others = jax.vjp(of_differentiated, differentiated, has_aux=True)
            return floats, others, pullback

        def backward(pullback: Any, cotangents: list) -> list:
            return pullback(cotangents)[0]

        for function in (run, forward, backward):
            function.__name__ = f"{self.name}_{function.__name__}"
        return _Executables(jax.jit(run), jax.jit(forward), jax.jit(backward), layout)


class _Array:
    """Marks a leaf that is an argument of the compiled function."""


_ARRAY = _Array()


def _assemble(layout: dict[str, Any], floats: list, others: list) -> Any:
    floats_left, others_left = iter(floats), iter(others)
    leaves = [next(floats_left) if f else next(others_left) for f in layout["is_float"]]
    return jax.tree.unflatten(layout["tree"], leaves)


class _Bridge(torch.autograd.Function):
    """Forward keeps the residuals of JAX's own vjp as saved tensors; backward hands them to the compiled pullback."""

    @staticmethod
    def forward(ctx: Any, compiled: _Executables, arrays: list, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        floats, others, pullback = compiled.forward(arrays)
        residuals, tree = jax.tree.flatten(pullback)
        movable = [_movable(r) for r in residuals]
        ctx.compiled, ctx.tree, ctx.movable = compiled, tree, movable
        ctx.kept = [None if m else r for r, m in zip(residuals, movable, strict=True)]
        ctx.x64 = jax.config.jax_enable_x64
        ctx.save_for_backward(*[to_torch(r) for r, m in zip(residuals, movable, strict=True) if m], *inputs)
        ctx.n_residuals = sum(movable)
        ctx.set_materialize_grads(False)
        outputs = [to_torch(x) for x in floats]
        extra = [to_torch(x) for x in others]
        ctx.mark_non_differentiable(*extra)
        ctx.shapes = [(x.shape, x.dtype, x.device) for x in outputs]
        return (*outputs, *extra)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        saved = iter(ctx.saved_tensors[: ctx.n_residuals])
        residuals = [to_jax(next(saved)) if m else k for m, k in zip(ctx.movable, ctx.kept, strict=True)]
        cotangents = [
            to_jax(torch.zeros(shape, dtype=dtype, device=device) if g is None else g)
            for g, (shape, dtype, device) in zip(gradients, ctx.shapes, strict=False)
        ]
        with jax.enable_x64(ctx.x64):
            result = ctx.compiled.backward(jax.tree.unflatten(ctx.tree, residuals), cotangents)
        return (None, None, *[to_torch(r) for r in result])


def _movable(residual: Any) -> bool:
    dtype = getattr(residual, "dtype", None)
    return (
        isinstance(residual, jax.Array)
        and dtype != jax.dtypes.float0
        and not jax.dtypes.issubdtype(dtype, jax.dtypes.extended)
    )


__all__ = ["BridgeError", "jax2torch"]
