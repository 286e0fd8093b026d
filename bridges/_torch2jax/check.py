"""A converted network against the original: outputs and gradients on the example inputs.

Each tensor is compared on its own scale. Rounding sets a floor under it: where a gradient is a sum that cancels (the bias before
a batch normalisation), torch has rounding of the size of the terms, and terms are as large as other gradients. Non-finite
entries must be at the same places, and have no part in any scale.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch

from .._runtime.dtypes import copy_to_jax
from .._runtime.upstream import torch_tree
from .export import NetworkError
from .replay import Replay

_RELATIVE = {1: 0.2, 2: 0.05, 4: 1e-3, 8: 1e-7}
"""Tolerance relative to the largest value, by bytes of a number: above rounding, below errors of meaning."""
_ROUNDING = {1: 2.0**-3, 2: 2.0**-8, 4: 2.0**-23, 8: 2.0**-52}
_FLOOR = 100
"""Smallest tolerance of a gradient, in units of rounding of the largest gradient of all."""
_TRIES = 3
"""Random inputs at which weights without gradient at the example are looked at."""


class _Run(NamedTuple):
    """Outputs, gradients by name of variable, and names of custom derivatives on the way."""

    outputs: list[np.ndarray]
    gradients: dict[str, np.ndarray]
    custom: tuple[str, ...] = ()


def compare_with_torch(
    module: torch.nn.Module, fn: Any, params: dict[str, jax.Array], arguments: tuple[tuple, dict]
) -> None:
    """Compare the outputs, and the gradients of their weighted sum to parameters and inputs.

    Where torch's gradient is 0 in all entries, an error of it could not show; such gradients are compared again at random
    inputs (normal numbers; integers as in the example).

    Raises:
        NetworkError: they differ; the message says where, why that may be and what to do.
    """
    leaves, spec = torch_tree.tree_flatten(arguments)
    check = _Check(module, fn, params, leaves, spec)
    ours, theirs = check.run(leaves)
    for number, (a, b) in enumerate(zip(ours.outputs, theirs.outputs, strict=True)):
        check.compare(f"output {number}", a, b, 0.0, theirs.custom)
    check.compare_gradients(ours, theirs, list(theirs.gradients))
    flat = [name for name, gradient in theirs.gradients.items() if gradient.size and not gradient.any()]
    for attempt in range(_TRIES):
        if not flat or not any(isinstance(leaf, torch.Tensor) and _is_float(leaf) for leaf in leaves):
            break
        try:
            ours, theirs = check.run([_random(leaf, attempt) for leaf in leaves])
        except (RuntimeError, ValueError, IndexError, AssertionError):  # the network does not take any numbers
            break
        flat = [name for name in flat if np.isfinite(theirs.gradients[name]).all()]
        check.compare_gradients(ours, theirs, flat)
        flat = [name for name in flat if not theirs.gradients[name].any()]


@contextlib.contextmanager
def _explaining_missing_derivatives(name: str) -> Iterator[None]:
    """torch's error about a derivative that it does not have itself, with what to do."""
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        if "not differentiable" not in text and "derivative for" not in text and "not implemented for" not in text:
            raise
        raise NetworkError(
            f"{name}: the gradients cannot be compared, because torch has none here: {text.splitlines()[0]} Detach in the "
            "network what needs no derivative (target.detach()), or pass verify=False; JAX then has the derivative of its own "
            "equivalent, which is 0 for steps."
        ) from error


class _Check:
    """The network in torch and in JAX, compiled once, and what is said where they differ."""

    def __init__(self, module: torch.nn.Module, fn: Any, params: dict[str, jax.Array], leaves: list, spec: Any):
        self.module, self.fn, self.params, self.spec = module, fn, params, spec
        self.trained = [name for name, tensor in module.named_parameters() if tensor.requires_grad]
        self.varied = [i for i, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor) and _is_float(leaf)]
        self.names = [*(f"gradient to {n}" for n in self.trained), *(f"gradient to input {i}" for i in self.varied)]
        self.fixed = [None if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
        self.compiled = jax.jit(jax.value_and_grad(self._weighted, argnums=(0, 1), has_aux=True))

    def _weighted(self, tuned: dict, chosen: dict, others: dict) -> tuple[jax.Array, tuple[list, list]]:
        """The sum of outputs with the weights of `_weights`, and all outputs and random samples."""
        placed = [chosen.get(i, others.get(i, fixed)) for i, fixed in enumerate(self.fixed)]
        inputs, named = torch_tree.tree_unflatten(placed, self.spec)
        outputs, samples = self.fn.with_samples({**self.params, **tuned}, jax.random.key(7), inputs, named)
        results = [r for r in torch_tree.tree_leaves(outputs) if isinstance(r, jax.Array)]
        terms = [
            jnp.sum(part * _weights(part.shape).astype(part.dtype))
            for r in results
            for part in ((r.real, r.imag) if jnp.iscomplexobj(r) else (r,))
            if jnp.issubdtype(part.dtype, jnp.floating)
        ]
        return sum(terms, jnp.zeros(())), (results, samples)

    def run(self, leaves: list) -> tuple[_Run, _Run]:
        """Both at the same inputs, JAX first: torch gets the random numbers that JAX drew."""
        arrays = {
            i: copy_to_jax(leaf.detach().cpu()) for i, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)
        }
        chosen = {i: arrays.pop(i) for i in self.varied}
        tuned = {name: self.params[name] for name in self.trained}
        (_, (results, samples)), slopes = self.compiled(tuned, chosen, arrays)
        gradients = [*(slopes[0][n] for n in self.trained), *(jnp.conj(slopes[1][i]) for i in self.varied)]
        ours = _Run([_host(r) for r in results], dict(zip(self.names, map(_host, gradients), strict=True)))
        return ours, self._torch(leaves, [torch.as_tensor(np.array(s)) for s in samples])

    def _torch(self, leaves: list, samples: list[torch.Tensor]) -> _Run:
        module = copy.deepcopy(self.module) if self.fn.is_mutable else self.module
        own = dict(module.named_parameters())
        device = next((t.device for t in (*own.values(), *leaves) if isinstance(t, torch.Tensor)), torch.device("cpu"))
        leaves = [_variable(leaf) if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
        variables = [*(own[n] for n in self.trained), *(leaves[i] for i in self.varied)]
        with (
            torch.enable_grad(),
            torch.backends.cudnn.flags(enabled=False),
            _explaining_missing_derivatives(self.fn.__name__),
        ):
            inputs, named = torch_tree.tree_unflatten(leaves, self.spec)
            with Replay([s.to(device) for s in samples]) if samples else contextlib.nullcontext():
                result = module(*inputs, **named)
            outputs = [o for o in torch_tree.tree_leaves(result) if isinstance(o, torch.Tensor)]
            if self.fn.is_mutable:
                outputs += [module.get_buffer(name) for name in self.fn.changes]
            total = sum(
                (
                    (part.cpu() * torch.as_tensor(_weights(tuple(part.shape))).to(part.dtype)).sum()
                    for o in outputs
                    if o.requires_grad
                    for part in ((o.real, o.imag) if o.is_complex() else (o,))
                ),
                torch.zeros(()),
            )
            reached = isinstance(total, torch.Tensor) and total.requires_grad and bool(variables)
            gradients = (
                torch.autograd.grad(total, variables, allow_unused=True) if reached else [None] * len(variables)
            )  # fmt: skip
        gradients = [torch.zeros_like(v) if g is None else g for v, g in zip(variables, gradients, strict=True)]
        custom = _custom_derivatives(total) if reached else ()
        return _Run([_host(o) for o in outputs], dict(zip(self.names, map(_host, gradients), strict=True)), custom)

    def compare_gradients(self, ours: _Run, theirs: _Run, names: list[str]) -> None:
        """Each on its own scale, above a floor by the largest of all."""
        largest = max((_scale(g) for g in theirs.gradients.values()), default=0.0)
        for name in names:
            self.compare(name, ours.gradients[name], theirs.gradients[name], largest, theirs.custom)

    def compare(self, what: str, a: np.ndarray, b: np.ndarray, largest: float, custom: tuple[str, ...]) -> None:
        what = f"{self.fn.__name__}: {what}"
        if a.shape != b.shape:
            raise NetworkError(
                f"{what}: shape {a.shape} in JAX, {b.shape} in torch. The network computes a shape in a way that its "
                "export does not keep; use sizes that do not depend on values, or pass verify=False."
            )
        if not a.size:
            return
        tolerance = 0.0
        if np.issubdtype(b.dtype, np.inexact):
            size = min(self.fn.precision, np.real(b).dtype.itemsize)
            tolerance = _RELATIVE[size] * _scale(b) + _FLOOR * _ROUNDING[size] * largest
        finite = np.isfinite(a) & np.isfinite(b)
        equal = np.where(finite, np.abs(np.where(finite, a, 0) - np.where(finite, b, 0)) <= tolerance, _same(a, b))
        if equal.all():
            return
        place = tuple(int(i) for i in np.unravel_index(np.argmin(equal), a.shape))
        raise NetworkError(
            f"{what} differs from torch's on the example, at {place}: {a[place]} against {b[place]}. "
            + self._cause(what, bool(finite[place]), custom)
        )

    def _cause(self, what: str, finite: bool, custom: tuple[str, ...]) -> str:
        gradient = "gradient" in what
        if gradient and custom:
            return (
                f"A custom backward (torch.autograd.Function: {', '.join(custom)}) is not seen by the conversion. Write the "
                "forward so that its own derivative is the wanted one, e.g. x + (f(x) - x).detach(), or pass verify=False "
                "to accept the derivative of the forward."
            )
        if not finite:
            return (
                "One of them is not finite: an index outside its axis, or a value at which the network has no "
                "derivative. Give an example inside the range of the network, or pass verify=False."
            )
        if gradient:
            return (
                "The network has a derivative that its export does not keep, as under torch.no_grad() inside autocast. Use "
                "detach() there, or pass verify=False to accept this."
            )
        return (
            "The network depends on something that the conversion fixes: a global, a counter, the order of calls, random "
            "numbers of NumPy or Python. Make it an input or a buffer, or pass verify=False to accept this."
        )


def _custom_derivatives(total: torch.Tensor) -> tuple[str, ...]:
    """Names of the `torch.autograd.Function`s between variables and result."""
    names, waiting, seen = [], [total.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if isinstance(node, torch.autograd.function.BackwardCFunction):
            names.append(type(node).__name__.removesuffix("Backward"))
        waiting.extend(following for following, _ in node.next_functions)
    return tuple(sorted(set(names)))


def _weights(shape: tuple[int, ...]) -> np.ndarray:
    """Different weights for all entries, so that no derivative cancels by symmetry."""
    return np.linspace(0.5, 1.5, int(np.prod(shape))).reshape(shape)


def _is_float(tensor: torch.Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _variable(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().clone().requires_grad_(_is_float(tensor))


def _random(leaf: Any, attempt: int) -> Any:
    """Other numbers in place of floating-point ones: normal, wider, positive."""
    if not isinstance(leaf, torch.Tensor) or not _is_float(leaf):
        return leaf
    numbers = np.random.default_rng(attempt).normal(size=tuple(leaf.shape)) * (1, 3, 1)[attempt]
    return torch.as_tensor(np.abs(numbers) if attempt == 2 else numbers).to(leaf)


def _host(value: Any) -> np.ndarray:
    """A NumPy array; bfloat16 as float32."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().resolve_conj().resolve_neg()
        return (value.float() if value.dtype is torch.bfloat16 else value).numpy()
    return np.asarray(value.astype(jnp.float32) if value.dtype == jnp.bfloat16 else value)


def _scale(values: np.ndarray) -> float:
    """The largest finite magnitude."""
    finite = np.abs(values[np.isfinite(values)])
    return float(finite.max()) if finite.size else 0.0


def _same(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Whether entries are the same infinity, or both NaN."""
    return (a == b) | (np.isnan(a) & np.isnan(b))
