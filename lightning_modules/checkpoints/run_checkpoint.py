"""The checkpoints of a run: the best, and the last at moments from which training goes on exactly."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from lightning.pytorch.utilities.exceptions import SIGTERMException

from canveg_jax.files import replacing


class RunCheckpoint(ModelCheckpoint):
    """`ModelCheckpoint` whose `last.ckpt` may be written within an epoch, and which a resumed run takes along.

    `last.ckpt` is written at the end of an epoch, at intervals if asked for, and when the run is interrupted: after
    Ctrl-C training goes on to the next moment from which it can be resumed exactly, saves there and stops; a second Ctrl-C
    stops at once. Such moments are the ends of optimiser steps after which neither validation nor the end of an epoch is due,
    and the ends of epochs.

    A run that is resumed into another folder first copies its checkpoint (as `last.ckpt`) and the best ones so far there, so
    that the folder holds all that the run needs, and the best is the best of the whole run.

    Args:
        last_every_n_steps: write `last.ckpt` after every n optimiser steps.
        last_every_n_minutes: write it when so many minutes have passed since it was last written.
        options: as of `lightning.pytorch.callbacks.ModelCheckpoint`.

    Raises:
        ValueError: an interval that is not positive.
    """

    def __init__(
        self, *, last_every_n_steps: int | None = None, last_every_n_minutes: float | None = None, **options: Any
    ):
        super().__init__(**options)
        for name, value in (
            ("last_every_n_steps", last_every_n_steps),
            ("last_every_n_minutes", last_every_n_minutes),
        ):
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be positive, or null for the ends of epochs alone; got {value!r}.")
        self.last_every_n_steps, self.last_every_n_minutes = last_every_n_steps, last_every_n_minutes
        self._earlier: dict[str, Any] | None = None
        self._due = self._stop = False
        self._written = time.monotonic()
        self._handler: Any = None

    # --- when

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take over what an earlier run left, and listen for Ctrl-C."""
        super().on_train_start(trainer, pl_module)
        self._take_over(trainer)
        self._due = self._stop = False
        self._written = time.monotonic()
        if (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        ):
            self._handler = signal.signal(signal.SIGINT, self._ask_to_stop)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop here if that was asked for during the last epoch."""
        del pl_module
        self._stop_if_asked(trainer)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save the last checkpoint if it is time, and stop if that was asked for."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        self._due |= self._interval_is_over(trainer)
        if not _resumes_exactly(trainer, batch_idx):
            return
        stop = self._all_agree_to_stop(trainer)
        if self._due or stop:
            self._save_last(trainer)
        if stop:
            raise KeyboardInterrupt

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """As of `ModelCheckpoint`; the last checkpoint also where the interval or an interrupt asks for it."""
        super().on_train_epoch_end(trainer, pl_module)
        if self._due or self._all_agree_to_stop(trainer):
            self._save_last(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Training is over: Ctrl-C interrupts at once again."""
        super().on_train_end(trainer, pl_module)
        self._listen_no_more()
        if self._stop:
            raise KeyboardInterrupt

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Lightning ends a run that was told to terminate (SIGTERM) between two steps: save there."""
        self._listen_no_more()
        if isinstance(exception, SIGTERMException) and trainer.state.fn == TrainerFn.FITTING:
            self._save_last(trainer)
        super().on_exception(trainer, pl_module, exception)

    # --- what an earlier run left

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the state until training starts: other commands need the path of the best checkpoint alone."""
        self._earlier = state_dict
        self.best_model_path = state_dict["best_model_path"]

    def _take_over(self, trainer: L.Trainer) -> None:
        earlier, self._earlier = self._earlier, None
        if earlier is None or self.dirpath is None:
            return
        folder = Path(self.dirpath)
        found = {path: folder / Path(path).name for path in self._best_of(earlier) if Path(path).is_file()}
        last = folder / f"{self.CHECKPOINT_NAME_LAST}{self.FILE_EXTENSION}"
        copies = dict(found)
        if self.save_last and trainer.ckpt_path is not None and Path(trainer.ckpt_path).is_file():
            copies[str(trainer.ckpt_path)] = last
            self.last_model_path = str(last)
        if trainer.is_global_zero:
            for old, new in copies.items():
                if Path(old).resolve() != new.resolve():
                    with replacing(new) as temporary:
                        shutil.copyfile(old, temporary)
        trainer.strategy.barrier("the checkpoints of the earlier run")
        if earlier["best_model_path"] not in found:
            self.best_model_path = ""
            if earlier["best_model_path"]:
                rank_zero_warn(
                    f"the best checkpoint of the earlier run, {earlier['best_model_path']}, is not there any more: the best is "
                    "sought among the epochs from here on."
                )
            return
        self.best_model_path = str(found[earlier["best_model_path"]])
        self.best_model_score = earlier["best_model_score"]
        self.current_score = earlier["current_score"]
        scores = earlier["best_k_models"]
        self.best_k_models = {str(new): scores[old] for old, new in found.items() if old in scores}
        kth = found.get(earlier["kth_best_model_path"])
        if kth is not None:
            self.kth_best_model_path, self.kth_value = str(kth), earlier["kth_value"]

    @staticmethod
    def _best_of(state: dict[str, Any]) -> list[str]:
        return list(dict.fromkeys([*state["best_k_models"], *filter(None, [state["best_model_path"]])]))

    # --- internals

    def _save_last(self, trainer: L.Trainer) -> None:
        """Write `last.ckpt`. The end of the epoch, whose metrics are still to come, is saved as if this had not been."""
        if (
            self.save_last
            and not getattr(trainer, "fast_dev_run", False)
            and self._last_of(trainer) != trainer.global_step
        ):
            saved, path = self._last_global_step_saved, self._last_checkpoint_saved
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))
            self._last_global_step_saved, self._last_checkpoint_saved = saved, path
        self._due, self._written = False, time.monotonic()

    def _last_of(self, trainer: L.Trainer) -> int:
        """The step of `last.ckpt`, if it is of the end of an epoch."""
        return self._last_global_step_saved if self._last_checkpoint_saved == self.last_model_path else -1

    def _interval_is_over(self, trainer: L.Trainer) -> bool:
        over = self.last_every_n_steps is not None and trainer.global_step % self.last_every_n_steps == 0
        if self.last_every_n_minutes is not None:
            passed = time.monotonic() - self._written >= 60.0 * self.last_every_n_minutes
            over |= bool(trainer.strategy.broadcast(passed))  # clocks differ: the first process decides
        return over

    def _ask_to_stop(self, number: int, frame: Any) -> None:
        del frame
        self._stop = True
        signal.signal(number, signal.default_int_handler)
        rank_zero_info("canveg: stops after this step, once it is saved. Ctrl-C again stops at once.")

    def _all_agree_to_stop(self, trainer: L.Trainer) -> bool:
        """One process may hear of it a step before the others."""
        if trainer.world_size > 1:
            self._stop = trainer.strategy.reduce_boolean_decision(self._stop, all=False)
        return self._stop

    def _stop_if_asked(self, trainer: L.Trainer) -> None:
        if self._all_agree_to_stop(trainer):
            raise KeyboardInterrupt

    def _listen_no_more(self) -> None:
        if self._handler is not None and signal.getsignal(signal.SIGINT) == self._ask_to_stop:
            signal.signal(signal.SIGINT, self._handler)
        self._handler = None


def _resumes_exactly(trainer: L.Trainer, batch_idx: int) -> bool:
    """Whether a checkpoint that is written after this batch can be resumed from exactly: the optimiser has stepped on all that
    was derived, and neither validation nor the end of the epoch or of training comes before the next batch."""
    if (batch_idx + 1) % trainer.accumulate_grad_batches or batch_idx + 1 >= trainer.num_training_batches:
        return False
    if trainer.global_step == trainer.max_steps:
        return False
    count = trainer.fit_loop.total_batch_idx if trainer.check_val_every_n_epoch is None else batch_idx
    every = trainer.val_check_batch
    return every is None or (count + 1) % every != 0
