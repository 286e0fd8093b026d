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
from bridges import TorchCanopies, TorchCanopy
from bridges.canopy_batch import with_stand_ins
from canveg_jax import Site
from canveg_jax.io.antecedents import ANTECEDENTS
from canveg_jax.io.daily_weather import DAILY
from canveg_jax.io.tower_files import as_site
from canveg_jax.solver.options import solver_options

from ..closures.closure import LEAF_AREA
from ..closures.leaf_area import moved_leaf_area
from ..closures.registry import (
    build_closures,
    build_stress,
    closures_specification,
    evaluated_in_loop,
    stress_specification,
)
from ..data.inputs import NETWORK_INPUTS, with_scaled_lai
from ..data.statistics import ScalingStatistics
from ..data.targets import DEFAULT_TARGETS
from ..names import EQUIVALENT
from ..protocols import MovesParameters, Physics, ReadsHalfHours, StandardisesInputs, as_physics
from .callbacks import ConstantsUnchanged, SkipNonFiniteSteps
from .error_scales import Likelihood
from .flux_task import FluxTask
from .hybrid_sharing import HybridSharing
from .losses import FluxLoss, LossKind, loss_weights
from .observation import OBSERVED_FLUXES, read_observation
from .optimiser import adamw, parameter_groups
from .precision import check_precision
from .settings import check_settings
from .solution_memory import SolutionMemory
from .stages import check_names_of_parts, check_stages_train, forget_gradients_of_held, read_stages, stage_of
from .tuned_parameters import joined_tables, parameter_table, share_table, values_in_words

PAST = (*ANTECEDENTS, DAILY)
"""Columns that networks may read, and the canopy does not."""


class HybridCanopy(HybridSharing, FluxTask):
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
        sites: in the order of the data's site index: `Site`, name of a preset, path of a YAML, or mapping of constants. Their
            layers, grids and soils may differ (`bridges.TorchCanopies`).
        tunable: names of process parameters to tune; None: all of `canveg_jax.TUNABLE`; empty: none.
        parameters: start (and, if not tuned, fixed) values that differ from the defaults of
            `canveg_jax.PARAMETER_TABLE`.
        stress: None, `network`, `in_loop` (a network that is evaluated for every leaf inside the solver), a scheme
            (`soil_moisture`, `feddes`, `jarvis`), a mapping `{module: network, hidden: [8, 8]}`, or a torch module: either
            `forcing dict -> factor [time]` in (0, 1], or a `bridges.InLoop`.
        le_weight: w of latent heat in the loss; NEE gets 1 - w.
        weights: loss weights by target, instead of `le_weight`.
        conductance: `ball_berry`, `medlyn` or `leuning`.
        closures: networks on other relations than the stress, by name of `closures.CLOSURES` or of a parameter: each a mapping of
            arguments of `Closure`, null for its defaults, or a torch module `columns -> z [time]`. They start at the physics as
            it is; the parameters they move may be tuned as well.
        observation: `none`, `one` or `two` learned shares of the turbulent fluxes that the tower observes, or a mapping
            `{factors: one, prior_sd: 0.07, weight: 0.01}` (`ObservationModel`); `auto`: `one` if sensible heat has a weight in
            the loss. Fluxes that were corrected for closure have the share 1.
        stages: what is trained in which epochs (`models.stages`); None: everything in all of them.
        freeze: names of parameters, of closures, `stress`, `observation` or `error_scales`: not trained.
        loss: `squared`, `huber` or `laplace`, or one for each target by name; errors are in units of the training
            standard deviation.
        random_error: weights of samples by how well they are known: `file`, `fitted` or `{latent_heat: [8.8, 0.13]}`
            (`models.error_weights`); None: all alike.
        likelihood: `gaussian` or `laplace` instead of a loss: the size of the errors of each target, `a + b |flux|`, is
            learned with the model (`models.error_scales`); excludes `loss` and `random_error`.
        network_lr: learning rate of the stress module and of closures without a rate of their own (AdamW).
        parameter_lr: learning rate of the unconstrained process parameters, of the observed shares and of the size of errors.
        weight_decay: of the networks' weights (decoupled, AdamW).
        prior_weight: adds `prior_weight * mean((z - z_start)^2)` over the unconstrained parameters.
        schedule: `constant`, or `cosine` to zero over the planned steps.
        per_site: every site has its own value of each tuned parameter.
        solver: changes of `canveg_jax.SolverOptions`, for example `{max_passes: 200}`.
        warm_start: in training, start each half-hour at its solution of the last epoch (`SolutionMemory`): fewer passes to the
            same tolerance. Of several processes each knows the solutions that it has computed itself.
        max_failed_share: training ends with an error where more than this share of the half-hours of an epoch, or of the
            validation, has no solution; it names sites, reasons, half-hours and parameters. None: it goes on.
        statistics: scaling statistics, if they do not come from the data module (`ScalingStatistics` or its
            `to_dict()`).
        physics: replaces the canopy: a module with the members of `lightning_modules.protocols.Physics`.

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
        conductance: str = "ball_berry",
        closures: dict[str, Any] | None = None,
        observation: dict[str, Any] | str | None = "auto",
        stages: list[dict[str, Any]] | None = None,
        freeze: Sequence[str] = (),
        le_weight: float = 0.5,
        weights: dict[str, float] | None = None,
        loss: LossKind | dict[str, LossKind] = "squared",
        random_error: str | dict[str, list[float]] | None = None,
        likelihood: Likelihood | None = None,
        network_lr: float = 1e-2,
        parameter_lr: float = 1e-2,
        weight_decay: float = 0.0,
        prior_weight: float = 0.0,
        schedule: Literal["constant", "cosine"] = "constant",
        per_site: bool = False,
        solver: dict[str, Any] | None = None,
        warm_start: bool = True,
        max_failed_share: float | None = 0.5,
        statistics: ScalingStatistics | dict[str, Any] | None = None,
        physics: nn.Module | None = None,
    ):
        self._stages = read_stages(stages, freeze)
        elsewhere = [target for stage in self._stages for target in stage.weights or ()]
        flux_loss = FluxLoss(loss_weights(le_weight, weights, elsewhere), loss)
        super().__init__(flux_loss, DEFAULT_TARGETS, random_error, likelihood, max(1, len(sites)))
        self.sites = tuple(as_site(site) for site in sites)
        if not self.sites:
            raise ValueError("HybridCanopy: expected at least one site; got none.")
        self.max_failed_share = max_failed_share
        check_settings(network_lr, parameter_lr, weight_decay, prior_weight, schedule, max_failed_share)
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
                options, start = solver_options(solver or {}), cv.Parameters(**(parameters or {}))
                learned: dict[str, Any] = {"tunable": tunable, "in_loop": in_loop, "per_site": per_site}
                if len({site.form for site in self.sites}) == 1:
                    canopy = cv.Canopy(self.sites, start, options=options, conductance=conductance)
                    physics = TorchCanopy(canopy, **learned)
                else:
                    canopies = [cv.Canopy(s, start, options=options, conductance=conductance) for s in self.sites]
                    physics = TorchCanopies(canopies, **learned)
            self.physics = as_physics(physics)
        self._movable: dict[str, list[nn.Parameter]] = {}
        self.closures = build_closures(closures)
        if len(self.closures) and not isinstance(self.physics, MovesParameters):
            raise ValueError("closures: the physics cannot move its parameters; use bridges.TorchCanopy.")
        self.observation = read_observation(observation, len(self.sites), self.loss.weights)
        check_names_of_parts(self._stages, self._parts())
        remembers = warm_start and self.physics.state_size > 0
        self._memory = SolutionMemory(self.physics.state_size) if remembers else None
        self._largest_batch: dict[str, int] = {}
        self.start_values = {name: value.numpy().copy() for name, value in self._physical_values().items()}
        for name, z in self.physics.raw.items():
            self.register_buffer(f"start_{name}", z.detach().clone())
        self.save_hyperparameters({
            "sites": [site.model_dump(mode="json") for site in self.sites], "tunable": tunable,
            "parameters": parameters, "stress": stress_specification(module), "conductance": conductance,
            "closures": closures_specification(self.closures),
            "observation": None if self.observation is None else self.observation.config,
            "stages": stages, "freeze": list(freeze), "le_weight": le_weight,
            "weights": weights, "loss": loss, "random_error": random_error, "likelihood": likelihood,
            "network_lr": network_lr, "parameter_lr": parameter_lr,
            "weight_decay": weight_decay, "prior_weight": prior_weight, "schedule": schedule, "per_site": per_site,
            "solver": solver, "warm_start": warm_start, "max_failed_share": max_failed_share,
        })  # fmt: skip
        if statistics is not None:
            self.set_statistics(statistics)

    # --- the model

    def forward(
        self,
        forcing: Mapping[str, torch.Tensor],
        site: torch.Tensor | None = None,
        start: torch.Tensor | None = None,
        factors: Mapping[str, torch.Tensor] | None = None,
    ) -> dict[str, torch.Tensor]:
        """Fluxes `[time]` by name, `stress`, and diagnostics.

        `forcing` may hold the past of the half-hours as well (`TowerDataset.history`). The fluxes are the canopy's own, not what
        a tower would observe of them (`as_observed`); `z_<name>` is the number of a closure. `stress` is the
        factor used (1 without a stress module; of a network in the loop its mean over the leaves); diagnostics are `converged`,
        `residual`, `passes`. With `start` (see `TorchCanopy`) also `state`. `factors` `[time]` by name multiply parameters beside
        what closures do to them.
        """
        with jax.enable_x64(True):
            return self._solved(forcing, site, start, factors or {})

    def _solved(
        self,
        forcing: Mapping[str, torch.Tensor],
        site: torch.Tensor | None,
        start: torch.Tensor | None,
        more_factors: Mapping[str, torch.Tensor],
    ) -> dict[str, torch.Tensor]:
        # A half-hour that is not solved must not reach the network either: its gradient would be NaN for all weights.
        columns = {name: column for name, column in forcing.items() if name not in PAST}
        columns |= {} if site is None else {"site": site}
        more: dict[str, Any] = {} if start is None else {"start": start}
        reads = len(self.closures) or self.stress is not None or isinstance(self.in_loop, ReadsHalfHours)
        seen = with_scaled_lai(with_stand_ins(forcing), site, self.sites) if reads else {}
        moves: dict[str, torch.Tensor] = {}
        if (len(self.closures) or more_factors) and isinstance(self.physics, MovesParameters):
            z = self.closures(seen)
            factors, shifts = self.closures.actions(z)
            if LEAF_AREA in factors:
                columns[LEAF_AREA] = moved_leaf_area(columns, factors.pop(LEAF_AREA))
            factors |= {name: factor * factors.get(name, 1.0) for name, factor in more_factors.items()}
            more["parameters"] = self.physics.moved_parameters(factors=factors, shifts=shifts, site=site)
            moves = {f"z_{name}": value for name, value in z.items()}
        stress = None
        if self.stress is not None:
            stress = self.stress(seen)
        elif isinstance(self.in_loop, ReadsHalfHours):
            more["features"] = self.in_loop.columns(seen)
        out = self.physics(columns, stress=stress, **more)
        used = out.pop("in_loop_factor", None) if stress is None else stress
        return {**out, **moves, "stress": torch.ones_like(forcing["air_temperature"]) if used is None else used}

    @property
    def in_loop(self) -> nn.Module | None:
        """The network that the physics evaluates for every leaf, if there is one."""
        return getattr(self.physics, "in_loop", None)

    @property
    def stress_module(self) -> nn.Module | None:
        """What computes the stress, before the canopy is solved or within; None: nothing does."""
        return self.in_loop if self.stress is None else self.stress

    def take_statistics(self, statistics: ScalingStatistics) -> None:
        """Those of its inputs to a stress module that standardises them."""
        if isinstance(self.stress_module, StandardisesInputs):
            self.stress_module.set_statistics(statistics)
        self.closures.set_statistics(statistics)
        if self.observation is not None:
            slopes = statistics.energy_closure
            self.observation.set_closure({i: slopes[s.name] for i, s in enumerate(self.sites) if s.name in slopes})

    def as_observed(self, fluxes: dict[str, torch.Tensor], batch: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """The fluxes with the share of latent and sensible heat that the towers see, where that is modelled."""
        return fluxes if self.observation is None else self.observation(fluxes, batch["site"])

    @property
    def network_inputs(self) -> tuple[str, ...]:
        """Names of the inputs that its networks standardise."""
        own = getattr(self.stress_module, "inputs", ())
        names = [*own, *(name for closure in self.closures.named().values() for name in closure.inputs)]
        return tuple(dict.fromkeys(name for name in names if name in NETWORK_INPUTS))

    @property
    def days_of_memory(self) -> int:
        """Those of its closures."""
        return self.closures.days_of_memory

    def training_loss(self) -> FluxLoss:
        """That of the stage of the present epoch."""
        weights = stage_of(self._stages, self.current_epoch).weights
        if weights is None:
            return self.loss
        weighed = loss_weights(weights=weights)
        return FluxLoss({name: weighed.get(name, 0.0) for name in self.loss.weights}, self.hparams["loss"])

    def fluxes(self, batch: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """`forward` of a batch."""
        self._plan_batches("evaluated")
        return self(_columns(batch), batch["site"])

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
        fluxes = self(_columns(batch), batch["site"], start)
        if memory is not None:
            memory.keep(batch["site"], batch["row"], fluxes.pop("state"), fluxes["converged"])
        return fluxes

    def prior(self) -> torch.Tensor:
        """Mean squared distance of the unconstrained parameters from their start."""
        pulls = [(z - getattr(self, f"start_{name}")).square().mean() for name, z in self.physics.raw.items()]
        return torch.stack(pulls).mean() if pulls else self.target_sd.new_zeros(())

    def penalty(self, fluxes: Mapping[str, torch.Tensor], batch: Mapping[str, Any]) -> torch.Tensor | float:
        """The weighted pulls: parameters to their start, closures to their default, shares to the towers' slopes."""
        weight = self.hparams["prior_weight"]
        total: torch.Tensor | float = weight * self.prior() if weight > 0 else 0.0
        for name, closure in self.closures.named().items():
            if closure.penalty > 0.0:
                z = fluxes[f"z_{name}"]
                known = torch.isfinite(z) & fluxes["converged"]
                squares = torch.where(known, z, 0.0).square().sum()
                total = total + closure.penalty * squares / known.sum().clamp(min=1)
        return total if self.observation is None else total + self.observation.penalty()

    def predicted(self, fluxes: dict[str, torch.Tensor], batch: Mapping[str, Any]) -> dict[str, Any]:
        """`fluxes` (outputs of the canopy, `converged` and `residual`), `stress`; `seen`, `closures` where there are such."""
        stress = fluxes.pop("stress")
        result: dict[str, Any] = {"fluxes": fluxes, "stress": stress}
        if self.observation is not None:
            seen = self.as_observed(fluxes, batch)
            result["seen"] = {f"{name}{EQUIVALENT}": seen[name] for name in OBSERVED_FLUXES}
        if len(self.closures):
            moves = self.closures.moves({name: fluxes[f"z_{name}"] for name in self.closures.named()})
            result["closures"] = {f"closure_{name}": move for name, move in moves.items()}
        return result

    # --- Lightning

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """As of every model; a checkpoint from before there were observed shares has none."""
        super().on_load_checkpoint(checkpoint)
        if "observation.raw" not in checkpoint["state_dict"]:
            self.observation = None

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
            if self.observation is not None and getattr(data, "closure_corrected", False):
                self.observation.fluxes_are_corrected()
            self._largest_batch = {"trained": data.largest_training_batch(), "evaluated": data.largest_batch()}
            self._plan_batches("evaluated")
        super().setup(stage)

    def configure_callbacks(self) -> list[L.Callback]:
        """As of every model; skipping of steps that are not finite, and the check that constants stayed as they were."""
        return [*super().configure_callbacks(), SkipNonFiniteSteps(), ConstantsUnchanged(self.physics)]

    def training_state(self) -> dict[str, Any]:
        """As of every model, and the solutions that half-hours start at."""
        return super().training_state() | {"solutions": {} if self._memory is None else self._memory.state()}

    def set_training_state(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        super().set_training_state(state)
        if self._memory is not None:
            self._memory.set_state(state["solutions"], self.device)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Train what the stage of this epoch trains; what is held has no part in the norm that is clipped."""
        del optimizer
        forget_gradients_of_held(stage_of(self._stages, self.current_epoch), self._movable)

    def _parts(self) -> dict[str, list[nn.Parameter]]:
        """What can be trained or held, by name: parameters of the physics, closures, `stress`, `observation`, `error_scales`."""
        parts = {name: [z] for name, z in self.physics.raw.items()}
        parts |= {name: list(closure.parameters()) for name, closure in self.closures.named().items()}
        if self.stress_module is not None:
            parts["stress"] = list(self.stress_module.parameters())
        if self.observation is not None and not self.observation.corrected:
            parts["observation"] = [self.observation.raw]
        if self.error_scales is not None:
            parts["error_scales"] = [self.error_scales.raw]
        return parts

    def on_fit_start(self) -> None:
        """Forget solutions: rows of other data. Take note of what its owner left free to move."""
        self._movable = {name: [p for p in part if p.requires_grad] for name, part in self._parts().items()}
        check_stages_train(self._stages, [name for name, part in self._movable.items() if part])
        if self._memory is not None:
            self._memory.forget()

    def configure_optimizers(self) -> Any:
        """AdamW with a learning rate for the stress module and one for the process parameters."""
        settings, closures = self.hparams, self.closures.named()
        rates: dict[nn.Module, float] = {}
        if self.stress_module is not None:
            rates[self.stress_module] = settings["network_lr"]
        rates |= {closure: closure.lr or settings["network_lr"] for closure in closures.values()}
        others = [
            p
            for part in (self.physics, self.observation, self.error_scales)
            if part is not None
            for p in part.parameters()
        ]
        groups = parameter_groups(rates, settings["weight_decay"], others, settings["parameter_lr"])
        steps = int(self.trainer.estimated_stepping_batches) if settings["schedule"] == "cosine" else None
        return adamw(groups, steps)

    # --- what was learned

    def parameter_table(self) -> pd.DataFrame:
        """Tuned parameters: start, value, bounds, and whether a value ended within 1 % of its range from a bound. Then the
        observed shares of the turbulent fluxes, which start at the slopes of the towers' energy balances, and the size of
        errors."""
        values = {name: value.numpy() for name, value in self._physical_values().items()}
        names, per_site = [site.name for site in self.sites], self.hparams["per_site"]
        more = []
        if self.observation is not None and not self.observation.corrected:
            more.append(share_table(self.observation, names, by_site=per_site))
        if self.error_scales is not None:
            more.append(self.error_scales.table(self.target_sd))
        return joined_tables(parameter_table(self.start_values, values, names if per_site else None), more)

    def parameters_in_words(self) -> str:
        """The tuned parameters of the physics."""
        return values_in_words({name: value.numpy() for name, value in self._physical_values().items()})

    def _physical_values(self) -> dict[str, torch.Tensor]:
        with torch.no_grad(), jax.enable_x64(True):
            return {name: value.detach().cpu() for name, value in self.physics.parameter_values().items()}


def _columns(batch: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Forcing of a batch, and its past if it has one."""
    return {**batch["forcing"], **batch.get("history", {}), **({DAILY: batch[DAILY]} if DAILY in batch else {})}
