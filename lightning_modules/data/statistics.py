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
from canveg_jax.io.antecedents import ANTECEDENTS

from .dataset import TowerDataset
from .energy_closure import energy_closure
from .inputs import NETWORK_INPUTS, with_scaled_lai
from .random_error import RandomError, random_error


class MeanSd(NamedTuple):
    """Mean, population standard deviation, and number of samples."""

    mean: float
    sd: float
    n: int


@dataclasses.dataclass(frozen=True)
class ScalingStatistics:
    """What scaling needs to know of a training part.

    Args:
        inputs: of each possible network input that can be computed from its columns.
        targets: of each observed flux that was measured at least twice.
        energy_closure: by site name, how much of the available energy its turbulent fluxes account for (`energy_closure`);
            sites whose fluxes do not tell are left out.
        random_error: of each observed flux that was measured.
    """

    inputs: dict[str, MeanSd]
    targets: dict[str, MeanSd]
    energy_closure: dict[str, float] = dataclasses.field(default_factory=dict)
    random_error: dict[str, RandomError] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, training: TowerDataset, sites: Sequence[Site]) -> ScalingStatistics:
        """Statistics of a training set: inputs over all its half-hours, targets over its measured samples.

        Args:
            training: the training part, and nothing else.
            sites: its sites in index order (their `lai_scale` is applied to LAI).
        """
        columns = {n: c.double() for n, c in (training.forcing | training.history).items()}
        columns = with_scaled_lai(columns, training.site, sites)
        there = [name for name in NETWORK_INPUTS if name in columns or name not in ANTECEDENTS]
        inputs = {name: _mean_sd(NETWORK_INPUTS[name].compute(columns)) for name in there}
        targets = {}
        for name, values in training.target.items():
            samples = values[training.measured[name]].double()
            if len(samples) > 1:
                targets[name] = _mean_sd(samples)
        closures = {site.name: energy_closure(training, i) for i, site in enumerate(sites)}
        errors = {name: random_error(training, name) for name in training.target}
        return cls(
            inputs, targets, {name: slope for name, slope in closures.items() if slope is not None},
            {name: error for name, error in errors.items() if error is not None},
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, for YAML, JSON and checkpoints."""
        scales = {
            kind: {name: entry._asdict() for name, entry in getattr(self, kind).items()}
            for kind in ("inputs", "targets")
        }
        errors = {name: dataclasses.asdict(error) for name, error in self.random_error.items()}
        return {**scales, "energy_closure": dict(self.energy_closure), "random_error": errors}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> ScalingStatistics:
        """Inverse of `to_dict`."""
        scales = {kind: {n: MeanSd(**e) for n, e in content[kind].items()} for kind in ("inputs", "targets")}
        errors = {name: RandomError.from_dict(error) for name, error in content.get("random_error", {}).items()}
        return cls(**scales, energy_closure=dict(content.get("energy_closure", {})), random_error=errors)

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
