"""Soil-moisture stress of Wang & Leuning: a ramp between wilting point and field capacity [Wang1998]."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..forcing import Forcing
from ..parameters import PARAMETER_TABLE, Parameters
from ..physics.state import LeafEnvironment
from .base import LOWEST_FACTOR, AbstractStress

SPAN_BOUNDS = (0.02, 0.45)
"""m3 m-3; field capacity minus wilting point in training, so that the ramp never turns round."""


def soil_moisture_stress(forcing: Forcing, parameters: Parameters) -> Float[Array, ...]:
    """`clip(10 (theta - theta_min) / (3 (theta_max - theta_min)), 0.001, 1)`, eq. 7 of [Wang1998].

    `theta` is `soil_water_content`, `theta_min` the wilting point, `theta_max` the field capacity, m3 m-3. The factor reaches
    1 at 30 % of the way from wilting point to field capacity.
    """
    available = forcing.soil_water_content - parameters.wilting_point
    span = parameters.field_capacity - parameters.wilting_point
    return jnp.clip(10.0 * available / (3.0 * span), LOWEST_FACTOR, 1.0)


class SoilMoisture(AbstractStress):
    """`soil_moisture_stress` as a scheme. Trained are the wilting point and the span to field capacity, each within bounds."""

    in_loop: ClassVar[bool] = False
    reads: ClassVar[tuple[str, ...]] = ("wilting_point", "field_capacity")
    references: ClassVar[tuple[str, ...]] = ("Wang1998",)

    def __call__(self, forcing: Forcing, leaf: LeafEnvironment | None, parameters: Parameters) -> Float[Array, ""]:
        del leaf
        return soil_moisture_stress(forcing, parameters)

    def to_values(self, raw: Float[Array, " parameter"]) -> dict[str, Float[Array, ""]]:
        share = jax.nn.sigmoid(raw)
        wilting, span = (low + (high - low) * share[i] for i, (low, high) in enumerate(_bounds()))
        return {"wilting_point": wilting, "field_capacity": wilting + span}

    def to_raw(self, values: Mapping[str, float]) -> Float[np.ndarray, " parameter"]:
        wilting = values["wilting_point"]
        start = {"wilting_point": wilting, "field_capacity - wilting_point": values["field_capacity"] - wilting}
        shares = []
        for (what, value), (low, high) in zip(start.items(), _bounds(), strict=True):
            share = (value - low) / (high - low)
            if not 0.0 < share < 1.0:
                raise ValueError(
                    f"{what} starts at {value:g} m3 m-3, outside its training range {(low, high)}. Start inside it."
                )
            shares.append(share)
        share = np.array(shares)
        return np.log(share / (1.0 - share))


def _bounds() -> tuple[tuple[float, float], tuple[float, float]]:
    info = PARAMETER_TABLE["wilting_point"]
    return (info.lower, info.upper), SPAN_BOUNDS
