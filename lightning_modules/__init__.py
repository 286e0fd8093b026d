"""Learning: tower data, stress networks, the hybrid canopy under Lightning, benchmarks, command line.

Names are imported on first use, so that `canveg --help` need not wait for PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from canveg_jax.io.tower_files import TowerFiles as TowerFiles

    from .checkpoints.run_checkpoint import RunCheckpoint as RunCheckpoint
    from .closures.registry import STRESS_MODULES as STRESS_MODULES
    from .closures.stress_network import StressNetwork as StressNetwork
    from .closures.stress_scheme import SoilMoistureStress as SoilMoistureStress
    from .closures.stress_scheme import StressScheme as StressScheme
    from .data.datamodule import FluxTowerDataModule as FluxTowerDataModule
    from .data.dataset import TowerDataset as TowerDataset
    from .data.dataset import collate as collate
    from .data.inputs import NETWORK_INPUTS as NETWORK_INPUTS
    from .data.loader import tower_loader as tower_loader
    from .data.splits import Split as Split
    from .data.splits import block_split as block_split
    from .data.statistics import MeanSd as MeanSd
    from .data.statistics import ScalingStatistics as ScalingStatistics
    from .data.targets import DEFAULT_TARGETS as DEFAULT_TARGETS
    from .data.targets import FLUX_OF_TARGET as FLUX_OF_TARGET
    from .evaluation.metrics import Bias as Bias
    from .evaluation.metrics import FluxMetrics as FluxMetrics
    from .evaluation.metrics import KlingGuptaEfficiency as KlingGuptaEfficiency
    from .models.baselines import Climatology as Climatology
    from .models.baselines import LinearRegression as LinearRegression
    from .models.callbacks import NonFiniteGradientWarning as NonFiniteGradientWarning
    from .models.flux_network import FluxNetwork as FluxNetwork
    from .models.hybrid_canopy import HybridCanopy as HybridCanopy
    from .models.losses import FluxLoss as FluxLoss
    from .models.losses import loss_weights as loss_weights
    from .models.tuned_parameters import parameter_table as parameter_table

_NAMES: dict[str, tuple[str, ...]] = {
    "canveg_jax.io.tower_files": ("TowerFiles",),
    ".checkpoints.run_checkpoint": ("RunCheckpoint",),
    ".closures.registry": ("STRESS_MODULES",),
    ".closures.stress_network": ("StressNetwork",),
    ".closures.stress_scheme": ("SoilMoistureStress", "StressScheme"),
    ".data.datamodule": ("FluxTowerDataModule",),
    ".data.dataset": ("TowerDataset", "collate"),
    ".data.inputs": ("NETWORK_INPUTS",),
    ".data.loader": ("tower_loader",),
    ".data.splits": ("Split", "block_split"),
    ".data.statistics": ("MeanSd", "ScalingStatistics"),
    ".data.targets": ("DEFAULT_TARGETS", "FLUX_OF_TARGET"),
    ".evaluation.metrics": ("Bias", "FluxMetrics", "KlingGuptaEfficiency"),
    ".models.baselines": ("Climatology", "LinearRegression"),
    ".models.callbacks": ("NonFiniteGradientWarning",),
    ".models.flux_network": ("FluxNetwork",),
    ".models.hybrid_canopy": ("HybridCanopy",),
    ".models.losses": ("FluxLoss", "loss_weights"),
    ".models.tuned_parameters": ("parameter_table",),
}
"""Module -> its public names; the same as above, for the interpreter."""
_MODULE = {name: module for module, names in _NAMES.items() for name in names}
__all__ = list(_MODULE)  # pyright: ignore[reportUnsupportedDunderAll] - from the table, so that it is written once


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module 'lightning_modules' has no attribute '{name}'")
    return getattr(import_module(_MODULE[name], __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE})
