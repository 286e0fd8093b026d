"""What a closure in the loop may read of each leaf, by name; the network of [Jiang2025] reads `inverse_leaf_humidity`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..physics.state import LeafEnvironment, Leaves


class LeafInput(NamedTuple):
    """Unit and meaning of an input, how to read it, a mean and standard deviation to scale it by, and the sign of its effect on
    the stress factor where known.

    A leaf's state is known only when the canopy is solved, so that these are typical values of vegetation by day and night
    instead of statistics of a record.
    """

    unit: str
    meaning: str
    of: Callable[[LeafEnvironment], Leaves]
    mean: float
    sd: float
    direction: int = 0


LEAF_INPUTS: dict[str, LeafInput] = {
    "leaf_humidity": LeafInput(
        "1",
        "vapour pressure of the air over saturation at leaf temperature, .01 to 1",
        lambda x: x.humidity,
        0.7,
        0.2,
        +1,
    ),
    "inverse_leaf_humidity": LeafInput("1", "1 / leaf_humidity, 1 to 100", lambda x: 1.0 / x.humidity, 2.0, 1.5, -1),
    "leaf_vpd": LeafInput(
        "kPa",
        "saturation at leaf temperature minus vapour pressure of the air, not below 0",
        lambda x: x.vapour_pressure_deficit,
        1.0,
        1.0,
        -1,
    ),
    "leaf_temperature": LeafInput("K", "temperature of the leaf", lambda x: x.temperature, 290.0, 10.0),
    "absorbed_par": LeafInput(
        "umol m-2 s-1",
        "absorbed photosynthetically active radiation per leaf area",
        lambda x: x.absorbed_par,
        300.0,
        400.0,
    ),
    "air_co2": LeafInput("umol mol-1", "CO2 of the air around the leaf", lambda x: x.air_co2, 400.0, 30.0),
    "relative_depth": LeafInput(
        "1", "leaf area above over all leaf area, 0 at the top", lambda x: x.relative_depth, 0.5, 0.3
    ),
}
"""Inputs that differ between leaves."""


def leaf_features(
    names: Sequence[str], leaf: LeafEnvironment, columns: Mapping[str, Float[Array, ""]]
) -> Float[Array, "2 layer input"]:
    """Inputs of all leaves: those of `LEAF_INPUTS` from the leaf, the others from `columns`, numbers of the half-hour."""
    like = leaf.temperature
    return jnp.stack(
        [LEAF_INPUTS[n].of(leaf) if n in LEAF_INPUTS else jnp.broadcast_to(columns[n], like.shape) for n in names],
        axis=-1,
    )
