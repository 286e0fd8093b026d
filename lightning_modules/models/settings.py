"""Settings of the hybrid canopy that are numbers or words: what cannot be right is refused before anything is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import canveg_jax as cv
from canveg_jax.spelling import unknown


def solver_options(changes: Mapping[str, Any]) -> cv.SolverOptions:
    """The options; raises ValueError for a name that does not exist and for a value that is no number."""
    for name, value in changes.items():
        if name not in cv.SolverOptions._fields:
            raise ValueError(f"solver: {unknown('key', name, cv.SolverOptions._fields)}")
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ValueError(f"solver: {name} must be a number; got {value!r}.")
    return cv.SolverOptions(**changes)


def check_settings(
    network_lr: float, parameter_lr: float, weight_decay: float, prior_weight: float, schedule: str
) -> None:
    """Raise ValueError for a rate, weight or schedule that cannot be right."""
    for name, value in (("network_lr", network_lr), ("parameter_lr", parameter_lr)):
        if not value > 0:
            raise ValueError(f"{name} must be positive; got {value!r}.")
    for name, value in (("weight_decay", weight_decay), ("prior_weight", prior_weight)):
        if not value >= 0:
            raise ValueError(f"{name} must not be negative; got {value!r}.")
    if schedule not in ("constant", "cosine"):
        raise ValueError(f"schedule must be 'constant' or 'cosine'; got {schedule!r}.")
