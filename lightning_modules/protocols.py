"""What the Lightning modules ask of the parts they are given: physics, stress module, data module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

import numpy as np
import torch
from torch import nn

from canveg_jax import Site

if TYPE_CHECKING:
    from .data.statistics import ScalingStatistics


class Physics(Protocol):
    """Fluxes of half-hours from forcing and stress, with tunable parameters. `bridges.TorchCanopy` and `bridges.TorchCanopies`
    are such; so is every torch module with these members.

    A call `physics(forcing, stress=factor)` takes columns `[time]` by the names of `canveg_jax.FORCING_TABLE`, and `site`
    (index) where there are several, and gives tensors `[time]`: fluxes by the names of `canveg_jax.Fluxes`, `converged`
    (bool), `residual`, `passes`. If `state_size` is positive it also takes `start=`, states `[time, state_size]` with NaN
    where none is known, and then gives `state` as well.
    """

    raw: nn.ParameterDict
    """Tunable parameters, unconstrained, by name."""

    @property
    def state_size(self) -> int:
        """Numbers of a half-hour's solution that a later call can start from; 0: it cannot."""
        ...

    def parameter_values(self) -> dict[str, torch.Tensor]:
        """Physical values of the tunable parameters, 0-d or `[site]`."""
        ...

    def fixed_constants(self) -> dict[str, np.ndarray]:
        """Copies of all numbers that training must leave as they are."""
        ...

    def plan_batches(self, largest: int) -> None:
        """Take note of the number of half-hours of the largest batch to come, so that smaller ones compile nothing more."""
        ...

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """As of any torch module."""
        ...

    def __call__(self, *args: Any, **kwargs: Any) -> dict[str, torch.Tensor]: ...


@runtime_checkable
class MovesParameters(Protocol):
    """Physics whose parameters may differ between half-hours: `physics(forcing, parameters=values)`."""

    def moved_parameters(
        self,
        *,
        factors: Mapping[str, torch.Tensor] | None = None,
        shifts: Mapping[str, torch.Tensor] | None = None,
        site: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Values `[time]` by name, as `bridges.TorchCanopy.moved_parameters`."""
        ...


@runtime_checkable
class ReadsHalfHours(Protocol):
    """A network in the loop that reads numbers of the half-hour which it computes from the forcing."""

    def columns(self, forcing: Mapping[str, torch.Tensor], /) -> dict[str, torch.Tensor]:
        """Its columns `[time]` by name, from the forcing with the LAI that the canopy uses."""
        ...


class StressModule(Protocol):
    """Stomatal stress in torch: columns `[time]` by name in, factor in (0, 1], `[time]` or `[time, layer]`, out."""

    def __call__(self, forcing: Mapping[str, torch.Tensor], /) -> torch.Tensor: ...


@runtime_checkable
class StandardisesInputs(Protocol):
    """A stress module whose inputs are to be scaled by the statistics of the training part."""

    def set_statistics(self, statistics: ScalingStatistics) -> None:
        """Take means and standard deviations of the inputs."""
        ...


@runtime_checkable
class TowerData(Protocol):
    """What a data module offers to the models, once it is set up."""

    statistics: ScalingStatistics
    sites: list[Site]

    def carry_days(self, days: int) -> None:
        """Let batches carry the daily weather of so many days before each half-hour."""
        ...

    def largest_batch(self) -> int:
        """Number of half-hours of the largest batch to come."""
        ...

    def largest_training_batch(self) -> int:
        """Number of half-hours of the largest training batch to come in this process."""
        ...


def as_physics(module: nn.Module) -> Physics:
    """The module, seen to have what `Physics` asks for.

    Raises:
        ValueError: a member is missing; the message names it.
    """
    members = ("raw", "state_size", "parameter_values", "fixed_constants", "plan_batches")
    missing = [name for name in members if not hasattr(module, name)]
    if missing:
        raise ValueError(
            f"physics: {type(module).__name__} lacks {', '.join(missing)}. Give it what lightning_modules.protocols.Physics "
            "describes, or use bridges.TorchCanopy."
        )
    return cast(Physics, module)
