# %% [markdown]
# # Your own network in the canopy
#
# A PyTorch network of yours decides how far the stomata close, for every leaf, *inside* the solver of the canopy.
# What it reads (the dryness of the air at the leaf) depends on what it does: a leaf that closes its stomata warms,
# and so meets drier air. The canopy is solved to convergence with the network in it, and the gradient is that of the
# solution.

# %%
import jax
import matplotlib.pyplot as plt
import torch
from torch import nn

import canveg_jax as cv
from bridges import InLoop, TorchCanopy
from canveg_jax.synthetic import synthetic_weather

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## Weather and a canopy
#
# The forcing is a dict of tensors `[time]`; names, units and ranges are those of `cv.FORCING_TABLE`. From a tower's
# file it comes by `cv.read_tower`, here the weather is invented: 15 days of a dry June.

# %%
site = cv.Site.named("US-Bi1", n_layers=1)
weather = synthetic_weather(site, days=15, seed=1, aridity=0.8, start="2019-06-01")
forcing = {name: torch.tensor(weather[name].values) for name in cv.FORCING_TABLE}
print(f"{len(weather.time)} half-hours; a network in the loop may read of each leaf: {', '.join(cv.LEAF_INPUTS)}")

# %% [markdown]
# ## What is to be found
#
# Any `nn.Module` that works on the last axis will do. Its attribute `inputs` says what it reads (or
# `InLoop(network, names)` does): names of leaf inputs, of the forcing, or columns of your own given as `features`. It
# returns one number per leaf in (0, 1].


# %%
class Truth(nn.Module):
    """Leaves close as their own vapour pressure deficit rises."""

    inputs = ("leaf_vpd",)

    def forward(self, leaf: torch.Tensor) -> torch.Tensor:
        return 1.0 / (1.0 + 0.4 * leaf[..., 0])


with torch.no_grad():
    seen = TorchCanopy(cv.Canopy(site), in_loop=Truth())(forcing)
observed = seen["LE"]  # stands for a tower's latent heat
print(
    f"solved: {int(seen['converged'].sum())} of {len(observed)}, mean LE by day {observed[observed > 50].mean():.0f} W m-2"
)

# %% [markdown]
# ## The network, and a few steps
#
# `canopy` is an `nn.Module`; the weights of the network are among its parameters. The first step compiles, for a
# minute or so.

# %%
torch.manual_seed(0)
network = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1), nn.Sigmoid()).double()
canopy = TorchCanopy(cv.Canopy(site), in_loop=InLoop(network, Truth.inputs))
optimizer = torch.optim.Adam(canopy.parameters(), lr=0.05)

losses = []
for step in range(25):
    rows = torch.randint(len(observed), (256,))
    fluxes = canopy({name: column[rows] for name, column in forcing.items()})
    used = fluxes["converged"]  # a half-hour without a solution is NaN, and takes no part
    loss = (fluxes["LE"] - observed[rows])[used].square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
    if step % 6 == 0:
        print(f"step {step:3d}   RMSE of LE {loss.item() ** 0.5:6.2f} W m-2", flush=True)

# %% [markdown]
# ## What it has learned
#
# The network saw latent heat alone, never the stress; between 0 and 3 kPa, where leaves were, the curves come
# together.

# %%
deficit = torch.linspace(0.0, 4.0, 50, dtype=torch.float64)[:, None]
with torch.no_grad():
    learned, true = network(deficit)[:, 0], Truth()(deficit)
figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
axes.plot(deficit[:, 0], true, label="truth")
axes.plot(deficit[:, 0], learned, label="learned from latent heat")
axes.set(xlabel="vapour pressure deficit at the leaf (kPa)", ylabel="factor", ylim=(0, 1))
axes.legend()
plt.show()

# %% [markdown]
# ## Further
#
# * Outside the loop: `canopy(forcing, stress=beta)` with `beta` a tensor `[time]` or `[time, layer]` of any network
#   of yours: [embed_in_torch.py](../embed_in_torch.py).
# * On other numbers than the stress (slope, capacity, leaf area, soil respiration):
#   `TorchCanopy(..., closures={...})`, [closures](../../docs/closures.md),
#   [recurrent_closures.py](../recurrent_closures.py).
# * With epochs, validation, checkpoints and a report, by a YAML:
#   [from a tower's file to the report](tower_to_report.py).
