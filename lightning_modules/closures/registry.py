"""Which module computes the stress: built from a name or a specification, and specified for checkpoints."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from canveg_jax.spelling import unknown

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
