"""Scaling statistics: mean and standard deviation over the TRAINING part only, and of measured samples only."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from canveg_jax import Site
from canveg_jax.files import replacing

from .dataset import TowerDataset
from .inputs import NETWORK_INPUTS, with_scaled_lai


class MeanSd(NamedTuple):
    """Mean, population standard deviation, and number of samples."""

    mean: float
    sd: float
    n: int


@dataclasses.dataclass(frozen=True)
class ScalingStatistics:
    """`inputs`: of each possible network input; `targets`: of each observed flux that was measured at least twice."""

    inputs: dict[str, MeanSd]
    targets: dict[str, MeanSd]

    @classmethod
    def of(cls, training: TowerDataset, sites: Sequence[Site]) -> ScalingStatistics:
        """Statistics of a training set: inputs over all its half-hours, targets over its measured samples.

        Args:
            training: the training part, and nothing else.
            sites: its sites in index order (their `lai_scale` is applied to LAI).
        """
        forcing = with_scaled_lai({n: c.double() for n, c in training.forcing.items()}, training.site, sites)
        inputs = {name: _mean_sd(info.compute(forcing)) for name, info in NETWORK_INPUTS.items()}
        targets = {}
        for name, values in training.target.items():
            samples = values[training.measured[name]].double()
            if len(samples) > 1:
                targets[name] = _mean_sd(samples)
        return cls(inputs, targets)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, for YAML, JSON and checkpoints."""
        return {
            kind: {name: entry._asdict() for name, entry in getattr(self, kind).items()}
            for kind in ("inputs", "targets")
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> ScalingStatistics:
        """Inverse of `to_dict`."""
        return cls(**{kind: {n: MeanSd(**e) for n, e in content[kind].items()} for kind in ("inputs", "targets")})

    def save(self, path: str | Path) -> None:
        """Write JSON; an existing file is replaced only by a complete one."""
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(self.to_dict(), indent=2))

    @classmethod
    def load(cls, path: str | Path) -> ScalingStatistics:
        """Read what `save` wrote."""
        return cls.from_dict(json.loads(Path(path).read_text()))


def _mean_sd(values: torch.Tensor) -> MeanSd:
    return MeanSd(float(values.mean()), float(values.std(correction=0)), len(values))
