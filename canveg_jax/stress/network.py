"""A network in the loop: a factor that every leaf computes from its own state and from numbers of the half-hour."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import equinox as eqx
from jaxtyping import Array, Float

from ..forcing import Forcing
from ..parameters import Parameters
from ..physics.state import LeafEnvironment, Leaves
from .base import AbstractStress
from .leaf_inputs import LEAF_INPUTS, leaf_features


class LeafNetwork(AbstractStress):
    """`network(weights, features)` as the factor of each leaf, evaluated at every pass of the solver.

    Args:
        weights: arrays of the network; the solution has exact derivatives to them.
        columns: numbers of the half-hour, `[time]` each, by the names of those inputs that are not in `LEAF_INPUTS`.
        inputs: names of the features, in order.
        network: a pure function `(weights, features [2, layer, input]) -> factor`, `[2, layer]` or `[2, layer, 1]`, positive;
            each leaf by itself.

    Raises:
        ValueError: `columns` are not the inputs that are missing in `LEAF_INPUTS`.
    """

    in_loop: ClassVar[bool] = True
    by_row: ClassVar[tuple[str, ...]] = ("columns",)

    weights: Any
    columns: dict[str, Float[Array, " time"]]
    inputs: tuple[str, ...] = eqx.field(static=True)
    network: Callable[[Any, Any], Any] = eqx.field(static=True)

    def __init__(
        self,
        weights: Any,
        columns: Mapping[str, Float[Array, " time"]],
        *,
        inputs: tuple[str, ...],
        network: Callable[[Any, Any], Any],
    ):
        wanted = [name for name in inputs if name not in LEAF_INPUTS]
        if sorted(columns) != sorted(wanted):
            raise ValueError(
                f"LeafNetwork: of the inputs {', '.join(inputs)} the leaf knows {', '.join(LEAF_INPUTS)}; expected columns of "
                f"the others ({', '.join(wanted) or 'none'}), got {', '.join(columns) or 'none'}."
            )
        self.weights, self.columns, self.inputs, self.network = weights, dict(columns), tuple(inputs), network

    def __call__(self, forcing: Forcing, leaf: LeafEnvironment | None, parameters: Parameters) -> Leaves:
        del forcing, parameters
        assert leaf is not None, "a scheme in the loop is called with the state of the leaves"
        factor = self.network(self.weights, leaf_features(self.inputs, leaf, self.columns))
        return factor[..., 0] if factor.ndim > leaf.temperature.ndim else factor


class LeafHumidityNetwork(LeafNetwork):
    """A `LeafNetwork` whose factor stands in place of the relative humidity of the Ball-Berry equation [Jiang2025]."""

    replaces_humidity: ClassVar[bool] = True
