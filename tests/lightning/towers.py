"""Towers and physics for tests: synthetic weather, and an analytic canopy that costs nothing."""

import numpy as np
import torch
import xarray as xr

import canveg_jax as cv
from canveg_jax.synthetic import synthetic_tower
from lightning_modules.data.inputs import vapour_pressure_deficit

SITE = cv.Site.named("US-Bi1", n_layers=1)


def boring_fluxes(shortwave, stress, kball, soil_temperature):
    """An invented canopy: LE, NEE, H, G, Rnet of shortwave, stress and one parameter (NumPy or torch)."""
    available = 0.8 * shortwave
    latent = 0.08 * kball * stress * available
    return {
        "LE": latent,
        "H": 0.9 * available - latent,
        "G": 0.1 * available,
        "Rnet": available,
        "NEE": 2.0 + 0.1 * soil_temperature - 0.004 * kball * stress * shortwave,
    }


class BoringCanopy(torch.nn.Module):
    """`boring_fluxes` as `lightning_modules.protocols.Physics`. Half-hours of `broken` rows do not converge and are NaN."""

    def __init__(self, kball: float = 8.17, tunable: bool = True, broken_above: float = np.inf):
        super().__init__()
        z = torch.tensor((kball - 2.0) / 18.0, dtype=torch.float64).logit()
        self.raw = torch.nn.ParameterDict({"kball": torch.nn.Parameter(z)} if tunable else {})
        self.fixed = kball
        self.broken_above = broken_above
        self.state_size = 0
        self.largest_batch = 0

    def fixed_constants(self):
        return {"kball": np.array(self.fixed)} if not self.raw else {}

    def plan_batches(self, largest):
        self.largest_batch = largest

    def parameter_values(self):
        return {name: 2.0 + 18.0 * torch.sigmoid(z) for name, z in self.raw.items()}

    def forward(self, forcing, stress=None):
        shortwave = forcing["shortwave_in"]
        stress = torch.ones_like(shortwave) if stress is None else stress
        kball = self.parameter_values().get("kball", torch.tensor(self.fixed)).to(shortwave.dtype)
        out = boring_fluxes(shortwave, stress, kball, forcing["soil_temperature"])
        broken = shortwave > self.broken_above
        out = {name: torch.where(broken, torch.nan, value) for name, value in out.items()}
        return {
            **out,
            "converged": ~broken,
            "residual": torch.zeros_like(shortwave),
            "passes": torch.zeros_like(shortwave),
        }


class KnownStress(torch.nn.Module):
    """The stress behind the synthetic towers, in torch."""

    def forward(self, forcing):
        water = torch.sigmoid((forcing["soil_water_content"] - 0.12) / 0.02)
        return water / (1.0 + vapour_pressure_deficit(forcing) / 8.0)


def boring_tower(
    days=20, seed=0, *, kball=12.0, noise=False, gaps=True, start="2019-06-01", site=SITE, aridity=0.8
) -> xr.Dataset:
    """A synthetic tower whose fluxes come from `boring_fluxes` under the known stress."""

    def model(weather, stress):
        return boring_fluxes(weather["shortwave_in"].values, stress, kball, weather["soil_temperature"].values)

    return synthetic_tower(site, days, seed, model, noise, gaps, aridity=aridity, start=start)
