"""What the torch modules of the canopy have in common: tunable parameters, a stress, what is refused at the edge."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence

import numpy as np
import torch

import canveg_jax as cv
from canveg_jax.forcing import check_columns
from canveg_jax.transforms import check_names

from ._runtime.convert import is_symbolic
from ._runtime.recording import check_recording
from .canopy_batch import CanopyBatch, check_shapes, checked_parameters, with_stand_ins
from .canopy_solver import CanopySolver


class CanopyModule(torch.nn.Module, abc.ABC):
    """Base of `TorchCanopy` and `TorchCanopies`, which say how a batch is solved (`_solved`) and with what (`_solvers`).

    Args:
        parameters: start values.
        n_sites: number of sites.
        tunable, stress, in_loop, per_site, pad_to: see `TorchCanopy`.

    Raises:
        UnknownParameterError: a name in `tunable` does not exist.
        ValueError: a start value is outside the parameter's training range.
    """

    def __init__(
        self,
        parameters: cv.Parameters,
        n_sites: int,
        tunable: Sequence[str],
        stress: torch.nn.Module | None,
        in_loop: torch.nn.Module | None,
        per_site: bool,
        pad_to: int,
    ):
        super().__init__()
        self.tunable = check_names(tunable)
        self.per_site = per_site
        self.pad_to = pad_to
        self.stress = stress
        self.in_loop = in_loop
        self._units_checked = False
        own = parameters.values
        start = cv.unconstrain({name: np.asarray(own[name]) for name in self.tunable}, own)
        sites = (n_sites,) if per_site else ()
        self.raw = torch.nn.ParameterDict(
            {name: torch.nn.Parameter(torch.tensor(np.broadcast_to(z, sites).copy())) for name, z in start.items()}
        )

    def forward(
        self,
        forcing: Mapping[str, torch.Tensor],
        stress: torch.Tensor | None = None,
        *,
        start: torch.Tensor | None = None,
        features: Mapping[str, torch.Tensor] | None = None,
        parameters: Mapping[str, torch.Tensor] | None = None,
    ) -> dict[str, torch.Tensor]:
        """Fluxes of a batch of half-hours.

        Args:
            forcing: columns `[time]` by the names of `canveg_jax.FORCING_TABLE`, and `site` (index, optional at one site). Their
                dtype is that of the computation.
            stress: factor in (0, 1], `[time]` or `[time, layer]`; overrides the module's own.
            start: `state` of an earlier call for similar conditions, for example of these half-hours in the last epoch: a third
                to a half of the passes to the same tolerance, the same derivatives. Rows that are not finite start as usual;
                `torch.full((n, canopy.state_size), torch.nan)` is a first start.
            features: columns `[time]` of the inputs of `in_loop` that neither the leaf nor the forcing has.
            parameters: values `[time]` of any parameters of `canveg_jax.PARAMETER_TABLE`, one for each half-hour, in place of
                the module's own. The bounds of training do not hold for them.

        Returns:
            Tensors `[time]` by the names of `canveg_jax.Fluxes`, and `converged` (bool), `residual` (W m-2), `passes`,
            `reason`; with `start` also `state`, `[time, state_size]`, and with a network in the loop `in_loop_factor`, its mean
            over the leaf area, both without derivative.

        A row with a forcing value outside the ranges of `FORCING_TABLE` or a stress outside (0, 1] is not solved: its fluxes are
        NaN, `converged` is False and `reason` says why (`canveg_jax.REASONS`). Where the loss leaves it out, it has exactly no
        influence on any gradient.

        Raises:
            ForcingError: a forcing variable is missing, unknown or no tensor `[time]`.
            ConversionError: columns, stress, site, start, features or parameters with different numbers of rows; the message
                names them.
            UnknownParameterError: `parameters` has a name that does not exist.
            ValueError: an input of `in_loop` has no column, or `features` has one that is not read.
            TransformError: inside `torch.jit.trace`, or `make_fx` with real tensors.

        Warns:
            ForcingWarning: at the first batch, a whole column looks like another unit.
        """
        forcing = dict(forcing)
        site = forcing.pop("site", None)
        check_columns(forcing)
        check_shapes(forcing)
        name = type(self).__name__
        if not torch.compiler.is_compiling() and not any(map(is_symbolic, forcing.values())):
            check_recording(name)
        if stress is None and self.stress is not None:
            calm = with_stand_ins(forcing)
            stress = self.stress(calm if site is None else {**calm, "site": site})
        batch = CanopyBatch(
            forcing=forcing, stress=stress, site=site, start=start, columns=self._columns(forcing, features),
            parameters=checked_parameters(parameters),
        )  # fmt: skip
        n_rows = batch.number_of_rows(name)
        if not self._units_checked and n_rows and not torch.compiler.is_compiling():
            self._check_units(forcing)
        return self._solved(batch, n_rows)

    @abc.abstractmethod
    def _solved(self, batch: CanopyBatch, n_rows: int) -> dict[str, torch.Tensor]:
        """Outputs of `forward`."""

    @property
    @abc.abstractmethod
    def _solvers(self) -> Sequence[CanopySolver]:
        """One for each form of site; they differ in nothing else."""

    def _columns(
        self, forcing: Mapping[str, torch.Tensor], features: Mapping[str, torch.Tensor] | None
    ) -> dict[str, torch.Tensor]:
        """What the network in the loop reads of each half-hour."""
        loop = self._solvers[0].loop
        if loop is not None:
            return loop.columns(forcing, features)
        if features:
            raise ValueError(f"features: this canopy has no network in the loop to read {', '.join(features)}.")
        return {}

    def _check_units(self, forcing: dict[str, torch.Tensor]) -> None:
        """Warn, at the first batch whose numbers can be looked at, of columns that seem to be in another unit."""
        try:
            columns = {name: column.detach().cpu().numpy() for name, column in forcing.items()}
        except RuntimeError:  # inside a transform of torch.func tensors have no numbers of their own
            return
        self._units_checked = True
        cv.check_batch(columns)

    def parameter_values(self) -> dict[str, torch.Tensor]:
        """Physical values of the tunable parameters, differentiable; 0-d, or `[site]` where every site has its own."""
        return self._solvers[0].bridged.constrain(dict(self.raw.items())) if self.tunable else {}

    def moved_parameters(
        self,
        *,
        factors: Mapping[str, torch.Tensor] | None = None,
        shifts: Mapping[str, torch.Tensor] | None = None,
        site: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Values `[time]` of parameters that move with the half-hours, for `forward(parameters=...)`.

        Each starts from the module's own value, tuned or not. A factor multiplies it. A shift leaves it within the bounds of
        `PARAMETER_TABLE`: `lower + (upper - lower) sigmoid(z + shift)`, where `z` belongs to the value, so that `exp(shift)` is
        the factor on its odds; of a reflectance and a transmittance that are both tuned the sum is bounded. Where a factor or
        shift is not a finite number, so is the value, and that half-hour has no influence on any gradient.

        Args:
            factors, shifts: `[time]` by name of parameter; a name in both is shifted first.
            site: index of each half-hour's site, where every site has its own values.

        Raises:
            UnknownParameterError: a name does not exist.
            ValueError: a shifted parameter that is not tuned has a value outside its bounds.
        """
        factors, shifts = factors or {}, shifts or {}
        names = check_names({**shifts, **factors})
        solver = self._solvers[0]
        own = solver.canopy.parameters.values
        values: dict[str, torch.Tensor] = {}
        if any(name in shifts or name in self.raw for name in names):
            unconstrained = {
                name: z if not self.per_site else z[0 if site is None else site] for name, z in self.raw.items()
            }
            fixed = {name: np.asarray(own[name]) for name in shifts if name not in self.raw}
            for name, start in cv.unconstrain(fixed, own).items():
                unconstrained[name] = shifts[name].new_tensor(start)
            for name, shift in shifts.items():
                unconstrained[name] = unconstrained[name].to(shift.dtype) + _finite_or(shift, 0.0)
            values = solver.bridged.constrain(unconstrained)
        for name, factor in factors.items():
            value = values[name] if name in values else factor.new_tensor(np.asarray(own[name]))
            values[name] = value.to(factor.dtype) * _finite_or(factor, 1.0)
        for moves in (factors, shifts):  # zero times a derivative that is not a number is not zero
            for name, move in moves.items():
                values[name] = torch.where(torch.isfinite(move), values[name], torch.nan)
        return {name: values[name] for name in names}

    def fixed_constants(self) -> dict[str, np.ndarray]:
        """Copies of everything that training must leave as it is: parameters that are not tuned, constants of the sites."""
        parameters = self._solvers[0].canopy.parameters
        fixed = {name: np.array(getattr(parameters, name)) for name in cv.PARAMETER_TABLE if name not in self.raw}
        for solver in self._solvers:
            form = f" of {solver.canopy.site.form}" if len(self._solvers) > 1 else ""
            arrays = vars(solver.canopy.site_arrays)
            fixed |= {f"site constant {name}{form}": np.array(value) for name, value in arrays.items()}
        return fixed

    def plan_batches(self, largest: int) -> None:
        """From now on pad smaller batches to this size, that of the largest to come (see `pad_to`)."""
        self.pad_to = largest

    @property
    def state_size(self) -> int:
        """Number of unknowns of a half-hour, at the site with most layers."""
        return max(solver.state_size for solver in self._solvers)


def _finite_or(values: torch.Tensor, stand_in: float) -> torch.Tensor:
    """The values, with a stand-in for those that are not finite."""
    return torch.where(torch.isfinite(values), values, stand_in)
