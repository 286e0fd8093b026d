"""Random flights of fluid particles in the turbulence of a canopy [Thomson1987] [Raupach1989].

Lengths in canopy heights `h`, times in `h / u*`, so that the result depends on the shape of the grid only.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from ..types import Values

SIGMA_TOP = 1.25
"""Standard deviation of vertical velocity at and above the canopy top, in u*."""
LAGRANGIAN_TIME = 0.25
"""Lagrangian time scale in the canopy and up to 1.5 h, in h/u*."""
TIME_STEP = 0.1 * LAGRANGIAN_TIME
_CHUNK = 100
"""Time steps of one compiled call; between calls, particles that have left are dropped."""
_GAUSS_LIMIT = 5.0
"""Largest random impulse, in standard deviations."""


class Grid(NamedTuple):
    """Bins in units of the canopy height: `n_layers` in the canopy, `n_air_layers` up to `top`."""

    n_layers: int
    n_air_layers: int
    top: float
    sigma_ground: float = 0.25 * SIGMA_TOP

    @property
    def widths(self) -> Float[np.ndarray, " bin"]:
        """Widths of the `n_layers + n_air_layers` bins."""
        canopy = np.full(self.n_layers, 1.0 / self.n_layers)
        return np.concatenate([canopy, np.full(self.n_air_layers, (self.top - 1.0) / self.n_air_layers)])


def velocity_scale(z: Float[Array, "..."], sigma_ground: float) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """`sigma_w` in u* and `d sigma_w^2 / dz` at height `z` (in h): linear in the canopy, constant above [Raupach1989]."""
    slope = 0.75 * SIGMA_TOP
    inside = z < 1.0
    sigma = jnp.where(inside, sigma_ground + slope * z, SIGMA_TOP)
    return sigma, jnp.where(inside, 2.0 * slope * sigma, 0.0)


def time_scale(z: Values) -> Float[Array, "..."]:
    """Lagrangian time scale in h/u*: 0.25 up to 1.5 h, `0.4 (z - 0.6)/1.56` above [Raupach1989]."""
    return jnp.where(z < 1.5, LAGRANGIAN_TIME, 0.4 * (z - 0.6) / 1.56)


def bin_of(z: Float[Array, "..."], grid: Grid) -> Int[Array, "..."]:
    """Index of the bin that holds height `z` (in h); `n_layers + n_air_layers` for outside."""
    canopy = jnp.floor(z * grid.n_layers)
    air = grid.n_layers + jnp.floor((z - 1.0) * (grid.n_air_layers / (grid.top - 1.0)))
    return jnp.clip(jnp.where(z < 1.0, canopy, air), 0, grid.n_layers + grid.n_air_layers).astype(jnp.int32)


def _advance(
    z: Float[Array, " particle"], w: Float[Array, " particle"], xi: Float[Array, " particle"], sigma_ground: float
) -> tuple[Float[Array, " particle"], Float[Array, " particle"]]:
    """One time step: the drift keeps a well-mixed tracer well mixed where `sigma_w` varies [Thomson1987]."""
    sigma, gradient = velocity_scale(z, sigma_ground)
    t = time_scale(z)
    drift = -w / t + 0.5 * gradient * (1.0 + (w / sigma) ** 2)
    w = w + drift * TIME_STEP + jnp.sqrt(2.0 * TIME_STEP / t) * sigma * xi
    return z + w * TIME_STEP, w


@partial(jax.jit, static_argnames="grid")
def _chunk(
    key: PRNGKeyArray,
    z: Float[Array, " particle"],
    w: Float[Array, " particle"],
    layer: Int[Array, " particle"],
    alive: Bool[Array, " particle"],
    counts: Int[Array, "layer bin"],
    grid: Grid,
):
    """`_CHUNK` time steps of all particles; `counts[layer, bin]` collects the steps spent in a bin."""

    def step(carry, key):
        z, w, alive, counts = carry
        below = z <= 0  # reflected at the ground
        z, w = jnp.where(below, -z, z), jnp.where(below, -w, w)
        alive = alive & (z < grid.top)
        # Those that have left count nothing and stand still: the shapes of a compiled loop cannot shrink.
        counts = counts.at[layer, bin_of(z, grid)].add(alive.astype(counts.dtype))
        xi = jnp.clip(jax.random.normal(key, z.shape, z.dtype), -_GAUSS_LIMIT, _GAUSS_LIMIT)
        moved_z, moved_w = _advance(z, w, xi, grid.sigma_ground)
        return (jnp.where(alive, moved_z, z), jnp.where(alive, moved_w, w), alive, counts), None

    (z, w, alive, counts), _ = jax.lax.scan(step, (z, w, alive, counts), jax.random.split(key, _CHUNK))
    return z, w, alive, counts


def fly(key: PRNGKeyArray, per_layer: int, grid: Grid, longest: float) -> tuple[Int[np.ndarray, "layer bin"], int, int]:
    """Release `per_layer` particles at the top of every canopy layer and follow them out of the top.

    Args:
        key: JAX random key.
        longest: flight duration limit, h/u*.

    Returns:
        Steps spent in each bin, number of particles still inside at the limit, particle-steps made.
    """
    n_bins = grid.n_layers + grid.n_air_layers
    layer = jnp.tile(jnp.arange(grid.n_layers, dtype=jnp.int32), per_layer)
    z = (layer + 1).astype(jnp.float32) / grid.n_layers
    key, start = jax.random.split(key)
    sigma, _ = velocity_scale(z, grid.sigma_ground)
    xi = jax.random.normal(start, (2,) + z.shape, jnp.float32).clip(-_GAUSS_LIMIT, _GAUSS_LIMIT)
    # The first deposit is in the bin above the source, by definition rather than by rounding.
    counts = jnp.zeros((grid.n_layers, n_bins + 1), jnp.int32).at[layer, layer + 1].add(1)
    z, w = _advance(z, sigma * xi[0], xi[1], grid.sigma_ground)
    alive = jnp.ones(z.shape, bool)
    made = 0
    for _ in range(int(np.ceil(longest / TIME_STEP / _CHUNK))):
        key, chunk_key = jax.random.split(key)
        z, w, alive, counts = _chunk(chunk_key, z, w, layer, alive, counts, grid)
        made += _CHUNK * z.shape[0]
        inside = int(alive.sum())
        if inside == 0:
            break
        # Half or more have left: go on with the rest in an array of half the size (or a quarter ...), so that few sizes are
        # compiled. The last places are filled with copies that are not alive.
        if inside <= z.shape[0] // 2:
            keep = np.flatnonzero(np.asarray(alive))
            size = z.shape[0]
            while size // 2 >= inside:
                size //= 2
            keep = np.resize(keep, size)
            alive = jnp.asarray(np.arange(size) < inside)
            z, w, layer = z[keep], w[keep], layer[keep]
    return np.asarray(counts)[:, :n_bins], int(alive.sum()), made
