"""How much fluxes answer to parameters and to the weather, by exact derivatives of the trained model, month by month."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from canveg_jax import FORCING_TABLE, PARAMETER_TABLE, TUNABLE
from canveg_jax.spelling import unknown

from ..evaluation.report import STYLE

if TYPE_CHECKING:
    from ..data.datamodule import FluxTowerDataModule
    from .hybrid_canopy import HybridCanopy

FLUXES = ("LE", "NEE")
TENTH = 0.1

INPUTS = (
    "air_temperature", "shortwave_in", "vapour_pressure", "wind_speed", "friction_velocity", "co2", "soil_temperature",
    "soil_water_content", "lai",
)  # fmt: skip
"""The weather whose effect is shown, through the physics and through the networks that see it."""


def sensitivities(
    model: HybridCanopy,
    data: FluxTowerDataModule,
    *,
    part: str = "test",
    half_hours: int = 1000,
    fluxes: Sequence[str] = FLUXES,
    parameters: Sequence[str] = TUNABLE,
) -> pd.DataFrame:
    """Answers of the fluxes, by `site, month, flux, kind, name`; columns `answer`, `drawn`, and `n`, the half-hours they rest on.

    `kind` is `parameter`: the elasticity `sum_t p dF_t/dp / sum_t |F_t|`, that is the relative change of the flux for a relative
    change of the parameter (where a closure moves it, of what the closure makes of it). Or `input`: `sum_t s dF_t/dx` over the
    same, with the standard deviation `s` of the input over the site's half-hours: the relative change for one standard deviation
    more, all else equal, the past included. `drawn` is the same but for parameters, of which it is the answer to a tenth of the
    range between their bounds: a relative change says little of a temperature in K. Half-hours without a solution are left out.

    Args:
        model: trained; its physics must be able to move parameters (`bridges.TorchCanopy`).
        data: set up.
        part: of the data.
        half_hours: how many at most, evenly spread over the part.
        fluxes: outputs of the canopy.
        parameters: names of `canveg_jax.PARAMETER_TABLE`.

    Raises:
        ValueError: there is no such part.
    """
    if part not in data.parts:
        raise ValueError(unknown("part of the data", part, data.parts))
    dataset = data.parts[part]
    step = -(-len(dataset) // half_hours)
    chosen = np.arange(0, len(dataset), step)
    batch = dataset.__getitems__(chosen.tolist())
    forcing = dict(batch["forcing"])
    inputs = {name: forcing[name].clone().requires_grad_() for name in INPUTS}
    one = torch.ones_like(forcing["air_temperature"])
    factors = {name: one.clone().requires_grad_() for name in parameters}
    past = {**batch.get("history", {}), **({"daily": batch["daily"]} if "daily" in batch else {})}
    with torch.enable_grad():
        out = model({**forcing, **past, **inputs}, batch["site"], factors=factors)
        solved = out["converged"]
        slopes = {}
        for i, flux in enumerate(fluxes):
            total = torch.where(solved, out[flux], 0.0).sum()
            wanted = [*factors.values(), *inputs.values()]
            found = torch.autograd.grad(total, wanted, retain_graph=i < len(fluxes) - 1, materialize_grads=True)
            slopes[flux] = dict(zip((*factors, *inputs), found, strict=True))
    months = dataset.time[chosen].astype("datetime64[M]").astype(int) % 12 + 1
    rows = []
    for s, site in enumerate(data.sites):
        here = (batch["site"] == s).numpy() & solved.numpy()
        spread = {name: float(inputs[name].detach()[torch.from_numpy(here)].std(correction=0)) for name in INPUTS}
        for month in np.unique(months[here]):
            used = here & (months == month)
            for flux in fluxes:
                size = float(np.abs(out[flux].detach().numpy()[used]).sum())
                for name, slope in slopes[flux].items():
                    kind = "parameter" if name in factors else "input"
                    effect = float(slope.numpy()[used].sum()) * (1.0 if kind == "parameter" else spread[name])
                    answer = effect / size if size > 0 else np.nan
                    drawn = answer * TENTH * _range_over_value(model, name) if kind == "parameter" else answer
                    rows.append((site.name, int(month), flux, kind, name, answer, drawn, used.sum()))
    table = pd.DataFrame(rows, columns=["site", "month", "flux", "kind", "name", "answer", "drawn", "n"])
    return table.set_index(["site", "month", "flux", "kind", "name"])


def _range_over_value(model: HybridCanopy, name: str) -> float:
    """The range between the bounds of a parameter over its value, that of the first site."""
    info, own = PARAMETER_TABLE[name], model.physics.parameter_values()
    given = model.hparams["parameters"] or {}
    value = float(own[name].detach().reshape(-1)[0]) if name in own else float(given.get(name, info.default))
    return (info.upper - info.lower) / value


def sensitivity_figure(table: pd.DataFrame, *, strongest: int = 12) -> Figure:
    """Draw the table: a row for each site, for each flux the parameters and the inputs it answers to most, by month."""
    import matplotlib

    sites = list(dict.fromkeys(table.index.get_level_values("site")))
    fluxes = list(dict.fromkeys(table.index.get_level_values("flux")))
    panels = [(flux, kind) for flux in fluxes for kind in ("parameter", "input")]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.2 * len(panels), 4.2 * len(sites)), layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.subplots(len(sites), len(panels), squeeze=False)
        for axes_of_site, site in zip(grid, sites, strict=True):
            for axes, (flux, kind) in zip(axes_of_site, panels, strict=True):
                block = table.loc[site]["drawn"].unstack("month").xs((flux, kind))
                shown = block.loc[block.abs().mean(axis=1).sort_values(ascending=False).index[:strongest]]
                limit = float(np.nanmax(np.abs(shown.to_numpy()))) or 1.0
                drawn = axes.imshow(shown.to_numpy(), cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
                axes.set_yticks(range(len(shown)), [_words(str(name)) for name in shown.index])
                axes.set_xticks(range(shown.shape[1]), [str(month) for month in shown.columns])
                unit = "a tenth of a parameter's range" if kind == "parameter" else "one sd of an input"
                axes.set_title(f"{site}: relative change of {flux} for {unit}", fontsize=9)
                axes.set_xlabel("month")
                figure.colorbar(drawn, ax=axes)
    return figure


def _words(name: str) -> str:
    return name.replace("_", " ") if name in FORCING_TABLE else name
