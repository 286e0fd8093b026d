"""The process-based stress: a ramp in soil water with learnable bounds. The yardstick that a network has to beat."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from canveg_jax import PARAMETER_TABLE

LOWEST_STRESS = 1e-3
"""As in `canveg_jax.soil_moisture_stress`."""

SPAN_BOUNDS = (0.02, 0.45)
"""m3 m-3; field capacity minus wilting point."""


class SoilMoistureStress(nn.Module):
    """`f = clip(10 (theta - theta_min) / (3 (theta_max - theta_min)), 0.001, 1)` of [Wang1998], eq. 7.

    `theta_min` (wilting point) is learned between the bounds of `PARAMETER_TABLE`, `theta_max - theta_min` within
    `SPAN_BOUNDS`, both through a sigmoid. Where the ramp is clipped its gradient is zero.

    Args:
        wilting_point, field_capacity: start values, m3 m-3.

    Raises:
        ValueError: a start value (or the span) is not inside its bounds.
    """

    def __init__(self, wilting_point: float = 0.05, field_capacity: float = 0.2):
        super().__init__()
        self.config: dict[str, Any] = {"wilting_point": wilting_point, "field_capacity": field_capacity}
        info = PARAMETER_TABLE["wilting_point"]
        self._bounds = ((info.lower, info.upper), SPAN_BOUNDS)
        start = [
            _unbounded(value, bounds, what)
            for value, bounds, what in zip(
                (wilting_point, field_capacity - wilting_point),
                self._bounds,
                ("wilting_point", "field_capacity - wilting_point"),
                strict=True,
            )
        ]
        self.raw = nn.Parameter(torch.tensor(start, dtype=torch.float64))

    def values(self) -> dict[str, torch.Tensor]:
        """Physical values of `wilting_point` and `field_capacity`, m3 m-3, differentiable."""
        share = torch.sigmoid(self.raw)
        wilting, span = (low + (high - low) * share[i] for i, (low, high) in enumerate(self._bounds))
        return {"wilting_point": wilting, "field_capacity": wilting + span}

    def forward(self, forcing: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Factor `[time]`, of the forcing's dtype."""
        water = forcing["soil_water_content"]
        values = {name: value.to(water.dtype) for name, value in self.values().items()}
        span = values["field_capacity"] - values["wilting_point"]
        return (10.0 * (water - values["wilting_point"]) / (3.0 * span)).clamp(LOWEST_STRESS, 1.0)


def _unbounded(value: float, bounds: tuple[float, float], what: str) -> float:
    share = (value - bounds[0]) / (bounds[1] - bounds[0])
    if not 0.0 < share < 1.0:
        raise ValueError(f"{what} starts at {value:g} m3 m-3, outside its training range {bounds}. Start inside it.")
    return math.log(share / (1.0 - share))
