"""Canopies of sites with different layers, grids and soils as one `torch.nn.Module`: forest, crop and grassland in one batch."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import chain

import equinox as eqx
import jax
import numpy as np
import torch

import canveg_jax as cv
from canveg_jax.site import Form
from canveg_jax.solver.acceptance import SITE

from ._jax2torch.rows import Rows
from ._runtime.convert import is_symbolic
from ._runtime.upstream import opaque
from .canopy_batch import CanopyBatch
from .canopy_module import CanopyModule
from .canopy_solver import SMALLEST_BATCH, CanopySolver
from .errors import TransformError

PIECES, SMALLEST_PIECE = 8, 64
"""On a CPU the rows of a form are solved in pieces of this part of the largest batch, but of so many rows at least: a call costs
what 10 to 20 rows of one layer do, and a piece that is not full costs as much as one that is."""


class TorchCanopies(CanopyModule):
    """Canopies that differ in their sites alone, of any forms (`canveg_jax.Site.form`), as one `TorchCanopy`.

    The rows of a batch are divided by the form of their site; what each form gives is put back in the order of the batch. The
    tunable parameters, the stress and the network in the loop are one for all, with the names of `TorchCanopy` in `state_dict`.
    A `stress` `[time, layer]` needs one number of layers. In `state`, the numbers beyond the unknowns of a site are NaN.

    Under `torch.compile` the division of the rows is a break of the graph; `torch.export` and a `vmap` over the site index are
    refused.

    Example:
        >>> forest, meadow = (cv.Canopy(cv.Site.named(name, n_layers=n)) for name, n in (("US-Me2", 50), ("US-Bi1", 1)))
        >>> op = TorchCanopies([forest, meadow], tunable=("kball", "vcopt"))
        >>> out = op({**forcing, "site": site})     # site: tensor [time], 0 in the forest, 1 in the meadow

    Args:
        canopies: each of one site or several. The index of a site counts through all of them, in this order.
        tunable, stress, in_loop: as of `TorchCanopy`.
        per_site: every site has its own value of each tunable parameter, `raw.<name>` `[site]`.
        pad_to: number of rows of the largest batch, if it is known (`plan_batches`).

    Raises:
        UnknownParameterError: a name in `tunable` does not exist.
        ValueError: no canopy, canopies that differ in more than their sites, or a start value outside the parameter's training
            range.
    """

    group_of_site: torch.Tensor
    place_of_site: torch.Tensor

    def __init__(
        self,
        canopies: Sequence[cv.Canopy],
        tunable: Sequence[str] = (),
        stress: torch.nn.Module | None = None,
        *,
        in_loop: torch.nn.Module | None = None,
        per_site: bool = False,
        pad_to: int = 1,
    ):
        canopies = tuple(canopies)
        _check_alike(canopies)
        sites = tuple(chain.from_iterable(canopy.sites for canopy in canopies))
        super().__init__(canopies[0].parameters, len(sites), tunable, stress, in_loop, per_site, pad_to)
        self.sites = sites
        by_form: dict[Form, list[cv.Canopy]] = {}
        for canopy in canopies:
            by_form.setdefault(canopy.site.form, []).append(canopy)
        self.groups = torch.nn.ModuleList(
            CanopySolver(_joined(members), in_loop, per_site) for members in by_form.values()
        )
        group = torch.tensor([list(by_form).index(site.form) for site in sites])
        self.register_buffer("group_of_site", group, persistent=False)
        place = torch.zeros_like(group)
        for g in range(len(self.groups)):
            members = torch.nonzero(group == g)[:, 0]
            place[members] = torch.arange(len(members))
            self.register_buffer(f"sites_of_group_{g}", members, persistent=False)
        self.register_buffer("place_of_site", place, persistent=False)

    @property
    def _solvers(self) -> Sequence[CanopySolver]:
        return list(self.groups)  # pyright: ignore[reportReturnType]  a ModuleList does not know what it holds

    @opaque
    def _solved(self, batch: CanopyBatch, n_rows: int) -> dict[str, torch.Tensor]:
        n_rows = batch.number_of_rows(type(self).__name__)
        parts = self._division(self._checked(batch))
        outputs = [self._of_group(group, rows, batch) for group, rows in parts]
        if not parts:  # no rows, or none of a known site
            parts = [(0, torch.zeros(0, dtype=torch.long, device=batch.forcing["air_temperature"].device))]
            outputs = [self._of_group(*parts[0], batch)]
        order = torch.cat([rows for _, rows in parts])
        if len(order) < n_rows:
            missing = torch.ones(n_rows, dtype=torch.bool, device=order.device).index_fill(0, order, False)
            unknown = torch.nonzero(missing)[:, 0]
            outputs.append({name: _not_solved(name, like, len(unknown)) for name, like in outputs[0].items()})
            order = torch.cat((order, unknown))
        back = torch.empty_like(order)
        back[order] = torch.arange(n_rows, device=order.device)
        return {name: torch.cat([out[name] for out in outputs]).index_select(0, back) for name in outputs[0]}

    def _checked(self, batch: CanopyBatch) -> torch.Tensor:
        """The site of each row.

        Raises:
            ForcingError: there is none.
            ValueError: a stress `[time, layer]` at sites of several numbers of layers, or a `start` of another width.
            TransformError: the numbers of the site cannot be looked at.
        """
        if batch.site is None:
            raise cv.ForcingError(
                f"forcing lacks 'site': give the index [time] of each half-hour's site, 0 to {len(self.sites) - 1}, in the order "
                "of the canopies."
            )
        layers = sorted({site.n_layers for site in self.sites})
        if batch.stress is not None and batch.stress.dim() > 1 and len(layers) > 1:
            raise ValueError(
                f"stress must have shape [time] at sites of different numbers of layers ({', '.join(map(str, layers))}); got "
                f"{list(batch.stress.shape)}. Give one factor for each half-hour, or a network of each leaf (in_loop)."
            )
        if batch.start is not None and batch.start.shape[1:] != (self.state_size,):
            raise ValueError(
                f"start must have shape [time, {self.state_size}], the unknowns of the site with most layers; got "
                f"{list(batch.start.shape)}. Give the `state` of an earlier call."
            )
        if is_symbolic(batch.site):
            raise TransformError(_NO_NUMBERS)
        return batch.site

    def _division(self, site: torch.Tensor) -> list[tuple[int, torch.Tensor]]:
        """Group and rows of each part of a batch that is solved by itself; rows of unknown sites are in none."""
        size = self._piece(site.device) if self.pad_to > 1 else max(1, len(site))
        known = (site >= 0) & (site < len(self.sites))
        of_row = self.group_of_site.to(site.device)[torch.where(known, site, 0).long()]
        of_row = torch.where(known, of_row, -1)
        try:
            rows = [torch.nonzero(of_row == group)[:, 0] for group in range(len(self.groups))]
        except RuntimeError as error:
            raise TransformError(_NO_NUMBERS) from error
        return [(group, part) for group, here in enumerate(rows) if len(here) for part in here.split(size)]

    def _of_group(self, group: int, rows: torch.Tensor, batch: CanopyBatch) -> dict[str, torch.Tensor]:
        """Outputs of some rows of the batch, all of sites of one group."""
        solver = self._solvers[group]
        batch = batch.each(lambda t: t.index_select(0, rows))
        site = batch.site
        if site is not None:
            several = len(solver.canopy.sites) > 1
            site = self.place_of_site.to(site.device)[site.long()] if several else None
        start = None if batch.start is None else batch.start[:, : solver.state_size]
        raw = dict(self.raw.items())
        if self.per_site:
            members = getattr(self, f"sites_of_group_{group}")
            raw = {name: z.index_select(0, members) for name, z in raw.items()}
        smallest = self._piece(rows.device) if self.pad_to > 1 else 1
        out = solver(raw, self.in_loop, batch._replace(site=site, start=start), len(rows), smallest)
        if "state" in out:
            beyond = (0, self.state_size - solver.state_size)
            out["state"] = torch.nn.functional.pad(out["state"], beyond, value=torch.nan)
        return out

    def _piece(self, device: torch.device) -> int:
        """Rows of a form that are solved at once, where the largest batch is known."""
        rows = Rows("", SMALLEST_BATCH)
        whole = rows.size(self.pad_to)
        return min(whole, rows.size(max(SMALLEST_PIECE, -(-whole // PIECES)))) if device.type == "cpu" else whole

    def plan_batches(self, largest: int) -> None:
        """From now on solve the rows of each form in pieces of one size: an eighth of that of the largest batch to come.

        How many rows of a batch belong to a form is chance. With one size each form needs three programs whatever its share
        (values alone, values to differentiate, derivatives), and at most one piece of a form is padded. On an accelerator, where
        a call costs nearly the same for any number of rows, a form is solved in one piece, padded to the largest batch.
        """
        super().plan_batches(largest)

    def site_constants(self, site: int) -> dict[str, np.ndarray]:
        """Constants of one site as the physics takes them, by name."""
        return self._solvers[int(self.group_of_site[site])].constants_of(int(self.place_of_site[site]))


_NO_NUMBERS = (
    "TorchCanopies divides the rows of a batch by the number of their site, which a graph (torch.export, make_fx) or a vmap over "
    "'site' does not have. Use bridges.TorchCanopy for the sites of each form, or keep 'site' out of the transform."
)


def _not_solved(name: str, like: torch.Tensor, n_rows: int) -> torch.Tensor:
    """An output of rows whose site is unknown."""
    value = torch.nan if like.is_floating_point() else SITE if name == "reason" else 0
    return like.new_full((n_rows, *like.shape[1:]), value)


def _check_alike(canopies: Sequence[cv.Canopy]) -> None:
    """Raise ValueError unless these are canopies that differ in their sites alone."""
    if not canopies:
        raise ValueError("canopies: expected at least one; got none.")
    for canopy in canopies[1:]:
        first, scheme = canopies[0], canopies[0].scheme
        pairs = {
            "parameters": (first.parameters, canopy.parameters),
            "stress": (first.stress, canopy.stress),
            "options": (first.options, canopy.options),
            "conductance": (scheme.conductance, canopy.scheme.conductance),
            "smooth_colimitation": (scheme.smooth_colimitation, canopy.scheme.smooth_colimitation),
        }
        if differ := [name for name, pair in pairs.items() if not eqx.tree_equal(*pair)]:
            raise ValueError(
                f"canopies must differ in their sites alone; that of {canopy.site.name} differs from that of {first.site.name} "
                f"in {', '.join(differ)}. Build all with the same."
            )


def _joined(canopies: Sequence[cv.Canopy]) -> cv.Canopy:
    """One canopy of the sites of several, all of one form."""
    if len(canopies) == 1:
        return canopies[0]
    joined = copy.copy(canopies[0])
    joined.sites = tuple(chain.from_iterable(canopy.sites for canopy in canopies))
    per_site = [
        canopy.site_arrays if len(canopy.sites) > 1 else jax.tree.map(lambda x: np.asarray(x)[None], canopy.site_arrays)
        for canopy in canopies
    ]
    joined.site_arrays = jax.tree.map(lambda *arrays: np.concatenate(arrays), *per_site)
    return joined
