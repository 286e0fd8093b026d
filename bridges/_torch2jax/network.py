"""`torch2jax`: a torch network as a pure JAX function of its own parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import torch
from jax.core import Tracer

from .._runtime.dtypes import copy_to_jax, is_array, jax_dtype
from .._runtime.upstream import torch_tree
from .check import compare_with_torch
from .export import NetworkError, OperatorCall, Program, Ref, export_network
from .operators import TABLE, UnsupportedOperatorError


def torch2jax(
    module: torch.nn.Module,
    example_inputs: Any,
    *,
    free_axes: int | Sequence[int] | None = 0,
    verify: bool = True,
) -> tuple[JaxNetwork, dict[str, jax.Array]]:
    """Convert a torch network to a pure JAX function and its parameters.

    The function can be jitted, vmapped, differentiated in both modes and called inside `lax.while_loop` or `lax.scan`.
    Gradients with respect to `params` belong to the parameters of the same names, so a torch optimiser can use them.

    Example:
        >>> fn, params = torch2jax(network.eval(), torch.zeros(2, 5))
        >>> y = jax.jit(fn)(params, x)                     # x: [any batch, 5]

    Args:
        module: the network. Dropout and batch normalisation must be in eval mode; the mode is fixed by the conversion.
        example_inputs: a tensor, or a tuple of the module's positional arguments (tensors, and dicts, tuples or lists
            of them). Shapes and dtypes matter, values only for `verify`. Other values (numbers, None) are fixed.
        free_axes: axes of every input tensor whose size may differ later (where it has them); the others are fixed.
            None: all sizes are fixed.
        verify: compare outputs and gradients with torch on the example before returning.

    Returns:
        `fn(params, *inputs)`, and `params`, copies of all parameters by qualified name; tied ones appear once, under
        the name in `module.named_parameters()`. Buffers (running means ...) are part of `fn` as they are now; an entry
        of `params` under a buffer's name replaces it.

    Raises:
        UnsupportedOperatorError: operators without an equivalent; all are named, with their line in the user's module.
        NetworkError: the network cannot be traced, is not pure, or `verify` found a difference.
        BridgeError: a 64-bit network while JAX runs in 32 bits.
    """
    arguments = example_inputs if isinstance(example_inputs, tuple) else (example_inputs,)
    leaves, spec = torch_tree.tree_flatten(arguments)
    is_tensor = [isinstance(leaf, torch.Tensor) for leaf in leaves]
    tensors = [leaf for leaf, t in zip(leaves, is_tensor, strict=True) if t]
    fixed = [None if t else leaf for leaf, t in zip(leaves, is_tensor, strict=True)]

    def rebuild(values: Sequence) -> tuple:
        supply = iter(values)
        return torch_tree.tree_unflatten(
            [next(supply) if t else f for t, f in zip(is_tensor, fixed, strict=True)], spec
        )

    program = export_network(module, tensors, rebuild, [_free(tensor, free_axes) for tensor in tensors])
    used = {what for kind, what in program.sources if kind == "tensor"}
    buffers = {name: copy_to_jax(tensor) for name, tensor in module.named_buffers() if name in used}
    params = {name: copy_to_jax(tensor) for name, tensor in module.named_parameters()}
    shapes = {name: (value.shape, value.dtype) for name, value in params.items()}
    template, order = _input_order(arguments, leaves)
    fn = JaxNetwork(program, buffers, shapes, template, order, fixed, type(module).__name__)
    arrays = _as_arrays(arguments)
    jax.eval_shape(lambda p: fn(p, *arrays), params)
    if verify:
        compare_with_torch(module, fn, params, arguments)
    return fn, params


def _as_arrays(arguments: Any) -> Any:
    return jax.tree.map(lambda leaf: copy_to_jax(leaf) if isinstance(leaf, torch.Tensor) else leaf, arguments)


def _free(tensor: torch.Tensor, free_axes: int | Sequence[int] | None) -> tuple[int, ...]:
    axes = () if free_axes is None else (free_axes,) if isinstance(free_axes, int) else tuple(free_axes)
    return tuple(sorted({a % tensor.ndim for a in axes if -tensor.ndim <= a < tensor.ndim}))


def _input_order(arguments: tuple, leaves: list) -> tuple[Any, tuple[int, ...]]:
    """JAX's structure of the arguments, and for each leaf in torch's order its place in JAX's.

    JAX sorts the keys of a dict, torch keeps their order.
    """
    numbered = iter(range(len(leaves)))
    marks = torch_tree.tree_map(lambda _: _Mark(next(numbered)), arguments)
    placed, structure = jax.tree.flatten(marks)
    position = {mark.number: i for i, mark in enumerate(placed)}
    return structure, tuple(position[i] for i in range(len(leaves)))


class _Mark:
    def __init__(self, number: int):
        self.number = number


class JaxNetwork:
    """A torch network as a pure function `(params, *inputs) -> outputs` of JAX arrays. Can be pickled.

    Attributes:
        operators: names of the operators it calls.
        buffers: arrays that are used where `params` has no entry of that name.
    """

    def __init__(
        self, program: Program, buffers: dict, shapes: dict, structure: Any, order: tuple, fixed: list, name: str
    ):
        self._program, self._shapes, self._structure, self._order = program, shapes, structure, order
        self._fixed, self.__name__ = fixed, name
        self.buffers = buffers
        self._constants = {i: copy_to_jax(v) for i, (kind, v) in enumerate(program.sources) if kind == "constant"}
        self.operators = tuple(sorted({call.operator for call in program.calls if isinstance(call.operator, str)}))

    def __repr__(self) -> str:
        return f"JaxNetwork({self.__name__}, {len(self._shapes)} parameters, {len(self._program.calls)} operations)"

    def __call__(self, params: Mapping[str, Any], *inputs: Any) -> Any:
        """The network's result, in the structure the module returns.

        Raises:
            NetworkError: parameters or inputs differ from those of the conversion in names, structure, shape or dtype.
        """
        tensors = self._checked_parameters(params)
        arrays = self._checked_inputs(inputs)
        values: list[Any] = []
        for i, (kind, what) in enumerate(self._program.sources):
            values.append(
                tensors[what] if kind == "tensor" else arrays[what] if kind == "input" else self._constants[i]
            )
        for call in self._program.calls:
            values.append(_run_operator(call, values))
        return torch_tree.tree_map(lambda leaf: _resolve(leaf, values), self._program.result)

    def _checked_parameters(self, params: Mapping[str, Any]) -> dict[str, Any]:
        missing = sorted(set(self._shapes) - set(params))
        unknown = sorted(set(params) - set(self._shapes) - set(self.buffers))
        if missing or unknown:
            raise NetworkError(
                f"{self.__name__}: params lacks {missing} and has unknown {unknown}; expected the names of "
                "module.named_parameters(), and optionally of module.named_buffers()."
            )
        tensors = {**self.buffers, **params}
        for name, (shape, dtype) in self._shapes.items():
            got = tensors[name]
            if tuple(got.shape) != shape or got.dtype != dtype:
                raise NetworkError(
                    f"{self.__name__}: parameter {name} must be {dtype}{list(shape)}, got {got.dtype}{list(got.shape)}"
                    ". Convert the module again after changing its sizes or dtype."
                )
        return {name: jnp.asarray(value) for name, value in tensors.items()}

    def _checked_inputs(self, inputs: tuple) -> list[Any]:
        given, structure = jax.tree.flatten(inputs)
        if structure != self._structure:
            given_none, structure = jax.tree.flatten(inputs, is_leaf=lambda x: x is None)
            if structure != self._structure:
                raise NetworkError(f"{self.__name__}: expected inputs {self._structure}, got {structure}.")
            given = given_none
        leaves = [given[i] for i in self._order]
        sizes: dict[str, int] = {}
        arrays: list[Any] = []
        for number, (leaf, constant) in enumerate(zip(leaves, self._fixed, strict=True)):
            position = len(arrays)
            if constant is not None or not is_array(leaf):
                self._require_fixed(number, leaf, constant)
            else:
                arrays.append(self._checked_array(number, leaf, self._program.inputs[position], sizes))
        if len(arrays) != len(self._program.inputs):
            raise NetworkError(f"{self.__name__}: expected {len(self._program.inputs)} arrays, got {len(arrays)}.")
        for name, size in sizes.items():
            low, high = self._program.ranges.get(name, (0, None))
            if size < low or (high is not None and size > high):
                raise NetworkError(
                    f"{self.__name__}: the network branches on this size and was converted for {low} to "
                    f"{'any' if high is None else high}, got {size}. Convert it again with an example of that size."
                )
        return arrays

    def _require_fixed(self, number: int, leaf: Any, constant: Any) -> None:
        if isinstance(leaf, torch.Tensor):
            raise NetworkError(
                f"{self.__name__}: input {number} is a torch tensor; expected a JAX array (see jax2torch)."
            )
        if isinstance(leaf, Tracer) or type(leaf) is not type(constant) or leaf != constant:
            raise NetworkError(
                f"{self.__name__}: input {number} was fixed to {constant!r} by the conversion, got {leaf!r}. Give a "
                "tensor in `example_inputs` to make it an argument."
            )

    def _checked_array(self, number: int, leaf: Any, expected: Any, sizes: dict[str, int]) -> jax.Array:
        dtype = jax_dtype(expected.dtype)
        same_kind = jnp.issubdtype(leaf.dtype, jnp.integer) and jnp.issubdtype(dtype, jnp.integer)
        fits = leaf.ndim == len(expected.shape) and all(
            size == (sizes.setdefault(n, size) if isinstance(n, str) else n)
            for size, n in zip(leaf.shape, expected.shape, strict=True)
        )
        if not fits or not (leaf.dtype == dtype or same_kind or getattr(leaf, "weak_type", False)):
            shape = ", ".join(str(sizes.get(n, n)) if isinstance(n, str) else str(n) for n in expected.shape)
            raise NetworkError(
                f"{self.__name__}: input {number} must be {dtype}[{shape}], got {leaf.dtype}{list(leaf.shape)}. Sizes "
                "are fixed by the example except on `free_axes`, dtypes always; convert again to change them."
            )
        return jnp.asarray(leaf, dtype)


def _resolve(value: Any, values: list) -> Any:
    if isinstance(value, Ref):
        return values[value.index]
    if isinstance(value, tuple):
        return tuple(_resolve(v, values) for v in value)
    if isinstance(value, slice):
        return slice(*(_resolve(v, values) for v in (value.start, value.stop, value.step)))
    return value


def _run_operator(call: OperatorCall, values: list) -> Any:
    function = TABLE[call.operator] if isinstance(call.operator, str) else call.operator
    args = _resolve(call.args, values)
    kwargs = {name: _resolve(value, values) for name, value in call.kwargs.items()}
    try:
        return _in_dtype(function(*args, **kwargs), call.dtypes)
    except UnsupportedOperatorError as error:
        raise UnsupportedOperatorError(f"{call.operator} ({call.origin}): {error}") from error


def _in_dtype(result: Any, dtypes: Any) -> Any:
    """Results in the dtype torch computed; sizes as they are."""
    if isinstance(dtypes, tuple):
        return tuple(_in_dtype(r, d) for r, d in zip(result, dtypes, strict=True))
    return result if dtypes is None else jnp.asarray(result, jax_dtype(dtypes))
