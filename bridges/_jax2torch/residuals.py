"""What a backward pass needs from its forward pass, as a list of arrays that torch can keep, and the compiled backward
pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import ShapedArray, Tracer

from .._runtime.upstream import Zero
from .packing import Packing


class _Source(NamedTuple):
    """Where a leaf of the pullback comes from: `input` i of the forward pass, `kept` array i, random `key` kept as
    array i, or a constant of the trace."""

    kind: str
    at: Any
    key_impl: Any = None


class Residuals:
    """How the pullback of one trace is put together again; one object per trace, so backward is traced once for it.

    Residuals that are inputs of the forward pass are not kept twice: they are supplied again from `tensors` and
    `extras`, the numbers of those needed.
    """

    def __init__(
        self,
        name: str,
        tree: Any,
        sources: list[_Source],
        outputs: list[jax.ShapeDtypeStruct],
        n_tensors: int,
        packing: Packing | None,
        jit: Callable,
    ):
        self.name = name
        inputs = sorted({s.at for s in sources if s.kind == "input"})
        self.tensors = [i for i in inputs if i < n_tensors]
        self.extras = [i - n_tensors for i in inputs if i >= n_tensors]
        self._n_tensors, self._packing = n_tensors, packing
        self._tree, self._sources, self._outputs, self._jit = tree, sources, outputs, jit
        self._compiled: dict[tuple, Callable] = {}

    @classmethod
    def of(
        cls,
        name: str,
        pullback: Any,
        tensors: Sequence,
        extras: Sequence,
        outputs: Sequence,
        jit: Callable,
        packed: bool = True,
    ) -> tuple[Residuals, list]:
        """Sort the leaves of a pullback made while tracing.

        Args:
            name: of the function, for errors.
            pullback: result of `jax.vjp`.
            tensors, extras: inputs of the trace.
            outputs: differentiable outputs of the trace.
            jit: `(function, name of the executable) -> compiled`, for the backward pass.
            packed: lay small residuals together.

        Returns:
            The description, and the arrays to keep.
        """
        leaves, tree = jax.tree.flatten(pullback)
        place = {id(a): i for i, a in enumerate((*tensors, *extras))}
        kept: list = []
        kept_at: dict[int, int] = {}
        sources = []
        for leaf in leaves:
            if id(leaf) in place:
                sources.append(_Source("input", place[id(leaf)]))
            elif not isinstance(leaf, Tracer):
                sources.append(_Source("constant", leaf))
            else:
                is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
                if id(leaf) not in kept_at:
                    kept_at[id(leaf)] = len(kept)
                    kept.append(jax.random.key_data(leaf) if is_key else leaf)
                at = kept_at[id(leaf)]
                sources.append(_Source("key", at, jax.random.key_impl(leaf)) if is_key else _Source("kept", at))
        avals = [jax.ShapeDtypeStruct(o.shape, o.dtype) for o in outputs]
        packing = Packing(kept) if packed else None
        residuals = cls(name, tree, sources, avals, len(tensors), packing, jit)
        return residuals, kept if packing is None else packing.pack(kept)

    def backward(self, present: tuple[bool, ...]) -> Callable:
        """Executable `(*tensors, *kept, *cotangents, *extras) -> gradients` of the tensors that forward was asked for,
        from the cotangents that are present."""
        found = self._compiled.get(present)
        if found is None:
            found = self._compiled.setdefault(present, self._jit(lambda *a: self._backward(present, a), "backward"))
        return found

    def _backward(self, present: tuple[bool, ...], arrays: Sequence) -> list:
        n, end = len(self.tensors), len(arrays) - len(self.extras)
        begin = end - sum(present)
        kept, cotangents = arrays[n:begin], arrays[begin:end]
        if self._packing is not None:
            kept = self._packing.unpack(kept)
        inputs = dict(zip(self.tensors, arrays[:n], strict=True))
        inputs.update((self._n_tensors + i, x) for i, x in zip(self.extras, arrays[end:], strict=True))

        def leaf(source: _Source) -> Any:
            if source.kind == "input":
                return inputs[source.at]
            if source.kind == "kept":
                return kept[source.at]
            if source.kind == "key":
                return jax.random.wrap_key_data(kept[source.at], impl=source.key_impl)
            return source.at

        pullback = jax.tree.unflatten(self._tree, [leaf(s) for s in self._sources])
        return pull(pullback, self._outputs, present, cotangents)


def pull(pullback: Callable, outputs: Sequence, present: Sequence[bool], cotangents: Sequence) -> list:
    """Gradients in torch's convention (conjugate of JAX's for complex numbers).

    Outputs without a cotangent are left out: an array of zeros would meet their derivatives, and 0 * inf is NaN. JAX cannot leave
    out single outputs of a `scan` (0.10 refuses the shape of what is absent); these get zeros.

    Args:
        pullback: result of `jax.vjp`.
        outputs: arrays or shapes of all differentiable outputs.
        present: which of them have a cotangent.
        cotangents: the ones present.
    """
    given = iter([_conj(cotangent) for cotangent in cotangents])
    full = [next(given) if p else Zero(ShapedArray(o.shape, o.dtype)) for o, p in zip(outputs, present, strict=True)]
    try:
        gradients = pullback(tuple(full))
    except ValueError:
        if all(present):
            raise
        zeros = [jnp.zeros(o.shape, o.dtype) for o in outputs]
        gradients = pullback(tuple(zero if isinstance(ct, Zero) else ct for ct, zero in zip(full, zeros, strict=True)))
    return [_conj(g) for g in gradients]


def _conj(x: Any) -> Any:
    return jnp.conj(x) if jnp.issubdtype(x.dtype, jnp.complexfloating) else x
