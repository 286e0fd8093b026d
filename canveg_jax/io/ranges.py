"""What a flux can be: ranges outside which a number of a tower is no measurement."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .tower_dataset import Target

FLUX_RANGES: dict[str, tuple[float, float]] = {
    "latent_heat": (-450.0, 900.0), "sensible_heat": (-450.0, 900.0), "ground_heat": (-250.0, 400.0),
    "net_radiation": (-200.0, 1100.0), "nee": (-100.0, 100.0), "soil_respiration": (-10.0, 100.0),
    "gpp": (-100.0, 100.0), "shortwave_out": (0.0, 800.0), "longwave_out": (100.0, 750.0),
}  # fmt: skip
"""Plausible ranges of AmeriFlux [Chu2023] for half-hours, in the units of `TARGET_TABLE`."""

MARGIN = 0.05
"""Share of its width by which a range is widened on either side."""


def plausible_range(name: str) -> tuple[float, float]:
    """The range of a flux, widened by `MARGIN`."""
    lower, upper = FLUX_RANGES[name]
    return lower - MARGIN * (upper - lower), upper + MARGIN * (upper - lower)


def only_plausible(targets: Mapping[str, Target]) -> dict[str, Target]:
    """The observed fluxes, with samples outside their range counted and not measured (`suspicions` says so)."""
    checked = {}
    for name, target in targets.items():
        lower, upper = plausible_range(name)
        outside = np.isfinite(target.values) & ((target.values < lower) | (target.values > upper))
        measured = np.asarray(target.measured, dtype=bool) & ~outside
        checked[name] = target._replace(measured=measured, outside=int(outside.sum()))
    return checked
