"""Which of Lightning's precisions a hybrid canopy can be trained in."""

from __future__ import annotations

import torch

REMEDY = "Set data.dtype (float64 or float32) for the physics, and leave trainer.precision alone or give 64-true"


def check_precision(precision: str | int | None, dtype: torch.dtype | str | None = None) -> None:
    """Refuse what would round the physics, or compute it otherwise than the data say.

    Args:
        precision: `Trainer.precision`: `32-true` leaves network (float32) and data as they are, `64-true` makes both float64.
        dtype: of the data, where it is known.

    Raises:
        ValueError: half precision in any form, or float32 data with 64-true; the message has the remedy.
    """
    if precision not in (None, 32, "32", "32-true", 64, "64", "64-true"):
        raise ValueError(f"trainer.precision: {precision} would round the physics. {REMEDY}.")
    if str(precision).startswith("64") and str(dtype).removeprefix("torch.") == "float32":
        raise ValueError(f"trainer.precision: {precision} contradicts data.dtype float32. {REMEDY} with float64 data.")
