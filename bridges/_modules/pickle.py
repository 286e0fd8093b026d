"""Pickling of trees that hold functions: by the name under which they are found, never by value."""

from __future__ import annotations

import importlib
import inspect
import io
import pickle
from collections.abc import Iterator
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

from ..errors import BridgeError


def to_bytes(tree: Any) -> bytes:
    """The tree as bytes for `pickle.loads`.

    Raises:
        BridgeError: it holds a function or class that cannot be imported (a lambda, a local one).
    """
    stream = io.BytesIO()
    try:
        _ByName(stream).dump(tree)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise BridgeError(
            f"{type(tree).__name__} cannot be pickled: {error}. Use functions and classes that can be imported instead "
            "of lambdas and local ones, or save only the state_dict()."
        ) from error
    return stream.getvalue()


class _ByName(pickle.Pickler):
    """Also handles functions that jit or custom_jvp wraps (`jax.nn.relu`), and lambdas that are the default of an
    argument (the final activation of `equinox.nn.MLP`)."""

    def reducer_override(self, obj: Any) -> Any:
        if not callable(obj) or isinstance(obj, (type, BuiltinFunctionType, MethodType)):
            return NotImplemented
        module, name = getattr(obj, "__module__", None), getattr(obj, "__qualname__", None)
        if not isinstance(module, str) or not isinstance(name, str):
            return NotImplemented
        if isinstance(obj, FunctionType):
            owner = next(_owners_of_default(module, obj), None) if "<lambda>" in name else None
            return NotImplemented if owner is None else (_default, (module, *owner))
        return (_by_name, (module, name)) if _by_name(module, name) is obj else NotImplemented


def _by_name(module: str, name: str) -> Any:
    """The object of a qualified name; None where there is none."""
    try:
        found = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return None
    return found


def _default(module: str, owner: str, parameter: str) -> Any:
    return inspect.signature(_by_name(module, owner)).parameters[parameter].default


def _owners_of_default(module: str, function: FunctionType) -> Iterator[tuple[str, str]]:
    """Functions of a module, and initialisers of its classes, that have `function` as the default of a parameter."""
    for name, member in list(vars(importlib.import_module(module)).items()):
        if getattr(member, "__module__", None) != module:
            continue
        owner = f"{name}.__init__" if isinstance(member, type) else name
        target = _by_name(module, owner)
        if not inspect.isfunction(target):
            continue
        for parameter in inspect.signature(target).parameters.values():
            if parameter.default is function:
                yield owner, parameter.name
