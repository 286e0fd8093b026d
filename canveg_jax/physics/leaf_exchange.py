"""All leaves of a column in one pass: boundary layer -> photosynthesis and stomata -> energy balance.

Every leaf class of every layer is a problem of its own: the response `[2, N]` (sunlit, shaded) is elementwise in the drivers.
`linearised` uses this to replace the response by its tangent, 6 x 5 numbers a leaf, which makes the adjoint passes cheap.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .elementary import ratio
from .gas_exchange import gas_exchange
from .leaf_boundary_layer import leaf_boundary_layer
from .leaf_energy import leaf_energy_balance, vapour_conductance
from .photosynthesis import kinetics
from .thermodynamics import molar_conversion, saturation_vapour_pressure


class LeafDrivers(NamedTuple):
    """What leaves feel of the unknowns: own temperature `[2, N]`, K; and, `[N]`, the temperature (K), vapour pressure (Pa),
    CO2 (umol mol-1) of the air and the long-wave `incident` on both faces (W m-2)."""

    leaf_temperature: Any
    air_temperature: Any
    vapour_pressure: Any
    co2: Any
    incident: Any


class LeafExchange(NamedTuple):
    """Response per one-sided leaf area `[2, N]`: temperature K; heat fluxes W m-2, away from the leaf; net assimilation and
    dark respiration umol m-2 s-1; stomatal conductance to water vapour mol m-2 s-1."""

    temperature: Any
    sensible_heat: Any
    latent_heat: Any
    net: Any
    dark_respiration: Any
    conductance: Any


def leaf_exchange(drivers: LeafDrivers, x: Any, p: Any, sides: Any, smooth_colimitation: bool) -> LeafExchange:
    """Response of the leaves to their drivers.

    Args:
        drivers: see `LeafDrivers`; the energy balance makes one Newton step from `leaf_temperature`.
        x: prepared half-hour (`half_hour.Prepared`). p: parameters. sides: faces with stomata, 1 or 2.
    """
    leaf, air, vapour, co2, incident = drivers
    boundary = leaf_boundary_layer(leaf, air, x.wind, x.pressure, p)
    to_velocity = leaf * molar_conversion(x.pressure)
    rates = kinetics(leaf, x.absorbed_par, p)
    humidity = jnp.clip(ratio(vapour, saturation_vapour_pressure(leaf)), 0.01, 1.0) * x.stress
    boundary_conductance = ratio(sides, boundary.co2 * to_velocity)
    gas = gas_exchange(rates, co2, boundary_conductance, humidity, p.kball, p.bprime, smooth_colimitation)
    energy = leaf_energy_balance(
        leaf,
        x.absorbed_shortwave + p.ep * x.chi * incident,
        p.ep * x.chi,
        air,
        vapour,
        x.pressure,
        boundary.heat,
        vapour_conductance(gas.conductance * to_velocity, boundary.vapour, sides),
        steps=1,
    )
    return LeafExchange(
        energy.temperature, energy.sensible_heat, energy.latent_heat, gas.net, rates.dark_respiration, gas.conductance
    )


def linearised(at: LeafDrivers, x: Any, p: Any, sides: Any, smooth_colimitation: bool) -> tuple:
    """Tangent of `leaf_exchange`: the drivers, the response, and for each driver the derivatives of the response."""
    response, tangent = jax.linearize(lambda d: leaf_exchange(d, x, p, sides, smooth_colimitation), at)
    columns = []
    for k in range(len(at)):
        direction = LeafDrivers(*(jnp.ones_like(d) if i == k else jnp.zeros_like(d) for i, d in enumerate(at)))
        columns.append(tangent(direction))
    return at, response, tuple(columns)


def tangent_response(tangent: tuple, drivers: LeafDrivers) -> LeafExchange:
    """The response on the tangent of `linearised`."""
    at, response, columns = tangent
    change = [_both_classes(d - d0) for d, d0 in zip(drivers, at, strict=True)]
    outputs = zip(response, *columns, strict=True)
    return LeafExchange(*(y + sum(c * d for c, d in zip(cs, change, strict=True)) for y, *cs in outputs))


def _both_classes(y):
    """`[N]` as `[2, N]`. The transpose adds two slices, once for all responses; a broadcast's would be a reduction for each."""
    return y if y.ndim == 2 else jnp.stack([y, y])
