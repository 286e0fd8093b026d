"""Exact solution of the layered two-stream equations [Norman1979] by an upward and a downward sweep.

`D_{j-1} = t D_j + r U_{j-1} + s-_j`, `U_j = t U_{j-1} + r D_j + s+_j`, `D_N = top`, `U_0 = A_0 D_0 + E_0`.
All layers have the same `t` and `r`. Layers run from the ground up.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .elementary import inverse
from .state import TwoStreamLayers


class Streams(NamedTuple):
    """Diffuse fluxes at the levels `[N+1]`, level 0 = ground: `down` and `up`, both >= 0."""

    down: Any
    up: Any


def factor(transmit, reflect, ground_reflectance, n_layers: int) -> TwoStreamLayers:
    """Reflectances `A_j` and gains of a stack of `n_layers` equal layers over the ground."""

    def step(a, _):
        gain = inverse(1.0 - reflect * a)
        above = reflect + gain * transmit**2 * a
        return above, (above, gain)

    start = jnp.asarray(ground_reflectance, dtype=jnp.result_type(transmit, reflect, ground_reflectance))
    _, (reflectances, gains) = jax.lax.scan(step, start, None, length=n_layers)
    return TwoStreamLayers(transmit, reflect, jnp.concatenate([start[None], reflectances]), gains)


def solve(layers: TwoStreamLayers, source_down, source_up, top_down, ground_source) -> Streams:
    """Fluxes at all levels for the sources of each layer.

    Args:
        layers: from `factor`.
        source_down, source_up: flux that each layer adds downward and upward, `[N]`.
        top_down: diffuse flux entering at the top.
        ground_source: upward flux at the ground that does not stem from `D_0`.
    """
    t, r = layers.transmit, layers.reflect
    below = layers.reflectance[:-1]

    def upward(e, x):
        a, gain, down, up = x
        above = up + gain * t * (e + a * down)
        return above, above

    start = jnp.asarray(ground_source, dtype=source_up.dtype)
    _, emitted = jax.lax.scan(upward, start, (below, layers.gain, source_down, source_up))
    emitted = jnp.concatenate([start[None], emitted])

    def downward(d, x):
        gain, e, down = x
        lower = gain * (t * d + r * e + down)
        return lower, lower

    top = jnp.asarray(top_down, dtype=source_up.dtype)
    _, lower = jax.lax.scan(downward, top, (layers.gain, emitted[:-1], source_down), reverse=True)
    down = jnp.concatenate([lower, top[None]])
    return Streams(down, layers.reflectance * down + emitted)
