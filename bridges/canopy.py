"""The canopy as a `torch.nn.Module`: tensors in, fluxes out, exact derivatives to parameters, forcing and stress."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

import canveg_jax as cv

from .canopy_batch import CanopyBatch
from .canopy_module import CanopyModule
from .canopy_solver import CanopySolver


class TorchCanopy(CanopyModule):
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
        super().__init__(canopy.parameters, len(canopy.sites), tunable, stress, in_loop, per_site, pad_to)
        self.canopy = canopy
        self.solver = CanopySolver(canopy, in_loop, per_site)

    @property
    def _solvers(self) -> Sequence[CanopySolver]:
        return (self.solver,)

    def _solved(self, batch: CanopyBatch, n_rows: int) -> dict[str, torch.Tensor]:
        return self.solver(self.raw, self.in_loop, batch, n_rows, self.pad_to)

    def site_constants(self, site: int) -> dict[str, np.ndarray]:
        """Constants of one site as the physics takes them, by name."""
        return self.solver.constants_of(site)
