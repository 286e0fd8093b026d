"""How much of the available energy the turbulent fluxes of a record account for."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

CALM = 0.2
"""m s-1; below this friction velocity turbulence is too weak for the fluxes to count."""

FEWEST_SAMPLES = 50
FLUXES = ("latent_heat", "sensible_heat", "net_radiation", "ground_heat")


class Closure(NamedTuple):
    """Slope and intercept (W m-2) of `LE + H` on `Rn - G`, and the number of half-hours they rest on."""

    slope: float
    intercept: float
    samples: int


def closure(dataset: xr.Dataset) -> Closure | None:
    """Least squares of `LE + H` on `Rn - G` [Wilson2002], over half-hours in which all four were measured and the friction
    velocity exceeds 0.2 m s-1; None with fewer than 50 of them."""
    if any(name not in dataset for name in (*FLUXES, "friction_velocity")):
        return None
    used = dataset["friction_velocity"].values > CALM
    for name in FLUXES:
        used = used & dataset[f"{name}_measured"].values
    if used.sum() < FEWEST_SAMPLES:
        return None
    latent, sensible, net, ground = (dataset[name].values[used] for name in FLUXES)
    if np.ptp(net - ground) == 0.0:
        return None
    slope, intercept = np.polyfit(net - ground, latent + sensible, 1)
    return Closure(float(slope), float(intercept), int(used.sum()))
