"""All leaves of a column in one pass: boundary layer -> photosynthesis and stomata -> energy balance.

Every leaf class of every layer is a problem of its own: the response is elementwise in the drivers. `linearised` uses this to
replace the response by its tangent, 6 x 5 numbers a leaf, which makes the adjoint passes cheap.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import jax
import jax.numpy as jnp

from ..forcing import Forcing
from ..parameters import Parameters
from ..types import Layers, Scalar
from .conductance import CONDUCTANCES
from .elementary import ratio
from .gas_exchange import gas_exchange
from .leaf_boundary_layer import leaf_boundary_layer
from .leaf_energy import leaf_energy_balance, vapour_conductance
from .photosynthesis import kinetics
from .state import Closure, LeafDrivers, LeafEnvironment, LeafExchange, Leaves, Prepared, Scheme
from .thermodynamics import molar_conversion, saturation_vapour_pressure


class LeafTangent(NamedTuple):
    """`response` at the drivers `at`, and for each driver the derivatives of the response to it."""

    at: LeafDrivers
    response: LeafExchange
    derivatives: tuple[LeafExchange, ...]


def leaf_exchange(
    drivers: LeafDrivers, x: Prepared, p: Parameters, sides: Scalar, scheme: Scheme, closure: Closure | None = None
) -> LeafExchange:
    """Response of the leaves to their drivers.

    Args:
        drivers: the energy balance makes one Newton step from their `leaf_temperature`.
        sides: faces of a leaf with stomata, 1 or 2.
        closure: a stress scheme in the loop, elementwise in its `LeafEnvironment`; its factor multiplies that of `x.stress`, or
            stands in place of the relative humidity.
    """
    leaf, air, vapour, co2, incident = drivers
    c = x.conditions
    boundary = leaf_boundary_layer(leaf, air, x.wind, c.pressure, p)
    to_velocity = leaf * molar_conversion(c.pressure)
    rates = kinetics(leaf, x.absorbed_par, p)
    saturation = saturation_vapour_pressure(leaf)
    humidity = relative_humidity(vapour, saturation)
    stress = x.stress
    if closure is not None:
        leaves = leaf_environment(leaf, vapour, co2, x.absorbed_par)
        forcing = cast(Forcing, x.forcing)  # there is one wherever there is a closure
        factor = jnp.broadcast_to(closure(forcing, leaves, p), leaf.shape)
        humidity, stress = (factor, stress) if closure.replaces_humidity else (humidity, stress * factor)
    boundary_conductance = ratio(sides, boundary.co2 * to_velocity)
    stomata = CONDUCTANCES[scheme.conductance](
        humidity=humidity, deficit=(saturation - vapour) / 1000.0, stress=stress, compensation=rates.gamma, p=p
    )
    gas = gas_exchange(rates, co2, boundary_conductance, stomata, scheme.smooth_colimitation)
    energy = leaf_energy_balance(
        leaf,
        x.absorbed_shortwave + p.ep * c.chi * incident,
        p.ep * c.chi,
        air_temperature=air,
        vapour_pressure=vapour,
        pressure=c.pressure,
        heat_resistance=boundary.heat,
        conductance=vapour_conductance(gas.conductance * to_velocity, boundary.vapour, sides),
        steps=1,
    )
    return LeafExchange(
        temperature=energy.temperature,
        sensible_heat=energy.sensible_heat,
        latent_heat=energy.latent_heat,
        net=gas.net,
        dark_respiration=rates.dark_respiration,
        conductance=gas.conductance,
    )


def leaf_environment(
    temperature: Leaves, vapour_pressure: Layers, co2: Layers, absorbed_par: Leaves
) -> LeafEnvironment:
    """The state of each leaf as a closure in the loop sees it.

    Args:
        temperature: of the leaves, K.
        vapour_pressure, co2: of the air in each layer, Pa and umol mol-1.
        absorbed_par: umol m-2 s-1 per leaf area.
    """
    n = temperature.shape[-1]
    depth: Layers = (n - 0.5 - jnp.arange(n, dtype=temperature.dtype)) / n
    both = jnp.ones_like(temperature)
    saturation = saturation_vapour_pressure(temperature)
    return LeafEnvironment(
        humidity=relative_humidity(vapour_pressure, saturation),
        vapour_pressure_deficit=jnp.maximum(saturation - vapour_pressure, 0.0) / 1000.0,
        temperature=temperature,
        absorbed_par=absorbed_par,
        air_co2=co2 * both,
        relative_depth=depth * both,
    )


def relative_humidity(vapour_pressure: Layers, saturation: Leaves) -> Leaves:
    """Vapour pressure of the air over saturation at leaf temperature, 0.01 to 1."""
    return jnp.clip(ratio(vapour_pressure, saturation), 0.01, 1.0)


def linearised(
    at: LeafDrivers, x: Prepared, p: Parameters, sides: Scalar, scheme: Scheme, closure: Closure | None = None
) -> LeafTangent:
    """Tangent of `leaf_exchange`. The leaves are elementwise, so one direction a driver gives all derivatives to it."""
    response, tangent = jax.linearize(lambda d: leaf_exchange(d, x, p, sides, scheme, closure), at)
    columns = []
    for k in range(len(at)):
        direction = LeafDrivers(*(jnp.ones_like(d) if i == k else jnp.zeros_like(d) for i, d in enumerate(at)))
        columns.append(tangent(direction))
    return LeafTangent(at=at, response=response, derivatives=tuple(columns))


def tangent_response(tangent: LeafTangent, drivers: LeafDrivers) -> LeafExchange:
    """The response on a tangent of `linearised`."""
    change = [_both_classes(d - d0) for d, d0 in zip(drivers, tangent.at, strict=True)]
    outputs = zip(tangent.response, *tangent.derivatives, strict=True)
    return LeafExchange(*(y + sum(c * d for c, d in zip(cs, change, strict=True)) for y, *cs in outputs))


def _both_classes(y: Leaves | Layers) -> Leaves:
    """Both leaf classes. The transpose adds two slices, once for all responses; a broadcast's would be a reduction for each."""
    return y if y.ndim == 2 else jnp.stack([y, y])
