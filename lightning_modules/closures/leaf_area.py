"""The closure of the leaf area acts on a column of the forcing, not on a parameter."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from canveg_jax import FORCING_TABLE
from canveg_jax.forcing import STAND_IN, rows_within_range

from .closure import LEAF_AREA


def moved_leaf_area(forcing: Mapping[str, torch.Tensor], factor: torch.Tensor) -> torch.Tensor:
    """Leaf area times factor, at most the largest that the canopy takes; that of rows that are not solved stays as it is."""
    usable = rows_within_range(forcing)
    largest = FORCING_TABLE[LEAF_AREA].upper
    moved = (torch.where(usable, forcing[LEAF_AREA], STAND_IN[LEAF_AREA]) * factor).clamp(max=largest)
    return torch.where(usable, moved, forcing[LEAF_AREA])
