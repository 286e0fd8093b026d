"""The unknowns of a half-hour as one vector, and the scales that make its components comparable."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..physics.state import State

Vector = Float[Array, " unknown"]
"""`5 N + 1` numbers: air temperature, vapour pressure, CO2, sunlit leaves, shaded leaves (`N` each), soil surface."""


def pack(state: State) -> Vector:
    """The state as one vector."""
    return jnp.concatenate(
        [
            state.air_temperature,
            state.vapour_pressure,
            state.co2,
            state.leaf_temperature[0],
            state.leaf_temperature[1],
            state.surface_temperature[None],
        ]
    )


def unpack(vector: Vector, n_layers: int) -> State:
    """Inverse of `pack`."""
    *parts, surface = jax.lax.split(vector, (*[n_layers] * 5, 1))
    return State(
        air_temperature=parts[0],
        vapour_pressure=parts[1],
        co2=parts[2],
        leaf_temperature=jnp.stack(parts[3:]),
        surface_temperature=surface[0],
    )


def state_size(n_layers: int) -> int:
    """Number of unknowns of a half-hour."""
    return 5 * n_layers + 1


def residual_scale(n_layers: int, dtype: Any) -> Vector:
    """Weights that turn a change of the state into W m-2: 50 per K, 0.75 per Pa, 0.5 per umol mol-1.

    50 W m-2 K-1 is the heat that a well coupled leaf or soil exchanges per kelvin; 0.75 per Pa is the same through
    the psychrometric constant; 0.5 per umol mol-1 equates 1e-3 W m-2 with 1e-4 umol m-2 s-1 of CO2.
    """
    return _by_component(n_layers, dtype, air=50.0, vapour=0.75, co2=0.5, leaf=50.0, surface=50.0)


def mixing(n_layers: int, dtype: Any) -> Vector:
    """Weight of the new value in a plain pass. Any weight has the same fixed point; half damps the feedback of the air."""
    return _by_component(n_layers, dtype, air=0.5, vapour=0.5, co2=0.5, leaf=1.0, surface=1.0)


def largest_change(n_layers: int, dtype: Any) -> Vector:
    """Largest change in one pass, in the units of the state: keeps early iterates where the equations are defined."""
    return _by_component(n_layers, dtype, air=15.0, vapour=1500.0, co2=200.0, leaf=20.0, surface=30.0)


def _by_component(
    n_layers: int, dtype: Any, *, air: float, vapour: float, co2: float, leaf: float, surface: float
) -> Vector:
    layers = [jnp.full((n_layers,), value, dtype) for value in (air, vapour, co2, leaf, leaf)]
    return jnp.concatenate([*layers, jnp.full((1,), surface, dtype)])
