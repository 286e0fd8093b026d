"""`canveg fit | validate | test | predict`: LightningCLI around `FluxTowerDataModule` and `HybridCanopy`."""

from __future__ import annotations

import dataclasses
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import xarray as xr
from jsonargparse import Namespace
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.trainer.states import TrainerStatus
from lightning.pytorch.utilities import rank_zero_info

from canveg_jax.runtime import prepare_jax

from ..checkpoints.run_checkpoint import RunCheckpoint
from ..closures.daily_memory import read_memory
from ..data.datamodule import FluxTowerDataModule
from ..data.extrapolation import extrapolation_text, shares_beyond
from ..data.inputs import check_inputs
from ..evaluation.closure_report import beside, closure_figure, learned_something
from ..evaluation.ensemble import write_ensemble
from ..evaluation.interval_table import interval_table
from ..evaluation.intervals import check_intervals, has_intervals, levels_of, with_intervals
from ..evaluation.predictions import predictions_dataset, write_predictions
from ..evaluation.report import report_figure, save_figure
from ..evaluation.score_table import score_table, table_text, write_table
from ..models.hybrid_canopy import HybridCanopy
from ..models.precision import check_precision
from ..models.residual import CHECKPOINT, ResidualSettings, load_residual, train_residual, with_residual
from ..models.sensitivities import sensitivities, sensitivity_figure
from ..sharing.stored_model import class_paths
from .accelerator import choose_accelerator, look
from .parser import TrainingParser
from .readiness import require_checkpoint, require_packages, require_place
from .run_folder import claim_folder, find_last, next_folder

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
        sensitivities: how the fluxes of so many half-hours of the test part answer to parameters and weather, as
            `sensitivities.csv` and `report-sensitivities.png`; 0: not. Compiles a program of its own.
        intervals: levels of prediction intervals of the observed fluxes, such as `[0.9]` (`evaluation.intervals`): in the
            predictions, the picture, and scored in `intervals.csv` beside the predictions; empty: none.
        calibrate_on: parts whose errors they are made from, `val`, or `train` and `val`.
    """

    after_fit: bool = True
    predictions: str | None = None
    report: str | None = None
    scores: str | None = None
    sensitivities: int = 0
    intervals: list[float] = dataclasses.field(default_factory=list)
    calibrate_on: list[str] = dataclasses.field(default_factory=lambda: ["val"])


class TrainingCLI(LightningCLI):
    """The command line of training. `run_training` is its front door."""

    def __init__(self, arguments: Sequence[str]):
        self.arguments = list(arguments)
        self.predictions: Path | None = None
        super().__init__(
            HybridCanopy,
            FluxTowerDataModule,
            args=self.arguments,
            seed_everything_default=0,
            save_config_callback=SaveConfigCallback if self.arguments[0] == "fit" else None,
            trainer_defaults={
                "accelerator": "auto",
                "devices": 1,
                "max_epochs": 30,
                "gradient_clip_val": 1.0,
                "num_sanity_val_steps": 0,
                "log_every_n_steps": 1,
                "logger": {
                    "class_path": "lightning.pytorch.loggers.CSVLogger",
                    "init_args": {"save_dir": "runs", "name": "canveg"},
                },
            },
            parser_class=TrainingParser,
            parser_kwargs={"prog": "canveg", "description": "Train and use hybrid canopies."},
            auto_configure_optimizers=False,
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, and see that the checkpoint is one before Lightning looks into it."""
        super().parse_arguments(parser, args)
        settings = self.config[self.arguments[0]]
        if settings.get("ckpt_path") == "last":
            settings.ckpt_path = find_last(settings)
        if settings.get("ckpt_path") is not None:
            named = {path for _, path in class_paths(settings.model.as_dict())}
            require_checkpoint(str(settings.ckpt_path), named)

    @property
    def settings(self) -> Namespace:
        """All settings of the subcommand that runs."""
        return self.config[cast(str, self.subcommand)]

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Sites go from the data to the model; checkpoint and early stopping are there by default."""
        parser.link_arguments("data.sites", "model.sites", apply_on="instantiate")
        parser.add_lightning_class_args(RunCheckpoint, "checkpoint")
        parser.add_lightning_class_args(EarlyStopping, "early_stopping")
        parser.add_class_arguments(OutputFiles, "output")
        parser.add_class_arguments(ResidualSettings, "residual")
        parser.add_argument(
            "--members",
            type=int,
            default=1,
            help="fit so many runs that differ in seed_everything, and average them (fit only)",
        )
        parser.set_defaults(
            {
                "checkpoint.monitor": "val/loss",
                "checkpoint.mode": "min",
                "checkpoint.filename": "best",
                "checkpoint.auto_insert_metric_name": False,
                "checkpoint.save_last": True,
                "checkpoint.last_every_n_minutes": 10,
                "early_stopping.monitor": "val/loss",
                "early_stopping.patience": 5,
            }
        )

    def before_instantiate_classes(self) -> None:
        """Refuse what cannot go well. Without validation, checkpoint and early stopping watch the training loss."""
        config = self.settings
        if not config.data.towers:
            raise ValueError(
                "data.towers names no tower. Give a configuration that does: --config examples/us_bi1.yaml, or one of your own."
            )
        check_precision(config.trainer.precision, config.data.dtype)
        _check_strategy(config.trainer.strategy)
        if self.arguments[0] == "fit":
            _check_members(config)
        _check_residual(config)
        _check_intervals(config, self.arguments[0])
        fitted = [name for name, weight in (config.model.weights or {}).items() if weight > 0]
        config.data.targets = list(dict.fromkeys([*config.data.targets, *fitted]))
        if config.data.val_every == 0 or config.trainer.limit_val_batches == 0:
            for watcher in ("checkpoint", "early_stopping"):
                if config[watcher].monitor == "val/loss":
                    config[watcher].monitor = "train/loss"
            config.early_stopping.check_on_train_epoch_end = True
            config.checkpoint.save_on_train_epoch_end = True

    def instantiate_trainer(self, **options: Any) -> Trainer:
        """The trainer on the device that PyTorch and JAX share; with a run's folder also without a logger.

        The configuration that is saved says what was asked for, so that it can be used on another machine.
        """
        asked = self.settings.trainer
        if isinstance(asked.accelerator, str):
            options["accelerator"], notice = choose_accelerator(asked.accelerator, look())
            if notice is not None:
                rank_zero_info(f"canveg: {notice}")
        if asked.logger is False and asked.default_root_dir is None:
            options["default_root_dir"] = str(next_folder(claim=self.arguments[0] == "fit" and not asked.fast_dev_run))
        if asked.enable_checkpointing is False:
            self._parser(self.subcommand).callback_keys.remove("checkpoint")
        return super().instantiate_trainer(**options)

    def after_instantiate_classes(self) -> None:
        """Look at what is needed only at the end."""
        if self.trainer.world_size > 1 and self.arguments != sys.argv[1:]:
            raise ValueError(
                f"trainer.devices: {self.trainer.world_size} processes are started with the arguments of the command itself, so "
                "call canveg from the command line."
            )
        if self.trainer.is_global_zero and self.arguments[0] in ("fit", "predict"):
            output = self.settings.output
            folder = Path(self.trainer.log_dir or ".")
            for path in (folder / "predictions.nc", output.predictions, output.report, output.scores):
                if path is not None:
                    require_place(path)

    def fit(self, **arguments: Any) -> None:
        """`Trainer.fit`; an interrupt says how to go on."""
        claim_folder(self.trainer, self.settings.trainer)
        self._run("fit", arguments)

    def validate(self, **arguments: Any) -> None:
        """`Trainer.validate`."""
        self._run("validate", arguments)

    def test(self, **arguments: Any) -> None:
        """`Trainer.test`."""
        self._run("test", arguments)

    def predict(self, **arguments: Any) -> None:
        """`Trainer.predict`; its result is written to files."""
        self._write(self._run("predict", arguments))

    def after_fit(self) -> None:
        """Best checkpoint over all parts: predictions, scores, picture; tuned parameters to the screen."""
        best = _best_checkpoint(self.trainer)
        if self.trainer.is_global_zero:
            print(
                f"\nbest checkpoint: {best}" if best else "\nno checkpoint: what follows is of the last epoch's weights"
            )
            if len(table := self.model.parameter_table()):
                shown = table[["start", "value", "lower", "upper", "near_bound", "unit"]]
                print(f"\ntuned parameters (last epoch)\n{shown.to_string(float_format=lambda x: f'{x:.5g}')}")
        if self.settings.output.after_fit and not self.settings.trainer.fast_dev_run:
            self.datamodule.predict_part = "all"
            self._write(
                self._run("predict", {"model": self.model, "datamodule": self.datamodule, "ckpt_path": best or None})
            )

    def _run(self, what: str, arguments: dict[str, Any]) -> Any:
        """Call the trainer, which ends an interrupted process: end it as any other command.

        Raises:
            KeyboardInterrupt: what to add to the message.
        """
        try:
            return getattr(self.trainer, what)(**arguments)
        except SystemExit:
            if self.trainer.state.status != TrainerStatus.INTERRUPTED:
                raise
            checkpoint = self.trainer.checkpoint_callback
            last = checkpoint.last_model_path if isinstance(checkpoint, ModelCheckpoint) else ""
            go_on = f"; fit with --ckpt_path {last} (or last) goes on" if what == "fit" and last else ""
            raise KeyboardInterrupt(go_on) from None

    def _write(self, outputs: Any) -> None:
        """Predictions, table of scores and picture; the scores of the test part (or all there are) to the screen.

        Every process has its share of the outputs; the first one writes.
        """
        output = self.settings.output
        path = Path(output.predictions or Path(self.trainer.log_dir or ".") / "predictions.nc")
        predictions = predictions_dataset(outputs, self.datamodule)
        if not self.trainer.is_global_zero:
            return
        predictions = self._with_residual(predictions).assign_attrs(inputs_beyond_training=self._extrapolation())
        if output.intervals and set(output.calibrate_on) <= set(self.datamodule.predict_parts):
            predictions = with_intervals(predictions, output.intervals, output.calibrate_on)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.predictions = write_predictions(path, predictions)
        table = score_table(predictions)
        scores = write_table(output.scores or path.with_name("scores.csv"), table)
        picture = save_figure(report_figure(predictions), output.report or path.with_name("report.png"))
        parts = table.index.get_level_values("part")
        shown = table.loc[parts == "test"] if (parts == "test").any() else table
        print(f"\n{table_text(shown)}\n\npredictions: {path}\nscores: {scores}\npicture: {picture}")
        if beyond := predictions.attrs["inputs_beyond_training"]:
            print(beyond)
        if learned_something(predictions):
            print(f"closures: {save_figure(closure_figure(predictions), beside(picture))}")
        if output.intervals:
            self._report_intervals(predictions, path.with_name("intervals.csv"))
        if output.sensitivities > 0:
            part = "test" if "test" in self.datamodule.parts else "train"
            answers = sensitivities(self.model.cpu(), self.datamodule, part=part, half_hours=output.sensitivities)
            write_table(path.with_name("sensitivities.csv"), answers)
            drawn = save_figure(sensitivity_figure(answers), beside(picture, "sensitivities"))
            print(f"sensitivities: {drawn}")

    def _report_intervals(self, predictions: xr.Dataset, path: Path) -> None:
        """Write the table of the intervals, and say what has none."""
        if not levels_of(predictions):
            parts = " and ".join(self.settings.output.calibrate_on)
            print(
                f"intervals: none, as the {parts} part that they are calibrated on was not predicted (data.predict_part: all)"
            )
            return
        if has_intervals(predictions):
            print(f"intervals: {write_table(path, interval_table(predictions))}")
        if left_out := predictions.attrs["intervals_left_out"]:
            print(f"without intervals: {left_out}")

    def _extrapolation(self) -> str:
        """Where the networks meet what the training part has not shown, in words."""
        data, inputs = self.datamodule, self.model.network_inputs
        statistics = self.model.statistics or data.statistics
        parts = {name: data.parts[name] for name in ("val", "test") if name in data.parts}
        shares = {name: shares_beyond(part, statistics, inputs, data.sites) for name, part in parts.items()}
        return extrapolation_text(shares)

    def _with_residual(self, predictions: xr.Dataset) -> xr.Dataset:
        """The predictions with those of the network on their residuals, where one is asked for.

        After `fit` it is trained, else it is that beside the checkpoint.
        """
        asked = self.settings.residual
        if asked.inputs is None:
            return predictions
        if self.arguments[0] == "fit":
            best = _best_checkpoint(self.trainer)
            folder = Path(best).parent if best else Path(self.trainer.log_dir or ".")
            settings = ResidualSettings(**asked.as_dict())
            network = train_residual(self.datamodule, predictions, settings, self.model.loss.weights, folder)
        else:
            network = load_residual(Path(self.settings.ckpt_path or ".").with_name(CHECKPOINT))
        return with_residual(predictions, self.datamodule, network)


def _best_checkpoint(trainer: Trainer) -> str:
    """Path of the best checkpoint; empty if there is none."""
    checkpoint = trainer.checkpoint_callback
    return checkpoint.best_model_path if isinstance(checkpoint, ModelCheckpoint) else ""


def _check_strategy(strategy: Any) -> None:
    """Raise ValueError for a way to start or to share processes that the canopy cannot go with."""
    name = strategy if isinstance(strategy, str) else strategy.class_path.rpartition(".")[2]
    started_afresh = name == "ddp" or name.startswith("ddp_find_unused_parameters")
    if name not in ("auto", "SingleDeviceStrategy", "DDPStrategy") and not started_afresh:
        raise ValueError(
            f"trainer.strategy: {name} is not supported. Use ddp, which starts every process afresh (a fork of JAX would hang) "
            "and keeps the model whole in each."
        )


def _check_residual(config: Namespace) -> None:
    """Raise ValueError for a network on the residuals that cannot be made."""
    inputs, gru = config.residual.inputs, config.residual.gru
    if inputs is None:
        if gru is not None:
            raise ValueError("residual: gru needs inputs beside it; give residual.inputs.")
        return
    check_inputs(inputs)
    read_memory(gru)
    if config.trainer.devices not in (1, "1"):
        raise ValueError("residual: works in one process (trainer.devices: 1).")


def _check_intervals(config: Namespace, command: str) -> None:
    """Raise ValueError for intervals that cannot be made from what the run predicts."""
    output = config.output
    if not output.intervals or command not in ("fit", "predict"):
        return
    check_intervals(output.intervals, output.calibrate_on)
    if "val" in output.calibrate_on and config.data.val_every == 0:
        raise ValueError(
            "output.intervals: without a validation part (data.val_every: 0) there is nothing to calibrate on; keep one, or "
            "leave output.intervals out."
        )


def _check_members(config: Namespace) -> None:
    """Raise ValueError for an ensemble whose members would overwrite each other, or could not be averaged."""
    members, output, logger = config.members, config.output, config.trainer.logger
    if members < 1:
        raise ValueError(f"members must be at least 1; got {members!r}.")
    if members == 1:
        return
    if config.get("ckpt_path") is not None:
        raise ValueError(
            "members: each is fitted from its own start; leave ckpt_path out, or resume one with members: 1."
        )
    if isinstance(config.seed_everything, bool) or config.seed_everything is None:
        raise ValueError("members: seed_everything must be a number, from which those of the members count on.")
    if not output.after_fit or any((output.predictions, output.report, output.scores)):
        raise ValueError(
            "members: each run writes into its own folder; leave output.predictions, report and scores out, and output.after_fit "
            "true."
        )
    if config.trainer.devices not in (1, "1"):
        raise ValueError("members: train them in one process (trainer.devices: 1).")
    if isinstance(logger, Namespace) and logger.get("init_args", Namespace()).get("version") is not None:
        raise ValueError("members: leave the version of trainer.logger out, so that each run has a folder of its own.")


def _train_other_members(
    first: TrainingCLI, arguments: Sequence[str], make: Callable[[Sequence[str]], TrainingCLI]
) -> None:
    """Train the other members of an ensemble and write the average into `ensemble/` in the folder of the first."""
    seed, paths = int(first.settings.seed_everything), [first.predictions]
    for k in range(1, first.settings.members):
        rank_zero_info(f"member {k} of {first.settings.members}: seed_everything {seed + k}")
        paths.append(make([*arguments, f"--seed_everything={seed + k}"]).predictions)
    written = [path for path in paths if path is not None]
    folder = written[0].parent / "ensemble"
    scores = write_ensemble(written, folder)
    print(f"\nNSE\n{scores.to_string(float_format=lambda x: f'{x:.3f}', na_rep='')}\n\nensemble: {folder}")


def run_training(arguments: Sequence[str], make: Callable[[Sequence[str]], TrainingCLI] = TrainingCLI) -> int:
    """Run `fit`, `validate`, `test` or `predict`, with the command line that `make` builds. Returns the exit code.

    Raises:
        SystemExit: the configuration is wrong (code 2, the message names the key), or help was asked for.
    """
    if arguments[0] in ("fit", "predict"):
        require_packages("h5py", "h5netcdf")
    prepare_jax()
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # of what LightningCLI itself calls
    with warnings.catch_warnings():
        for text in UNHELPFUL:
            warnings.filterwarnings("ignore", text)
        if arguments[0] != "fit":
            warnings.filterwarnings("ignore", "The dirpath has changed.*")  # of checkpoints, which only fit writes
        cli = make(arguments)
        if arguments[0] == "fit" and cli.settings.members > 1:
            _train_other_members(cli, arguments, make)
    return 0
