"""The canopy inside a plain PyTorch training loop: a small network of your own learns the stress. No Lightning needed.

Run it as `python examples/embed_in_torch.py [steps]`; it makes its own data.
"""

import sys

import jax
import torch

import canveg_jax as cv
from bridges import TorchCanopy
from canveg_jax.io import vapour_pressure_deficit
from canveg_jax.synthetic import known_stress, synthetic_weather

jax.config.update("jax_enable_x64", True)


def main(steps: int = 40) -> list[float]:
    """Train; returns the loss of every step."""
    torch.manual_seed(0)
    site = cv.Site.named("US-Bi1", n_layers=1)
    weather = synthetic_weather(site, days=30, seed=1, aridity=0.6, start="2019-06-01")
    forcing = {name: torch.tensor(weather[name].values) for name in cv.FORCING_TABLE}
    deficit = torch.tensor(vapour_pressure_deficit(weather).values)
    truth = torch.tensor(
        known_stress(weather["soil_water_content"].values, deficit.numpy()).tolist(), dtype=torch.float64
    )

    canopy = TorchCanopy(cv.Canopy(site), tunable=("kball",))  # an nn.Module; kball is one of its nn.Parameters
    with torch.no_grad():
        observed = canopy(forcing, stress=truth)["LE"]  # stands for a tower's latent heat

    inputs = torch.stack([forcing["soil_water_content"], deficit, forcing["shortwave_in"]], dim=1)
    inputs = (inputs - inputs.mean(0)) / inputs.std(0)
    network = torch.nn.Sequential(torch.nn.Linear(3, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1)).double()
    optimizer = torch.optim.Adam([*network.parameters(), *canopy.parameters()], lr=0.02)

    losses = []
    for step in range(steps):
        rows = torch.randint(len(inputs), (256,))
        stress = torch.sigmoid(network(inputs[rows])).squeeze(1)
        fluxes = canopy({name: column[rows] for name, column in forcing.items()}, stress=stress)
        used = fluxes["converged"]
        loss = (fluxes["LE"] - observed[rows])[used].square().mean()
        optimizer.zero_grad()
        loss.backward()  # exact derivatives of the solved canopy
        optimizer.step()
        losses.append(loss.item())
        if step % 10 == 0 or step == steps - 1:
            print(f"step {step:3d}   RMSE of LE {loss.item() ** 0.5:7.2f} W m-2", flush=True)
    print(f"kball {canopy.parameter_values()['kball'].item():.2f} (data were made with 8.17)")
    return losses


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
