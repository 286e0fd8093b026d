"""The compiled canopy of sites of one form, as a torch module without parameters: what `TorchCanopy` and `TorchCanopies` solve
with."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

import canveg_jax as cv
from canveg_jax.solver.state_vector import state_size

from ._jax2torch.function import jax2torch
from .canopy_batch import CanopyBatch
from .in_loop import LoopNetwork, LoopProgram

WITHOUT_DERIVATIVE = ("state", "in_loop_factor")
"""Outputs that tell of the solution."""

SMALLEST_BATCH = 8
"""Rows; smaller batches are padded to it."""


class CanopySolver(torch.nn.Module):
    """Fluxes of a batch at the sites of one canopy, from parameters that another module owns.

    Args:
        canopy: the canopy.
        in_loop: the network in the loop, which the caller owns too; None without one.
        per_site: the unconstrained parameters are `[site]`, one value for each site of the canopy.

    Attributes:
        bridged: the compiled functions; canopies that differ in nothing but their sites share them.
        loop: the network in the loop as the solver takes it; None without one.
        loop_bridges: the compiled functions with that network, by precision.
    """

    def __init__(self, canopy: cv.Canopy, in_loop: torch.nn.Module | None, per_site: bool):
        super().__init__()
        self.canopy = canopy
        self.per_site = per_site
        self.loop = None if in_loop is None else LoopNetwork(in_loop, canopy.site.n_layers)
        # Arguments of the compiled program, not constants in it: canopies of other sites share the program.
        self._site_arrays = tuple(vars(canopy.site_arrays))
        for name, value in vars(canopy.site_arrays).items():
            self.register_buffer(f"site_{name}", torch.tensor(value), persistent=False)
        self.bridged = _bridged(canopy, per_site)
        self.loop_bridges: dict[torch.dtype, _Bridged] = {}

    def forward(
        self,
        raw: Mapping[str, torch.Tensor],
        in_loop: torch.nn.Module | None,
        batch: CanopyBatch,
        n_rows: int,
        smallest: int,
    ) -> dict[str, torch.Tensor]:
        """Outputs of `TorchCanopy.forward`.

        Args:
            raw: unconstrained parameters by name, 0-d or `[site]`.
            in_loop: the network in the loop with its present weights.
            batch: checked.
            n_rows: of the batch.
            smallest: smaller batches are padded to so many rows.
        """
        forcing, stress, site, start, columns, own = batch.padded(n_rows, max(SMALLEST_BATCH, smallest))
        like = forcing["air_temperature"]
        if not like.is_floating_point():
            like = like.to(torch.get_default_dtype())
            forcing = {**forcing, "air_temperature": like}
        dtype = like.dtype
        raw = {name: z.to(dtype) for name, z in raw.items()}
        stress = None if stress is None else stress.to(dtype)
        site_arrays = {name: getattr(self, f"site_{name}").to(like) for name in self._site_arrays}
        start = None if start is None else start.detach().to(dtype)
        site = None if site is None else site.int()
        own = {name: value.to(dtype) for name, value in own.items()}
        if self.loop is None or in_loop is None:
            out = self.bridged.fluxes(raw, forcing, stress, site, site_arrays, start, own)
        else:
            if dtype not in self.loop_bridges:  # kept here, because canopies share what is in use
                self.loop_bridges[dtype] = _bridged(self.canopy, self.per_site, self.loop.program(dtype))
            weights = self.loop.state(in_loop, dtype)
            columns = {name: column.to(dtype) for name, column in columns.items()}
            out = self.loop_bridges[dtype].fluxes(raw, forcing, stress, site, site_arrays, start, own, weights, columns)
        out = {name: value.detach() if name in WITHOUT_DERIVATIVE else value for name, value in out.items()}
        return {name: value[:n_rows] for name, value in out.items()}

    def constants_of(self, place: int) -> dict[str, np.ndarray]:
        """Constants of one site of the canopy, as the physics takes them, by name."""
        several = len(self.canopy.sites) > 1
        arrays = vars(self.canopy.site_arrays)
        return {name: np.array(value[place] if several else value) for name, value in arrays.items()}

    @property
    def state_size(self) -> int:
        """Number of unknowns of a half-hour."""
        return state_size(self.canopy.site.n_layers)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("bridged", "loop_bridges")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.bridged = _bridged(self.canopy, self.per_site)
        self.loop_bridges = {}


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
