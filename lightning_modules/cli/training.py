"""`canveg fit | validate | test | predict`: LightningCLI around `FluxTowerDataModule` and `HybridCanopy`."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from jsonargparse import Namespace
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback

from canveg_jax.runtime import prepare_jax

from ..data.datamodule import FluxTowerDataModule
from ..evaluation.predictions import predictions_dataset, write_predictions
from ..evaluation.report import report_figure, save_figure
from ..evaluation.score_table import score_table, table_text, write_table
from ..models.hybrid_canopy import HybridCanopy

UNHELPFUL = (
    "LightningCLI.s args parameter is intended.*",  # the arguments come through `main`
    ".*does not have many workers.*",  # data are in memory: worker processes would be slower
    ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",
    ".*Checkpoint directory .* exists and is not empty.*",
)
"""Warnings of Lightning that do not concern the user of this command."""


@dataclasses.dataclass
class OutputFiles:
    """What is written after training and by `predict`.

    Args:
        after_fit: after training, run the best checkpoint over all parts and write the files.
        predictions: observed and modelled fluxes, stress and flags; default: `predictions.nc` in the run's folder.
        report: the picture; default: `report.png` beside the predictions.
        scores: the table of scores; default: `scores.csv` beside the predictions.
    """

    after_fit: bool = True
    predictions: str | None = None
    report: str | None = None
    scores: str | None = None


class TrainingCLI(LightningCLI):
    """The command line of training. `run_training` is its front door."""

    def __init__(self, arguments: Sequence[str]):
        self.arguments = list(arguments)
        super().__init__(
            HybridCanopy,
            FluxTowerDataModule,
            args=self.arguments,
            seed_everything_default=0,
            save_config_callback=SaveConfigCallback if self.arguments[0] == "fit" else None,
            trainer_defaults={
                "accelerator": "cpu",
                "max_epochs": 30,
                "gradient_clip_val": 1.0,
                "num_sanity_val_steps": 0,
                "log_every_n_steps": 1,
                "logger": {
                    "class_path": "lightning.pytorch.loggers.CSVLogger",
                    "init_args": {"save_dir": "runs", "name": "canveg"},
                },
            },
            parser_kwargs={"prog": "canveg", "description": "Train and use hybrid canopies."},
            auto_configure_optimizers=False,
        )

    @property
    def settings(self) -> Namespace:
        """All settings of the subcommand that runs."""
        return self.config[cast(str, self.subcommand)]

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Sites go from the data to the model; checkpoint and early stopping are there by default."""
        parser.link_arguments("data.sites", "model.sites", apply_on="instantiate")
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.add_lightning_class_args(EarlyStopping, "early_stopping")
        parser.add_class_arguments(OutputFiles, "output")
        parser.set_defaults(
            {
                "checkpoint.monitor": "val/loss",
                "checkpoint.mode": "min",
                "checkpoint.filename": "best",
                "checkpoint.auto_insert_metric_name": False,
                "checkpoint.save_last": True,
                "early_stopping.monitor": "val/loss",
                "early_stopping.patience": 5,
            }
        )

    def before_instantiate_classes(self) -> None:
        """Without a validation part, checkpoint and early stopping watch the training loss."""
        config = self.settings
        if config.trainer.precision not in (None, 32, "32", "32-true", "64", "64-true"):
            raise ValueError(
                f"trainer.precision: {config.trainer.precision} would round the physics. Set data.dtype (float64 or "
                "float32) instead and leave trainer.precision alone."
            )
        if config.data.val_every == 0:
            for watcher in ("checkpoint", "early_stopping"):
                if config[watcher].monitor == "val/loss":
                    config[watcher].monitor = "train/loss"
            config.early_stopping.check_on_train_epoch_end = True
            config.checkpoint.save_on_train_epoch_end = True

    def after_fit(self) -> None:
        """Best checkpoint over all parts: predictions, scores, picture; tuned parameters to the screen."""
        checkpoint = self.trainer.checkpoint_callback
        best = checkpoint.best_model_path if isinstance(checkpoint, ModelCheckpoint) else ""
        if best:
            print(f"\nbest checkpoint: {best}")
        if len(table := self.model.parameter_table()):
            shown = table[["start", "value", "lower", "upper", "near_bound", "unit"]]
            print(f"\ntuned parameters (last epoch)\n{shown.to_string(float_format=lambda x: f'{x:.5g}')}")
        if self.settings.output.after_fit and not self.settings.trainer.fast_dev_run:
            self.datamodule.predict_part = "all"
            self._write(self.trainer.predict(self.model, datamodule=self.datamodule, ckpt_path=best or None))

    def predict(self, **arguments: Any) -> None:
        """Stands in for `Trainer.predict`: its result is written to files."""
        self._write(self.trainer.predict(**arguments))

    def _write(self, outputs: Any) -> None:
        """Predictions, table of scores and picture; the scores of the test part (or all there are) to the screen."""
        output = self.settings.output
        path = Path(output.predictions or Path(self.trainer.log_dir or ".") / "predictions.nc")
        path.parent.mkdir(parents=True, exist_ok=True)
        predictions = predictions_dataset(outputs, self.datamodule)
        write_predictions(path, predictions)
        table = score_table(predictions)
        scores = write_table(output.scores or path.with_name("scores.csv"), table)
        picture = save_figure(report_figure(predictions), output.report or path.with_name("report.png"))
        parts = table.index.get_level_values("part")
        shown = table.loc[parts == "test"] if (parts == "test").any() else table
        print(f"\n{table_text(shown)}\n\npredictions: {path}\nscores: {scores}\npicture: {picture}")


def run_training(arguments: Sequence[str]) -> int:
    """Run `fit`, `validate`, `test` or `predict`. Returns the exit code.

    Raises:
        SystemExit: the configuration is wrong (code 2, the message names the key), or help was asked for.
    """
    prepare_jax()
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # of what LightningCLI itself calls
    with warnings.catch_warnings():
        for text in UNHELPFUL:
            warnings.filterwarnings("ignore", text)
        if arguments[0] != "fit":
            warnings.filterwarnings("ignore", "The dirpath has changed.*")  # of checkpoints, which only fit writes
        TrainingCLI(arguments)
    return 0
