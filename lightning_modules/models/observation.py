"""What a tower sees of the turbulent fluxes: its energy balance does not close, that of the canopy does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import nn

from canveg_jax.spelling import unknown

LOWEST_SHARE, HIGHEST_SHARE = 0.5, 1.1
"""Bounds of the observed share."""

NEAREST_START = 0.02
"""A start keeps this distance from the bounds."""

OBSERVED_FLUXES = ("LE", "H")
"""Fluxes of which the tower observes a share, in the order of the factors."""


class ObservationModel(nn.Module):
    """`observed LE = c LE + error`, `observed H = c H + error`: a share `c` for each tower, learned with the physics.

    The towers' turbulent fluxes account for 70 to 90 % of the available energy [Wilson2002]. A canopy that conserves energy and
    is fitted to them as they are puts what is missing into the flux that is fitted least. `c` stays within 0.5 and 1.1, starts
    at the slope of the tower's own energy balance in the training part, and is pulled to it: it would else take up other
    errors of the model's energy. It can be told from the physics only where latent and sensible heat are both fitted.

    Args:
        n_sites: every tower has its own share.
        factors: `one` for both fluxes (the ratio of the missing energy is that of the observed fluxes), or `two`.
        prior_sd: standard deviation of the share about the tower's own slope.
        weight: of `((c - slope) / prior_sd)**2` in the loss, mean over towers and factors.

    Raises:
        ValueError: a number that cannot be right.
    """

    slope: torch.Tensor
    corrected: torch.Tensor

    def __init__(
        self, n_sites: int, factors: Literal["one", "two"] = "one", *, prior_sd: float = 0.07, weight: float = 0.01
    ):
        super().__init__()
        if factors not in ("one", "two"):
            raise ValueError(f"observation: factors must be 'one' or 'two'; got {factors!r}.")
        if not 0.0 < prior_sd < math.inf or not 0.0 <= weight < math.inf:
            raise ValueError(
                f"observation: prior_sd must be positive and weight not negative; got {prior_sd!r} and {weight!r}."
            )
        self.config: dict[str, Any] = {"factors": factors, "prior_sd": prior_sd, "weight": weight}
        self.prior_sd, self.weight = prior_sd, weight
        self.raw = nn.Parameter(torch.zeros(n_sites, 1 if factors == "one" else 2, dtype=torch.float64))
        self.register_buffer("slope", torch.full((n_sites,), torch.nan, dtype=torch.float64))
        self.register_buffer("corrected", torch.tensor(False))

    def set_closure(self, slopes: Mapping[int, float]) -> None:
        """Start at the slope of each tower's energy balance, by site index; a tower without one starts at 0.8, without prior."""
        self.slope.fill_(torch.nan)
        with torch.no_grad():
            for site in range(len(self.raw)):
                self.slope[site] = slopes.get(site, torch.nan)
                start = min(max(slopes.get(site, 0.8), LOWEST_SHARE + NEAREST_START), HIGHEST_SHARE - NEAREST_START)
                share = (start - LOWEST_SHARE) / (HIGHEST_SHARE - LOWEST_SHARE)
                self.raw[site] = math.log(share / (1.0 - share))

    def fluxes_are_corrected(self) -> None:
        """The observed fluxes are closed already: the share is 1, and stays."""
        self.corrected.fill_(True)
        self.raw.requires_grad_(False)

    def shares(self) -> torch.Tensor:
        """`c` of latent and of sensible heat, `[site, 2]`."""
        share = LOWEST_SHARE + (HIGHEST_SHARE - LOWEST_SHARE) * torch.sigmoid(self.raw)
        return torch.where(self.corrected, torch.ones_like(share), share).expand(-1, 2)

    def forward(self, fluxes: Mapping[str, torch.Tensor], site: torch.Tensor) -> dict[str, torch.Tensor]:
        """What the towers would observe of the modelled fluxes `[time]`, by name; others are as they are.

        A flux that is no number stays one, without influence on the gradient of the shares.
        """
        shares, seen = self.shares()[site], {}
        for i, name in enumerate(OBSERVED_FLUXES):
            flux, known = fluxes[name], torch.isfinite(fluxes[name])
            share = shares[:, i].to(flux.dtype)
            seen[name] = torch.where(known, share * torch.where(known, flux, 0.0), flux)
        return {**fluxes, **seen}

    def penalty(self) -> torch.Tensor:
        """The weighted pull of the shares to the towers' own slopes."""
        known = torch.isfinite(self.slope) & ~self.corrected
        distance = (self.shares() - torch.where(known, self.slope, 0.0)[:, None]) / self.prior_sd
        return self.weight * torch.where(known[:, None], distance.square(), 0.0).mean()


def read_observation(observation: Any, n_sites: int, weights: Mapping[str, float]) -> ObservationModel | None:
    """The model that a setting means.

    Raises:
        ValueError: an unknown setting, or fluxes from which the share cannot be learned.
    """
    fits_heat = weights.get("latent_heat", 0.0) > 0.0 and weights.get("sensible_heat", 0.0) > 0.0
    if observation == "auto":
        observation = "one" if fits_heat else None
    if observation in (None, "none"):
        return None
    arguments: dict[str, Any] = {"factors": observation} if isinstance(observation, str) else dict(observation)
    known = ("factors", "prior_sd", "weight")
    for key in arguments:
        if key not in known:
            raise ValueError(f"observation: {unknown('key', key, known)}")
    if not fits_heat:
        raise ValueError(
            "observation: the observed share of the turbulent fluxes can be learned only where latent and sensible heat are both "
            "in the loss. Give sensible_heat a weight (weights: {latent_heat: 0.5, nee: 0.5, sensible_heat: 0.05}), or set "
            "observation: none."
        )
    return ObservationModel(n_sites, **arguments)
