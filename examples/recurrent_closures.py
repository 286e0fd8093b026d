"""A GRU over the last 30 days feeds two closures of the canopy, capacity and stomatal slope, in a plain torch loop."""

import jax
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

import canveg_jax as cv
from bridges import TorchCanopy
from canveg_jax.io.antecedents import with_antecedents
from canveg_jax.synthetic import synthetic_weather
from lightning_modules.data.dataset import TowerDataset, collate

jax.config.update("jax_enable_x64", True)
DAYS, DRIVERS = 30, 5  # all drivers but rain


class Memory(nn.Module):
    """Daily weather of the last 30 days `[time, day, driver]` -> a factor for each of two parameters, 1 at the start."""

    def __init__(self, mean: torch.Tensor, sd: torch.Tensor):
        super().__init__()
        self.mean, self.sd, self.encoder = mean, sd, nn.GRU(DRIVERS, 8, batch_first=True)
        self.head = nn.Linear(8, 2)
        nn.init.zeros_(self.head.weight)

    def forward(self, daily: torch.Tensor) -> tuple[torch.Tensor, ...]:
        scaled = (daily[..., :DRIVERS] - self.mean) / self.sd
        return torch.exp(torch.tanh(self.head(self.encoder(scaled)[1][-1]))).unbind(1)


def main(epochs: int = 4) -> list[float]:
    """Train on invented weather; returns the loss of every step."""
    site = cv.Site.named("US-Bi1", n_layers=1)
    weather = synthetic_weather(site, days=120, seed=1, aridity=0.5, start="2019-03-01")
    half_hours = TowerDataset(with_antecedents([weather]), rows=[np.arange(48 * DAYS, 48 * 120)], daily_days=DAYS)
    days = half_hours[len(half_hours) - 1]["daily"][:, :DRIVERS]  # a month to scale by
    canopy, network, losses = TorchCanopy(cv.Canopy(site)), Memory(days.mean(0), days.std(0) + 1e-6).double(), []
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(epochs):
        for batch in DataLoader(half_hours, 512, shuffle=True, drop_last=True, collate_fn=collate):
            warmth = ((batch["daily"][:, :, 0] - network.mean[0]) / network.sd[0]).mean(1)
            with torch.no_grad():  # the truth: capacity follows the warmth of the last 30 days
                truth = canopy(batch["forcing"], parameters={"vcopt": 171.0 * torch.exp(0.5 * torch.tanh(warmth))})
            capacity, slope = network(batch["daily"])
            moved = canopy.moved_parameters(factors={"vcopt": capacity, "kball": slope})
            fluxes = canopy(batch["forcing"], parameters=moved)
            loss = (fluxes["NEE"] - truth["NEE"])[fluxes["converged"]].square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(f"RMSE of NEE {losses[-1] ** 0.5:6.3f} umol m-2 s-1", flush=True)
    return losses


if __name__ == "__main__":
    main()
