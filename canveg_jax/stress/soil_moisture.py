"""Stomatal stress: a factor in (0, 1] on the humidity term of the Ball-Berry equation.

A stress is any function `stress(forcing, parameters) -> factor` of ONE half-hour (0-d arrays in, scalar or `[layer]`
out) that JAX can trace. `soil_moisture_stress` is the process-based baseline.
"""

import jax.numpy as jnp

from ..forcing import Forcing
from ..parameters import Parameters


def soil_moisture_stress(forcing: Forcing, parameters: Parameters):
    """Soil-moisture stress of Wang & Leuning (1998, eq. 7): `clip(10 (theta - theta_min) / (3 (theta_max - theta_min)))`.

    It reaches 1 at 30 % of the way from wilting point to field capacity, and is kept above 1e-3.
    """
    available = forcing.soil_water_content - parameters.wilting_point
    return jnp.clip(10.0 * available / (3.0 * (parameters.field_capacity - parameters.wilting_point)), 1e-3, 1.0)


STRESSES = {"soil_moisture": soil_moisture_stress}
"""Built-in stress functions by name."""
