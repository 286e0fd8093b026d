"""The hybrid canopy under Lightning: a stress network and process parameters trained through the solved physics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax
import lightning as L
import pandas as pd
import torch
from torch import nn

import canveg_jax as cv
from bridges import TorchCanopy
from bridges.canopy import with_stand_ins
from canveg_jax import Site
from canveg_jax.io.tower_files import as_site
from canveg_jax.spelling import unknown

from ..closures.registry import build_stress, evaluated_in_loop, stress_specification
from ..data.inputs import with_scaled_lai
from ..data.statistics import ScalingStatistics
from ..data.targets import DEFAULT_TARGETS
from ..protocols import Physics, ReadsHalfHours, StandardisesInputs, as_physics
from .callbacks import ConstantsUnchanged, SkipNonFiniteSteps
from .flux_task import FluxTask
from .losses import FluxLoss, LossKind, loss_weights
from .precision import check_precision
from .solution_memory import SolutionMemory
from .tuned_parameters import parameter_table


class HybridCanopy(FluxTask):
    """Canopy physics with a stress module and tunable parameters, trained on masked fluxes.

    Parameters are tuned as unconstrained numbers behind a smooth transform, so none can leave its physical range;
    everything else stays bit-identical, which is verified after training. Half-hours that do not converge take no part
    in loss and scores; their number is logged and warned about.

    It computes in the precision of its data, float64 included, whatever JAX's own setting. Logged as by `FluxTask`, and
    `train/skipped_steps`.

    Example:
        >>> model = HybridCanopy(data.sites, tunable=["kball", "vcopt"], stress="network")      # doctest: +SKIP
        >>> L.Trainer(max_epochs=20, gradient_clip_val=1.0).fit(model, datamodule=data)         # doctest: +SKIP

    Args:
        sites: in the order of the data's site index: `Site`, name of a preset, path of a YAML, or mapping of constants.
        tunable: names of process parameters to tune; None: all of `canveg_jax.TUNABLE`; empty: none.
        parameters: start (and, if not tuned, fixed) values that differ from the defaults of
            `canveg_jax.PARAMETER_TABLE`.
        stress: None, `network`, `in_loop` (a network that is evaluated for every leaf inside the solver), a scheme
            (`soil_moisture`, `feddes`, `jarvis`), a mapping `{module: network, hidden: [8, 8]}`, or a torch module: either
            `forcing dict -> factor [time]` in (0, 1], or a `bridges.InLoop`.
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
            same tolerance. Of several processes each knows the solutions that it has computed itself.
        statistics: scaling statistics, if they do not come from the data module (`ScalingStatistics` or its
            `to_dict()`).
        physics: replaces `TorchCanopy`: a module with the members of `lightning_modules.protocols.Physics`.

    Raises:
        ValueError, UnknownParameterError: a setting that cannot be right; the message has the remedy.
    """

    physics: Physics

    def __init__(
        self,
        sites: Sequence[Site | str | dict[str, Any]],
        *,
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
        super().__init__(FluxLoss(loss_weights(le_weight, weights), loss), DEFAULT_TARGETS)
        self.sites = tuple(as_site(site) for site in sites)
        if not self.sites:
            raise ValueError("HybridCanopy: expected at least one site; got none.")
        _check_settings(network_lr, parameter_lr, weight_decay, prior_weight, schedule)
        tunable = list(cv.TUNABLE if tunable is None else tunable)
        with jax.enable_x64(True):
            module = build_stress(stress)
            in_loop = module if evaluated_in_loop(module) else None
            self.stress = None if in_loop is not None else module
            if in_loop is not None and physics is not None:
                raise ValueError(
                    "stress: a network in the loop is part of the physics; give it to TorchCanopy(..., in_loop=...) and leave "
                    "`stress` None."
                )
            if physics is None:
                options = _solver_options(solver or {})
                canopy = cv.Canopy(self.sites, cv.Parameters(**(parameters or {})), options=options)
                physics = TorchCanopy(canopy, tunable=tunable, in_loop=in_loop, per_site=per_site)
            self.physics = as_physics(physics)
        remembers = warm_start and self.physics.state_size > 0
        self._memory = SolutionMemory(self.physics.state_size) if remembers else None
        self._largest_batch: dict[str, int] = {}
        self.start_values = {name: value.numpy().copy() for name, value in self._physical_values().items()}
        for name, z in self.physics.raw.items():
            self.register_buffer(f"start_{name}", z.detach().clone())
        self.save_hyperparameters({
            "sites": [site.model_dump(mode="json") for site in self.sites], "tunable": tunable,
            "parameters": parameters, "stress": stress_specification(module), "le_weight": le_weight,
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
        """Fluxes `[time]` by name, `stress`, and diagnostics.

        `stress` is the factor used (1 without a stress module; of a network in the loop its mean over the leaves);
        diagnostics are `converged`, `residual`, `passes`. With `start` (see `TorchCanopy`) also `state`.
        """
        with jax.enable_x64(True):
            return self._solved(forcing, site, start)

    def _solved(
        self, forcing: Mapping[str, torch.Tensor], site: torch.Tensor | None, start: torch.Tensor | None
    ) -> dict[str, torch.Tensor]:
        # A half-hour that is not solved must not reach the network either: its gradient would be NaN for all weights.
        columns = {**forcing, **({} if site is None else {"site": site})}
        more: dict[str, Any] = {} if start is None else {"start": start}
        stress = None
        if self.stress is not None:
            stress = self.stress(with_scaled_lai(with_stand_ins(forcing), site, self.sites))
        elif isinstance(self.in_loop, ReadsHalfHours):
            more["features"] = self.in_loop.columns(with_scaled_lai(with_stand_ins(forcing), site, self.sites))
        out = self.physics(columns, stress=stress, **more)
        used = out.pop("in_loop_factor", None) if stress is None else stress
        return {**out, "stress": torch.ones_like(forcing["air_temperature"]) if used is None else used}

    @property
    def in_loop(self) -> nn.Module | None:
        """The network that the physics evaluates for every leaf, if there is one."""
        return getattr(self.physics, "in_loop", None)

    def take_statistics(self, statistics: ScalingStatistics) -> None:
        """Those of its inputs to a stress module that standardises them."""
        module = self.in_loop if self.stress is None else self.stress
        if isinstance(module, StandardisesInputs):
            module.set_statistics(statistics)

    def fluxes(self, batch: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """`forward` of a batch."""
        self._plan_batches("evaluated")
        return self(batch["forcing"], batch["site"])

    def fluxes_to_train_on(self, batch: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """`trainable_fluxes`."""
        self._plan_batches("trained")
        return self.trainable_fluxes(batch)

    def _plan_batches(self, kind: str) -> None:
        """One of several processes trains on its share of a batch, and evaluates whole batches."""
        if kind in self._largest_batch:
            self.physics.plan_batches(self._largest_batch[kind])

    def trainable_fluxes(self, batch: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """Fluxes of a batch; each half-hour starts at the last solution that this process has of it, if any (`warm_start`)."""
        memory = self._memory if "row" in batch else None
        start = None if memory is None else memory.recall(batch["site"], batch["row"])
        fluxes = self(batch["forcing"], batch["site"], start)
        if memory is not None:
            memory.keep(batch["site"], batch["row"], fluxes.pop("state"), fluxes["converged"])
        return fluxes

    def prior(self) -> torch.Tensor:
        """Mean squared distance of the unconstrained parameters from their start."""
        pulls = [(z - getattr(self, f"start_{name}")).square().mean() for name, z in self.physics.raw.items()]
        return torch.stack(pulls).mean() if pulls else self.target_sd.new_zeros(())

    def penalty(self) -> torch.Tensor | float:
        """The prior, weighted."""
        weight = self.hparams["prior_weight"]
        return weight * self.prior() if weight > 0 else 0.0

    def predicted(self, fluxes: dict[str, torch.Tensor]) -> dict[str, Any]:
        """`fluxes` (all outputs of the canopy by name, with `converged` and `residual`) and `stress`."""
        stress = fluxes.pop("stress")
        return {"fluxes": fluxes, "stress": stress}

    # --- Lightning

    def setup(self, stage: str) -> None:
        """See that there is something to train, that sites are those of the data, and that batches of few sizes compile.

        Raises:
            ValueError: nothing can be trained, other sites, no scaling statistics, or a precision that would round the physics.
        """
        check_precision(self.trainer.precision, getattr(self.tower_data, "dtype", None))
        if stage == "fit" and not any(p.requires_grad for p in self.parameters()):
            raise ValueError(
                "there is nothing to train: no tunable parameter and no stress module with weights. Use test or "
                "predict for physics alone, or name parameters in `tunable`."
            )
        if (data := self.tower_data) is not None:
            names, here = ([site.name for site in sites] for sites in (data.sites, self.sites))
            if names != here:
                raise ValueError(
                    f"the data have the sites {', '.join(names)}, the model {', '.join(here)}. Build the model with "
                    "`sites=data.sites`."
                )
            self._largest_batch = {"trained": data.largest_training_batch(), "evaluated": data.largest_batch()}
            self._plan_batches("evaluated")
        super().setup(stage)

    def configure_callbacks(self) -> list[L.Callback]:
        """Skipping of steps that are not finite, and the check that constants stayed as they were."""
        return [SkipNonFiniteSteps(), ConstantsUnchanged(self.physics)]

    def on_fit_start(self) -> None:
        """Forget solutions: rows of other data."""
        if self._memory is not None:
            self._memory.forget()

    def configure_optimizers(self) -> Any:
        """AdamW with a learning rate for the stress module and one for the process parameters."""
        settings = self.hparams
        groups = []
        module = self.in_loop if self.stress is None else self.stress
        if module is not None and (weights := [p for p in module.parameters() if p.requires_grad]):
            groups.append({"params": weights, "lr": settings["network_lr"], "weight_decay": settings["weight_decay"]})
        own = set() if module is None else {id(p) for p in module.parameters()}
        if raw := [p for p in self.physics.parameters() if p.requires_grad and id(p) not in own]:
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

    def _physical_values(self) -> dict[str, torch.Tensor]:
        with torch.no_grad(), jax.enable_x64(True):
            return {name: value.detach().cpu() for name, value in self.physics.parameter_values().items()}


def _solver_options(changes: Mapping[str, Any]) -> cv.SolverOptions:
    """The options; raises ValueError for a name that does not exist and for a value that is no number."""
    for name, value in changes.items():
        if name not in cv.SolverOptions._fields:
            raise ValueError(f"solver: {unknown('key', name, cv.SolverOptions._fields)}")
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ValueError(f"solver: {name} must be a number; got {value!r}.")
    return cv.SolverOptions(**changes)


def _check_settings(
    network_lr: float, parameter_lr: float, weight_decay: float, prior_weight: float, schedule: str
) -> None:
    for name, value in (("network_lr", network_lr), ("parameter_lr", parameter_lr)):
        if not value > 0:
            raise ValueError(f"{name} must be positive; got {value!r}.")
    for name, value in (("weight_decay", weight_decay), ("prior_weight", prior_weight)):
        if not value >= 0:
            raise ValueError(f"{name} must not be negative; got {value!r}.")
    if schedule not in ("constant", "cosine"):
        raise ValueError(f"schedule must be 'constant' or 'cosine'; got {schedule!r}.")
