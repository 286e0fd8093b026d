"""Benchmarks without physics, on the same masked splits: climatology and linear regression."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..data.dataset import TowerDataset
from ..data.inputs import compute_inputs
from ..data.targets import FLUX_OF_TARGET
from ..evaluation.metrics import FluxMetrics

NINE_INPUTS = (
    "air_temperature", "shortwave_in", "vapour_pressure", "wind_speed", "co2", "pressure", "friction_velocity",
    "soil_water_content", "lai",
)  # fmt: skip
"""Inputs of the published pure network."""


class Climatology:
    """Mean of the measured training samples by site, month and time of day.

    A month and time without measured sample takes the mean of that time of day over all months, then the mean of all.

    Args:
        training: the training part.
        by_site: each site has its own means; else all share them, so that a site without training data has some.
    """

    def __init__(self, training: TowerDataset, by_site: bool = True):
        self._by_site = by_site
        self._means: dict[str, dict[tuple, float]] = {}
        keys = self._keys(training)
        for name, values in training.target.items():
            used = training.measured[name].numpy()
            means: dict[tuple, float] = {}
            for depth in (3, 2, 1):
                groups = keys[used][:, :depth]
                labels, index = np.unique(groups, axis=0, return_inverse=True)
                samples = values.numpy()[used].astype(float)
                totals = np.bincount(index.ravel(), weights=samples, minlength=len(labels))
                counts = np.bincount(index.ravel(), minlength=len(labels))
                means |= {
                    tuple(label): float(m)
                    for label, m in zip(labels.tolist(), totals / np.maximum(counts, 1), strict=True)
                }
            self._means[name] = means

    def predict(self, dataset: TowerDataset) -> dict[str, torch.Tensor]:
        """Fluxes `[time]` by model output name (`LE` ...); NaN where the site was never measured."""
        keys = [tuple(row) for row in self._keys(dataset).tolist()]

        def look_up(means: dict[tuple, float], key: tuple) -> float:
            return next((means[key[:depth]] for depth in (3, 2, 1) if key[:depth] in means), float("nan"))

        return {
            FLUX_OF_TARGET[name]: torch.tensor([look_up(means, key) for key in keys], dtype=torch.float64)
            for name, means in self._means.items()
        }

    def _keys(self, dataset: TowerDataset) -> np.ndarray:
        keys = _calendar(dataset)
        return keys if self._by_site else keys * np.array([0, 1, 1])


class LinearRegression:
    """Least squares of each flux on the nine inputs (and a constant) over its measured training samples.

    All sites share the coefficients.
    """

    def __init__(self, training: TowerDataset, inputs: Sequence[str] = NINE_INPUTS):
        self.inputs = tuple(inputs)
        design = self._design(training)
        self.coefficients = {}
        for name, values in training.target.items():
            used = training.measured[name].numpy()
            if used.any():
                self.coefficients[name] = np.linalg.lstsq(design[used], values.numpy()[used].astype(float), rcond=None)[
                    0
                ]

    def predict(self, dataset: TowerDataset) -> dict[str, torch.Tensor]:
        """Fluxes `[time]` by model output name."""
        design = self._design(dataset)
        return {FLUX_OF_TARGET[name]: torch.from_numpy(design @ c) for name, c in self.coefficients.items()}

    def _design(self, dataset: TowerDataset) -> np.ndarray:
        columns = compute_inputs(
            {n: c.double() for n, c in (dataset.forcing | dataset.history).items()}, self.inputs
        ).numpy()
        return np.column_stack([np.ones(len(columns)), columns])


def score(model: Climatology | LinearRegression, dataset: TowerDataset) -> dict[str, float]:
    """Scores of a benchmark, as `FluxMetrics` names them."""
    metrics = FluxMetrics(dataset.targets)
    predicted = model.predict(dataset)
    known = {
        n: m & torch.isfinite(predicted[FLUX_OF_TARGET[n]])
        for n, m in dataset.measured.items()
        if FLUX_OF_TARGET[n] in predicted
    }
    metrics.update(predicted, dataset.target, {**dataset.measured, **known})
    return {name: float(value) for name, value in metrics.compute_here().items()}


def _calendar(dataset: TowerDataset) -> np.ndarray:
    """Site, minute of the day, month: `[time, 3]`."""
    months = dataset.time.astype("datetime64[M]").astype(int) % 12
    minutes = (dataset.time - dataset.time.astype("datetime64[D]")).astype("timedelta64[m]").astype(int)
    return np.column_stack([dataset.site.numpy(), minutes, months])
