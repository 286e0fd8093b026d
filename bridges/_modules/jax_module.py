"""`JaxModule`: an equinox module as a torch module whose arrays are `nn.Parameter`s."""

from __future__ import annotations

import copy
import fnmatch
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import torch

from .._jax2torch.function import jax2torch
from .._runtime.convert import copy_to_torch, to_jax
from ..errors import BridgeError
from .pickle import to_bytes


class JaxModule(torch.nn.Module):
    """An equinox module inside PyTorch.

    Its floating-point arrays become parameters, other arrays buffers, under the names of their fields
    (`layers.0.weight`). They are copies: an optimiser step in place does not reach the original. As in any new module
    they are on torch's default device (the CPU unless it was set) until `.to(device)`, wherever JAX had them. Everything
    else (sizes, activation functions, NumPy arrays, Python numbers) is fixed. `state_dict`, `deepcopy`, `pickle`,
    `torch.save`, `.to(...)` and Lightning checkpoints work as for any module; compiled functions are not stored but
    made again.

    Example:
        >>> net = JaxModule(eqx.nn.MLP(4, 1, 32, 2, key=key), vmap=True)
        >>> net(x).square().mean().backward()              # x: [batch, 4]
        >>> mlp = net.to_jax()                             # with the trained values

    Args:
        module: an equinox module, or any pytree that can be called.
        trainable: which floating-point arrays are parameters; the others become buffers. True or False for all; name
            patterns (`("layers.*", "scale")`); a function of an array; or a tree of these as for `equinox.partition`.
        vmap: map the call over the first axis of every tensor among the positional arguments. Equinox layers such as
            `Linear` take one sample; with `vmap=True` they take a batch. Keyword arguments are shared by all samples.

    Raises:
        BridgeError: the module keeps state outside itself (`equinox.nn.State`), or a name pattern fits no array.
    """

    def __init__(self, module: Any, *, trainable: Any = True, vmap: bool = False):
        super().__init__()
        if not callable(module):
            raise BridgeError(
                f"expected a module that can be called, got a {type(module).__name__}. Add a __call__ method."
            )
        self.vmap = vmap
        if any(_is_state(leaf) for leaf in jax.tree.leaves(module, is_leaf=_is_state)):
            raise BridgeError(
                f"{type(module).__name__} keeps state in equinox.nn.State, which torch cannot store. Fix the state "
                "first (a module with __call__ that closes over it), or use a stateless layer."
            )
        arrays = eqx.filter(module, _is_jax_array)
        entries = jax.tree_util.tree_leaves_with_path(arrays)
        names = _names([path for path, _ in entries])
        leaves = [_Leaf(name, _key_type(array)) for name, (_, array) in zip(names, entries, strict=True)]
        wanted = _trained(trainable, arrays, names)
        for leaf, (_, array), train in zip(leaves, entries, wanted, strict=True):
            self._enter(leaf, array, train)
        supply = iter(leaves)
        self._template = jax.tree.map(lambda x: next(supply) if _is_jax_array(x) else x, module)
        self._leaves = tuple(leaves)
        self._function = self._bridged()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the equinox module; tensors (in any pytree) in, tensors out, differentiable to parameters and inputs."""
        return self._function({leaf.name: self.get(leaf.name) for leaf in self._leaves}, args, kwargs)

    def to_jax(self) -> Any:
        """The equinox module with the current values, as copies."""
        return _filled(
            self._template, {leaf.name: jnp.array(to_jax(self.get(leaf.name)), copy=True) for leaf in self._leaves}
        )

    def get(self, name: str) -> torch.Tensor:
        """The parameter or buffer of a qualified name."""
        *path, last = name.split(".")
        return getattr(self.get_submodule(".".join(path)), last)

    def _bridged(self) -> Callable:
        return jax2torch(_caller(self._template, self.vmap), name=type(self._template).__name__)

    def _enter(self, leaf: _Leaf, array: jax.Array, train: bool) -> None:
        *path, last = leaf.name.split(".")
        owner: torch.nn.Module = self
        for part in path:
            if part not in owner._modules:
                owner.add_module(part, _Branch())
            owner = owner._modules[part]  # type: ignore[assignment]
        tensor = copy_to_torch(array if leaf.key is None else jax.random.key_data(array))
        if train:
            owner.register_parameter(last, torch.nn.Parameter(tensor))
        else:
            owner.register_buffer(last, tensor)

    def extra_repr(self) -> str:
        return f"{type(self._template).__name__}, vmap={self.vmap}"

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_function": None, "_template": to_bytes(self._template)}

    def __setstate__(self, state: dict) -> None:
        super().__setstate__({**state, "_template": pickle.loads(state["_template"])})
        self._function = self._bridged()

    def __deepcopy__(self, memo: dict) -> JaxModule:
        copied = memo[id(self)] = type(self).__new__(type(self))
        memo[id(self._template)] = self._template
        copied.__dict__ = copy.deepcopy({**self.__dict__, "_function": None}, memo)
        copied._function = copied._bridged()
        return copied


class _Branch(torch.nn.Module):
    """A part of the tree; holds parameters, computes nothing."""

    def forward(self, *args: Any) -> Any:
        raise BridgeError(
            "a part of a JaxModule cannot be called alone. Call the whole, or wrap this part in its own JaxModule."
        )


@dataclass(frozen=True)
class _Leaf:
    """Stands for one array of the tree: its qualified name, and the implementation if it is a typed random key."""

    name: str
    key: str | None


def _filled(template: Any, arrays: dict) -> Any:
    """The module with arrays in the places of their stand-ins."""

    def fill(leaf: Any) -> Any:
        if not isinstance(leaf, _Leaf):
            return leaf
        array = arrays[leaf.name]
        return array if leaf.key is None else jax.random.wrap_key_data(array, impl=leaf.key)

    return jax.tree.map(fill, template)


def _caller(template: Any, vmap: bool) -> Callable:
    def call(arrays: dict, args: tuple, kwargs: dict) -> Any:
        module = _filled(template, arrays)
        if not vmap:
            return module(*args, **kwargs)
        axes = jax.tree.map(lambda leaf: 0 if jnp.ndim(leaf) else None, args)
        return jax.vmap(lambda row: module(*row, **kwargs), in_axes=(axes,))(args)

    return call


def _key_type(array: jax.Array) -> str | None:
    return str(jax.random.key_impl(array)) if jnp.issubdtype(array.dtype, jax.dtypes.prng_key) else None


def _is_jax_array(leaf: Any) -> bool:
    """Arrays of NumPy are constants of the module, not parameters."""
    return isinstance(leaf, jax.Array)


def _is_state(leaf: Any) -> bool:
    return isinstance(leaf, eqx.nn.StateIndex)


def _names(paths: Sequence[tuple]) -> list[str]:
    """Qualified names of the leaves; parts that torch modules reserve (`train`, `weight.x`) get an underscore."""
    reserved = set(dir(torch.nn.Module())) | set(JaxModule.__dict__) | {"vmap", "_template", "_leaves", "_function"}
    names: list[str] = []
    for path in paths:
        parts = []
        for entry in path:
            key = next((getattr(entry, a) for a in ("name", "idx", "key") if hasattr(entry, a)), entry)
            part = str(key).replace(".", "_") or "_"
            parts.append(f"{part}_" if part in reserved else part)
        name = ".".join(parts) or "value"
        while name in names:
            name += "_"
        names.append(name)
    return names


def _trained(trainable: Any, arrays: Any, names: list[str]) -> list[bool]:
    """For each array, whether it becomes a parameter."""
    leaves = jax.tree.leaves(arrays)
    if isinstance(trainable, str):
        trainable = (trainable,)
    if isinstance(trainable, (tuple, list, set, frozenset)) and all(isinstance(p, str) for p in trainable):
        unused = [p for p in trainable if not any(fnmatch.fnmatchcase(name, p) for name in names)]
        if unused:
            raise BridgeError(f"trainable: {unused} fits no array; the arrays are {', '.join(names)}.")
        chosen = [any(fnmatch.fnmatchcase(name, p) for p in trainable) for name in names]
    else:
        kept = eqx.filter(arrays, trainable)
        chosen = [leaf is not None for leaf in jax.tree.leaves(kept, is_leaf=lambda x: x is None)]
        everything = jax.tree.leaves(arrays, is_leaf=lambda x: x is None)
        chosen = [c for c, leaf in zip(chosen, everything, strict=True) if leaf is not None]
    return [
        c and _key_type(a) is None and jnp.issubdtype(a.dtype, jnp.inexact) for c, a in zip(chosen, leaves, strict=True)
    ]
