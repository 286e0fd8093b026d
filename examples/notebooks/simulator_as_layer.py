# %% [markdown]
# # A JAX simulator as a layer of PyTorch
#
# `bridges.jax2torch` knows nothing of canopies: any JAX function becomes a differentiable function of PyTorch. Here
# the simulator is a differential equation, a bucket of soil water that rain fills, plants empty and gravity drains:
#
# $$\frac{dW}{dt} = P(t) - E_0 \, \frac{W}{W + h} - 100 \, k \left(\frac{W}{100}\right)^3$$
#
# It is solved in JAX by fourth-order Runge-Kutta steps of a day, and a PyTorch network learns to say from the texture of a
# soil what `h` and `k` are, from nothing but records of soil water.

# %%
import jax
import jax.numpy as jnp
import torch

from bridges import jax2torch

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## The simulator
#
# One soil, `[day]` of rain in, `[day]` of water out. `jax.lax.scan` makes the loop a part of the compiled program.

# %%


def water(rain, demand, half, drainage):
    """Soil water at the end of each day, mm; `rain`, `demand` in mm per day, `half` in mm, `drainage` per day at 100 mm."""

    def change(w, p, e):
        return p - e * w / (w + half) - 100.0 * drainage * (w / 100.0) ** 3

    def day(w, weather):
        p, e = weather
        k1 = change(w, p, e)
        k2 = change(w + k1 / 2, p, e)
        k3 = change(w + k2 / 2, p, e)
        k4 = change(w + k3, p, e)
        w = w + (k1 + 2 * k2 + 2 * k3 + k4) / 6
        return w, w

    _, record = jax.lax.scan(day, jnp.full_like(half, 60.0), (rain, demand))
    return record


many_soils = jax.vmap(water, in_axes=(None, None, 0, 0))  # the same weather, [soil] parameters -> [soil, day]
layer = jax2torch(many_soils)

# %% [markdown]
# ## Invented soils
#
# Sixteen soils; the truth that the network is to find is a function of their share of sand.

# %%
torch.manual_seed(0)
days, soils = 120, 16
rain = 20.0 * (torch.rand(days, dtype=torch.float64) < 0.15)
demand = 4.0 + 1.5 * torch.sin(torch.arange(days, dtype=torch.float64) / 20.0)
sand = torch.linspace(0.1, 0.9, soils, dtype=torch.float64)[:, None]


def truth(sand):
    return 80.0 - 60.0 * sand[:, 0], 0.005 + 0.03 * sand[:, 0]


with torch.no_grad():
    observed = layer(rain, demand, *truth(sand))
    observed = observed + torch.randn_like(observed)  # sensors err by 1 mm
print("records:", tuple(observed.shape), observed.dtype)

# %% [markdown]
# ## The derivative is exact
#
# Backward runs JAX's own reverse pass. Against a central difference of the simulator:

# %%
half, drainage = (parameter.clone().requires_grad_() for parameter in truth(sand))
layer(rain, demand, half, drainage).sum().backward()
with torch.no_grad():
    step = torch.zeros(soils, dtype=torch.float64)
    step[3] = 1e-4
    difference = (layer(rain, demand, half + step, drainage) - layer(rain, demand, half - step, drainage)).sum() / 2e-4
print(f"by backward {half.grad[3]:.8f}, by differences {difference:.8f}")
assert abs(half.grad[3] - difference) < 1e-6 * abs(difference)

# %% [markdown]
# ## A network in front of the simulator
#
# The simulator stands in the middle of the model as if it were a layer.

# %%
network = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)).double()
optimizer = torch.optim.Adam(network.parameters(), lr=0.03)


def parameters_of(sand):
    raw = network(2.0 * sand - 1.0)
    return 50.0 * torch.exp(raw[:, 0]), 0.02 * torch.exp(raw[:, 1])  # positive, whatever the network says


losses = []
for iteration in range(150):
    loss = (layer(rain, demand, *parameters_of(sand)) - observed).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
    if iteration % 30 == 0 or iteration == 149:
        print(f"step {iteration:3d}   RMSE {loss.item() ** 0.5:6.2f} mm")

# %% [markdown]
# The error ends near that of the sensors, 1 mm, and the two functions of sand have been found:

# %%
with torch.no_grad():
    for name, found, true in zip(("half, mm", "drainage, 1/day"), parameters_of(sand), truth(sand), strict=True):
        print(f"{name:16s} true {true[::5].numpy().round(4)}   found {found[::5].numpy().round(4)}")
print("compiled programs:", dict(layer.operation.traces))

# %% [markdown]
# ## Further
#
# * An `equinox.Module` (a neural network, a `diffrax` solver with parameters) becomes an `nn.Module` by
#   `bridges.JaxModule`.
# * `torch.func.vmap`, `jacrev` and `jvp`, `torch.compile`, double backward, data loaders and several processes work
#   as with a function of PyTorch's own: [the bridge](../../docs/bridge.md).
# * The other direction, a torch network *inside* a JAX program: [torch2jax](../../docs/torch2jax.md).
