"""How much of the available energy a tower's turbulent fluxes account for."""

from __future__ import annotations

import numpy as np

from .dataset import TowerDataset

CALM = 0.2
"""m s-1; below this friction velocity turbulence is too weak for the fluxes to count."""

FEWEST_SAMPLES = 50
"""Half-hours with all four fluxes measured that a slope must rest on."""

PARTS_OF_THE_BALANCE = ("latent_heat", "sensible_heat", "net_radiation", "ground_heat")


def energy_closure(dataset: TowerDataset, site: int = 0) -> float | None:
    """Slope of `LE + H` on `Rn - G` by ordinary least squares with an intercept [Wilson2002].

    Over the half-hours of the site in which all four were measured and the friction velocity exceeds 0.2 m s-1.

    Args:
        dataset: the training part, with all four fluxes among its targets.
        site: index of the tower in it.

    Returns:
        The slope; None if a flux is not there or fewer than 50 half-hours are.
    """
    if any(name not in dataset.target for name in PARTS_OF_THE_BALANCE):
        return None
    used = (dataset.site.numpy() == site) & (dataset.forcing["friction_velocity"].numpy() > CALM)
    for name in PARTS_OF_THE_BALANCE:
        used &= dataset.measured[name].numpy()
    if used.sum() < FEWEST_SAMPLES:
        return None
    latent, sensible, net, ground = (dataset.target[name].numpy()[used].astype(float) for name in PARTS_OF_THE_BALANCE)
    if np.ptp(net - ground) == 0.0:
        return None
    return float(np.polyfit(net - ground, latent + sensible, 1)[0])
