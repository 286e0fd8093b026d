"""Short-wave transfer in one band, PAR or near infrared [Norman1979] (docs/decisions.md, 8 to 10)."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..types import Layers, Scalar, Values
from . import two_stream
from .elementary import ratio, relative_expm1
from .sky import MIN_SIN_BETA


class Beam(NamedTuple):
    """Penetration of the direct beam.

    `at_top`: share of the beam left at the top of each layer; `intercepted`: share intercepted by each layer;
    `sunlit`: mean sunlit fraction of the leaves of each layer; `at_ground`: share left at the ground;
    `extinction`: `K = G / sin(elevation)`.
    """

    at_top: Float[Array, " layer"]
    intercepted: Float[Array, " layer"]
    sunlit: Float[Array, " layer"]
    at_ground: Scalar
    extinction: Scalar


class Band(NamedTuple):
    """Fluxes of one band. `sunlit` and `shaded` are absorbed per leaf area, `ground_net` by the soil; `up_top` leaves."""

    sunlit: Layers
    shaded: Layers
    up_top: Scalar
    ground_net: Values


def beam_penetration(
    sin_beta: Values, mean_projection: Values, clumping: Values, layer_lai: Values, n_layers: int
) -> Beam:
    """Exponential (Markov) penetration of the beam through `n_layers` equal layers of leaf area `layer_lai`.

    The sunlit fraction is the mean over the layer, `P (1 - exp(-K Omega dL))/(K dL)`, and zero at night [Norman1979].

    Args:
        sin_beta: sine of solar elevation.
        mean_projection: `G` of the leaves towards the sun.
        clumping: Markov clumping factor `Omega`.
        layer_lai: `dL`.
    """
    day = jnp.where(sin_beta > 0, 1.0, 0.0)
    extinction = ratio(mean_projection, jnp.maximum(sin_beta, MIN_SIN_BETA))
    depth = extinction * clumping * layer_lai
    layers_above = jnp.arange(n_layers - 1, -1, -1, dtype=jnp.asarray(depth).dtype)
    at_top = day * jnp.exp(-depth * layers_above)
    return Beam(
        at_top=at_top,
        intercepted=-at_top * jnp.expm1(-depth),
        sunlit=at_top * clumping * relative_expm1(depth),
        at_ground=day * jnp.exp(-depth * n_layers),
        extinction=day * extinction,
    )


def transfer(
    beam: Beam,
    beam_in: Values,
    diffuse_in: Values,
    reflect: Values,
    transmit: Values,
    ground_reflectance: Values,
    tau_d: Values,
    chi: Values,
) -> Band:
    """Exact short-wave field of one band, by the layered two-stream equations [Norman1979].

    Leaves plus ground plus reflection add up to the input to rounding:
    `sum dL [p A_sun + (1-p) A_shade] + ground_net + up_top = beam_in + diffuse_in`.

    Args:
        beam: from `beam_penetration`.
        beam_in, diffuse_in: on a horizontal area at the top; the results have their unit.
        reflect, transmit: of a leaf, their sum below 1.
        ground_reflectance: of the soil.
        tau_d, chi: transmission and interception of diffuse light by a layer, from `leaf_angle.diffuse_interception`.
    """
    n_layers = beam.at_top.shape[0]
    absorb = 1.0 - reflect - transmit
    layers = two_stream.factorise(
        tau_d + (1.0 - tau_d) * transmit, (1.0 - tau_d) * reflect, ground_reflectance, n_layers
    )
    intercepted = beam_in * beam.intercepted
    beam_ground = beam_in * beam.at_ground
    streams = two_stream.solve(
        layers, transmit * intercepted, reflect * intercepted, diffuse_in, ground_reflectance * beam_ground
    )
    shaded = absorb * chi * (streams.down[1:] + streams.up[:-1])
    sunlit = shaded + absorb * beam.extinction * beam_in
    ground_net = (1.0 - ground_reflectance) * (streams.down[0] + beam_ground)
    return Band(sunlit=sunlit, shaded=shaded, up_top=streams.up[-1], ground_net=ground_net)
