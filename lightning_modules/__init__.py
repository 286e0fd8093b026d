"""Learning: tower data, stress networks, the hybrid canopy under Lightning, benchmarks, command line.

Names are imported on first use, so that `canveg --help` need not wait for PyTorch.
"""

from importlib import import_module
from typing import Any

_NAMES: dict[str, tuple[str, ...]] = {
    "models.baselines": ("Climatology", "LinearRegression"),
    "data.datamodule": ("FluxTowerDataModule", "tower_loader"),
    "data.dataset": ("TowerDataset", "collate"),
    "models.flux_network": ("FluxNetwork",),
    "models.hybrid_canopy": ("HybridCanopy", "NonFiniteGradientWarning"),
    "models.losses": ("FluxLoss", "loss_weights"),
    "evaluation.metrics": ("Bias", "FluxMetrics", "KlingGuptaEfficiency"),
    "models.tuned_parameters": ("parameter_table",),
    "closures.soil_moisture_stress": ("SoilMoistureStress",),
    "data.splits": ("Split", "block_split"),
    "data.statistics": ("MeanSd", "ScalingStatistics"),
    "data.inputs": ("NETWORK_INPUTS",),
    "closures.registry": ("STRESS_MODULES",),
    "closures.stress_network": ("StressNetwork",),
    "data.targets": ("DEFAULT_TARGETS", "FLUX_OF_TARGET"),
}
_MODULE = {name: f".{module}" for module, names in _NAMES.items() for name in names}
_MODULE["TowerFiles"] = "canveg_jax.io.tower_files"
__all__ = list(_MODULE)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module 'lightning_modules' has no attribute '{name}'")
    return getattr(import_module(_MODULE[name], __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE})
