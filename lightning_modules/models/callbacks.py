"""What watches over the training of a hybrid canopy. `HybridCanopy` brings these callbacks to its trainer itself."""

from __future__ import annotations

import warnings

import lightning as L
import numpy as np
import torch

from ..protocols import Physics


class NonFiniteGradientWarning(UserWarning):
    """A gradient was not finite; that optimiser step was left out, and counted in `train/skipped_steps`."""


class SkipNonFiniteSteps(L.Callback):
    """Leaves out optimiser steps whose gradient is not finite; logs their number per epoch as `train/skipped_steps`.

    Warns:
        NonFiniteGradientWarning: at every such step.
    """

    def __init__(self) -> None:
        self._skipped = 0

    def state_dict(self) -> dict[str, int]:
        """How many were left out in this epoch so far."""
        return {"skipped": self._skipped}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Count on from there."""
        self._skipped = state_dict["skipped"]

    def on_after_backward(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Without gradients the optimiser leaves everything, its own state too, as it is."""
        gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
        if gradients and not all(bool(torch.isfinite(g).all()) for g in gradients):
            for p in pl_module.parameters():
                p.grad = None
            self._skipped += 1
            if trainer.is_global_zero:
                warnings.warn(
                    f"a gradient was not finite; step {trainer.global_step} was left out.",
                    NonFiniteGradientWarning,
                    stacklevel=2,
                )

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log, and count anew."""
        # Processes share their gradients, so all of them left out the same steps.
        pl_module.log("train/skipped_steps", float(self._skipped), reduce_fx="max", sync_dist=True)
        self._skipped = 0


class ConstantsUnchanged(L.Callback):
    """Verifies after training that every number of the physics that is not tuned is bit-identical.

    Args:
        physics: whose `fixed_constants` are compared.
    """

    def __init__(self, physics: Physics):
        self.physics = physics
        self._before: dict[str, np.ndarray] = {}

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remember the constants."""
        self._before = self.physics.fixed_constants()

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Compare.

        Raises:
            RuntimeError: one changed; the message names it.
        """
        now = self.physics.fixed_constants()
        changed = [name for name, value in self._before.items() if value.tobytes() != now[name].tobytes()]
        if changed:
            raise RuntimeError(f"constants that are not tuned changed during training: {', '.join(changed)}.")
