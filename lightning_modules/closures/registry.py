"""Which module computes the stress: built from a name or a specification, and specified for checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from .soil_moisture_stress import SoilMoistureStress
from .stress_network import StressNetwork

STRESS_MODULES: dict[str, type[nn.Module]] = {"network": StressNetwork, "soil_moisture": SoilMoistureStress}
"""Stress modules that a name, or a mapping `{module: name, ...arguments}`, can ask for."""

Stress = nn.Module | Mapping[str, Any] | str | None


def build_stress(stress: Stress) -> nn.Module | None:
    """The module that `stress` means; None: no stress.

    Raises:
        ValueError: an unknown name, or the specification of a module that only its owner can build.
    """
    if stress is None or isinstance(stress, nn.Module):
        return stress
    arguments = {"module": stress} if isinstance(stress, str) else dict(stress)
    name = arguments.pop("module", None)
    if name not in STRESS_MODULES:
        raise ValueError(
            f"stress must be null, a torch module, or one of {', '.join(STRESS_MODULES)} (or a "
            f"mapping with `module: <name>` and its arguments); got {stress!r}. If a checkpoint names a module of your "
            "own, build it and pass it: HybridCanopy.load_from_checkpoint(path, stress=MyModule())."
        )
    return STRESS_MODULES[name](**arguments)


def stress_specification(stress: nn.Module | None) -> dict[str, Any] | str | None:
    """Plain data from which `build_stress` makes the module again; of a foreign module only its class name."""
    if stress is None:
        return None
    for name, kind in STRESS_MODULES.items():
        if type(stress) is kind:
            return {"module": name, **stress.config}
    return f"{type(stress).__module__}.{type(stress).__qualname__}"
