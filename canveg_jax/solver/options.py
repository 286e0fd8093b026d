"""What is fixed before a program is compiled: the scheme, which inputs differ between rows, and when to stop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax

from ..physics.state import Scheme
from ..spelling import unknown


class SolverOptions(NamedTuple):
    """When to stop. `tolerance` is in W m-2 (see `residual_scale`); `None` chooses 1e-3 in float64, 0.05 in float32.

    `adjoint_tolerance` is relative to the cotangent; `None` chooses 1e-6 in float64, 1e-5 in float32. A row whose adjoint is
    still above 1e-2 after `adjoint_max_passes` gets NaN for its derivatives. `rows_at_once`: rows that are solved
    together, the parts of a batch one after the other; `None` chooses `batches.FORWARD_LAYERS / n_layers` and
    `batches.BACKWARD_LAYERS / n_layers` on a CPU, and the whole batch on an accelerator.
    """

    tolerance: float | None = None
    max_passes: int = 100
    depth: int = 5
    adjoint_tolerance: float | None = None
    adjoint_max_passes: int = 120
    adjoint_depth: int = 8
    rows_at_once: int | None = None


def solver_options(changes: Mapping[str, Any]) -> SolverOptions:
    """The options with some of them changed.

    Raises:
        ValueError: a name that does not exist, or a value that is no number.
    """
    for name, value in changes.items():
        if name not in SolverOptions._fields:
            raise ValueError(f"solver: {unknown('key', name, SolverOptions._fields)}")
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ValueError(f"solver: {name} must be a number; got {value!r}.")
    return SolverOptions(**changes)


class Axes(NamedTuple):
    """Which arrays have a value of their own for each row of a batch, in the order of the leaves of their record.

    All arrays of the forcing and the stress do; these may be shared by the batch.
    """

    parameters: tuple[bool, ...]
    site: tuple[bool, ...]
    closure: tuple[bool, ...] = ()

    @classmethod
    def of(cls, parameters: Any, site: Any, closure: Any, *, site_by_row: bool) -> Axes:
        """Axes of an input: parameters of shape `[time]` differ, the site if each row has its own, and what a closure says."""
        return cls(
            parameters=tuple(leaf.ndim > 0 for leaf in jax.tree.leaves(parameters)),
            site=tuple(site_by_row for _ in jax.tree.leaves(site)),
            closure=() if closure is None else closure.by_row(),
        )


class Static(NamedTuple):
    """Everything that a compiled program depends on besides shapes and types. Hashable, and its `repr` tells all."""

    scheme: Scheme
    axes: Axes
    options: SolverOptions
