"""A converted network against the original: outputs and gradients on the example inputs."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from .._runtime.dtypes import copy_to_jax
from .._runtime.upstream import torch_tree
from .export import NetworkError

_RELATIVE = {2: 0.05, 4: 1e-3, 8: 1e-7}
"""Tolerance by bytes of the dtype, relative to the largest value: above rounding, below errors of meaning."""


def compare_with_torch(module: torch.nn.Module, fn: Any, params: dict[str, jax.Array], arguments: tuple) -> None:
    """Compare the outputs, and the gradients of their weighted sum to parameters and inputs.

    Raises:
        NetworkError: they differ; the message says where.
    """
    leaves, spec = torch_tree.tree_flatten(arguments)
    leaves = [_variable(leaf) if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
    inputs = {i: leaf for i, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor) and leaf.requires_grad}
    own = {name: tensor for name, tensor in module.named_parameters() if tensor.requires_grad}
    variables = [*own.values(), *inputs.values()]
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        outputs = [
            _host(o) for o in torch_tree.tree_leaves(module(*torch_tree.tree_unflatten(leaves, spec))) if _is_value(o)
        ]
        weights = [np.linspace(0.5, 1.5, o.numel()).reshape(o.shape) for o in outputs]
        total = sum(
            ((o * torch.as_tensor(w).to(o)).sum() for o, w in zip(outputs, weights, strict=True) if o.requires_grad),
            torch.zeros(()),
        )
        reached = total.requires_grad
        gradients = torch.autograd.grad(total, variables, allow_unused=True) if reached else [None] * len(variables)

    def weighted(tuned: dict, chosen: dict) -> tuple[jax.Array, list]:
        placed = [chosen.get(i, _array(leaf)) for i, leaf in enumerate(leaves)]
        results = [
            r
            for r in torch_tree.tree_leaves(fn({**params, **tuned}, *torch_tree.tree_unflatten(placed, spec)))
            if _is_value(r)
        ]
        terms = [
            jnp.sum(r * w.astype(r.dtype))
            for r, w in zip(results, weights, strict=True)
            if jnp.issubdtype(r.dtype, jnp.floating)
        ]
        return sum(terms, jnp.zeros(())), results

    start = ({name: params[name] for name in own}, {i: _array(leaf) for i, leaf in inputs.items()})
    (_, results), slopes = jax.jit(jax.value_and_grad(weighted, argnums=(0, 1), has_aux=True))(*start)
    for number, (result, output) in enumerate(zip(results, outputs, strict=True)):
        _compare(f"{fn.__name__}: output {number}", result, output, 0.0)
    names = [*(f"gradient to {name}" for name in own), *(f"gradient to input {i}" for i in inputs)]
    expected = [torch.zeros_like(v) if g is None else g for v, g in zip(variables, gradients, strict=True)]
    scale = max((float(g.detach().abs().max()) for g in expected if g.numel()), default=0.0)
    for name, slope, gradient in zip(
        names, [*(slopes[0][n] for n in own), *(slopes[1][i] for i in inputs)], expected, strict=True
    ):
        _compare(f"{fn.__name__}: {name}", slope, gradient, scale)


def _variable(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().clone().requires_grad_(tensor.is_floating_point())


def _host(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.cpu()


def _is_value(leaf: Any) -> bool:
    return isinstance(leaf, (torch.Tensor, jax.Array))


def _array(leaf: Any) -> Any:
    if not isinstance(leaf, torch.Tensor):
        return leaf
    return copy_to_jax(leaf.detach().cpu())


def _compare(what: str, ours: jax.Array, theirs: torch.Tensor, scale: float) -> None:
    a = np.asarray(ours.astype(jnp.float32) if ours.dtype == jnp.bfloat16 else ours)
    b = theirs.detach().cpu()
    b = (b.float() if b.dtype is torch.bfloat16 else b).numpy()
    if a.shape != b.shape:
        raise NetworkError(f"{what}: shape {a.shape} in JAX, {b.shape} in torch.")
    if not a.size:
        return
    finite = np.abs(b[np.isfinite(b)])
    scale = max(scale, float(finite.max()) if finite.size else 0.0)
    tolerance = _RELATIVE.get(theirs.dtype.itemsize, 0.0) * scale if theirs.is_floating_point() else 0.0
    equal = np.isclose(a, b, rtol=0.0, atol=tolerance, equal_nan=True)
    if not equal.all():
        where = np.unravel_index(np.argmin(equal), a.shape)
        place = tuple(int(i) for i in where)
        raise NetworkError(
            f"{what} differs from torch's on the example, at {place}: {a[where]} against {b[where]}. A custom backward "
            "(torch.autograd.Function) is not seen by the conversion; pass verify=False to accept this."
        )
