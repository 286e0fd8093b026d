"""Leaf boundary-layer resistances (spec 3 section 3.2; decision 14).

Flat plates with enhanced forced convection (Grace & Wilson 1976; Schuepp 1993), diffusivities after Massman (1998).
"""

from typing import Any, NamedTuple

import jax.numpy as jnp

from .constants import GRAVITY
from .elementary import inverse, power, ratio, root


class BoundaryLayer(NamedTuple):
    """One-sided resistances to heat, water vapour and CO2, s m-1."""

    heat: Any
    vapour: Any
    co2: Any


def leaf_boundary_layer(leaf_temperature, air_temperature, wind, pressure, p) -> BoundaryLayer:
    """Resistances of one face of a leaf.

    `r_x = l / (D_x S (nu0/D_x0)^0.33)`, `S = (S_forced^3 + S_free^3)^(1/3)`,
    `S_forced = betfac max(0.66 Re^0.5, 0.036 Re^0.8)`, `S_free = 0.5 [(max(Gr, 0) + 1)^0.25 - 1]`.

    Args:
        leaf_temperature, air_temperature: K.
        wind: m s-1, > 0.
        pressure: kPa.
        p: parameters `lleaf` (m), `betfac`, `nuvisc`, `dh`, `dv`, `dc` (mm2 s-1).
    """
    scaling = 1e-6 * inverse(pressure / 101.3) * power(air_temperature / 273.16, 1.81)
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

    def resistance(diffusivity):
        return of_unit_diffusivity * (ratio(diffusivity, p.nuvisc) ** 0.33 * inverse(diffusivity))

    return BoundaryLayer(resistance(p.dh), resistance(p.dv), resistance(p.dc))
