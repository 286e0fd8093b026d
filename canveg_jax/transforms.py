"""Smooth maps between unconstrained numbers and physical parameters: what an optimiser moves never leaves its range.

A scalar is `lower + (upper - lower) sigmoid(z)`; reflectance and transmittance of a band, when both are tuned, share a simplex,
`(rho, tau) = 0.999 softmax(z_rho, z_tau, 0)`, so that their sum stays below 0.999.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .parameters import PARAMETER_TABLE, UnknownParameterError

OPTICAL_PAIRS = (("par_reflect", "par_trans"), ("nir_reflect", "nir_trans"))
LARGEST_SUM = 0.999


def check_names(names: Iterable[str]) -> tuple[str, ...]:
    """The names as a tuple; raises `UnknownParameterError` for one that does not exist."""
    names = tuple(names)
    for name in names:
        if name not in PARAMETER_TABLE:
            raise UnknownParameterError(name)
    return names


def constrain(raw: Mapping[str, Float[Array, "..."]], fixed: Mapping[str, Any]) -> dict[str, Float[Array, "..."]]:
    """Physical values of unconstrained ones.

    Args:
        raw: unconstrained value by parameter name, any shape.
        fixed: physical values of the parameters that are not tuned (read for the partner of a single optical one).
    """
    values = {}
    for reflect, transmit in OPTICAL_PAIRS:
        if reflect in raw and transmit in raw:
            logits = jnp.stack(jnp.broadcast_arrays(raw[reflect], raw[transmit], jnp.zeros_like(raw[reflect])))
            share = LARGEST_SUM * jax.nn.softmax(logits, axis=0)
            values[reflect], values[transmit] = share[0], share[1]
    for name, z in raw.items():
        if name not in values:
            lower, upper = _bounds(name, fixed)
            values[name] = lower + (upper - lower) * jax.nn.sigmoid(z)
    return values


def unconstrain(values: Mapping[str, Any], fixed: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Unconstrained values that `constrain` maps to `values`.

    Raises:
        ValueError: a value is not inside its bounds.
    """
    raw: dict[str, np.ndarray] = {}
    for reflect, transmit in OPTICAL_PAIRS:
        if reflect in values and transmit in values:
            rho, tau = np.asarray(values[reflect], float), np.asarray(values[transmit], float)
            rest = LARGEST_SUM - rho - tau
            if np.any(rho <= 0) or np.any(tau <= 0) or np.any(rest <= 0):
                raise ValueError(
                    f"{reflect} and {transmit} must be positive with a sum below {LARGEST_SUM}; got {rho} and {tau}."
                )
            raw[reflect], raw[transmit] = np.log(rho / rest), np.log(tau / rest)
    for name, value in values.items():
        if name not in raw:
            lower, upper = (np.asarray(b, float) for b in _bounds(name, fixed))
            share = (np.asarray(value, float) - lower) / (upper - lower)
            if np.any(share <= 0) or np.any(share >= 1):
                raise ValueError(
                    f"parameter '{name}' starts at {value}, outside its training range ({lower}, {upper}). Start inside it."
                )
            raw[name] = np.log(share / (1 - share))
    return raw


def _bounds(name: str, fixed: Mapping[str, Any]) -> tuple[Any, Any]:
    info = PARAMETER_TABLE[name]
    for pair in OPTICAL_PAIRS:
        if name in pair:
            partner = pair[1 - pair.index(name)]
            return info.lower, jnp.minimum(info.upper, LARGEST_SUM - fixed[partner])
    return info.lower, info.upper
