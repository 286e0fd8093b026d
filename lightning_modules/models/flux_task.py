"""What all models of half-hourly fluxes share under Lightning: masked loss, scaling, scores of whole parts, their log."""

from __future__ import annotations

import abc
import dataclasses
import io
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self, cast

import lightning as L
import torch
from torch import nn

from ..checkpoints.format import read_checkpoint
from ..checkpoints.resume_state import ResumeState
from ..data.dataset import Batch
from ..data.splits import PARTS, Part
from ..data.statistics import MeanSd, ScalingStatistics
from ..data.targets import FLUX_OF_TARGET
from ..evaluation.part_scores import PartScores
from ..names import REASON_NAMES
from ..processes import processes, total
from ..protocols import TowerData
from ..sharing.stored_model import STATISTICS, refuse_foreign_classes
from .error_scales import Likelihood, read_likelihood
from .error_weights import RandomErrorSetting, read_error_weights
from .failures import (
    FailureCount,
    failed_and_all,
    failures_by_reason,
    require_few,
    warn_of_failures,
)
from .losses import FluxLoss, LossTerms
from .pretrained import Pretrained


class FluxTask(Pretrained, L.LightningModule, abc.ABC):
    """Base of `HybridCanopy` and `FluxNetwork`. A model says what the `fluxes` of a batch are, and `configure_optimizers`.

    Logged: `train/loss`; `val/loss`, `test/loss` and the scores of `FluxMetrics` (`val/NSE_LE` ...), which are those of the
    whole part, whatever the batches; `<part>/not_converged` (count of half-hours without a solution),
    `<part>/not_converged_share` and, where it is not zero, `<part>/failed/<site>/<reason>` of models that iterate.

    Args:
        loss: the masked loss; its targets are those that are fitted.
        scored: observed fluxes to score, beside those that are fitted.
        random_error: how well single samples are known (`ErrorWeights`); None: all alike.
        likelihood: of errors whose size is learned (`ErrorScales`), instead of the kind of loss; None: none.
        n_sites: number of sites, of models that count half-hours without a solution by site.
    """

    max_failed_share: float | None = None
    """Training ends with an error where the share of half-hours without a solution exceeds this."""

    stages_that_scale: ClassVar[tuple[str, ...]] = ("fit", "validate", "test")
    """Stages of the trainer that cannot do without scaling statistics."""

    target_sd: torch.Tensor
    has_statistics: torch.Tensor

    def __init__(
        self,
        loss: FluxLoss,
        scored: Sequence[str],
        random_error: RandomErrorSetting = None,
        likelihood: Likelihood | None = None,
        n_sites: int = 1,
    ):
        super().__init__()
        self.loss = loss
        kinds = set(loss.kinds.values())
        kind = kinds.pop() if len(kinds) == 1 else loss.kinds
        self.error_scales = read_likelihood(likelihood, tuple(loss.weights), kind, random_error)
        self.error_weights = read_error_weights(random_error, tuple(loss.weights))
        scored = tuple(dict.fromkeys((*scored, *loss.weights)))
        self.register_buffer("target_sd", torch.ones(len(loss.weights), dtype=torch.float64))
        self.register_buffer("has_statistics", torch.tensor(False))
        self.statistics: ScalingStatistics | None = None
        self.inputs_seen: dict[str, MeanSd] | None = None
        self.val_scores = PartScores(loss.weights, scored)
        self.test_scores = PartScores(loss.weights, scored)
        self._failures = nn.ModuleDict({f"of_{part}": FailureCount(n_sites) for part in PARTS})
        self._train_loss = torch.zeros(2, dtype=torch.float64)

    # --- what a model defines

    @abc.abstractmethod
    def fluxes(self, batch: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """Modelled fluxes `[time]` of a batch by output name (`LE` ...), and `converged` (bool) of models that iterate."""

    def fluxes_to_train_on(self, batch: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """The same for a training step."""
        return self.fluxes(batch)

    def penalty(self, fluxes: Mapping[str, torch.Tensor], batch: Mapping[str, Any]) -> torch.Tensor | float:
        """What training adds to the loss of a batch."""
        return 0.0

    def as_observed(self, fluxes: dict[str, torch.Tensor], batch: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """What the towers would observe of the modelled fluxes; loss and scores compare this with the observations."""
        return fluxes

    @property
    def days_of_memory(self) -> int:
        """How many days before a half-hour the model looks back over one by one."""
        return 0

    def training_loss(self) -> FluxLoss:
        """The loss that the present epoch trains on; its targets are those of `loss`, in the same order."""
        return self.loss

    def predicted(self, fluxes: dict[str, torch.Tensor], batch: Mapping[str, Any]) -> dict[str, Any]:
        """The model's share of a batch of predictions."""
        return {"fluxes": fluxes}

    # --- scaling and loss

    def set_statistics(self, statistics: ScalingStatistics | Mapping[str, Any]) -> None:
        """Take scaling statistics of a training part (or their `to_dict()`) into the buffers.

        Raises:
            ValueError: a target that the loss weighs was never measured there, or does not vary.
        """
        if not isinstance(statistics, ScalingStatistics):
            statistics = ScalingStatistics.from_dict(statistics)
        for i, name in enumerate(self.loss.weights):
            if name not in statistics.targets or not statistics.targets[name].sd > 0:
                raise ValueError(
                    f"the loss weighs '{name}', but the training part has no measured samples of it that vary. Give "
                    "it weight 0 (le_weight, weights), or use data that have it (and name it in `targets` of the data module)."
                )
            self.target_sd[i] = statistics.targets[name].sd
        if self.error_weights is not None:
            self.error_weights.set_statistics(statistics.random_error)
        self.take_statistics(statistics)
        self.statistics = statistics
        self.has_statistics.fill_(True)

    def statistics_for(self, statistics: ScalingStatistics) -> ScalingStatistics:
        """Those of the data, with the inputs as a model that was trained before has seen them."""
        return (
            statistics if self.inputs_seen is None else dataclasses.replace(statistics, inputs=dict(self.inputs_seen))
        )

    def take_statistics(self, statistics: ScalingStatistics) -> None:
        """What a model keeps beside the standard deviations of the fitted fluxes."""

    def batch_loss(
        self, batch: Mapping[str, Any], fluxes: Mapping[str, torch.Tensor], loss: FluxLoss | None = None
    ) -> LossTerms:
        """Masked loss of a batch (without the penalty), by `loss` or another one of the same targets."""
        loss = self.loss if loss is None else loss
        factors = None
        sd = {name: self.target_sd[i] for i, name in enumerate(self.loss.weights)}
        seen = self.as_observed(dict(fluxes), batch)
        if self.error_weights is not None:
            factors = {name: self.error_weights(name, seen[FLUX_OF_TARGET[name]], batch) for name in loss.weights}
        return loss(seen, batch["target"], batch["measured"], sd, fluxes.get("converged"), factors, self.error_scales)

    # --- Lightning

    @property
    def tower_data(self) -> TowerData | None:
        """The trainer's data module, if it is one of towers."""
        data = getattr(self.trainer, "datamodule", None)  # Lightning sets it only where there is one
        return data if isinstance(data, TowerData) else None

    def setup(self, stage: str) -> None:
        """Take the statistics of the data module, unless the constructor or a checkpoint gave some.

        Raises:
            ValueError: there are none, and the stage needs them.
        """
        if self.days_of_memory and (towers := self.tower_data) is not None:
            towers.carry_days(self.days_of_memory)
        if self.has_statistics:
            return
        if (data := self.tower_data) is not None:
            self.set_statistics(self.statistics_for(data.statistics))
        elif stage in self.stages_that_scale:
            raise ValueError(
                "no scaling statistics: use a FluxTowerDataModule, or give them to `set_statistics` "
                "(ScalingStatistics.of(training_set, sites))."
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The statistics go along: they tell what the networks have seen."""
        checkpoint[STATISTICS] = None if self.statistics is None else self.statistics.to_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Let weights come back in the precision in which they were saved, and with them the statistics."""
        if (statistics := checkpoint.get(STATISTICS)) is not None:
            self.statistics = ScalingStatistics.from_dict(statistics)
        self.take_precision(checkpoint["state_dict"])

    def take_precision(self, saved: Mapping[str, torch.Tensor]) -> None:
        """Let the parameters have the precision of these tensors by name."""
        for name, p in self.named_parameters():
            if name in saved and saved[name].is_floating_point():
                p.data = p.data.to(saved[name].dtype)

    @classmethod
    def load_from_checkpoint(
        cls, checkpoint_path: Any, map_location: Any = None, *args: Any, allow: tuple[str, ...] = (), **options: Any
    ) -> Self:
        """A model as it was saved. Nothing but numbers and texts is read from the file, whatever `weights_only` says, and no
        class that it names is imported, but those of `allow`.

        Args:
            checkpoint_path: local file.
            allow: class paths (`mine.Network`) that its settings may import: code that you trust.
            map_location, args, options: as of `LightningModule.load_from_checkpoint`; arguments of the model that a
                checkpoint cannot hold, such as a module of your own, by name.

        Raises:
            FileNotFoundError, ValueError: as of `checkpoints.format.read_checkpoint`; a class that is neither given nor allowed.
        """
        checkpoint = read_checkpoint(checkpoint_path, map_location)
        settings = {**checkpoint.get(cls.CHECKPOINT_HYPER_PARAMS_KEY, {}), **options}
        remedy = "load with load_from_checkpoint(..., allow=({class_path!r},)), or build the module and pass it"
        refuse_foreign_classes(settings, allow, checkpoint_path, remedy)
        content = io.BytesIO()
        torch.save(checkpoint, content)
        content.seek(0)
        options["weights_only"] = True
        return super().load_from_checkpoint(content, map_location, *args, **options)

    def on_train_epoch_start(self) -> None:
        """Count anew, should an earlier training have ended within an epoch."""
        self._train_loss = torch.zeros_like(self._train_loss)
        self._failures_of("train").reset()

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """Loss of a batch, with the penalty; the log has it without."""
        fluxes = self.fluxes_to_train_on(batch)
        loss = self.training_loss()
        terms = self.batch_loss(batch, fluxes, loss)
        share, value, n = self._of_all_processes(loss, terms, _counted(batch).sum())
        # Lightning's own mean over an epoch is lost where a checkpoint is written within it.
        self._train_loss = self._train_loss.to(value.device) + torch.stack(
            [value.double() * n, value.new_tensor(n).double()]
        )
        self._count("train", fluxes, batch)
        return share + self.penalty(fluxes, batch)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to loss and scores."""
        self._evaluate("val", self.val_scores, batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to loss and scores."""
        self._evaluate("test", self.test_scores, batch)

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Any]:
        """One batch of predictions: `fluxes` by name, `observed` and `measured` by target, `row`, `site`."""
        fluxes = self.fluxes(batch)
        self._count("test", fluxes, batch)
        prediction = {
            **self.predicted(fluxes, batch), "observed": batch["target"], "measured": batch["measured"], "row": batch["row"],
            "site": batch["site"],
        }  # fmt: skip
        counted = _counted(batch)
        return prediction if counted.all() else _rows(prediction, counted)

    def on_train_epoch_end(self) -> None:
        """Log the mean loss, and the half-hours that did not converge."""
        loss, n = self._train_loss.unbind()
        if n > 0:
            self._log_everywhere({"train/loss": loss / n}, prog_bar=True)
        self._train_loss = torch.zeros_like(self._train_loss)
        self._log_failures("train")

    def configure_callbacks(self) -> list[L.Callback]:
        """What lets a run be resumed exactly."""
        return [ResumeState()]

    def training_state(self) -> dict[str, Any]:
        """Numbers of this process in the midst of an epoch that a resumed run goes on with."""
        return {"loss": self._train_loss.cpu(), "failures": self._failures_of("train").counts.cpu()}

    def set_training_state(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self._train_loss = state["loss"].clone()
        self._failures_of("train").go_on_from(state["failures"].to(self.device))

    def on_validation_epoch_end(self) -> None:
        """Log loss and scores of the part."""
        self._log_scores("val", self.val_scores)

    def on_test_epoch_end(self) -> None:
        """Log loss and scores of the part."""
        self._log_scores("test", self.test_scores)

    def on_predict_epoch_end(self) -> None:
        """Warn of half-hours that did not converge; a prediction has no log."""
        if self._iterates("test"):
            warn_of_failures("prediction", self._failures_of("test").take()[0])

    # --- internals

    def _evaluate(self, part: Part, scores: PartScores, batch: Mapping[str, Any]) -> None:
        fluxes = self.fluxes(batch)
        terms = self.batch_loss(batch, fluxes)
        scores.loss.update(terms.sums, terms.counts)
        seen = self.as_observed(dict(fluxes), batch)
        scores.fluxes.update(seen, batch["target"], batch["measured"], fluxes.get("converged"))
        self._count(part, fluxes, batch)

    def _of_all_processes(
        self, loss: FluxLoss, terms: LossTerms, n: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, int]:
        """What this process derives, the loss of the batch that all processes share, and its number of half-hours.

        The mean over the processes of the derivatives of the first (that of DistributedDataParallel) is the derivative of the
        second: each process divides its sums by the numbers of samples of all.
        """
        size = processes().size
        if size == 1:
            return terms.loss, terms.loss.detach(), int(n)
        everywhere = total(torch.stack([*terms.sums.double(), *terms.counts.double(), n.double()]))
        sums, counts = everywhere[:-1].to(terms.sums.dtype).chunk(2)
        return size * loss.mean(terms.sums, counts), loss.mean(sums, counts), int(everywhere[-1])

    def _count(self, part: Part, fluxes: Mapping[str, torch.Tensor], batch: Mapping[str, Any]) -> None:
        if "converged" in fluxes:
            self._failures_of(part).update(fluxes, batch, _counted(batch))

    def _failures_of(self, part: Part) -> FailureCount:
        return cast(FailureCount, self._failures[f"of_{part}"])

    def _iterates(self, part: Part) -> bool:
        """Whether the model says what converged; the same in all processes, as each has batches of every part."""
        return self._failures_of(part).update_called

    def _log_scores(self, part: Part, scores: PartScores) -> None:
        loss, values = scores.take()
        self._log_everywhere({f"{part}/loss": loss}, prog_bar=True)
        self._log_everywhere({f"{part}/{name}": value for name, value in values.items()})
        self._log_failures(part)

    def _log_failures(self, part: Part) -> None:
        if not self._iterates(part):
            return
        counts, first = self._failures_of(part).take()
        failed, solved = failed_and_all(counts)
        names = self._site_names(len(counts))
        by_reason = {f"{part}/failed/{name}": n for name, n in failures_by_reason(counts, names).items()}
        self._log_everywhere({name: torch.tensor(float(n)) for name, n in by_reason.items()})
        self._log_everywhere({
            f"{part}/not_converged": torch.tensor(float(failed)),
            f"{part}/not_converged_share": torch.tensor(failed / max(1, solved), dtype=torch.float64),
        })  # fmt: skip
        warn_of_failures(part, counts)
        if self.trainer.training or self.trainer.validating and self.trainer.state.fn == "fit":
            what = f"{part}, epoch {self.current_epoch}"
            half_hours = [self._half_hour(part, names, *one) for one in first]
            require_few(what, counts, names, half_hours, self.parameters_in_words(), self.max_failed_share)

    def parameters_in_words(self) -> str:
        """The present values of the numbers that a solution depends on."""
        return ""

    def _site_names(self, n_sites: int) -> list[str]:
        sites = getattr(self, "sites", None)
        return [site.name for site in sites] if sites else [str(i) for i in range(n_sites)]

    def _half_hour(self, part: Part, sites: Sequence[str], site: int, row: int, reason: int) -> str:
        """A half-hour in words."""
        records = getattr(self.tower_data, "records", {}).get(part)
        when = f"row {row}" if records is None else str(records[site]["time"].values[row].astype("datetime64[m]"))
        return f"{sites[site]} {when} ({REASON_NAMES[reason]})"

    def _log_everywhere(self, values: Mapping[str, torch.Tensor], prog_bar: bool = False) -> None:
        """Log numbers that are the same in all processes: their largest is each of them, to the last bit."""
        self.log_dict(dict(values), prog_bar=prog_bar, reduce_fx="max", sync_dist=True)


def _counted(batch: Mapping[str, Any]) -> torch.Tensor:
    """Which half-hours of a batch count, `[time]`: all but those that fill it up (`Batch`)."""
    return batch["counted"] if "counted" in batch else torch.ones_like(batch["site"], dtype=torch.bool)


def _rows(columns: Any, chosen: torch.Tensor) -> Any:
    """The chosen rows of all tensors `[time, ...]` in nested mappings."""
    if isinstance(columns, Mapping):
        return {name: _rows(column, chosen) for name, column in columns.items()}
    return columns[chosen]
