"""Benchmarks without physics that are fitted in one go: climatology, straight lines, lines in clusters, boosted trees."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch

from ..data.dataset import TowerDataset
from ..data.inputs import compute_inputs
from ..data.targets import FLUX_OF_TARGET
from ..models.baselines import Climatology, LinearRegression

EXTRA = 'pip install "canveg-torch[experiments]"'

THREE = ("shortwave_in", "air_temperature", "vapour_pressure_deficit")
"""Inputs of `3lin` and `3km27`."""


class Benchmark(Protocol):
    """A fitted benchmark."""

    def predict(self, dataset: TowerDataset) -> dict[str, torch.Tensor]:
        """Fluxes `[time]` by model output name; NaN where it has none."""
        ...


def require(module: str) -> Any:
    """A module of the extra `experiments`.

    Raises:
        ImportError: it is not installed; the message has the command.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"this comparison needs {module.split('.')[0]} ({error}). Install it: {EXTRA}") from error


class ClusteredRegression:
    """Clusters of three inputs, a linear regression on them in each: `3km27` with 27 clusters [Haughton2016].

    The inputs are standardised by the training part. A cluster with fewer than `LEAST` measured samples of a flux takes the
    regression over all of them.
    """

    LEAST = 10

    def __init__(self, training: TowerDataset, seed: int = 0, clusters: int = 27):
        cluster = require("sklearn.cluster")
        columns = _inputs(training, THREE)
        self._mean, sd = columns.mean(axis=0), columns.std(axis=0)
        self._sd = np.where(sd > 0, sd, 1.0)
        scaled = (columns - self._mean) / self._sd
        self._clusters = cluster.KMeans(min(clusters, len(scaled)), n_init=10, random_state=seed).fit(scaled)
        label = self._clusters.labels_
        design = np.column_stack([np.ones(len(scaled)), scaled])
        self.coefficients: dict[str, np.ndarray] = {}
        for name, values in training.target.items():
            used = training.measured[name].numpy()
            if not used.any():
                continue
            observed = values.numpy().astype(float)
            overall = np.linalg.lstsq(design[used], observed[used], rcond=None)[0]
            rows = []
            for k in range(self._clusters.n_clusters):
                here = used & (label == k)
                enough = here.sum() >= self.LEAST
                rows.append(np.linalg.lstsq(design[here], observed[here], rcond=None)[0] if enough else overall)
            self.coefficients[name] = np.array(rows)

    def predict(self, dataset: TowerDataset) -> dict[str, torch.Tensor]:
        """Fluxes `[time]` by model output name."""
        scaled = (_inputs(dataset, THREE) - self._mean) / self._sd
        label = self._clusters.predict(scaled)
        design = np.column_stack([np.ones(len(scaled)), scaled])
        return {
            FLUX_OF_TARGET[name]: torch.from_numpy((design * rows[label]).sum(axis=1))
            for name, rows in self.coefficients.items()
        }


class BoostedTrees:
    """Boosted regression trees on the inputs, one model for each flux.

    Args:
        training, validation: `rounds` trees are grown on the first; as many of them are used as give the smallest squared error
            on the second.
        inputs: names of `NETWORK_INPUTS`.
        rounds, learning_rate, leaves: largest number of trees, its step, and leaves of a tree.
    """

    def __init__(
        self,
        training: TowerDataset,
        validation: TowerDataset,
        inputs: Sequence[str],
        *,
        rounds: int = 400,
        learning_rate: float = 0.05,
        leaves: int = 31,
    ):
        ensemble = require("sklearn.ensemble")
        self.inputs = tuple(inputs)
        columns, held_out = _inputs(training, self.inputs), _inputs(validation, self.inputs)
        self._models: dict[str, Any] = {}
        self.rounds: dict[str, int] = {}
        for name, values in training.target.items():
            used, checked = training.measured[name].numpy(), validation.measured[name].numpy()
            if not used.any():
                continue
            model = ensemble.HistGradientBoostingRegressor(
                max_iter=rounds,
                learning_rate=learning_rate,
                max_leaf_nodes=leaves,
                early_stopping=False,
                random_state=0,
            )
            model.fit(columns[used], values.numpy()[used].astype(float))
            self.rounds[name] = model.n_iter_
            if checked.any():
                observed = validation.target[name].numpy()[checked].astype(float)
                errors = [np.mean((p - observed) ** 2) for p in model.staged_predict(held_out[checked])]
                self.rounds[name] = int(np.argmin(errors)) + 1
            self._models[name] = model

    def predict(self, dataset: TowerDataset) -> dict[str, torch.Tensor]:
        """Fluxes `[time]` by model output name."""
        columns = _inputs(dataset, self.inputs)
        predicted = {}
        for name, model in self._models.items():
            stages = model.staged_predict(columns)
            for _ in range(self.rounds[name] - 1):
                next(stages)
            predicted[FLUX_OF_TARGET[name]] = torch.from_numpy(np.asarray(next(stages), float))
        return predicted


def fit_benchmark(
    kind: str,
    training: TowerDataset,
    validation: TowerDataset,
    *,
    inputs: Sequence[str],
    seed: int = 0,
    by_site: bool = True,
    **settings: Any,
) -> Benchmark:
    """The benchmark of this kind (`rows.ROW_KINDS`), fitted.

    Raises:
        ValueError: a setting that cannot be right.
        ImportError: scikit-learn is needed and not installed.
    """
    for name, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise ValueError(f"{kind}: {name} must be a positive number; got {value!r}.")
    if kind == "climatology":
        return Climatology(training, by_site=by_site)
    if kind in ("1lin", "3lin", "linear"):
        return LinearRegression(training, {"1lin": THREE[:1], "3lin": THREE}.get(kind, inputs))
    if kind == "3km27":
        return ClusteredRegression(training, seed, **settings)
    return BoostedTrees(training, validation, inputs, **settings)


def _inputs(dataset: TowerDataset, names: Sequence[str]) -> np.ndarray:
    columns = {name: column.double() for name, column in (dataset.forcing | dataset.history).items()}
    return compute_inputs(columns, names).numpy()
