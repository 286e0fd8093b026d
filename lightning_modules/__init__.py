"""Learning: tower data, stress networks, the hybrid canopy under Lightning, yardsticks."""

from .baselines import Climatology as Climatology
from .baselines import LinearRegression as LinearRegression
from .datamodule import FluxTowerDataModule as FluxTowerDataModule
from .datamodule import half_hour_loader as half_hour_loader
from .dataset import HalfHourDataset as HalfHourDataset
from .dataset import collate as collate
from .flux_network import FluxNetwork as FluxNetwork
from .hybrid_canopy import HybridCanopy as HybridCanopy
from .hybrid_canopy import NonFiniteGradientWarning as NonFiniteGradientWarning
from .losses import FluxLoss as FluxLoss
from .losses import loss_weights as loss_weights
from .metrics import Bias as Bias
from .metrics import FluxMetrics as FluxMetrics
from .metrics import KlingGuptaEfficiency as KlingGuptaEfficiency
from .parameter_table import parameter_table as parameter_table
from .soil_moisture_stress import SoilMoistureStress as SoilMoistureStress
from .splits import Split as Split
from .splits import block_split as block_split
from .statistics import MeanSd as MeanSd
from .statistics import ScalingStatistics as ScalingStatistics
from .stress_inputs import STRESS_INPUTS as STRESS_INPUTS
from .stress_modules import STRESS_MODULES as STRESS_MODULES
from .stress_network import StressNetwork as StressNetwork
from .targets import DEFAULT_TARGETS as DEFAULT_TARGETS
from .targets import FLUX_OF_TARGET as FLUX_OF_TARGET
from .tower_files import TowerFiles as TowerFiles
