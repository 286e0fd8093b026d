"""`torch2jax`: a torch network as a pure JAX function of its own parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import torch
from jax.core import Tracer

from .._runtime.dtypes import copy_to_jax, is_array, jax_dtype
from .._runtime.recording import check_recording
from .._runtime.upstream import torch_tree
from .axes import free_axes_of
from .check import compare_with_torch
from .export import NetworkError, OperatorCall, Program, Ref, export_network
from .operators import RANDOM, TABLE, UnsupportedOperatorError


def torch2jax(
    module: torch.nn.Module,
    example_inputs: Any = (),
    *,
    example_kwargs: Mapping[str, Any] | None = None,
    free_axes: Any = 0,
    mutable: bool = False,
    verify: bool = True,
) -> tuple[JaxNetwork, dict[str, jax.Array]]:
    """Convert a torch network to a pure JAX function and its parameters.

    The function can be jitted, vmapped, differentiated in both modes and called inside `lax.while_loop` or `lax.scan`.
    Gradients with respect to `params` belong to the parameters of the same names, so a torch optimiser can use them.

    Example:
        >>> fn, params = torch2jax(network.eval(), torch.zeros(2, 5))
        >>> y = jax.jit(fn)(params, x)                     # x: [any batch, 5]

    Args:
        module: the network, in the mode (train, eval) in which it is to be used; the mode is fixed by the conversion.
        example_inputs: a tensor, or a tuple of the module's positional arguments (tensors, and dicts, tuples or lists
            of them). Shapes and dtypes matter, values only for `verify`. Other values (numbers, None) are fixed.
        example_kwargs: the module's named arguments, alike.
        free_axes: axes of the input tensors whose size may differ later; the others are fixed. A number or numbers:
            of every tensor that has them. None: all sizes are fixed. A sequence with an entry for each positional
            argument (a number, numbers or None), or a dict by position or name: of each argument; an argument that is
            itself a dict or sequence may have one of the same kind. What a dict does not name is fixed.
        mutable: whether the network may change its buffers (batch normalisation in training). `fn` then returns its
            result and a dict of the new buffers by qualified name, to be passed in `params` next time.
        verify: compare outputs and gradients with torch on the example before returning.

    Returns:
        `fn(params, *inputs, **named_inputs)`, and `params`, copies of all parameters by qualified name; tied ones appear
        once, under the name in `module.named_parameters()`. Buffers (running means ...) are part of `fn` as they are
        now; an entry of `params` under a buffer's name replaces it. A network that draws random numbers (dropout in
        training) takes `rng`, a JAX key, as well.

    Raises:
        UnsupportedOperatorError: operators without an equivalent; all are named, with their line in the user's module.
        NetworkError: the network cannot be traced, is not pure, or `verify` found a difference.
        BridgeError: a 64-bit network while JAX runs in 32 bits.
        TransformError: called inside `torch.jit.trace`, or `make_fx` with real tensors.
    """
    check_recording(type(module).__name__)
    positional = example_inputs if isinstance(example_inputs, tuple) else (example_inputs,)
    arguments = (positional, dict(example_kwargs or {}))
    if "rng" in arguments[1]:
        raise NetworkError("an argument named rng cannot be passed by name: `rng` is the random key of `fn`.")
    leaves, spec = torch_tree.tree_flatten(arguments)
    is_tensor = [isinstance(leaf, torch.Tensor) for leaf in leaves]
    tensors = [leaf for leaf, t in zip(leaves, is_tensor, strict=True) if t]
    fixed = [None if t else leaf for leaf, t in zip(leaves, is_tensor, strict=True)]

    def rebuild(values: Sequence) -> tuple:
        supply = iter(values)
        return torch_tree.tree_unflatten(
            [next(supply) if t else f for t, f in zip(is_tensor, fixed, strict=True)], spec
        )

    program = export_network(module, tensors, rebuild, free_axes_of(arguments, free_axes), mutable)
    # Inside a jitted function the copies are values all the same, not parts of its program.
    with jax.ensure_compile_time_eval():
        used = {what for kind, what in program.sources if kind == "tensor"}
        buffers = {name: copy_to_jax(tensor) for name, tensor in module.named_buffers() if name in used}
        params = {name: copy_to_jax(tensor) for name, tensor in module.named_parameters()}
        template, order = _input_order(arguments, leaves)
        fn = JaxNetwork(program, buffers, params, template, order, is_tensor, fixed, type(module).__name__, mutable)
        inputs, named = _as_arrays(arguments)
        key = jax.random.key(0)
        jax.eval_shape(lambda p: fn.with_samples(p, key, inputs, named, fn.random), params)
        if verify:
            compare_with_torch(module, fn, params, arguments)
    return fn, params


def _as_arrays(arguments: Any) -> Any:
    return jax.tree.map(lambda leaf: copy_to_jax(leaf) if isinstance(leaf, torch.Tensor) else leaf, arguments)


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


class _Recorder:
    """Draws random numbers for the calls of a network, each from a key of its own, and keeps the samples.

    Args:
        key: of JAX; None: whoever draws is told how to give one.
        origins: gets the operators that drew, with their places.
    """

    def __init__(self, key: Any, origins: list[str]):
        self.key, self.origins = key, origins
        self.samples: list[jax.Array] = []

    def of(self, number: int, call: OperatorCall) -> Callable:
        """`draw(sampler) -> sample` for call number `number`; `sampler(key)` makes it."""
        if self.key is not None:
            key = jax.random.fold_in(self.key, number)
        known = False

        def draw(sampler: Callable) -> jax.Array:
            nonlocal key, known
            what = f"{call.operator} ({call.origin})"
            if self.key is None:
                raise NetworkError(
                    f"the network draws random numbers: {what}. Pass a key, fn(params, x, rng=jax.random.key(0)), a new "
                    "one at each call; or call module.eval() first and convert again, if it is for training only."
                )
            if not known:
                self.origins.append(what)
                known = True
            key, own = jax.random.split(key)
            self.samples.append(sampler(own))
            return self.samples[-1]

        return draw


class JaxNetwork:
    """A torch network as a pure function `(params, *inputs, **named) -> outputs` of JAX arrays. Can be pickled.

    Attributes:
        operators: names of the operators it calls.
        buffers: arrays that are used where `params` has no entry of that name.
        random: the calls that draw random numbers; if there are any, `rng` is needed.
    """

    def __init__(
        self, program: Program, buffers: dict, params: dict, structure: Any, order: tuple, is_tensor: list, fixed: list,
        name: str, mutable: bool,
    ):  # fmt: skip
        self._program, self._structure, self._order = program, structure, order
        self._shapes = {name: (value.shape, value.dtype) for name, value in params.items()}
        self._is_tensor, self._fixed, self._mutable, self.__name__ = is_tensor, fixed, mutable, name
        self.buffers = buffers
        self.random: list[str] = []
        self._constants = {i: copy_to_jax(v) for i, (kind, v) in enumerate(program.sources) if kind == "constant"}
        self.operators = tuple(sorted({call.operator for call in program.calls if isinstance(call.operator, str)}))

    def __repr__(self) -> str:
        return f"JaxNetwork({self.__name__}, {len(self._shapes)} parameters, {len(self._program.calls)} operations)"

    def __call__(self, params: Mapping[str, Any], /, *inputs: Any, rng: Any = None, **named: Any) -> Any:
        """The network's result, in the structure the module returns (and the new buffers, if converted as mutable).

        Args:
            params: arrays by the names of the module's parameters, and any of its buffers.
            inputs, named: the module's arguments. A 0-d tensor may be a Python number.
            rng: a JAX key, for a network that draws random numbers.

        Raises:
            NetworkError: parameters or inputs differ from those of the conversion in names, structure, shape or dtype, or
                `rng` is missing.
        """
        return self.with_samples(params, rng, inputs, named)[0]

    @property
    def is_mutable(self) -> bool:
        """Whether the result is a pair with the new buffers."""
        return self._mutable

    @property
    def changes(self) -> tuple[str, ...]:
        """Names of the buffers that the network changes."""
        return tuple(self._program.buffers)

    @property
    def precision(self) -> int:
        """Bytes of the shortest floating-point number on the way."""
        found = torch_tree.tree_leaves([call.dtypes for call in self._program.calls])
        found += [given.dtype for given in self._program.inputs]
        real = [d.to_real() for d in found if isinstance(d, torch.dtype) and (d.is_floating_point or d.is_complex)]
        return min((dtype.itemsize for dtype in real), default=8)

    def with_samples(
        self, params: Mapping[str, Any], rng: Any, inputs: tuple, named: dict, origins: list[str] | None = None
    ) -> tuple[Any, list]:
        """The result, and the random numbers drawn on the way in their order; `origins` gets who drew them."""
        recorder = _Recorder(rng, [] if origins is None else origins)
        tensors = self._checked_parameters(params)
        arrays = self._checked_inputs((inputs, named))
        values: list[Any] = []
        for i, (kind, what) in enumerate(self._program.sources):
            values.append(
                tensors[what] if kind == "tensor" else arrays[what] if kind == "input" else self._constants[i]
            )
        for number, call in enumerate(self._program.calls):
            values.append(_run_operator(call, values, number, recorder))
        result = torch_tree.tree_map(lambda leaf: _resolve(leaf, values), self._program.result)
        if self._mutable:
            result = (result, {name: values[ref.index] for name, ref in self._program.buffers.items()})
        return result, recorder.samples

    def _checked_parameters(self, params: Mapping[str, Any]) -> dict[str, Any]:
        changed = set(self._program.buffers)
        missing = sorted(set(self._shapes) - set(params))
        unknown = sorted(set(params) - set(self._shapes) - set(self.buffers) - changed)
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

    def _checked_inputs(self, inputs: tuple[tuple, dict]) -> list[Any]:
        given, structure = jax.tree.flatten(inputs, is_leaf=lambda x: x is None)
        if structure != self._structure:
            raise NetworkError(f"{self.__name__}: expected inputs {self._structure}, got {structure}.")
        leaves = [given[i] for i in self._order]
        sizes: dict[str, int] = {}
        arrays: list[Any] = []
        for number, (leaf, tensor) in enumerate(zip(leaves, self._is_tensor, strict=True)):
            if isinstance(leaf, torch.Tensor):
                raise NetworkError(
                    f"{self.__name__}: input {number} is a torch tensor; expected a JAX array (see jax2torch)."
                )
            if tensor:
                arrays.append(self._checked_array(number, leaf, self._program.inputs[len(arrays)], sizes))
            else:
                self._require_fixed(number, leaf, self._fixed[number])
        for name, size in sizes.items():
            low, high = self._program.ranges.get(name, (0, None))
            if size < low or (high is not None and size > high):
                raise NetworkError(
                    f"{self.__name__}: the network branches on this size and was converted for {low} to "
                    f"{'any' if high is None else high}, got {size}. Convert it again with an example of that size."
                )
        return arrays

    def _require_fixed(self, number: int, leaf: Any, constant: Any) -> None:
        if isinstance(leaf, Tracer) or is_array(leaf) or type(leaf) is not type(constant) or leaf != constant:
            raise NetworkError(
                f"{self.__name__}: input {number} was fixed to {constant!r} by the conversion, got {leaf!r}. Give a "
                "tensor in `example_inputs` to make it an argument."
            )

    def _checked_array(self, number: int, leaf: Any, expected: Any, sizes: dict[str, int]) -> jax.Array:
        dtype = jax_dtype(expected.dtype)
        if not is_array(leaf):
            if expected.shape == () and isinstance(leaf, _numbers_of(dtype)):
                return jnp.asarray(leaf, dtype)
            raise NetworkError(
                f"{self.__name__}: input {number} must be an array {dtype}{list(expected.shape)}, got {leaf!r}."
            )
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


def _numbers_of(dtype: Any) -> tuple[type, ...]:
    """Types of Python numbers that an array of a dtype can hold without loss of meaning."""
    if dtype == jnp.bool_:
        return (bool,)
    kinds = ((jnp.integer, (int,)), (jnp.floating, (int, float)), (jnp.complexfloating, (int, float, complex)))
    return next((types for kind, types in kinds if jnp.issubdtype(dtype, kind)), ())


def _resolve(value: Any, values: list) -> Any:
    if isinstance(value, Ref):
        return values[value.index]
    if isinstance(value, tuple):
        return tuple(_resolve(v, values) for v in value)
    if isinstance(value, slice):
        return slice(*(_resolve(v, values) for v in (value.start, value.stop, value.step)))
    return value


def _run_operator(call: OperatorCall, values: list, number: int, recorder: _Recorder) -> Any:
    function = TABLE[call.operator] if isinstance(call.operator, str) else call.operator
    args = _resolve(call.args, values)
    kwargs = {name: _resolve(value, values) for name, value in call.kwargs.items()}
    if call.operator in RANDOM:
        args = (recorder.of(number, call), *args)
    try:
        return _in_dtype(function(*args, **kwargs), call.dtypes)
    except UnsupportedOperatorError as error:
        raise UnsupportedOperatorError(f"{call.operator} ({call.origin}): {error}") from error


def _in_dtype(result: Any, dtypes: Any) -> Any:
    """Results in the dtype torch computed; sizes as they are."""
    if isinstance(dtypes, tuple):
        return tuple(_in_dtype(r, d) for r, d in zip(result, dtypes, strict=True))
    return result if dtypes is None else jnp.asarray(result, jax_dtype(dtypes))
