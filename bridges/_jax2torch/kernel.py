"""A JAX function of flat arrays, its compiled executables, and its derivatives, which are functions of the same
kind."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .pytree import Spec
from .residuals import Residuals, pull

Mask = tuple[bool, ...]
Observe = Callable[[tuple, Sequence], None]


class OutputSpec(NamedTuple):
    """What the leaves of a result are: which arrays carry derivatives, the tree, and the texts in it by leaf number."""

    differentiable: Mask
    tree: Spec | None = None
    texts: tuple[tuple[int, str], ...] = ()


class Tagged(NamedTuple):
    """Arrays with a description that belongs to the trace which made them."""

    leaves: Sequence
    tag: Any


jax.tree_util.register_pytree_node(Tagged, lambda x: (x.leaves, x.tag), lambda tag, leaves: Tagged(leaves, tag))


class Plan(NamedTuple):
    """What a forward pass with gradients runs, and the tensors its gradients are wanted of."""

    wanted: Mask
    forward: Callable


class ForwardTag(NamedTuple):
    """Tag of a forward pass: its leaves are the outputs, then the residuals that must be kept.

    The tag is part of the structure of a result, which JAX keeps in its caches. It refers to the residuals weakly, since these
    lead to the compiled programs, which would then stay for the life of the process; the kernel owns them.
    """

    outputs: OutputSpec
    residuals: weakref.ref[Residuals]


class Kernel:
    """A function `(tensors, extras) -> Tagged` with lazily compiled executables.

    `tensors` are the arrays that torch may differentiate or batch, `extras` the others (Python numbers, NumPy and JAX
    arrays). The kernels of the derivatives take `(*tensors, *cotangents)` or `(*tensors, *tangents)` and are cached
    here, so derivatives of any order are each traced once.

    Args:
        fn: the function; its `Tagged` result has an `OutputSpec`.
        differentiable: which tensors may be differentiated.
        name: shown in errors.
        kind: of derivative, shown in profiles.
        traces: counts traces by executable (`primal`, `forward`, `backward`), shared by all derived kernels.
        observe: told of each trace of the function itself, with the kind of program and its arrays.
    """

    def __init__(
        self,
        fn: Callable[[Sequence, Sequence], Tagged],
        differentiable: Mask,
        name: str,
        traces: Counter[str],
        kind: str = "",
        observe: Observe | None = None,
    ):
        self.fn, self.differentiable, self.name, self.traces, self.kind = fn, differentiable, name, traces, kind
        self._observe = observe
        self.primal = self.jit(self._observed(("primal", kind), self._primal), "primal")
        self._derived: dict[tuple, Any] = {}
        self._plans: dict[Mask, Plan] = {}
        self._residuals: list[Residuals] = []

    def plan(self, needs_grad: Mask) -> Plan:
        """What to run for tensors of which these need gradients."""
        found = self._plans.get(needs_grad)
        if found is None:
            wanted = tuple(n and d for n, d in zip(needs_grad, self.differentiable, strict=True))
            found = self._plans.setdefault(needs_grad, Plan(wanted, self.forward(wanted)))
        return found

    def jit(self, function: Callable, executable: str) -> Callable:
        """Compile a function of flat arrays, counting its traces."""

        def counted(*arrays: Any) -> Any:
            self.traces[executable] += 1
            return function(*arrays)

        counted.__name__ = counted.__qualname__ = f"{self.name}{self.kind}_{executable}"
        return jax.jit(counted)

    def forward(self, wanted: Mask, packed: bool = True) -> Callable:
        """Executable `(*tensors, *extras) -> Tagged((*outputs, *residuals), ForwardTag)` for gradients of `wanted`;
        `packed` lays small residuals together."""
        key = "forward", wanted, packed
        program = self._observed(("forward", self.kind, wanted), lambda *a: self._forward(wanted, packed, a))
        return self.cached(key, lambda: self.jit(program, "forward"))

    def vjp(self, wanted: Mask, present: Mask) -> Kernel:
        """Kernel `(*tensors, *cotangents) -> gradients` of the wanted tensors; `present` says which differentiable
        outputs have a cotangent."""
        return self.cached(("vjp", wanted, present), lambda: self._vjp(wanted, present))

    def jvp(self, moving: Mask) -> Kernel:
        """Kernel `(*tensors, *tangents) -> tangents` of the differentiable outputs; `moving` says which tensors have
        one."""
        return self.cached(("jvp", moving), lambda: self._jvp(moving))

    def vmap(self, axes: tuple[int | None, ...]) -> Kernel:
        """Kernel over a batch: `axes` says which axis of each tensor is the batch; it is the first of every output."""
        return self.cached(("vmap", axes), lambda: self._vmap(axes))

    def cached(self, key: tuple, make: Callable[[], Any]) -> Any:
        """What belongs to this kernel under a key, made at the first request."""
        found = self._derived.get(key)
        return self._derived.setdefault(key, make()) if found is None else found

    def _observed(self, program: tuple, function: Callable) -> Callable:
        """A function that tells of its traces."""
        observe = self._observe
        if observe is None:
            return function

        def observed(*arrays: Any) -> Any:
            observe(program, arrays)
            return function(*arrays)

        return observed

    def _split(self, arrays: Sequence) -> tuple[Sequence, Sequence]:
        n = len(self.differentiable)
        return arrays[:n], arrays[n:]

    def _primal(self, *arrays: Any) -> Tagged:
        return self.fn(*self._split(arrays))

    def _of(self, chosen: Mask, tensors: Sequence, extras: Sequence) -> tuple[Callable, list, list[OutputSpec]]:
        """The function of the chosen tensors alone, `-> (differentiable outputs, others)`; their values; its output
        spec."""
        spec: list[OutputSpec] = []

        def function(*values: Any) -> tuple[tuple, tuple]:
            supply = iter(values)
            result = self.fn([next(supply) if c else t for t, c in zip(tensors, chosen, strict=True)], extras)
            spec.append(result.tag)
            flags = list(zip(result.leaves, result.tag.differentiable, strict=True))
            return tuple(x for x, d in flags if d), tuple(x for x, d in flags if not d)

        return function, [t for t, c in zip(tensors, chosen, strict=True) if c], spec

    def _linearize(self, wanted: Mask, tensors: Sequence, extras: Sequence) -> tuple[tuple, Any, tuple, OutputSpec]:
        function, values, spec = self._of(wanted, tensors, extras)
        floats, pullback, others = jax.vjp(function, *values, has_aux=True)
        return floats, pullback, others, spec[-1]

    def _forward(self, wanted: Mask, packed: bool, arrays: Sequence) -> Tagged:
        tensors, extras = self._split(arrays)
        floats, pullback, others, spec = self._linearize(wanted, tensors, extras)
        residuals, kept = Residuals.of(self.name, pullback, tensors, extras, floats, self.jit, packed)
        self._residuals.append(residuals)
        supply = {True: iter(floats), False: iter(others)}
        outputs = [next(supply[d]) for d in spec.differentiable]
        return Tagged((*outputs, *kept), ForwardTag(spec, weakref.ref(residuals)))

    def _vjp(self, wanted: Mask, present: Mask) -> Kernel:
        n = len(self.differentiable)

        def fn(tensors: Sequence, extras: Sequence) -> Tagged:
            floats, pullback, _, _ = self._linearize(wanted, tensors[:n], extras)
            gradients = pull(pullback, floats, present, tensors[n:])
            return Tagged(gradients, OutputSpec((True,) * len(gradients)))

        return Kernel(fn, self.differentiable + (True,) * sum(present), self.name, self.traces, f"{self.kind}_vjp")

    def _jvp(self, moving: Mask) -> Kernel:
        n = len(self.differentiable)

        def fn(tensors: Sequence, extras: Sequence) -> Tagged:
            function, values, _ = self._of(moving, tensors[:n], extras)
            _, tangents, _ = jax.jvp(function, tuple(values), tuple(tensors[n:]), has_aux=True)
            tangents = [jnp.asarray(t) for t in tangents]
            return Tagged(tangents, OutputSpec((True,) * len(tangents)))

        return Kernel(fn, self.differentiable + (True,) * sum(moving), self.name, self.traces, f"{self.kind}_jvp")

    def _vmap(self, axes: tuple[int | None, ...]) -> Kernel:
        def fn(tensors: Sequence, extras: Sequence) -> Tagged:
            return jax.vmap(self.fn, in_axes=(list(axes), None))(list(tensors), extras)

        return Kernel(fn, self.differentiable, self.name, self.traces, f"{self.kind}_vmap", self._observe)
