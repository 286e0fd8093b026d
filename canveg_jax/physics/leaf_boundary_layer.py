"""Leaf boundary-layer resistances (docs/decisions.md, 14).

Flat plates with enhanced forced convection [Schuepp1993] [Grace1976], diffusivities after [Massman1998].
"""

from typing import NamedTuple

import jax.numpy as jnp

from ..parameters import Parameters
from ..types import Values
from .constants import GRAVITY
from .elementary import inverse, power, ratio, root


class BoundaryLayer(NamedTuple):
    """One-sided resistances to heat, water vapour and CO2, s m-1."""

    heat: Values
    vapour: Values
    co2: Values


def leaf_boundary_layer(
    leaf_temperature: Values, air_temperature: Values, wind: Values, pressure: Values, p: Parameters
) -> BoundaryLayer:
    """Resistances of one face of a leaf, forced and free convection together [Schuepp1993] [Grace1976].

    `r_x = l / (D_x S (nu0/D_x0)^0.33)`, `S = (S_forced^3 + S_free^3)^(1/3)`,
    `S_forced = betfac max(0.66 Re^0.5, 0.036 Re^0.8)`, `S_free = 0.5 [(max(Gr, 0) + 1)^0.25 - 1]`.
    The cubes blend the two without a jump, and the `+ 1` gives a finite slope at `Gr = 0`.

    Args:
        leaf_temperature, air_temperature: K.
        wind: m s-1, > 0.
        pressure: kPa.
        p: reads `lleaf` (m), `betfac`, `nuvisc`, `dh`, `dv`, `dc` (mm2 s-1).
    """
    scaling = 1e-6 * inverse(pressure / 101.3) * power(air_temperature / 273.16, 1.81)  # [Massman1998]
    reynolds = ratio(p.lleaf * wind, p.nuvisc * scaling)
    grashof = (
        ratio(GRAVITY * p.lleaf**3, (1e-6 * p.nuvisc) ** 2)
        * (leaf_temperature - air_temperature)
        * inverse(air_temperature)
    )
    forced = p.betfac * jnp.maximum(0.66 * root(reynolds), 0.036 * power(reynolds, 0.8))
    free = 0.5 * (root(root(jnp.maximum(grashof, 0.0) + 1.0)) - 1.0)
    transfer = power(forced**3 + free**3, 1.0 / 3.0)

    of_unit_diffusivity = ratio(p.lleaf, scaling * transfer)

    def resistance(diffusivity: Values) -> Values:
        return of_unit_diffusivity * (ratio(diffusivity, p.nuvisc) ** 0.33 * inverse(diffusivity))

    return BoundaryLayer(heat=resistance(p.dh), vapour=resistance(p.dv), co2=resistance(p.dc))
