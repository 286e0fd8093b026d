"""Long-wave transfer in the canopy [Norman1979], solved exactly (docs/decisions.md, 11)."""

from typing import NamedTuple

from jaxtyping import Array, Float

from ..types import Layers, Scalar, Values
from . import two_stream
from .constants import STEFAN_BOLTZMANN
from .state import TwoStreamLayers


class LongwaveField(NamedTuple):
    """`incident`: `D_top + U_bottom` of each layer; `down_ground`, `up_top`: at ground and canopy top. All W m-2."""

    incident: Float[Array, " layer"]
    down_ground: Scalar
    up_top: Scalar


def factorise(leaf_emissivity: Values, soil_emissivity: Values, tau_d: Values, n_layers: int) -> TwoStreamLayers:
    """Layer coefficients of long-wave: scattering `(1 - eps)/2` each way. Independent of temperatures, so computed once.

    Args:
        leaf_emissivity: `eps`.
        tau_d: transmission of diffuse radiation by a layer.
    """
    scatter = (1.0 - tau_d) * (1.0 - leaf_emissivity) / 2.0
    return two_stream.factorise(tau_d + scatter, scatter, 1.0 - soil_emissivity, n_layers)


def transfer(
    layers: TwoStreamLayers,
    *,
    leaf_emissivity: Values,
    soil_emissivity: Values,
    tau_d: Values,
    sunlit: Layers,
    longwave_in: Values,
    sun: Layers,
    shade: Layers,
    surface: Values,
) -> LongwaveField:
    """Long-wave field of given temperatures [Norman1979].

    Args:
        layers: from `factorise`, of the same emissivities and `tau_d`.
        leaf_emissivity, soil_emissivity: dimensionless.
        tau_d: transmission of diffuse radiation by a layer.
        sunlit: share of sunlit leaves in each layer.
        longwave_in: from the sky, W m-2.
        sun, shade: temperatures of sunlit and shaded leaves, K.
        surface: temperature of the soil surface, K.
    """
    emission = leaf_emissivity * STEFAN_BOLTZMANN * (sunlit * sun**4 + (1.0 - sunlit) * shade**4)
    source = (1.0 - tau_d) * emission
    ground = soil_emissivity * STEFAN_BOLTZMANN * surface**4
    streams = two_stream.solve(layers, source, source, longwave_in, ground)
    return LongwaveField(
        incident=streams.down[1:] + streams.up[:-1], down_ground=streams.down[0], up_top=streams.up[-1]
    )
