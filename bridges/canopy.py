"""The canopy as a `torch.nn.Module`: tensors in, fluxes out, exact derivatives to parameters, forcing and stress."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

import canveg_jax as cv
from canveg_jax.forcing import STAND_IN, check_columns, rows_within_range
from canveg_jax.solver.state_vector import state_size
from canveg_jax.transforms import check_names

from ._jax2torch.function import jax2torch
from ._jax2torch.rows import Rows
from ._runtime.convert import is_symbolic
from ._runtime.recording import check_recording
from .in_loop import LoopNetwork, LoopProgram

WITHOUT_DERIVATIVE = ("state", "in_loop_factor")
"""Outputs that tell of the solution."""

SMALLEST_BATCH = 8
"""Rows; smaller batches are padded to it."""


class TorchCanopy(torch.nn.Module):
    """A JAX canopy inside PyTorch.

    The tunable parameters are `nn.Parameter`s in unconstrained form (`raw.<name>`); `parameter_values()` gives the physical
    ones. The forward pass, and the backward pass, are each compiled once per batch size; batches are padded to a few sizes so
    that a ragged last batch does not compile again.

    Example:
        >>> op = TorchCanopy(canopy, tunable=("kball", "vcopt"))
        >>> out = op(forcing, stress=beta)          # dict of tensors [time]
        >>> (out["LE"] - observed).square().mean().backward()

    Args:
        canopy: the canopy; its own parameters are the start values.
        tunable: names of the parameters that torch optimises.
        stress: a module `forcing dict -> factor in (0, 1]`, `[time]` or `[time, layer]`; None: no stress.
        in_loop: a network that is evaluated for every leaf at every pass of the solver, from the state of the leaf and numbers
            of the half-hour (`InLoop`); its factor multiplies that of `stress`.
        per_site: give every site of the canopy its own value of each tunable parameter.
        pad_to: smaller batches are padded to this size, so that loaders with a ragged last batch compile once.

    Raises:
        UnknownParameterError: a name in `tunable` does not exist.
        ValueError: a start value is outside the parameter's training range.
    """

    def __init__(
        self,
        canopy: cv.Canopy,
        tunable: Sequence[str] = (),
        stress: torch.nn.Module | None = None,
        *,
        in_loop: torch.nn.Module | None = None,
        per_site: bool = False,
        pad_to: int = 1,
    ):
        super().__init__()
        self.canopy = canopy
        self.tunable = check_names(tunable)
        self.per_site = per_site
        self.pad_to = pad_to
        self.stress = stress
        self.in_loop = in_loop
        self._loop = None if in_loop is None else LoopNetwork(in_loop, canopy.site.n_layers)
        self._units_checked = False
        own = canopy.parameters.values
        start = cv.unconstrain({name: np.asarray(own[name]) for name in self.tunable}, own)
        sites = (len(canopy.sites),) if per_site else ()
        self.raw = torch.nn.ParameterDict(
            {name: torch.nn.Parameter(torch.tensor(np.broadcast_to(z, sites).copy())) for name, z in start.items()}
        )
        # Arguments of the compiled program, not constants in it: canopies of other sites share the program.
        self._site_arrays = tuple(vars(canopy.site_arrays))
        for name, value in vars(canopy.site_arrays).items():
            self.register_buffer(f"site_{name}", torch.tensor(value), persistent=False)
        self._bridged = _bridged(canopy, per_site)
        self._loop_bridges: dict[torch.dtype, _Bridged] = {}

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
            forcing: columns `[time]` by the names of `canveg_jax.FORCING_TABLE`, and `site` (index, optional). Their dtype
                is that of the computation.
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
        _check_shapes(forcing)
        if not torch.compiler.is_compiling() and not any(map(is_symbolic, forcing.values())):
            check_recording("TorchCanopy")
        if stress is None and self.stress is not None:
            calm = with_stand_ins(forcing)
            stress = self.stress(calm if site is None else {**calm, "site": site})
        columns, own = self._columns(forcing, features), _checked_parameters(parameters)
        forcing, stress, site, start, columns, own, n_rows = self._padded(forcing, stress, site, start, columns, own)
        if not self._units_checked and n_rows and not torch.compiler.is_compiling():
            self._check_units(forcing)
        like = forcing["air_temperature"]
        if not like.is_floating_point():
            like = forcing["air_temperature"] = like.to(torch.get_default_dtype())
        dtype = like.dtype
        raw = {name: z.to(dtype) for name, z in self.raw.items()}
        stress = None if stress is None else stress.to(dtype)
        site_arrays = {name: getattr(self, f"site_{name}").to(like) for name in self._site_arrays}
        start = None if start is None else start.detach().to(dtype)
        site = None if site is None else site.int()
        own = {name: value.to(dtype) for name, value in own.items()}
        if self._loop is None or self.in_loop is None:
            out = self._bridged.fluxes(raw, forcing, stress, site, site_arrays, start, own)
        else:
            if dtype not in self._loop_bridges:  # kept here, because canopies share what is in use
                self._loop_bridges[dtype] = _bridged(self.canopy, self.per_site, self._loop.program(dtype))
            bridged = self._loop_bridges[dtype]
            weights = self._loop.state(self.in_loop, dtype)
            columns = {name: column.to(dtype) for name, column in columns.items()}
            out = bridged.fluxes(raw, forcing, stress, site, site_arrays, start, own, weights, columns)
        out = {name: value.detach() if name in WITHOUT_DERIVATIVE else value for name, value in out.items()}
        return {name: value[:n_rows] for name, value in out.items()}

    def _columns(
        self, forcing: Mapping[str, torch.Tensor], features: Mapping[str, torch.Tensor] | None
    ) -> dict[str, torch.Tensor]:
        """What the network in the loop reads of each half-hour."""
        if self._loop is not None:
            return self._loop.columns(forcing, features)
        if features:
            raise ValueError(f"features: this canopy has no network in the loop to read {', '.join(features)}.")
        return {}

    def _padded(
        self,
        forcing: dict[str, torch.Tensor],
        stress: torch.Tensor | None,
        site: torch.Tensor | None,
        start: torch.Tensor | None,
        columns: dict[str, torch.Tensor],
        parameters: dict[str, torch.Tensor],
    ) -> tuple[
        dict[str, torch.Tensor],
        torch.Tensor | None,
        torch.Tensor | None,
        torch.Tensor | None,
        dict[str, torch.Tensor],
        dict[str, torch.Tensor],
        int,
    ]:
        """Everything that has rows, with the last one repeated to one of a few sizes, and the true number of rows."""
        if torch.compiler.is_compiling() or not len(forcing["air_temperature"]):
            return forcing, stress, site, start, columns, parameters, forcing["air_temperature"].shape[0]
        others = {"stress": stress, "site": site, "start": start}
        named = {f"forcing['{name}']": column for name, column in forcing.items()}
        named |= {name: value for name, value in others.items() if value is not None}
        named |= {f"features['{name}']": column for name, column in columns.items()}
        named |= {f"parameters['{name}']": value for name, value in parameters.items()}
        rows = Rows("TorchCanopy", max(SMALLEST_BATCH, self.pad_to))
        n_rows = rows.number(list(named.values()), list(named).__getitem__)
        supply = iter(rows.pad(list(named.values()), n_rows))
        forcing = {name: next(supply) for name in forcing}
        stress, site, start = (None if value is None else next(supply) for value in others.values())
        columns, parameters = ({name: next(supply) for name in group} for group in (columns, parameters))
        return forcing, stress, site, start, columns, parameters, n_rows

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
        return self._bridged.constrain(dict(self.raw.items())) if self.tunable else {}

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
        own = self.canopy.parameters.values
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
            values = self._bridged.constrain(unconstrained)
        for name, factor in factors.items():
            value = values[name] if name in values else factor.new_tensor(np.asarray(own[name]))
            values[name] = value.to(factor.dtype) * _finite_or(factor, 1.0)
        for moves in (factors, shifts):  # zero times a derivative that is not a number is not zero
            for name, move in moves.items():
                values[name] = torch.where(torch.isfinite(move), values[name], torch.nan)
        return {name: values[name] for name in names}

    def fixed_constants(self) -> dict[str, np.ndarray]:
        """Copies of everything that training must leave as it is: parameters that are not tuned, constants of the sites."""
        canopy = self.canopy
        fixed = {name: getattr(canopy.parameters, name) for name in cv.PARAMETER_TABLE if name not in self.raw}
        fixed |= {f"site constant {name}": value for name, value in vars(canopy.site_arrays).items()}
        return {name: np.array(value) for name, value in fixed.items()}

    def plan_batches(self, largest: int) -> None:
        """From now on pad smaller batches to this size, that of the largest to come (see `pad_to`)."""
        self.pad_to = largest

    @property
    def state_size(self) -> int:
        """Number of unknowns of a half-hour."""
        return state_size(self.canopy.site.n_layers)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_bridged", "_loop_bridges")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._bridged = _bridged(self.canopy, self.per_site)
        self._loop_bridges = {}


def with_stand_ins(forcing: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The forcing with a calm night in place of the rows that will not be solved.

    A network that computes a stress from the forcing must see these instead: zero times a derivative that is not a number
    is not zero, so that one such row would make NaN of the gradient of all its weights.
    """
    usable = rows_within_range(forcing)
    return {
        name: torch.where(usable, column, STAND_IN[name]) if name in STAND_IN else column
        for name, column in forcing.items()
    }


def _finite_or(values: torch.Tensor, stand_in: float) -> torch.Tensor:
    """The values, with a stand-in for those that are not finite."""
    return torch.where(torch.isfinite(values), values, stand_in)


def _checked_parameters(parameters: Mapping[str, torch.Tensor] | None) -> dict[str, torch.Tensor]:
    """Values of the half-hours by name.

    Raises:
        UnknownParameterError: a name does not exist.
        ValueError: something is no tensor `[time]`.
    """
    values = {name: (parameters or {})[name] for name in check_names(parameters or ())}
    for name, value in values.items():
        if not isinstance(value, torch.Tensor) or value.dim() != 1:
            got = f"shape {list(value.shape)}" if isinstance(value, torch.Tensor) else f"a {type(value).__name__}"
            raise ValueError(f"parameter '{name}' must be a tensor with one number per half-hour, [time]; got {got}.")
    return values


def _check_shapes(forcing: Mapping[str, Any]) -> None:
    """Raise `ForcingError` for a column that is no tensor `[time]`."""
    for name, column in forcing.items():
        if not isinstance(column, torch.Tensor) or column.dim() != 1:
            got = f"shape {list(column.shape)}" if isinstance(column, torch.Tensor) else f"a {type(column).__name__}"
            raise cv.ForcingError(
                f"forcing '{name}' must be a tensor with one number per half-hour, [time]; got {got}."
            )


class _Bridged:
    """The compiled functions of a canopy, which are no part of a module's state.

    Sites are arguments of these functions; whatever else makes up a canopy is compiled in.
    """

    def __init__(self, canopy: cv.Canopy, per_site: bool, loop: LoopProgram | None = None):
        # A copy: attributes that are set on the canopy later are not those of the others that share this object.
        self.canopy, self.per_site, self.loop = copy.copy(canopy), per_site, loop
        self.fluxes = jax2torch(self._fluxes, nondiff_argnames=("site", "site_arrays", "start"), name="canopy")
        self.constrain = jax2torch(self._constrain, name="constrain")

    def _constrain(self, raw: dict[str, jax.Array]) -> dict[str, jax.Array]:
        return cv.constrain(raw, self.canopy.parameters.values)

    def _fluxes(
        self,
        raw: dict[str, jax.Array],
        forcing: dict[str, jax.Array],
        stress: jax.Array | None,
        site: jax.Array | None,
        site_arrays: dict[str, jax.Array],
        start: jax.Array | None,
        own: dict[str, jax.Array],
        weights: dict[str, jax.Array] | None = None,
        columns: dict[str, jax.Array] | None = None,
    ) -> dict[str, jax.Array]:
        values = self._constrain(raw)
        if self.per_site:
            index = 0 if site is None else site
            values = {name: value[index] for name, value in values.items()}
        values |= own
        closure = None if self.loop is None else self.loop.closure(weights or {}, columns or {})
        solution = self.canopy.compute(
            values,
            cv.Forcing(site=site, **forcing),
            stress,
            in_loop=closure,
            site_arrays=type(self.canopy.site_arrays)(**site_arrays),
            start=start,
        )
        fluxes = {name: jnp.asarray(value) for name, value in vars(solution.fluxes).items()}
        state = {} if start is None else {"state": solution.state}
        factor = {} if solution.in_loop_factor is None else {"in_loop_factor": solution.in_loop_factor}
        return {**fluxes, **solution.diagnostics._asdict(), **state, **factor}


_in_use: weakref.WeakValueDictionary[Any, _Bridged] = weakref.WeakValueDictionary()
"""Compiled functions of the canopies that are alive, so that equal ones share their programs."""


def _bridged(canopy: cv.Canopy, per_site: bool, loop: LoopProgram | None = None) -> _Bridged:
    """The functions of a canopy, shared by all canopies that differ in nothing but their sites."""
    compiled_in = {
        name: value
        for name, value in vars(canopy).items()
        if name not in ("sites", "site_arrays") and not name.startswith("_")
    }
    leaves, structure = jax.tree.flatten((compiled_in, len(canopy.sites) > 1, per_site))
    key = structure, tuple(_identity(leaf) for leaf in leaves), loop
    found = _in_use.get(key)
    return _in_use.setdefault(key, _Bridged(canopy, per_site, loop)) if found is None else found


def _identity(leaf: Any) -> Any:
    """What two leaves that compute the same have in common: arrays and numbers their values, other objects themselves."""
    if isinstance(leaf, (bool, int, float, np.ndarray, np.generic, jax.Array)):
        array = np.asarray(leaf)
        return type(leaf), array.dtype.str, array.shape, array.tobytes()
    return leaf
