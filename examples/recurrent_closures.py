"""A GRU over the last 30 days feeds two closures of the canopy, in a plain torch loop: photosynthetic capacity, stomatal slope.

Run it as `python examples/recurrent_closures.py [steps]`; it makes its own data.
"""

import sys

import jax
import torch
from torch import nn

import canveg_jax as cv
from bridges import TorchCanopy
from canveg_jax.synthetic import synthetic_weather

jax.config.update("jax_enable_x64", True)
DAYS = 30
SLOW = ("air_temperature", "shortwave_in", "soil_water_content", "lai")


class Memory(nn.Module):
    """Daily weather of the last 30 days `[row, day, 4]` -> a factor for each of two parameters `[row, 2]`, 1 at the start."""

    def __init__(self):
        super().__init__()
        self.encoder, self.head = nn.GRU(len(SLOW), 8, batch_first=True), nn.Linear(8, 2)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, history: torch.Tensor) -> torch.Tensor:
        return torch.exp(torch.tanh(self.head(self.encoder(history)[1][-1])))


def main(steps: int = 30) -> list[float]:
    """Train; returns the loss of every step."""
    torch.manual_seed(0)
    site = cv.Site.named("US-Bi1", n_layers=1)
    weather = synthetic_weather(site, days=120, seed=1, aridity=0.5, start="2019-03-01")
    forcing = {name: torch.tensor(weather[name].values) for name in cv.FORCING_TABLE}
    daily = torch.stack([forcing[name].reshape(-1, 48).mean(1) for name in SLOW], dim=1)
    daily = (daily - daily.mean(0)) / daily.std(0)
    windows = daily.unfold(0, DAYS, 1).transpose(1, 2)  # [day, 30, 4]: the days before day 30, 31, ...
    acclimated = torch.exp(
        0.5 * torch.tanh(daily[:, 0].unfold(0, DAYS, 1).mean(1))
    )  # the truth: capacity follows warmth

    canopy, network = TorchCanopy(cv.Canopy(site)), Memory().double()
    optimizer, losses = torch.optim.Adam(network.parameters(), lr=0.02), []
    for step in range(steps):
        rows = torch.randint(48 * DAYS, len(weather["time"]), (256,))
        batch, day = {name: column[rows] for name, column in forcing.items()}, rows // 48 - DAYS
        with torch.no_grad():
            truth = canopy(batch, parameters={"vcopt": 171.0 * acclimated[day]})["NEE"]
        capacity, slope = network(windows[day]).unbind(1)
        fluxes = canopy(batch, parameters=canopy.moved_parameters(factors={"vcopt": capacity, "kball": slope}))
        loss = (fluxes["NEE"] - truth)[fluxes["converged"]].square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if step % 10 == 0:
            print(f"step {step:3d}   RMSE of NEE {loss.item() ** 0.5:6.3f} umol m-2 s-1", flush=True)
    return losses


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
