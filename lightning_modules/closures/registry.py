"""Which module computes the stress, and which the closures: built from names, and specified for checkpoints."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from canveg_jax.spelling import unknown

from .closure import Closure, Closures
from .leaf_stress import LeafStressNetwork
from .stress_network import StressNetwork
from .stress_scheme import TRAINABLE_SCHEMES, SoilMoistureStress, StressScheme

STRESS_MODULES: dict[str, Callable[..., nn.Module]] = {
    "network": StressNetwork,
    "in_loop": LeafStressNetwork,
    **{name: functools.partial(StressScheme, name) for name in TRAINABLE_SCHEMES},
    "soil_moisture": SoilMoistureStress,
}
"""Stress modules that a name, or a mapping `{module: name, ...arguments}`, can ask for."""

Stress = nn.Module | Mapping[str, Any] | str | None


def build_stress(stress: Stress) -> nn.Module | None:
    """The module that `stress` means; None: no stress.

    Raises:
        ValueError: an unknown name, arguments that the module does not take, or the specification of a module that only its
            owner can build.
    """
    if stress is None or isinstance(stress, nn.Module):
        return stress
    arguments = {"module": stress} if isinstance(stress, str) else dict(stress)
    name = arguments.pop("module", None)
    if name not in STRESS_MODULES:
        raise ValueError(
            f"{unknown('stress module', str(name), STRESS_MODULES)} stress must be null, a torch module, one of these, or a "
            "mapping with `module: <name>` and its arguments. If a checkpoint names a class of yours, build it and pass "
            "it: HybridCanopy.load_from_checkpoint(path, stress=MyModule())."
        )
    build = STRESS_MODULES[name]
    known = [key for key, p in inspect.signature(build).parameters.items() if p.kind != p.VAR_KEYWORD]
    open_ended = len(known) < len(inspect.signature(build).parameters)
    for key in arguments:
        if key not in known and not open_ended:
            raise ValueError(f"stress: {unknown(f'argument of {name}', key, known)}")
    try:
        return build(**arguments)
    except TypeError as error:
        given = ", ".join(f"{key}: {value!r}" for key, value in arguments.items())
        raise ValueError(f"stress: {name} cannot be built with {given} ({error}).") from error


def stress_specification(stress: nn.Module | None) -> dict[str, Any] | str | None:
    """Plain data from which `build_stress` makes the module again; of a foreign module only its class name.

    A subclass is foreign, too: built again as its base it would compute something else.
    """
    if stress is None:
        return None
    if isinstance(stress, StressNetwork) and type(stress) is StressNetwork:
        return {"module": "network", **stress.config}
    if isinstance(stress, LeafStressNetwork) and type(stress) is LeafStressNetwork:
        return {"module": "in_loop", **stress.config}
    if isinstance(stress, StressScheme) and type(stress) in (StressScheme, SoilMoistureStress):
        return {"module": stress.scheme, **stress.config}
    return f"{type(stress).__module__}.{type(stress).__qualname__}"


def evaluated_in_loop(stress: nn.Module | None) -> bool:
    """Whether a stress module is evaluated for every leaf inside the solver (`TorchCanopy(in_loop=...)`)."""
    return getattr(stress, "in_loop", False) is True


def build_closures(closures: Mapping[str, Any] | None) -> Closures:
    """The closures that a configuration names: `{capacity: {inputs: [slow], range: 1.2}, soil_respiration: null}`.

    Each entry is a mapping of arguments of `Closure`, nothing for its defaults, or a torch module that computes `z`. A network of
    your own has a class path there: `{capacity: {network: {class_path: mine.Net, init_args: {width: 8}}}}`.

    Raises:
        ValueError: an unknown name or argument, or the specification of a module that only its owner can build.
    """
    return Closures(_build_closure(name, entry) for name, entry in (closures or {}).items())


def _build_closure(name: str, entry: Any) -> Closure:
    if isinstance(entry, Closure):
        return entry
    if isinstance(entry, nn.Module):
        return Closure(name, network=entry)
    if entry is not None and not isinstance(entry, Mapping):
        raise ValueError(f"closure {name}: expected a mapping of its arguments, a torch module or null; got {entry!r}.")
    arguments = dict(entry or {})
    known = [key for key in inspect.signature(Closure).parameters if key != "name"]
    for key in arguments:
        if key not in known:
            raise ValueError(f"closure {name}: {unknown('argument', key, known)}")
    specification = arguments.get("network")
    if specification is not None and not isinstance(specification, nn.Module):
        arguments["network"] = _foreign_network(name, specification)
    try:
        closure = Closure(name, **arguments)
    except TypeError as error:
        given = ", ".join(f"{key}: {value!r}" for key, value in arguments.items())
        raise ValueError(f"closure {name}: cannot be built with {given} ({error}).") from error
    if specification is not None and not isinstance(specification, nn.Module):
        closure.config["network"] = dict(specification)
    return closure


def _foreign_network(name: str, specification: Any) -> nn.Module:
    """The module of a class path.

    Raises:
        ValueError: there is no such class, it cannot be built, or the specification is one that only names a class.
    """
    if not isinstance(specification, Mapping) or "class_path" not in specification:
        raise ValueError(
            f"closure {name}: network must be a torch module, or a mapping with `class_path` (and `init_args`); got "
            f"{specification!r}. If a checkpoint names a class of yours, build it and pass it: "
            f"HybridCanopy.load_from_checkpoint(path, closures={{'{name}': MyModule()}})."
        )
    path = str(specification["class_path"])
    module, _, class_name = path.rpartition(".")
    try:
        kind = getattr(importlib.import_module(module), class_name)
        if not (
            isinstance(kind, type) and issubclass(kind, nn.Module)
        ):  # seen before it is called: it may be any function
            raise ValueError(f"closure {name}: {path} is no torch.nn.Module.")
        return kind(**specification.get("init_args", {}))
    except (ImportError, AttributeError, TypeError) as error:
        raise ValueError(f"closure {name}: {path} cannot be built ({error}).") from error


def closures_specification(closures: Closures) -> dict[str, Any]:
    """Plain data from which `build_closures` makes them again; of a foreign network only its class name."""
    result = {}
    for name, closure in closures.named().items():
        result[name] = dict(closure.config)
        if not closure.inputs and "network" not in closure.config:
            result[name]["network"] = f"{type(closure.network).__module__}.{type(closure.network).__qualname__}"
    return result
