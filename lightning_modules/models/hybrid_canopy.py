"""The hybrid canopy under Lightning: a stress network and process parameters trained through the solved physics."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax
import lightning as L
import numpy as np
import pandas as pd
import torch
from torch import nn

import canveg_jax as cv
from bridges import TorchCanopy
from canveg_jax import NotConvergedWarning, Site
from canveg_jax.io.tower_files import as_site

from ..closures.registry import build_stress, stress_specification
from ..data.inputs import with_scaled_lai
from ..data.splits import PARTS
from ..data.statistics import ScalingStatistics
from ..data.targets import DEFAULT_TARGETS
from ..evaluation.metrics import FluxMetrics, LossSums
from .losses import FluxLoss, LossKind, LossTerms, loss_weights
from .solution_memory import SolutionMemory
from .tuned_parameters import parameter_table


class NonFiniteGradientWarning(UserWarning):
    """A gradient was not finite; that optimiser step was left out, and counted in `train/skipped_steps`."""


class HybridCanopy(L.LightningModule):
    """Canopy physics with a stress module and tunable parameters, trained on masked fluxes.

    Parameters are tuned as unconstrained numbers behind a smooth transform, so none can leave its physical range;
    everything else stays bit-identical, which is verified after training. Half-hours that do not converge take no part
    in loss and scores; their number is logged and warned about.

    Logged: `train/loss`, `val/loss`, `test/loss`, the scores of `FluxMetrics` (`val/NSE_LE` ...),
    `<part>/not_converged` (count) and `<part>/not_converged_share`.

    Example:
        >>> model = HybridCanopy(data.sites, tunable=["kball", "vcopt"], stress="network")      # doctest: +SKIP
        >>> L.Trainer(max_epochs=20, gradient_clip_val=1.0).fit(model, datamodule=data)         # doctest: +SKIP

    Args:
        sites: in the order of the data's site index: `Site`, name of a preset, path of a YAML, or mapping of constants.
        tunable: names of process parameters to tune; None: all of `canveg_jax.TUNABLE`; empty: none.
        parameters: start (and, if not tuned, fixed) values that differ from the defaults of
            `canveg_jax.PARAMETER_TABLE`.
        stress: None, `network`, `soil_moisture`, a mapping `{module: network, hidden: [8, 8]}`, or a torch module
            `forcing dict -> factor [time]` in (0, 1].
        le_weight: w of latent heat in the loss; NEE gets 1 - w.
        weights: loss weights by target, instead of `le_weight`.
        loss: `squared`, `huber` or `laplace`; errors are in units of the training standard deviation.
        network_lr: learning rate of the stress module (Adam).
        parameter_lr: learning rate of the unconstrained process parameters.
        weight_decay: of the stress module's weights (decoupled, AdamW).
        prior_weight: adds `prior_weight * mean((z - z_start)^2)` over the unconstrained parameters.
        schedule: `constant`, or `cosine` to zero over the planned steps.
        per_site: every site has its own value of each tuned parameter.
        solver: changes of `canveg_jax.SolverOptions`, for example `{max_passes: 200}`.
        warm_start: in training, start each half-hour at its solution of the last epoch (`SolutionMemory`): fewer passes to the
            same tolerance.
        statistics: scaling statistics, if they do not come from the data module (`ScalingStatistics` or its
            `to_dict()`).
        physics: replaces `TorchCanopy`: a module `(forcing, stress=) -> dict of fluxes` with `raw` and
            `parameter_values()`.

    Raises:
        ValueError, UnknownParameterError: a setting that cannot be right; the message has the remedy.
    """

    target_sd: torch.Tensor
    has_statistics: torch.Tensor

    def __init__(
        self,
        sites: Sequence[Site | str | dict[str, Any]],
        tunable: Sequence[str] | None = None,
        parameters: dict[str, float] | None = None,
        stress: nn.Module | dict[str, Any] | str | None = "network",
        le_weight: float = 0.5,
        weights: dict[str, float] | None = None,
        loss: LossKind = "squared",
        network_lr: float = 1e-2,
        parameter_lr: float = 1e-2,
        weight_decay: float = 0.0,
        prior_weight: float = 0.0,
        schedule: Literal["constant", "cosine"] = "constant",
        per_site: bool = False,
        solver: dict[str, Any] | None = None,
        warm_start: bool = True,
        statistics: ScalingStatistics | dict[str, Any] | None = None,
        physics: nn.Module | None = None,
    ):
        super().__init__()
        jax.config.update("jax_enable_x64", True)
        self.sites = tuple(as_site(site) for site in sites)
        if not self.sites:
            raise ValueError("HybridCanopy: expected at least one site; got none.")
        self._check_settings(network_lr, parameter_lr, weight_decay, prior_weight, schedule)
        tunable = list(cv.TUNABLE if tunable is None else tunable)
        self.stress = build_stress(stress)
        if physics is None:
            canopy = cv.Canopy(
                self.sites, cv.Parameters(**(parameters or {})), options=cv.SolverOptions(**(solver or {}))
            )
            physics = TorchCanopy(canopy, tunable=tunable, per_site=per_site)
        self.physics = physics
        remembers = isinstance(physics, TorchCanopy) and warm_start
        self._memory = SolutionMemory(physics.state_size) if remembers else None
        self.start_values = {name: value.numpy().copy() for name, value in self._physical_values().items()}
        for name, z in self._raw().items():
            self.register_buffer(f"start_{name}", z.detach().clone())
        self.loss = FluxLoss(loss_weights(le_weight, weights), loss)
        self.register_buffer("target_sd", torch.ones(len(self.loss.weights), dtype=torch.float64))
        self.register_buffer("has_statistics", torch.tensor(False))
        self.flux_metrics = nn.ModuleDict({part: FluxMetrics(DEFAULT_TARGETS) for part in PARTS[1:]})
        self.loss_sums = nn.ModuleDict({part: LossSums(self.loss.weights) for part in PARTS[1:]})
        self._solved = {part: [0, 0] for part in PARTS}
        self._skipped_steps = 0
        self._constants: dict[str, np.ndarray] = {}
        self.save_hyperparameters({
            "sites": [site.model_dump(mode="json") for site in self.sites], "tunable": tunable,
            "parameters": parameters, "stress": stress_specification(self.stress), "le_weight": le_weight,
            "weights": weights, "loss": loss, "network_lr": network_lr, "parameter_lr": parameter_lr,
            "weight_decay": weight_decay, "prior_weight": prior_weight, "schedule": schedule, "per_site": per_site,
            "solver": solver, "warm_start": warm_start,
        })  # fmt: skip
        if statistics is not None:
            self.set_statistics(statistics)

    # --- the model

    def forward(
        self,
        forcing: Mapping[str, torch.Tensor],
        site: torch.Tensor | None = None,
        start: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Fluxes `[time]` by name, `stress` (factor used; 1 without a stress module), and diagnostics.

        `stress` is the factor used (1 without a stress module); diagnostics are `converged`, `residual`, `passes`. With `start`
        (see `TorchCanopy`) also `state`.
        """
        forcing = dict(forcing)
        module = self.stress
        factor = None if module is None else module(with_scaled_lai(forcing, site, self.sites))
        more = {} if start is None else {"start": start}
        out = self.physics({**forcing, "site": site} if site is not None else forcing, stress=factor, **more)
        return {**out, "stress": torch.ones_like(forcing["air_temperature"]) if factor is None else factor}

    def set_statistics(self, statistics: ScalingStatistics | Mapping[str, Any]) -> None:
        """Take scaling statistics of a training part into the buffers.

        Raises:
            ValueError: a target that the loss weighs was never measured there, or does not vary.
        """
        if not isinstance(statistics, ScalingStatistics):
            statistics = ScalingStatistics.from_dict(statistics)
        for i, name in enumerate(self.loss.weights):
            if name not in statistics.targets or not statistics.targets[name].sd > 0:
                raise ValueError(
                    f"the loss weighs '{name}', but the training part has no measured samples of it that vary. Give "
                    "it weight 0 (le_weight, weights), or use data that have it."
                )
            self.target_sd[i] = statistics.targets[name].sd
        if self.stress is not None and hasattr(self.stress, "set_statistics"):
            self.stress.set_statistics(statistics)
        self.has_statistics.fill_(True)

    def batch_loss(self, batch: Mapping[str, Any], fluxes: Mapping[str, torch.Tensor]) -> LossTerms:
        """Masked loss of a batch (without the prior term)."""
        sd = {name: self.target_sd[i] for i, name in enumerate(self.loss.weights)}
        return self.loss(fluxes, batch["target"], batch["measured"], sd, fluxes["converged"])

    def trainable_fluxes(self, batch: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """Fluxes of a batch whose gradient half-hours without a finite solution cannot spoil.

        The flux of a masked half-hour gets no gradient, but zero times a derivative that is not a number is not zero.
        Where there are such half-hours the batch is solved again with a solved half-hour in their place, flagged as
        not converged.
        """
        memory = self._memory if "row" in batch else None
        start = None if memory is None else memory.recall(batch["site"], batch["row"])
        fluxes = self(batch["forcing"], batch["site"], start)
        solved = fluxes["converged"]
        if memory is not None:
            memory.keep(batch["site"], batch["row"], fluxes.pop("state"), solved)
        finite = torch.stack([torch.isfinite(v) for v in fluxes.values() if v.is_floating_point()]).all(dim=0)
        if bool((solved | finite).all()) or not bool(solved.any()):
            return fluxes
        rows = torch.where(solved, torch.arange(len(solved), device=solved.device), solved.int().argmax())
        forcing = {name: column[rows] for name, column in batch["forcing"].items()}
        again = self(forcing, batch["site"][rows], None if start is None else start[rows])
        again.pop("state", None)
        return {**again, "converged": solved}

    def prior(self) -> torch.Tensor:
        """Mean squared distance of the unconstrained parameters from their start."""
        pulls = [(z - getattr(self, f"start_{name}")).square().mean() for name, z in self._raw().items()]
        return torch.stack(pulls).mean() if pulls else self.target_sd.new_zeros(())

    # --- Lightning

    def setup(self, stage: str) -> None:
        """Take the statistics of the data module, unless the constructor or a checkpoint gave some."""
        if stage == "fit" and not any(p.requires_grad for p in self.parameters()):
            raise ValueError(
                "there is nothing to train: no tunable parameter and no stress module with weights. Use test or "
                "predict for physics alone, or name parameters in `tunable`."
            )
        data = getattr(self.trainer, "datamodule", None)
        names = [site.name for site in getattr(data, "sites", self.sites)]
        if names != [site.name for site in self.sites]:
            raise ValueError(
                f"the data have the sites {', '.join(names)}, the model {', '.join(s.name for s in self.sites)}. "
                "Build the model with `sites=data.sites`."
            )
        if getattr(data, "parts", None) and isinstance(self.physics, TorchCanopy):
            self.physics.pad_to = min(data.batch_size, max(len(part) for part in data.parts.values()))
        if not self.has_statistics:
            if getattr(data, "statistics", None) is not None:
                self.set_statistics(data.statistics)
            elif stage in ("fit", "validate", "test"):
                raise ValueError(
                    "no scaling statistics: use a FluxTowerDataModule, or give "
                    "statistics=ScalingStatistics.of(training_set, sites)."
                )

    def on_fit_start(self) -> None:
        self._constants = self._fixed_constants()
        if self._memory is not None:
            self._memory.forget()  # rows of other data

    def on_fit_end(self) -> None:
        now = self._fixed_constants()
        changed = [name for name, value in self._constants.items() if value.tobytes() != now[name].tobytes()]
        if changed:
            raise RuntimeError(f"constants that are not tuned changed during training: {', '.join(changed)}.")

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> torch.Tensor:
        fluxes = self.trainable_fluxes(batch)
        loss = self.batch_loss(batch, fluxes).loss
        n = len(fluxes["converged"])
        self.log("train/loss", loss.detach(), on_step=False, on_epoch=True, prog_bar=True, batch_size=n)
        self._count("train", fluxes["converged"])
        if self.hparams["prior_weight"] > 0:
            loss = loss + self.hparams["prior_weight"] * self.prior()
        return loss

    def on_after_backward(self) -> None:
        gradients = [p.grad for p in self.parameters() if p.grad is not None]
        if gradients and not all(bool(torch.isfinite(g).all()) for g in gradients):
            for p in self.parameters():
                p.grad = None
            self._skipped_steps += 1
            warnings.warn(
                f"a gradient was not finite; step {self.global_step} was left out.",
                NonFiniteGradientWarning,
                stacklevel=2,
            )

    def on_train_epoch_end(self) -> None:
        self._report_solved("train")
        self.log("train/skipped_steps", float(self._skipped_steps), reduce_fx="sum", sync_dist=True)
        self._skipped_steps = 0

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self._evaluate("val", batch)

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self._evaluate("test", batch)

    def on_validation_epoch_end(self) -> None:
        self._report_scores("val")

    def on_test_epoch_end(self) -> None:
        self._report_scores("test")

    def predict_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> dict[str, Any]:
        """One batch of predictions.

        Keys: `fluxes` (all outputs of the canopy by name, with `converged` and `residual`), `stress`, `observed` and
        `measured` by target, `row`, `site`.
        """
        fluxes = self(batch["forcing"], batch["site"])
        self._count("test", fluxes["converged"])
        stress = fluxes.pop("stress")
        return {
            "fluxes": fluxes, "stress": stress, "observed": batch["target"], "measured": batch["measured"],
            "row": batch["row"], "site": batch["site"],
        }  # fmt: skip

    def on_predict_epoch_end(self) -> None:
        self._warn_not_converged("test", "prediction")

    def configure_optimizers(self) -> Any:
        """AdamW with a learning rate for the stress module and one for the process parameters."""
        settings = self.hparams
        groups = []
        if self.stress is not None and (weights := [p for p in self.stress.parameters() if p.requires_grad]):
            groups.append({"params": weights, "lr": settings["network_lr"], "weight_decay": settings["weight_decay"]})
        if raw := [p for p in self.physics.parameters() if p.requires_grad]:
            groups.append({"params": raw, "lr": settings["parameter_lr"], "weight_decay": 0.0})
        optimizer = torch.optim.AdamW(groups)
        if settings["schedule"] == "constant":
            return optimizer
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=max(1, steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    # --- what was learned

    def parameter_table(self) -> pd.DataFrame:
        """Tuned parameters: start, value, bounds, and whether a value ended within 1 % of its range from a bound."""
        names = [site.name for site in self.sites] if self.hparams["per_site"] else None
        return parameter_table(self.start_values, {n: v.numpy() for n, v in self._physical_values().items()}, names)

    # --- internals

    def _raw(self) -> dict[str, torch.Tensor]:
        return dict(self.physics.raw.items())

    def _physical_values(self) -> dict[str, torch.Tensor]:
        with torch.no_grad():
            return {name: value.detach().cpu() for name, value in self.physics.parameter_values().items()}

    def _fixed_constants(self) -> dict[str, np.ndarray]:
        canopy = getattr(self.physics, "canopy", None)
        if canopy is None:
            return {}
        tuned = self._raw()
        site = {f"site array {i}": np.array(leaf) for i, leaf in enumerate(jax.tree.leaves(canopy.site_arrays))}
        return {name: np.array(v) for name, v in canopy.parameters.values.items() if name not in tuned} | site

    def _evaluate(self, part: str, batch: Mapping[str, Any]) -> None:
        fluxes = self(batch["forcing"], batch["site"])
        terms = self.batch_loss(batch, fluxes)
        self.loss_sums[part].update(terms.sums, terms.counts)
        self.flux_metrics[part].update(fluxes, batch["target"], batch["measured"], fluxes["converged"])
        self._count(part, fluxes["converged"])

    def _count(self, part: str, converged: torch.Tensor) -> None:
        self._solved[part][0] += int((~converged).sum())
        self._solved[part][1] += len(converged)

    def _report_scores(self, part: str) -> None:
        self.log(f"{part}/loss", self.loss_sums[part].compute(), prog_bar=True)
        self.loss_sums[part].reset()
        self.log_dict({f"{part}/{name}": value for name, value in self.flux_metrics[part].compute().items()})
        self.flux_metrics[part].reset()
        self._report_solved(part)

    def _report_solved(self, part: str) -> None:
        failed, total = self._solved[part]
        self.log(f"{part}/not_converged", float(failed), reduce_fx="sum", sync_dist=True)
        self.log(f"{part}/not_converged_share", failed / max(total, 1), sync_dist=True)
        self._warn_not_converged(part, part)

    def _warn_not_converged(self, part: str, what: str) -> None:
        failed, total = self._solved[part]
        self._solved[part] = [0, 0]
        if failed:
            warnings.warn(
                f"{what}: {failed} of {total} half-hours did not converge and took no part in loss and scores "
                "(their fluxes are flagged in predictions). Raise max_passes in `solver` if there are many.",
                NotConvergedWarning,
                stacklevel=3,
            )

    @staticmethod
    def _check_settings(network_lr, parameter_lr, weight_decay, prior_weight, schedule) -> None:
        for name, value in (("network_lr", network_lr), ("parameter_lr", parameter_lr)):
            if not value > 0:
                raise ValueError(f"{name} must be positive; got {value!r}.")
        for name, value in (("weight_decay", weight_decay), ("prior_weight", prior_weight)):
            if not value >= 0:
                raise ValueError(f"{name} must not be negative; got {value!r}.")
        if schedule not in ("constant", "cosine"):
            raise ValueError(f"schedule must be 'constant' or 'cosine'; got {schedule!r}.")
