"""A torch network of your own inside the canopy's solver: evaluated for every leaf at every pass, trained on latent heat.

Run it as `python examples/network_in_the_loop.py [steps]`; it makes its own data.
"""

import sys

import jax
import torch
from torch import nn

import canveg_jax as cv
from bridges import InLoop, TorchCanopy
from canveg_jax.synthetic import synthetic_weather

jax.config.update("jax_enable_x64", True)


class Truth(nn.Module):
    """What is to be found: leaves close as their own vapour pressure deficit rises, the more the drier the soil."""

    inputs = ("leaf_vpd", "soil_water_content")

    def forward(self, leaf: torch.Tensor) -> torch.Tensor:
        deficit, water = leaf.unbind(-1)
        return torch.sigmoid(20.0 * (water - 0.1)) / (1.0 + 0.3 * deficit)


def main(steps: int = 30) -> list[float]:
    """Train; returns the loss of every step."""
    torch.manual_seed(0)
    site = cv.Site.named("US-Bi1", n_layers=1)
    weather = synthetic_weather(site, days=30, seed=1, aridity=0.8, start="2019-06-01")
    forcing = {name: torch.tensor(weather[name].values) for name in cv.FORCING_TABLE}
    with torch.no_grad():
        observed = TorchCanopy(cv.Canopy(site), in_loop=Truth())(forcing)["LE"]  # stands for a tower's latent heat

    network = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1), nn.Sigmoid()).double()
    canopy = TorchCanopy(cv.Canopy(site), in_loop=InLoop(network, Truth.inputs))
    optimizer = torch.optim.Adam(canopy.parameters(), lr=0.03)
    losses = []
    for step in range(steps):
        rows = torch.randint(len(observed), (256,))
        fluxes = canopy({name: column[rows] for name, column in forcing.items()})
        loss = (fluxes["LE"] - observed[rows])[fluxes["converged"]].square().mean()
        optimizer.zero_grad()
        loss.backward()  # through the solution: a leaf that closes its stomata warms and meets drier air
        optimizer.step()
        losses.append(loss.item())
        if step % 10 == 0 or step == steps - 1:
            print(f"step {step:3d}   RMSE of LE {loss.item() ** 0.5:7.2f} W m-2", flush=True)
    return losses


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
