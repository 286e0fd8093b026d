"""Learning: tower data, stress networks, the hybrid canopy under Lightning, yardsticks, command line.

Names are imported on first use, so that `canveg --help` need not wait for PyTorch.
"""

from importlib import import_module
from typing import Any

_NAMES: dict[str, tuple[str, ...]] = {
    "baselines": ("Climatology", "LinearRegression"),
    "datamodule": ("FluxTowerDataModule", "half_hour_loader"),
    "dataset": ("HalfHourDataset", "collate"),
    "flux_network": ("FluxNetwork",),
    "hybrid_canopy": ("HybridCanopy", "NonFiniteGradientWarning"),
    "losses": ("FluxLoss", "loss_weights"),
    "metrics": ("Bias", "FluxMetrics", "KlingGuptaEfficiency"),
    "tuned_parameters": ("parameter_table",),
    "soil_moisture_stress": ("SoilMoistureStress",),
    "splits": ("Split", "block_split"),
    "statistics": ("MeanSd", "ScalingStatistics"),
    "stress_inputs": ("STRESS_INPUTS",),
    "stress_modules": ("STRESS_MODULES",),
    "stress_network": ("StressNetwork",),
    "targets": ("DEFAULT_TARGETS", "FLUX_OF_TARGET"),
    "tower_files": ("TowerFiles",),
}
_MODULE = {name: module for module, names in _NAMES.items() for name in names}
__all__ = list(_MODULE)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module 'lightning_modules' has no attribute '{name}'")
    return getattr(import_module(f".{_MODULE[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE})
