"""The canopy as a `torch.nn.Module`: tensors in, fluxes out, exact derivatives to parameters, forcing and stress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np
import torch

import canveg_jax as cv
from canveg_jax.forcing import check_columns
from canveg_jax.transforms import check_names

from ._jax2torch.function import jax2torch


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
        per_site: bool = False,
        pad_to: int = 1,
    ):
        super().__init__()
        self.canopy = canopy
        self.tunable = check_names(tunable)
        self.per_site = per_site
        self.pad_to = pad_to
        self.stress = stress
        own = canopy.parameters.values
        start = cv.unconstrain({name: np.asarray(own[name]) for name in self.tunable}, own)
        sites = (len(canopy.sites),) if per_site else ()
        self.raw = torch.nn.ParameterDict(
            {name: torch.nn.Parameter(torch.tensor(np.broadcast_to(z, sites).copy())) for name, z in start.items()}
        )
        # Arguments of the compiled program, not constants in it: canopies of other sites share the program.
        for name, value in vars(canopy.site_arrays).items():
            self.register_buffer(f"site_{name}", torch.tensor(value), persistent=False)
        self._bridge()

    def forward(
        self,
        forcing: Mapping[str, torch.Tensor],
        stress: torch.Tensor | None = None,
        *,
        start: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Fluxes of a batch of half-hours.

        Args:
            forcing: columns `[time]` by the names of `canveg_jax.FORCING_TABLE`, and `site` (index, optional). Their dtype
                is that of the computation.
            stress: factor in (0, 1], `[time]` or `[time, layer]`; overrides the module's own.
            start: `state` of an earlier call for similar conditions, for example of these half-hours in the last epoch: a third
                to a half of the passes to the same tolerance, the same derivatives. Rows that are not finite start as usual;
                `torch.full((n, canopy.state_size), torch.nan)` is a first start.

        Returns:
            Tensors `[time]` by the names of `canveg_jax.Fluxes`, and `converged` (bool), `residual` (W m-2), `passes`; with
            `start` also `state`, `[time, state_size]`, without derivative.

        Raises:
            ForcingError: a forcing variable is missing or unknown.
        """
        forcing = dict(forcing)
        site = forcing.pop("site", None)
        check_columns(forcing)
        if stress is None and self.stress is not None:
            stress = self.stress(forcing if site is None else {**forcing, "site": site})
        n_rows = forcing["air_temperature"].shape[0]
        size = bucket(max(n_rows, self.pad_to))
        if size != n_rows:
            rows = torch.arange(size, device=forcing["air_temperature"].device).clamp(max=n_rows - 1)
            forcing = {name: column[rows] for name, column in forcing.items()}
            site = None if site is None else site[rows]
            stress = None if stress is None else stress[rows]
            start = None if start is None else start[rows]
        like = forcing["air_temperature"]
        dtype = like.dtype
        raw = {name: z.to(dtype) for name, z in self.raw.items()}
        stress = None if stress is None else stress.to(dtype)
        site_arrays = {name: getattr(self, f"site_{name}").to(like) for name in vars(self.canopy.site_arrays)}
        start = None if start is None else start.detach().to(dtype)
        out = self._solve(raw, forcing, stress, None if site is None else site.int(), site_arrays, start)
        if start is not None:
            out = {**out, "state": out["state"].detach()}
        return {name: value[:n_rows] for name, value in out.items()}

    def parameter_values(self) -> dict[str, torch.Tensor]:
        """Physical values of the tunable parameters, differentiable."""
        return self._constrain(dict(self.raw.items())) if self.tunable else {}

    @property
    def state_size(self) -> int:
        """Number of unknowns of a half-hour."""
        return 5 * self.canopy.site.n_layers + 1

    def _canopy_fluxes(self, raw, forcing, stress, site, site_arrays, start):
        values = cv.constrain(raw, self.canopy.parameters.values)
        if self.per_site and site is not None:
            values = {name: value[site] for name, value in values.items()}
        elif self.per_site:
            values = {name: value[0] for name, value in values.items()}
        site_arrays = type(self.canopy.site_arrays)(**site_arrays)
        forcing = cv.Forcing(site=site, **forcing)
        solution = self.canopy.compute(values, forcing, stress, site_arrays=site_arrays, start=start)
        fluxes = {name: jnp.asarray(value) for name, value in vars(solution.fluxes).items()}
        state = {} if start is None else {"state": solution.state}
        return {**fluxes, **solution.diagnostics._asdict(), **state}

    def __getstate__(self) -> dict:
        return {k: v for k, v in self.__dict__.items() if k not in ("_solve", "_constrain")}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._bridge()

    def _bridge(self) -> None:
        """The compiled functions, which are no part of the module's state."""
        self._solve = jax2torch(self._canopy_fluxes, nondiff_argnames=("site", "site_arrays", "start"), name="canopy")
        self._constrain = jax2torch(lambda raw: cv.constrain(raw, self.canopy.parameters.values), name="constrain")


def bucket(n_rows: int) -> int:
    """Batch size that `n_rows` is padded to: a power of two up to 256, then a multiple of 256."""
    if n_rows <= 256:
        return max(8, 1 << (n_rows - 1).bit_length())
    return -(-n_rows // 256) * 256
