"""A `TorchCanopy` as a pure JAX function of its arrays: to export it, or to go on in JAX with what was trained in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch

import canveg_jax as cv
from canveg_jax.canopy import Canopy

from ._runtime.dtypes import copy_to_jax
from .canopy import TorchCanopy


class CanopyFunction(NamedTuple):
    """`function(arrays, forcing, stress, site, features, factors, shifts)`, outputs as of `TorchCanopy`; and its arrays.

    `forcing`, `features`, `factors` and `shifts` are mappings of columns `[time]` (`TorchCanopy.moved_parameters` says what
    the last two do), `stress` and `site` columns or None.
    """

    function: Callable[..., dict[str, jax.Array]]
    arrays: dict[str, Any]


def canopy_function(module: TorchCanopy, dtype: torch.dtype, **options: Any) -> CanopyFunction:
    """The function, with the present values of parameters, sites and the network in the loop as its arrays.

    Args:
        module: of `bridges.TorchCanopy`, without a stress module of its own.
        dtype: of the computation.
        options: changes of its `SolverOptions`.

    Raises:
        ValueError: the module has a stress module: convert that with `torch2jax`.
        NetworkError, UnsupportedOperatorError: as `torch2jax`, of the network in the loop.
    """
    if module.stress is not None:
        raise ValueError("canopy_function: convert the stress module with torch2jax, and give its factor as `stress`.")
    own = {name: np.asarray(value) for name, value in module.canopy.parameters.values.items()}
    canopy = Canopy(
        module.canopy.sites, module.canopy.parameters, options=module.canopy.options._replace(**options),
        smooth_colimitation=module.canopy.scheme.smooth_colimitation, conductance=module.canopy.scheme.conductance,
    )  # fmt: skip
    loop = module.solver.loop
    program = None if loop is None else loop.program(dtype)
    weights = {} if loop is None or module.in_loop is None else loop.state(module.in_loop, dtype)
    arrays = {
        "raw": {name: copy_to_jax(z.detach().to(dtype)) for name, z in module.raw.items()},
        "site": {
            name: copy_to_jax(torch.tensor(v, dtype=dtype)) for name, v in vars(module.canopy.site_arrays).items()
        },
        "in_loop": {name: copy_to_jax(tensor.detach()) for name, tensor in weights.items()},
    }

    def function(
        arrays: Mapping[str, Any],
        forcing: Mapping[str, Any],
        stress: Any = None,
        site: Any = None,
        features: Mapping[str, Any] | None = None,
        factors: Mapping[str, Any] | None = None,
        shifts: Mapping[str, Any] | None = None,
    ) -> dict[str, jax.Array]:
        index = 0 if site is None else site
        raw = {name: z[index] if module.per_site else z for name, z in arrays["raw"].items()}
        values = cv.constrain(raw, own) if raw else {}
        values |= _moved(raw, own, factors or {}, shifts or {})
        known = dict(features or {})
        closure = None
        if program is not None and loop is not None:
            columns = {name: known.get(name, forcing.get(name)) for name in loop.column_inputs}
            closure = program.closure(arrays["in_loop"], columns)
        solution = canopy.compute(
            values, cv.Forcing(site=site, **forcing), stress, in_loop=closure,
            site_arrays=type(module.canopy.site_arrays)(**arrays["site"]),
        )  # fmt: skip
        fluxes = {name: jnp.asarray(value) for name, value in vars(solution.fluxes).items()}
        factor = {} if solution.in_loop_factor is None else {"in_loop_factor": solution.in_loop_factor}
        return {**fluxes, **solution.diagnostics._asdict(), **factor}

    return CanopyFunction(function, arrays)


def _moved(
    raw: Mapping[str, Any], own: Mapping[str, Any], factors: Mapping[str, Any], shifts: Mapping[str, Any]
) -> dict[str, Any]:
    """`TorchCanopy.moved_parameters` in JAX."""
    values: dict[str, Any] = {}
    if any(name in shifts or name in raw for name in {**shifts, **factors}):
        unconstrained = dict(raw)
        fixed = {name: own[name] for name in shifts if name not in raw}
        unconstrained |= {name: jnp.asarray(z, shifts[name].dtype) for name, z in cv.unconstrain(fixed, own).items()}
        for name, shift in shifts.items():
            unconstrained[name] = unconstrained[name] + jnp.where(jnp.isfinite(shift), shift, 0.0)
        values = cv.constrain(unconstrained, own)
    for name, factor in factors.items():
        value = values[name] if name in values else jnp.asarray(own[name], factor.dtype)
        values[name] = value * jnp.where(jnp.isfinite(factor), factor, 1.0)
    for moves in (factors, shifts):
        for name, move in moves.items():
            values[name] = jnp.where(jnp.isfinite(move), values[name], jnp.nan)
    return {name: values[name] for name in {**shifts, **factors}}
