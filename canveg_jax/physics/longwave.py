"""Long-wave transfer in the canopy [Norman1979], solved exactly (docs/decisions.md, 11)."""

from typing import Any, NamedTuple

from . import two_stream
from .constants import STEFAN_BOLTZMANN
from .state import TwoStreamLayers


class LongwaveField(NamedTuple):
    """`incident`: `D_top + U_bottom` of each layer `[N]`; `down_ground`, `up_top`: W m-2 at ground and canopy top."""

    incident: Any
    down_ground: Any
    up_top: Any


def factor(leaf_emissivity, soil_emissivity, tau_d, n_layers: int) -> TwoStreamLayers:
    """Layer coefficients of long-wave: scattering `(1 - eps)/2` each way. Independent of temperatures."""
    scatter = (1.0 - tau_d) * (1.0 - leaf_emissivity) / 2.0
    return two_stream.factor(tau_d + scatter, scatter, 1.0 - soil_emissivity, n_layers)


def transfer(
    layers: TwoStreamLayers, leaf_emissivity, soil_emissivity, tau_d, sunlit, longwave_in, sun, shade, surface
) -> LongwaveField:
    """Long-wave field of given temperatures (K): leaves `sun`, `shade` `[N]`, soil `surface`; `sunlit` fractions `[N]`."""
    emission = leaf_emissivity * STEFAN_BOLTZMANN * (sunlit * sun**4 + (1.0 - sunlit) * shade**4)
    source = (1.0 - tau_d) * emission
    ground = soil_emissivity * STEFAN_BOLTZMANN * surface**4
    streams = two_stream.solve(layers, source, source, longwave_in, ground)
    return LongwaveField(streams.down[1:] + streams.up[:-1], streams.down[0], streams.up[-1])
