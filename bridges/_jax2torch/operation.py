"""One bridged function: from a call's arguments to its kernel, and from the kernel's outputs to the result."""

from __future__ import annotations

import inspect
import operator
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch

from .._runtime.convert import check_array, is_plain, is_symbolic
from .._runtime.process import check_process
from .._runtime.recording import check_recording
from .._runtime.upstream import any_autocast, opaque
from ..errors import ConversionError
from .autograd import KernelCall, run
from .kernel import Kernel, OutputSpec, Tagged
from .pytree import Spec, Static, as_static, flatten, is_value, leaf_path, unflatten, unwrap_static
from .retracing import Retracing
from .rows import Rows

_TENSOR = "tensor"
_EXTRA = "extra"
_HALF = {torch.bfloat16, torch.float16}
_flatten = jax.tree_util.default_registry.flatten


class Layout(NamedTuple):
    """What the structure of a call and the types of its leaves decide."""

    kernel: Kernel
    is_tensor: tuple[bool, ...]
    """For each array among the leaves; the others are numbers and arrays of other libraries, the extras."""
    only_tensors: bool
    """Every leaf is a tensor."""
    carries_rows: tuple[bool, ...] | None
    """For each tensor; None unless vectorized by name."""
    plain: bool
    """No tensor is of a subclass that could stand for others."""
    by_type: bool
    """No leaf is compiled in, so the layout holds for every call with the same structure and types."""


class Arguments(NamedTuple):
    """The leaves of a call: its kernel, the tensors and the extras."""

    kernel: Kernel
    tensors: list[torch.Tensor]
    extras: list


class Operation:
    """A JAX function with its kernels, one per structure of arguments.

    Args: as of `jax2torch`.
    """

    def __init__(
        self,
        fn: Callable,
        static: tuple[str, ...] = (),
        nondiff: tuple[str, ...] = (),
        vectorized: bool | str | Sequence[str] = False,
        name: str | None = None,
    ):
        self.fn, self.nondiff = fn, nondiff
        self.name = name or getattr(fn, "__name__", type(fn).__name__)
        self.traces: Counter[str] = Counter()
        rows = (
            () if isinstance(vectorized, bool) else (vectorized,) if isinstance(vectorized, str) else tuple(vectorized)
        )
        self._signature = inspect.signature(fn) if static or nondiff or rows else None
        self._static = {n: self._position(n) for n in static}
        for n in (*nondiff, *rows):
            self._position(n)
        self._rows_of = rows
        self._rows = Rows(self.name) if vectorized is True or rows else None
        self._retracing = Retracing(self.name)
        self._names = _positional_names(fn)
        self._kernels: dict[tuple, tuple[Kernel, tuple[bool, ...] | None]] = {}
        self._layouts: dict[tuple, Layout] = {}
        self._flat_layouts: dict[tuple, Layout] = {}
        """Of calls with nothing but arrays, by position, which need no flattening."""

    @opaque
    def __call__(self, args: tuple, kwargs: dict) -> Any:
        (kernel, tensors, extras), layout = self.arguments(args, kwargs)
        if not layout.plain and any(map(is_symbolic, tensors)):
            from .compiled import call_symbolic

            return self.result(*call_symbolic(kernel, tensors, extras))
        check_recording(self.name)
        call = KernelCall(kernel, extras)
        if self._rows is None:
            outputs = run(call, tensors)
        else:
            outputs = self._run_padded(self._rows, call, tensors, self._with_rows(layout, tensors), args, kwargs)
        return self.result(call.spec, outputs)

    def _run_padded(
        self, rows: Rows, call: KernelCall, tensors: list[torch.Tensor], where: list[int], args: tuple, kwargs: dict
    ) -> list[torch.Tensor]:
        """Outputs of a kernel whose tensors number `where` have rows."""
        carriers = [tensors[i] for i in where]
        n_rows = rows.number(carriers, lambda k: self._tensor_path(args, kwargs, where[k]))
        padded = dict(zip(where, rows.pad(carriers, n_rows), strict=True))
        return rows.cut(run(call, [padded.get(i, t) for i, t in enumerate(tensors)]), n_rows)

    def _with_rows(self, layout: Layout, tensors: list[torch.Tensor]) -> list[int]:
        if layout.carries_rows is None:
            return [i for i, t in enumerate(tensors) if t.dim()]
        return [i for i, c in enumerate(layout.carries_rows) if c]

    def _tensor_path(self, args: tuple, kwargs: dict, number: int) -> str:
        """Where the tensor of a number stands in a call, for errors."""
        leaves, _ = flatten((args, kwargs))
        tensors = [i for i, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
        return leaf_path(args, kwargs, tensors[number])

    def arguments(self, args: tuple, kwargs: dict) -> tuple[Arguments, Layout]:
        """Take a call apart."""
        check_process()
        if self._static:
            args, kwargs = self._mark_static(args, kwargs)
        layout, leaves = self._find_layout(args, kwargs)
        if layout.only_tensors:
            tensors, extras = leaves, []
        else:
            tensors = [leaf for leaf, t in zip(leaves, layout.is_tensor, strict=True) if t]
            extras = [leaf for leaf, t in zip(leaves, layout.is_tensor, strict=True) if not t]
            for extra in extras:
                check_array(extra)
        if any_autocast():
            tensors = _without_half_precision(tensors)
        return Arguments(layout.kernel, tensors, extras), layout

    def _find_layout(self, args: tuple, kwargs: dict) -> tuple[Layout, list]:
        """The layout of a call and its arrays."""
        layout = None if kwargs else self._flat_layouts.get(tuple(map(type, args)))
        if layout is not None:
            return layout, list(args)
        leaves, tree = _flatten((args, kwargs))
        key = (tree, *map(type, leaves))
        layout = self._layouts.get(key)
        if layout is not None:
            return layout, leaves
        layout, leaves = self._layout(args, kwargs)
        if layout.by_type:
            self._layouts[key] = layout
            if not kwargs and len(leaves) == len(args) and all(map(operator.is_, leaves, args)):
                self._flat_layouts[tuple(map(type, args))] = layout
        return layout, leaves

    def _layout(self, args: tuple, kwargs: dict) -> tuple[Layout, list]:
        """The layout of a call whose structure, types or compiled-in values are new, and its arrays."""
        leaves, spec = flatten((args, kwargs))
        kinds: list = []
        for i, leaf in enumerate(leaves):
            if isinstance(leaf, torch.Tensor):
                kinds.append(_TENSOR)
            elif is_value(leaf):
                kinds.append(_EXTRA)
            elif isinstance(leaf, str):
                kinds.append((str, leaf))
            else:
                kinds.append(as_static(leaf, lambda i=i: leaf_path(args, kwargs, i)))
        key = (spec, tuple(kinds))
        found = self._kernels.get(key)
        if found is None:
            found = self._kernels.setdefault(key, self._build(spec, leaves, kinds))
        arrays = [leaf for leaf, k in zip(leaves, kinds, strict=True) if k is _TENSOR or k is _EXTRA]
        is_tensor = tuple(isinstance(leaf, torch.Tensor) for leaf in arrays)
        plain = all(is_plain(leaf) for leaf, t in zip(arrays, is_tensor, strict=True) if t)
        by_type = len(arrays) == len(leaves) and not spec.wrapped
        return Layout(found[0], is_tensor, all(is_tensor), found[1], plain, by_type), arrays

    def result(self, spec: OutputSpec, outputs: Sequence[torch.Tensor]) -> Any:
        """The result of the function from the kernel's outputs."""
        assert spec.tree is not None
        leaves: Sequence[Any] = outputs
        if spec.texts:
            leaves = list(outputs)
            for i, text in spec.texts:
                leaves.insert(i, text)
        return unflatten(spec.tree, leaves)

    def _build(self, spec: Spec, leaves: list, kinds: list) -> tuple[Kernel, tuple[bool, ...] | None]:
        fixed = [None if k in (_TENSOR, _EXTRA) else leaf for leaf, k in zip(leaves, kinds, strict=True)]

        def fn(tensors: Sequence, extras: Sequence) -> Tagged:
            of_tensors, of_extras = iter(tensors), iter(extras)
            full = [
                next(of_tensors) if k is _TENSOR else next(of_extras) if k is _EXTRA else value
                for k, value in zip(kinds, fixed, strict=True)
            ]
            args, kwargs = unwrap_static(unflatten(spec, full))
            return self._outputs(self.fn(*args, **kwargs))

        where = [i for i, k in enumerate(kinds) if k is _TENSOR]
        nondiff = self._leaves_of(self.nondiff, spec, len(leaves))
        rows = self._leaves_of(self._rows_of, spec, len(leaves))
        order = (*where, *(i for i, k in enumerate(kinds) if k is _EXTRA))
        observe = self._retracing.observer(spec, fixed, order, self._names)
        kernel = Kernel(fn, tuple(i not in nondiff for i in where), self.name, self.traces, observe=observe)
        return kernel, tuple(i in rows for i in where) if self._rows_of else None

    def _outputs(self, result: Any) -> Tagged:
        leaves, tree = flatten(result)
        texts = tuple((i, leaf) for i, leaf in enumerate(leaves) if isinstance(leaf, str))
        arrays = []
        for leaf in leaves:
            if isinstance(leaf, str):
                continue
            if not is_value(leaf):
                raise ConversionError(
                    f"{self.name}: expected a result of arrays, numbers and texts in containers, got a "
                    f"{type(leaf).__name__} ({leaf!r}). Return it by another function, or in a dataclass's static "
                    "field."
                )
            check_array(leaf)
            arrays.append(jnp.asarray(leaf))
        return Tagged(arrays, OutputSpec(tuple(bool(jnp.issubdtype(a.dtype, np.inexact)) for a in arrays), tree, texts))

    def _leaves_of(self, names: tuple[str, ...], spec: Spec, n: int) -> set[int]:
        """Numbers of the leaves that belong to the named arguments."""
        if not names:
            return set()
        assert self._signature is not None
        args, kwargs = jax.tree.unflatten(spec.tree, range(n))
        bound = {**self._signature.bind(*args, **kwargs).arguments, **kwargs}
        return {i for name in names for i in jax.tree.leaves(bound.get(name))}

    def _position(self, name: str) -> int | None:
        """Position of an argument; None: it cannot be given by position."""
        assert self._signature is not None
        parameters = list(self._signature.parameters.values())
        for i, parameter in enumerate(parameters):
            if parameter.name == name:
                return i if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD) else None
        if any(p.kind is p.VAR_KEYWORD for p in parameters):
            return None
        raise ValueError(
            f"{self.name} has no argument {name!r}; it has {', '.join(p.name for p in parameters) or 'none'}."
        )

    def _mark_static(self, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        positional, kwargs = list(args), dict(kwargs)
        for name, position in self._static.items():
            if name in kwargs:
                kwargs[name] = Static(as_static(kwargs[name], lambda n=name: f"argument {n}"), kwargs[name])
            elif position is not None and position < len(positional):
                value = positional[position]
                positional[position] = Static(as_static(value, lambda n=name: f"argument {n}"), value)
        return tuple(positional), kwargs


def _positional_names(fn: Callable) -> tuple[str, ...]:
    """Names of the arguments that can be given by position, as far as Python knows them."""
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):
        return ()
    return tuple(p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD))


def _without_half_precision(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    """Under autocast a bridged function counts as a float32 operation."""
    for tensor in tensors:
        if tensor.dtype in _HALF and torch.is_autocast_enabled(tensor.device.type):
            return [t.float() if t.dtype in _HALF else t for t in tensors]
    return tensors
