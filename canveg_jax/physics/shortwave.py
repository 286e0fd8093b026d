"""Short-wave transfer in one band, PAR or near infrared (spec 2 sections 2.4, 4, 6; decisions 8-10)."""

from typing import Any, NamedTuple

import jax.numpy as jnp

from . import two_stream
from .elementary import ratio, relative_expm1
from .sky import MIN_SIN_BETA


class Beam(NamedTuple):
    """Penetration of the direct beam: per layer `[N]` or scalar.

    `at_top`: share of the beam left at the top of each layer; `intercepted`: share intercepted by each layer;
    `sunlit`: mean sunlit fraction of the leaves of each layer; `at_ground`: share left at the ground;
    `extinction`: `K = G / sin(elevation)`.
    """

    at_top: Any
    intercepted: Any
    sunlit: Any
    at_ground: Any
    extinction: Any


class Band(NamedTuple):
    """Fluxes of one band. `sunlit` and `shaded` are absorbed per leaf area `[N]`, `up_top` leaves the canopy."""

    sunlit: Any
    shaded: Any
    up_top: Any
    ground_net: Any


def beam_penetration(sin_beta, mean_projection, clumping, layer_lai, n_layers: int) -> Beam:
    """Exponential (Markov) penetration of the beam through `n_layers` equal layers of leaf area `layer_lai`.

    The sunlit fraction is the mean over the layer, `P (1 - exp(-K Omega dL))/(K dL)`, and zero at night.
    """
    day = jnp.where(sin_beta > 0, 1.0, 0.0)
    extinction = ratio(mean_projection, jnp.maximum(sin_beta, MIN_SIN_BETA))
    depth = extinction * clumping * layer_lai
    layers_above = jnp.arange(n_layers - 1, -1, -1, dtype=depth.dtype)
    at_top = day * jnp.exp(-depth * layers_above)
    return Beam(
        at_top,
        -at_top * jnp.expm1(-depth),
        at_top * clumping * relative_expm1(depth),
        day * jnp.exp(-depth * n_layers),
        day * extinction,
    )


def transfer(beam: Beam, beam_in, diffuse_in, reflect, transmit, ground_reflectance, tau_d, chi) -> Band:
    """Exact short-wave field of one band; fluxes in the unit of `beam_in` and `diffuse_in`.

    Leaves plus ground plus reflection add up to the input to rounding:
    `sum dL [p A_sun + (1-p) A_shade] + ground_net + up_top = beam_in + diffuse_in`.
    """
    n_layers = beam.at_top.shape[0]
    absorb = 1.0 - reflect - transmit
    layers = two_stream.factor(tau_d + (1.0 - tau_d) * transmit, (1.0 - tau_d) * reflect, ground_reflectance, n_layers)
    intercepted = beam_in * beam.intercepted
    beam_ground = beam_in * beam.at_ground
    streams = two_stream.solve(
        layers, transmit * intercepted, reflect * intercepted, diffuse_in, ground_reflectance * beam_ground
    )
    shaded = absorb * chi * (streams.down[1:] + streams.up[:-1])
    sunlit = shaded + absorb * beam.extinction * beam_in
    ground_net = (1.0 - ground_reflectance) * (streams.down[0] + beam_ground)
    return Band(sunlit, shaded, streams.up[-1], ground_net)
