"""Exact solution of the layered two-stream equations [Norman1979] by an upward and a downward sweep.

`D_{j-1} = t D_j + r U_{j-1} + s-_j`, `U_j = t U_{j-1} + r D_j + s+_j`, `D_N = top`, `U_0 = A_0 D_0 + E_0`.
All layers have the same `t` and `r`. Layers run from the ground up.
"""

from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..types import Layers, Scalar, Values
from .elementary import inverse
from .state import TwoStreamLayers


class Streams(NamedTuple):
    """Diffuse fluxes at the levels, level 0 = ground: `down` and `up`, both >= 0."""

    down: Float[Array, " level"]
    up: Float[Array, " level"]


def factorise(transmit: Values, reflect: Values, ground_reflectance: Values, n_layers: int) -> TwoStreamLayers:
    """Reflectances `A_j` and gains of a stack of `n_layers` equal layers over the ground.

    This is the factorisation of the block-tridiagonal matrix of the equations: `A_j` eliminates the upward flux below level `j`.

    Args:
        transmit, reflect: `t`, `r` of one layer.
        ground_reflectance: `A_0`.
    """

    def step(a, _):
        gain = inverse(1.0 - reflect * a)
        above = reflect + gain * transmit**2 * a
        return above, (above, gain)

    start = jnp.asarray(ground_reflectance, dtype=jnp.result_type(transmit, reflect, ground_reflectance))
    _, (reflectances, gains) = jax.lax.scan(step, start, None, length=n_layers, unroll=_unrolled(n_layers))
    return TwoStreamLayers(
        transmit=cast(Scalar, transmit),
        reflect=cast(Scalar, reflect),
        reflectance=jnp.concatenate([start[None], reflectances]),
        gain=cast(Array, gains),
    )


def solve(
    layers: TwoStreamLayers, source_down: Layers, source_up: Layers, top_down: Values, ground_source: Values
) -> Streams:
    """Fluxes at all levels for the sources of each layer.

    Args:
        layers: from `factorise`.
        source_down, source_up: flux that each layer adds downward and upward.
        top_down: diffuse flux entering at the top.
        ground_source: upward flux at the ground that does not stem from `D_0`.
    """
    t, r = layers.transmit, layers.reflect
    below = layers.reflectance[:-1]

    # Upward: E_j, the part of U_j that does not stem from D_j, so that U_j = A_j D_j + E_j at every level.
    def upward(e, x):
        a, gain, down, up = x
        above = up + gain * t * (e + a * down)
        return above, above

    start = jnp.asarray(ground_source, dtype=source_up.dtype)
    _, emitted = jax.lax.scan(upward, start, (below, layers.gain, source_down, source_up), unroll=_unrolled(len(below)))
    emitted = jnp.concatenate([start[None], emitted])

    # Downward: with U_{j-1} known as A_{j-1} D_{j-1} + E_{j-1}, each D_{j-1} follows from the D_j above it.
    def downward(d, x):
        gain, e, down = x
        lower = gain * (t * d + r * e + down)
        return lower, lower

    top = jnp.asarray(top_down, dtype=source_up.dtype)
    _, lower = jax.lax.scan(
        downward, top, (layers.gain, emitted[:-1], source_down), reverse=True, unroll=_unrolled(len(below))
    )
    down = jnp.concatenate([lower, top[None]])
    return Streams(down, layers.reflectance * down + emitted)


def _unrolled(n_layers: int) -> int:
    """Layers of a sweep in one turn of its loop: one on a CPU, ten on an accelerator, by JAX's default device.

    Each turn launches its kernels anew, and these do so little that the launches took most of the time of a pass on a GPU.
    """
    return 1 if jax.default_backend() == "cpu" else min(10, n_layers)
