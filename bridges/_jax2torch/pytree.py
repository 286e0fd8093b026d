"""Trees of arguments and results: everything JAX knows (dict, tuple, list, NamedTuple, None, registered classes) and
plain dataclasses, which need no registration."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import torch

from ..errors import ConversionError

SCALARS = (bool, int, float, complex)
_LEAVES = {torch.Tensor, torch.nn.Parameter, str, *SCALARS}


class Spec(NamedTuple):
    """Structure of a tree; `wrapped` says that plain dataclasses in it were replaced by nodes."""

    tree: Any
    wrapped: bool


@jax.tree_util.register_pytree_node_class
class _DataclassNode:
    """A plain dataclass seen by JAX as a node; its fields are the children."""

    def __init__(self, cls: type, children: tuple):
        self.cls, self.children = cls, children

    def tree_flatten(self):
        return self.children, self.cls

    @classmethod
    def tree_unflatten(cls, aux: type, children: Any):
        return cls(aux, tuple(children))

    def rebuild(self) -> Any:
        """The dataclass itself, without running its `__init__` (fields may be tracers)."""
        instance = object.__new__(self.cls)
        for field, child in zip(dataclasses.fields(self.cls), self.children, strict=True):
            object.__setattr__(instance, field.name, _unwrap(child))
        return instance


@jax.tree_util.register_pytree_node_class
class Static:
    """A value that travels through JAX as part of the structure, not as an array; `key` decides equality."""

    __slots__ = ("key", "value")

    def __init__(self, key: Any, value: Any):
        self.key, self.value = key, value

    def tree_flatten(self):
        return (), self

    @classmethod
    def tree_unflatten(cls, aux: Static, children: Any):
        del children
        return aux

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Static) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


def unwrap_static(arguments: tuple[tuple, dict]) -> tuple[tuple, dict]:
    """Arguments with the values of their `Static` ones."""
    args, kwargs = arguments
    value = lambda x: x.value if isinstance(x, Static) else x  # noqa: E731
    return tuple(value(a) for a in args), {k: value(v) for k, v in kwargs.items()}


def _is_plain_dataclass(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _wrap(tree: Any) -> Any:
    def one(leaf: Any) -> Any:
        if not _is_plain_dataclass(leaf):
            return leaf
        return _DataclassNode(type(leaf), tuple(_wrap(getattr(leaf, f.name)) for f in dataclasses.fields(leaf)))

    return jax.tree.map(one, tree)


def _unwrap(tree: Any) -> Any:
    is_node = lambda x: isinstance(x, _DataclassNode)  # noqa: E731
    return jax.tree.map(lambda x: x.rebuild() if is_node(x) else x, tree, is_leaf=is_node)


def flatten(tree: Any) -> tuple[list, Spec]:
    """Leaves of a tree (anything that is no container) and its structure."""
    leaves, structure = jax.tree.flatten(tree)
    for leaf in leaves:
        if type(leaf) not in _LEAVES and _is_plain_dataclass(leaf):
            leaves, structure = jax.tree.flatten(_wrap(tree))
            return leaves, Spec(structure, True)
    return leaves, Spec(structure, False)


def unflatten(spec: Spec, leaves: Sequence[Any]) -> Any:
    """The tree of a structure with new leaves."""
    tree = jax.tree.unflatten(spec.tree, leaves)
    return _unwrap(tree) if spec.wrapped else tree


def is_value(leaf: Any) -> bool:
    """Whether a leaf is a number or an array for JAX (tensors are handled before)."""
    return isinstance(leaf, (*SCALARS, np.ndarray, np.generic, jax.Array))


def as_static(leaf: Any, where: Callable[[], str]) -> Any:
    """A hashable key for a leaf that is compiled in; equal numbers of different type stay different.

    Args:
        leaf: the value.
        where: says where it stands, for the error.

    Raises:
        ConversionError: the leaf can be neither an array nor compiled in.
    """
    if isinstance(leaf, torch.nn.Module):
        raise ConversionError(
            f"{where()}: got the torch module {type(leaf).__name__}. JAX cannot call it; convert it with "
            "bridges.torch2jax, or pass its tensors (dict(module.named_parameters()))."
        )
    if isinstance(leaf, torch.Tensor):
        raise ConversionError(
            f"{where()}: a static argument must be a plain value, got a tensor. Pass it as an array argument."
        )
    try:
        hash(leaf)
    except TypeError as error:
        raise ConversionError(
            f"{where()}: got a {type(leaf).__name__}, which is neither an array, nor a container JAX knows, nor "
            "hashable. Pass tensors in dicts, tuples, lists or dataclasses; static values must be hashable."
        ) from error
    if isinstance(leaf, (tuple, frozenset)):
        return (type(leaf), tuple(as_static(item, where) for item in leaf), leaf)
    return (type(leaf), leaf)


def leaf_path(args: tuple, kwargs: dict, index: int) -> str:
    """Where the leaf number `index` of a call stands, as `argument 0['x']` or `argument forcing['t']`."""
    tree = (args, kwargs)
    if any(_is_plain_dataclass(leaf) for leaf in jax.tree.leaves(tree)):
        tree = _wrap(tree)
    path = jax.tree_util.tree_flatten_with_path(tree)[0][index][0]
    first = path[1]
    name = first.key if isinstance(first, jax.tree_util.DictKey) else first.idx
    return f"argument {name}{jax.tree_util.keystr(path[2:])}"
