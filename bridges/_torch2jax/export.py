"""A torch network exported to a list of operator calls: which tensors go in, what is computed, what comes out.

Export goes to the core ATen operators, except that every operator in the table stays whole: torch's decompositions of
softplus, mish and their like have NaN derivatives far from zero.
"""

from __future__ import annotations

import operator
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.export.graph_signature import InputKind, OutputKind

from .._runtime.upstream import HigherOrderOperator, torch_tree
from ..errors import BridgeError
from .operators import ASSERTIONS, SIZE_ARITHMETIC, TABLE, UnsupportedOperatorError, is_random
from .refusals import advice_for, place_of, sizes_that_are_fixed
from .results import as_named_tuples
from .rewrites import Rewritten


class NetworkError(BridgeError, ValueError):
    """A torch network, or the inputs of a converted one, that cannot be used as a pure function."""


class Ref:
    """Stands for the value number `index` in the arguments of a later call."""

    __slots__ = ("index",)

    def __init__(self, index: int):
        self.index = index


class OperatorCall(NamedTuple):
    """One operator call. `origin` is where the user's module makes it, `dtypes` those of its results (None: a size)."""

    operator: str | Callable
    args: tuple
    kwargs: dict[str, Any]
    dtypes: Any
    origin: str


class Input(NamedTuple):
    """What an input must be: sizes as numbers or names of free sizes, and its dtype."""

    shape: tuple[int | str, ...]
    dtype: torch.dtype


class Program(NamedTuple):
    """A network as a list of calls. Values are numbered: sources first, then the result of each call."""

    sources: tuple[tuple[str, Any], ...]
    """`("tensor", qualified name)`, `("constant", tensor)` or `("input", position)`."""
    calls: tuple[OperatorCall, ...]
    result: Any
    """What the network returns (a tensor, dict, tuple ...), with a `Ref` in place of each tensor."""
    inputs: tuple[Input, ...]
    ranges: dict[str, tuple[int, int | None]]
    """Smallest and largest admissible free sizes."""
    buffers: dict[str, Ref]
    """New values of the buffers that the network changes, by qualified name."""


class _Leaves(torch.nn.Module):
    """The network as a function of the tensors in its inputs; everything else in them is fixed."""

    def __init__(self, module: torch.nn.Module, rebuild: Callable[[Sequence], tuple[tuple, dict]]):
        super().__init__()
        self.module = module
        self.rebuild = rebuild
        self.training = module.training

    def forward(self, *leaves):
        args, kwargs = self.rebuild(leaves)
        with Rewritten():
            return self.module(*args, **kwargs)


def export_network(
    module: torch.nn.Module,
    leaves: Sequence[torch.Tensor],
    rebuild: Callable[[Sequence], tuple[tuple, dict]],
    free: Sequence[tuple[int, ...]],
    mutable: bool = False,
) -> Program:
    """Trace a network.

    Args:
        module: the network, in the mode (train, eval) in which it is to be used.
        leaves: example tensors; their values do not matter, their dtypes and fixed sizes do.
        rebuild: positional and named arguments of the module from the leaves.
        free: axes of each leaf whose size may change.
        mutable: whether the network may change its buffers; their new values are in `Program.buffers`.

    Raises:
        NetworkError: the network cannot be traced, or is not a pure function (it updates buffers or inputs).
        UnsupportedOperatorError: all operators without an equivalent, with their origin.
    """
    wrapped = _Leaves(module, rebuild)
    with warnings.catch_warnings():
        # Both come from torch's own code: its tree specifications, and the list of weights that RNN layers keep.
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
        warnings.filterwarnings("ignore", message=".*_flat_weights.*", category=UserWarning)
        exported = _trace(wrapped, _enlarged(leaves, free), free)
        _keep_no_grad(exported)
        decompositions = torch.export.default_decompositions()
        for operator in [key for key in decompositions if str(key) in TABLE]:
            decompositions.pop(operator)
        try:
            exported = exported.run_decompositions(decompositions)
        except NotImplementedError as error:  # tensors of torch.func in the graph
            raise _untraceable(module, error) from error
    _require_pure(exported, module, mutable)
    return _program(exported, module)


def _enlarged(leaves: Sequence[torch.Tensor], free: Sequence[tuple[int, ...]]) -> tuple[torch.Tensor, ...]:
    """Leaves whose free axes are at least 2 long: torch bakes in sizes 0 and 1."""
    longest: dict[int, int] = {}
    for leaf, axes in zip(leaves, free, strict=True):
        for axis in axes:
            longest[axis] = max(longest.get(axis, 2), leaf.shape[axis])
    enlarged = []
    for leaf, axes in zip(leaves, free, strict=True):
        leaf = leaf.detach()
        for axis in axes:
            if leaf.shape[axis] == 1:
                leaf = leaf.repeat_interleave(longest[axis], axis)
            elif leaf.shape[axis] == 0:
                leaf = leaf.new_zeros([longest[axis] if a == axis else n for a, n in enumerate(leaf.shape)])
        enlarged.append(leaf.clone())
    return tuple(enlarged)


def _trace(wrapped: _Leaves, leaves: tuple[torch.Tensor, ...], free: Sequence[tuple[int, ...]]):
    dynamic = tuple(
        {axis: torch.export.Dim.DYNAMIC if axis in axes else torch.export.Dim.STATIC for axis in range(leaf.ndim)}
        for leaf, axes in zip(leaves, free, strict=True)
    )
    try:
        return torch.export.export(wrapped, leaves, dynamic_shapes=(dynamic,) if leaves else None)
    except Exception as error:  # torch raises many types here, from user errors to internal ones
        raise _untraceable(wrapped.module, error) from error


def _untraceable(module: torch.nn.Module, error: Exception) -> NetworkError:
    """An error of torch's export with the place in the network and what to do."""
    reason = str(error).strip().split("\n\n")[0]
    place = place_of(error, module)
    advice = " ".join(
        advice_for(reason) or ["Use torch.where instead of branching on values, and sizes that do not depend on them."]
    )
    fixed = sizes_that_are_fixed(reason)
    if fixed or "onstraints violated" in reason or "specialized" in reason:
        reason, place = f"the network fixes {fixed or 'a size'}, which was to be free", ""
        advice = (
            "Name the axes that are free by `free_axes` (free_axes=None: none; by argument: free_axes=[0, None]). The steps of a "
            "recurrent layer cannot be: give it a batch, [batch, step, feature] with batch_first=True, or free_axes=1 without."
        )
    where = f" (in {place})" if place else ""
    return NetworkError(f"{type(module).__name__} cannot be traced to a graph of operators{where}: {reason}\n{advice}")


def _keep_no_grad(exported: Any) -> None:
    """Mark results computed under `torch.no_grad()` as constants; torch's decompositions forget it.

    Regions of autocast need nothing: the decompositions write its casts out.

    Raises:
        UnsupportedOperatorError: control flow operators, gradients switched on again inside `no_grad`.
    """
    unsupported: list[str] = []
    _mark_constants(exported.graph_module, unsupported)
    if unsupported:
        raise UnsupportedOperatorError(_list_unsupported(unsupported))


def _mark_constants(graph_module: Any, unsupported: list[str]) -> None:
    graph = graph_module.graph
    for node in list(graph.nodes):
        if node.op != "call_function" or not isinstance(node.target, HigherOrderOperator):
            continue
        inner = _inner_graph(graph_module, node)
        if node.target.name() == "wrap_with_autocast" and inner is not None:
            _mark_constants(inner, unsupported)
        elif node.target.name() != "wrap_with_set_grad_enabled" or (inner is not None and _enables_gradients(inner)):
            unsupported.append(f"{node.target.name()} ({_origin(node)})")
        elif node.args[0] is False:
            for result in list(node.users):
                with graph.inserting_after(result):
                    constant = graph.call_function(torch.ops.aten.detach.default, (result,))
                result.replace_all_uses_with(constant, delete_user_cb=lambda user, c=constant: user is not c)
                constant.meta = dict(result.meta)
    graph.lint()
    graph_module.recompile()


def _enables_gradients(graph_module: Any) -> bool:
    """Whether a region inside a `no_grad` region does anything but autocast."""
    for node in graph_module.graph.nodes:
        if node.op == "call_function" and isinstance(node.target, HigherOrderOperator):
            inner = _inner_graph(graph_module, node)
            if node.target.name() != "wrap_with_autocast" or (inner is not None and _enables_gradients(inner)):
                return True
    return False


def _inner_graph(graph_module: Any, node: Any) -> Any:
    for argument in node.args:
        if isinstance(argument, torch.fx.Node) and argument.op == "get_attr":
            return getattr(graph_module, str(argument.target), None)
    return None


def _require_pure(exported: Any, module: torch.nn.Module, mutable: bool) -> None:
    allowed = (OutputKind.USER_OUTPUT, OutputKind.TOKEN, *((OutputKind.BUFFER_MUTATION,) if mutable else ()))
    changed = [
        f"{'buffer' if spec.kind is OutputKind.BUFFER_MUTATION else 'input'} {_own_name(spec.target or spec.arg.name)}"
        for spec in exported.graph_signature.output_specs
        if spec.kind not in allowed
    ]
    if changed and (tables := [f"{name!r}" for name in _renormalised(module)]):
        raise NetworkError(
            f"the embedding {', '.join(tables)} has max_norm and rescales rows of its table at every call, which a pure function "
            "cannot do. Rescale the table once (with torch.no_grad(): torch.renorm(table, 2, 0, max_norm)) and convert with "
            "max_norm=None, or divide the looked-up rows by their norm in the network."
        )
    if changed:
        raise NetworkError(
            f"the network changes {', '.join(changed)} when it runs, which a pure function cannot do. Call "
            "module.eval() first (batch normalisation), convert with mutable=True to get the new buffers as a second "
            "result, or return the new value instead of storing it."
        )


def _renormalised(module: torch.nn.Module) -> list[str]:
    """Names of the embeddings that change their table when they look a row up."""
    embeddings = (torch.nn.Embedding, torch.nn.EmbeddingBag)
    return [
        name or type(layer).__name__
        for name, layer in module.named_modules()
        if isinstance(layer, embeddings) and layer.max_norm is not None
    ]


def _own_name(name: str) -> str:
    return name.removeprefix("module.")


def _program(exported: Any, module: torch.nn.Module) -> Program:
    """Number the values and translate each node."""
    graph, signature = exported.graph_module.graph, exported.graph_signature
    nodes = [node for node in graph.nodes if node.op != "output"]
    canonical = _canonical_names(module)
    kinds = {spec.arg.name: spec for spec in signature.input_specs}
    numbers: dict[Any, int] = {}
    sources, inputs, calls, unsupported = [], [], [], []
    dropped: set[Any] = set()
    for node in nodes:
        if _only_asserts(node, dropped):
            dropped.add(node)
        elif node.op == "placeholder":
            spec = kinds[node.name]
            if spec.kind is InputKind.TOKEN:
                continue
            if not node.users and spec.kind is not InputKind.USER_INPUT:
                continue
            numbers[node] = len(numbers)
            if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER):
                name = _own_name(spec.target)
                sources.append(("tensor", canonical.get(name, name)))
            elif spec.kind is InputKind.CONSTANT_TENSOR:
                sources.append(("constant", exported.constants[spec.target].detach().clone()))
            else:
                sources.append(("input", len(inputs)))
                inputs.append(_describe(node.meta["val"]))
        elif node.op == "call_function":
            name = node.target if node.target in SIZE_ARITHMETIC else str(node.target)
            if name in ASSERTIONS:
                continue
            if isinstance(name, str) and (name not in TABLE or _depends_on_memory(node)):
                unsupported.append(f"{name} ({_origin(node)})")
            numbers[node] = len(numbers)
            args, kwargs = _refer(node.args, numbers), _refer(dict(node.kwargs), numbers)
            calls.append(OperatorCall(name, args, kwargs, _dtypes(node.meta.get("val")), _origin(node)))
        else:
            unsupported.append(f"{node.op} {node.target} ({_origin(node)})")
    if unsupported:
        raise UnsupportedOperatorError(_list_unsupported(unsupported))
    output = next(node for node in graph.nodes if node.op == "output")
    outputs = list(zip(signature.output_specs, _refer(tuple(output.args[0]), numbers), strict=True))
    returned = [value for spec, value in outputs if spec.kind is OutputKind.USER_OUTPUT]
    changed = {_own_name(s.target): value for s, value in outputs if s.kind is OutputKind.BUFFER_MUTATION}
    return Program(
        tuple(sources), tuple(calls),
        as_named_tuples(torch_tree.tree_unflatten(returned, exported.call_spec.out_spec)), tuple(inputs),
        {str(symbol): _bounds(r) for symbol, r in exported.range_constraints.items()},
        {canonical.get(name, name): value for name, value in changed.items()},
    )  # fmt: skip


def _only_asserts(node: Any, dropped: set) -> bool:
    """Whether a node states something about values in an order that torch keeps by tokens, or is the next token."""
    if node.op != "call_function":
        return False
    if isinstance(node.target, HigherOrderOperator) and node.target.name() == "with_effects":
        return str(node.args[1]) in ASSERTIONS
    return node.target is operator.getitem and node.args[0] in dropped


def _depends_on_memory(node: Any) -> bool:
    """Whether a call reads the memory of a tensor that is not in order, as JAX's arrays always are."""
    return "as_strided" in str(node.target) and not node.args[0].meta["val"].is_contiguous()


def _canonical_names(module: torch.nn.Module) -> dict[str, str]:
    """For each name of a tied parameter or buffer, the name under which the module lists it."""
    names: dict[str, str] = {}
    for listed in (module.named_parameters, module.named_buffers):
        first = {id(tensor): name for name, tensor in listed()}
        names |= {name: first[id(tensor)] for name, tensor in listed(remove_duplicate=False)}
    return names


def _describe(value: Any) -> Input:
    return Input(tuple(n if isinstance(n, int) else str(n) for n in value.shape), value.dtype)


def _bounds(limits: Any) -> tuple[int, int | None]:
    """Admissible sizes. A traced size is always at least 2; unless the network asked for more, 0 and 1 do as well."""
    low = int(limits.lower) if limits.lower >= 0 else 0
    high = int(limits.upper) if limits.upper < 2**62 else None
    return (0 if low <= 2 else low, high)


def _refer(value: Any, numbers: dict[Any, int]) -> Any:
    if isinstance(value, torch.fx.Node):
        return Ref(numbers[value]) if value in numbers else None
    if isinstance(value, (list, tuple)):
        return tuple(_refer(v, numbers) for v in value)
    if isinstance(value, dict):
        return {k: _refer(v, numbers) for k, v in value.items()}
    if isinstance(value, slice):
        return slice(*(_refer(v, numbers) for v in (value.start, value.stop, value.step)))
    return value


def _dtypes(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.dtype
    if isinstance(value, (list, tuple)):
        return tuple(_dtypes(v) for v in value)
    return None


def _origin(node: Any) -> str:
    """Where the user's module makes a call, as `'encoder.0' (Conv1d), model.py line 12: y = self.encoder(x)`."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    where = (
        f"in {_own_name(stack[-1][0])!r} ({str(stack[-1][1]).rsplit('.', 1)[-1]})"
        if len(stack) > 1
        else "in the module"
    )
    libraries = (str(torch.__path__[0]), str(Path(__file__).parents[1]))
    frames = re.findall(r'File "(.+?)", line (\d+), in .+\n\s*(.*)', node.meta.get("stack_trace") or "")
    frames = [f for f in frames if not f[0].startswith(libraries)]
    if not frames:
        return where
    file, line, text = frames[-1]
    return f"{where}, {file} line {line}: {text.strip()}"


def _list_unsupported(entries: list[str]) -> str:
    entries = list(dict.fromkeys(entries))
    advice = ["Rewrite these lines with supported operators (docs/torch2jax.md lists them)."]
    if any(is_random(entry) for entry in entries):
        advice.insert(0, "There is no such random number in JAX: call module.eval() first if it is for training only.")
    names = " ".join(entry.split(" ")[0] for entry in entries)
    return (
        "operators without a JAX equivalent:\n  "
        + "\n  ".join(entries)
        + "\n"
        + " ".join([*advice_for(names), *advice])
    )
