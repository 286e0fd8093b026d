"""The networks of a hybrid as one pure JAX function of a half-hour: all that PyTorch computes before the canopy is solved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import torch
from torch import nn

from bridges import torch2jax
from bridges.canopy_batch import with_stand_ins
from canveg_jax import FORCING_TABLE, STRESSES
from canveg_jax.forcing import STAND_IN
from canveg_jax.io.antecedents import ANTECEDENTS
from canveg_jax.io.daily_weather import DAILY, DAILY_DRIVERS
from canveg_jax.stress import TrainableStress

from ..closures.closure import LEAF_AREA
from ..closures.leaf_area import moved_leaf_area
from ..closures.stress_scheme import StressScheme
from ..data.inputs import with_scaled_lai
from ..models.hybrid_canopy import HybridCanopy
from ..protocols import ReadsHalfHours


class Networks(nn.Module):
    """Columns of half-hours in; `z` and what the closures do with them, stress, and features of a network in the loop out."""

    def __init__(self, model: HybridCanopy):
        super().__init__()
        self.closures = model.closures
        self.scheme = isinstance(model.stress, StressScheme)
        self.stress = None if self.scheme else model.stress
        # In a tuple it is no part of this module: its weights are those of the canopy.
        self.readers = (model.in_loop,) if isinstance(model.in_loop, ReadsHalfHours) else ()
        self.sites = model.sites

    def forward(
        self, columns: dict[str, torch.Tensor], site: torch.Tensor | None = None
    ) -> dict[str, dict[str, torch.Tensor]]:
        """Tensors `[time]` by kind and name."""
        seen = with_scaled_lai(with_stand_ins(columns), site, self.sites)
        z = self.closures(seen)
        factors, shifts = self.closures.actions(z)
        out: dict[str, dict[str, torch.Tensor]] = {
            "z": z,
            "shifts": shifts,
            "forcing": {},
            "stress": {},
            "features": {},
            "seen": {},
        }
        if LEAF_AREA in factors:
            out["forcing"][LEAF_AREA] = moved_leaf_area(
                {name: columns[name] for name in FORCING_TABLE if name in columns}, factors.pop(LEAF_AREA)
            )
        out["factors"] = factors
        if self.scheme:
            out["seen"] = {name: seen[name] for name in FORCING_TABLE if name in seen}
        elif self.stress is not None:
            out["stress"] = {"factor": self.stress(seen)}
        for reader in self.readers:
            out["features"] = reader.columns(seen)
        return out


def columns_of(model: HybridCanopy) -> dict[str, tuple[int, ...]]:
    """Names of the columns that a hybrid reads, and their shape after `[time]`."""
    past = [name for name in model.network_inputs if name in ANTECEDENTS]
    daily = {DAILY: (model.days_of_memory, len(DAILY_DRIVERS))} if model.days_of_memory else {}
    return {**dict.fromkeys((*FORCING_TABLE, *past), ()), **daily}


def networks_function(model: HybridCanopy, dtype: torch.dtype) -> tuple[Callable, dict[str, Any]]:
    """`function(params, columns, site) -> {kind: {name: [time]}}`, as `Networks`, and its parameters by name.

    Rows cannot feel each other: the networks are converted for one half-hour, and mapped over the batch.

    Raises:
        NetworkError, UnsupportedOperatorError: a network that `torch2jax` cannot convert.
    """
    module = Networks(model).eval()
    example = {
        name: torch.full((1, *shape), STAND_IN.get(name, 0.5), dtype=dtype) for name, shape in columns_of(model).items()
    }
    several = len(model.sites) > 1
    inputs = (example, torch.zeros(1, dtype=torch.int32)) if several else (example,)
    with jax.enable_x64(True):
        fn, params = torch2jax(module, inputs, free_axes=None)
        # What is no parameter is an array as well, so that nothing but the structure is compiled in.
        params = {**params, **fn.buffers}
        scheme = None
        if isinstance(model.stress, StressScheme):
            scheme = TrainableStress(STRESSES[model.stress.scheme]())
            params["stress.raw"] = jax.numpy.asarray(model.stress.get("raw").detach().cpu().numpy())

    def function(params: dict[str, Any], columns: dict[str, Any], site: Any = None) -> dict[str, dict[str, Any]]:
        own = {name: value for name, value in params.items() if name != "stress.raw"}

        def of_one(columns: dict[str, Any], site: Any) -> Any:
            row = jax.tree.map(lambda x: x[None], (columns, site) if several else (columns,))
            return jax.tree.map(lambda y: y[0], fn(own, *row))

        out = jax.vmap(of_one)(columns, site) if several else jax.vmap(lambda c: of_one(c, None))(columns)
        if scheme is not None:
            raw = params["stress.raw"]
            trained = eqx.tree_at(lambda s: s.raw, scheme, raw)
            out["stress"] = {"factor": trained(out["seen"])}
        return out

    return function, params
