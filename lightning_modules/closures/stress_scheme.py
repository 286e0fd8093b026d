"""The process-based stress schemes in torch, with trainable parameters: the benchmarks that a network has to beat."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import jax
import torch

from bridges import JaxModule, jax2torch
from canveg_jax import STRESSES
from canveg_jax.spelling import unknown
from canveg_jax.stress import TrainableStress

TRAINABLE_SCHEMES: tuple[str, ...] = tuple(
    name for name, scheme in STRESSES.items() if scheme.reads and not scheme.in_loop
)
"""Names of `canveg_jax.STRESSES` whose schemes have parameters and are evaluated before the canopy is solved."""


class StressScheme(JaxModule):
    """A scheme of `canveg_jax.STRESSES`: forcing in, factor `[time]` in (0, 1] out, of the forcing's dtype.

    Its parameters are trained as unconstrained numbers, `raw`, each within the bounds of `canveg_jax.PARAMETER_TABLE` (of the
    soil-moisture ramp, the wilting point and the span to field capacity). They are kept, and the factor is computed, in
    double precision, whatever JAX's own setting.

    Args:
        scheme: its name, of `TRAINABLE_SCHEMES`.
        start: values of its parameters to start from; defaults of `canveg_jax.PARAMETER_TABLE` for the others.

    Raises:
        ValueError: unknown scheme, a parameter that it does not have, or a start value that is not inside its bounds.
    """

    def __init__(self, scheme: str, **start: float):
        if scheme not in TRAINABLE_SCHEMES:
            raise ValueError(unknown("stress scheme", scheme, TRAINABLE_SCHEMES))
        super().__init__(TrainableStress(STRESSES[scheme](), start))
        self.scheme = scheme
        self.config: dict[str, float] = {name: float(value) for name, value in start.items()}

    def forward(self, forcing: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Factor `[time]`. Forcing columns are `[time]`; further keys are ignored."""
        with jax.enable_x64(True):
            factor: torch.Tensor = super().forward(dict(forcing))
        return factor.to(forcing["soil_water_content"].dtype)

    def values(self) -> dict[str, torch.Tensor]:
        """Values of the parameters in their units, differentiable."""
        with jax.enable_x64(True):
            return _to_values(self.scheme)(self.get("raw"))


class SoilMoistureStress(StressScheme):
    """The ramp in soil water `canveg_jax.stress.SoilMoisture`, by its own name.

    Args:
        wilting_point, field_capacity: start values, m3 m-3.
    """

    def __init__(self, wilting_point: float = 0.05, field_capacity: float = 0.2):
        super().__init__("soil_moisture", wilting_point=wilting_point, field_capacity=field_capacity)


@functools.cache
def _to_values(scheme: str) -> Callable[[torch.Tensor], dict[str, torch.Tensor]]:
    return jax2torch(STRESSES[scheme]().to_values, name=f"parameters of {scheme}")
