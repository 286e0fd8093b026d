"""The model's saturation vapour pressure, for any array library: JAX, NumPy and PyTorch callers share it [Jiang2025]."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

CONSTANT = 54.8781919
PER_KELVIN = 6790.4985
"""K."""

LOGARITHMIC = 5.02808


def saturation_vapour_pressure_hpa(
    kelvin: Any,
    *,
    exp: Callable[[Any], Any],
    log: Callable[[Any], Any],
    divide: Callable[[float, Any], Any] = operator.truediv,
) -> Any:
    """Saturation vapour pressure over water, hPa: `exp(54.878 - 6790.5/T - 5.028 ln T)`.

    Args:
        kelvin: temperature, K; any shape, an array of any library.
        exp: the library's exponential.
        log: the library's natural logarithm.
        divide: the library's division of a number by an array, where `/` is not the one to use.

    Returns:
        As `kelvin` in shape and type.
    """
    return exp(CONSTANT - divide(PER_KELVIN, kelvin) - LOGARITHMIC * log(kelvin))
