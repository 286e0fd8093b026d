"""Stages of one training run: what is trained in which epochs, and on which fluxes.

Optics first: `[{epochs: 3, train: [par_reflect, nir_reflect], weights: {net_radiation: 1}}, {hold: [par_reflect, nir_reflect]}]`
fits leaf optics to net radiation and then leaves them, so that later errors of energy cannot hide in them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import nn

from canveg_jax.spelling import unknown

from .losses import loss_weights


class Stage(NamedTuple):
    """`epochs`: how many, None for all that are left; `train`: names of what is trained, None for everything; `hold`: names of
    what is not; `weights` of the loss in this stage, None for those of the run."""

    epochs: int | None
    train: tuple[str, ...] | None
    hold: tuple[str, ...]
    weights: dict[str, float] | None

    def trains(self, name: str) -> bool:
        """Whether the part of this name is trained."""
        return (self.train is None or name in self.train) and name not in self.hold


def read_stages(stages: Sequence[Mapping[str, Any]] | None, freeze: Iterable[str] = ()) -> list[Stage]:
    """The stages of a configuration; without any, one that lasts. What is frozen is held in all of them.

    Raises:
        ValueError: an unknown key, or an epoch number that cannot be right.
    """
    frozen, result = tuple(freeze), []
    for i, entry in enumerate(stages or [{}]):
        for key in entry:
            if key not in Stage._fields:
                raise ValueError(f"stages: {unknown('key', key, Stage._fields)}")
        epochs, last = entry.get("epochs"), i == len(stages or [{}]) - 1
        if epochs is None and not last:
            raise ValueError(f"stages: stage {i} needs `epochs`; only the last one lasts to the end.")
        if epochs is not None and (isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1):
            raise ValueError(f"stages: epochs must be a positive whole number; got {epochs!r}.")
        train = entry.get("train")
        if entry.get("weights") is not None:
            loss_weights(weights=entry["weights"])  # see that they can be right
        result.append(
            Stage(
                epochs, None if train is None else tuple(train), (*frozen, *entry.get("hold", ())), entry.get("weights")
            )
        )
    return result


def stage_of(stages: Sequence[Stage], epoch: int) -> Stage:
    """The stage of an epoch (0 is the first); the last one goes on."""
    for stage in stages[:-1]:
        if epoch < (stage.epochs or 0):
            return stage
        epoch -= stage.epochs or 0
    return stages[-1]


def check_names_of_parts(stages: Iterable[Stage], parts: Iterable[str]) -> None:
    """See that the stages name parts that exist.

    Raises:
        ValueError: a name that is none of the parts.
    """
    parts = list(parts)
    for stage in stages:
        for name in (*(stage.train or ()), *stage.hold):
            if name not in parts:
                raise ValueError(unknown("part of the model to train or hold", name, parts))


def check_stages_train(stages: Sequence[Stage], movable: Iterable[str]) -> None:
    """See that every stage trains something.

    Args:
        movable: names of the parts that their owner left free to move.

    Raises:
        ValueError: a stage in which nothing moves.
    """
    movable = list(movable)
    for i, stage in enumerate(stages):
        if movable and not any(stage.trains(name) for name in movable):
            raise ValueError(
                f"stages: stage {i} trains nothing; it may train {', '.join(movable)}, if they are not frozen."
            )


def forget_gradients_of_held(stage: Stage, parts: Mapping[str, Iterable[nn.Parameter]]) -> None:
    """Leave gradients to the parts that are trained: an optimiser leaves numbers without gradient, and their state, alone.

    They are forgotten after the derivative, not switched off before it, so that several processes wait for the same ones in every
    stage.
    """
    for name, members in parts.items():
        if not stage.trains(name):
            for member in members:
                member.grad = None
