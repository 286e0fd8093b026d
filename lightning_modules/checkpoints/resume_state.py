"""What a checkpoint needs beside Lightning's own content so that a run goes on exactly. Models bring this callback themselves."""

from __future__ import annotations

from typing import Any, Protocol, cast, runtime_checkable

import lightning as L
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.utilities import rank_zero_warn

from ..data.loader import TowerLoader
from ..processes import gathered, processes
from .files import WholeFiles
from .format import stamp
from .random_state import random_state, set_random_state

RESUME = "canveg_resume"
"""Key of this state in a checkpoint."""


@runtime_checkable
class HasTrainingState(Protocol):
    """A model with numbers that the rest of its training depends on, and that are no part of its `state_dict`."""

    def training_state(self) -> dict[str, Any]:
        """Tensors, numbers and containers of them: those of this process."""
        ...

    def set_training_state(self, state: dict[str, Any], /) -> None:
        """Go on from there."""
        ...


class ResumeState(L.Callback):
    """Saves, and restores when training starts again: the random generators of every process, the place of a `TowerLoader` within
    the epoch, the model's own `training_state`, the logged metrics that other callbacks watch, and whether training had
    ended early.

    With it checkpoints are written by `WholeFiles`, unless the trainer was given another plugin.
    """

    def __init__(self) -> None:
        self._state: dict[str, Any] | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Choose how checkpoints reach the disk."""
        del pl_module, stage
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = WholeFiles()

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Every process takes part: each has random numbers and solutions of its own."""
        own = pl_module.training_state() if isinstance(pl_module, HasTrainingState) else {}
        stamp(checkpoint)
        checkpoint[RESUME] = {
            "random": gathered(random_state()),
            "model": gathered(own),
            "metrics": {name: value.detach().cpu() for name, value in trainer.callback_metrics.items()},
            "ended": bool(trainer.should_stop),
            "place": _place(trainer),
        }

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep the state until everything else is in place."""
        del trainer, pl_module
        self._state = checkpoint.get(RESUME)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Restore; nothing is drawn between here and the next training step."""
        if self._state is None:
            return
        state, self._state = self._state, None
        rank, size = processes()
        trainer.callback_metrics.update(state["metrics"])
        loader = trainer.train_dataloader
        if isinstance(loader, TowerLoader) and state["place"] is not None:
            # Lightning does so only if no schedule has asked for the number of batches before it read the checkpoint.
            if state["place"]["epoch"] == cast(Any, trainer.fit_loop.epoch_progress.current).processed:
                loader.load_state_dict(state["place"])
            elif differences := loader.differences(state["place"]):
                rank_zero_warn(
                    f"the run that is resumed had other data or batches: {', '.join(differences)}. It goes on with those of now, "
                    "scaled by the statistics of the earlier ones, and does not end as either run would have by itself. Resume "
                    "with the data and settings of the run, or start anew from its weights (canveg finetune)."
                )
        if len(state["random"]) != size:
            rank_zero_warn(
                f"the checkpoint was written by {len(state['random'])} process(es), and this run has {size}: random numbers, "
                "solutions to start at and sums of a begun epoch start afresh, so the run does not end as the whole one would."
            )
        if isinstance(pl_module, HasTrainingState) and len(state["model"]) == size:
            pl_module.set_training_state(state["model"][rank])
        if len(state["random"]) == size:
            set_random_state(state["random"][rank])
        trainer.should_stop = state["ended"]

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Forget what no training has asked for."""
        del trainer, pl_module, stage
        self._state = None


def _place(trainer: L.Trainer) -> dict[str, Any] | None:
    loader = trainer.train_dataloader
    return loader.state_dict() if isinstance(loader, TowerLoader) else None
