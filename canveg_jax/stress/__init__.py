"""Stomatal stress, one file a scheme. `STRESSES` finds a scheme by name."""

from .base import AbstractStress as AbstractStress
from .base import LoopClosure as LoopClosure
from .base import NoStress as NoStress
from .base import StressFunction as StressFunction
from .base import TrainableStress as TrainableStress
from .feddes import Feddes as Feddes
from .jarvis import Jarvis as Jarvis
from .leaf_inputs import LEAF_INPUTS as LEAF_INPUTS
from .network import LeafHumidityNetwork as LeafHumidityNetwork
from .network import LeafNetwork as LeafNetwork
from .soil_moisture import SoilMoisture as SoilMoisture
from .soil_moisture import soil_moisture_stress as soil_moisture_stress

STRESSES: dict[str, type[AbstractStress]] = {
    "none": NoStress,
    "soil_moisture": SoilMoisture,
    "feddes": Feddes,
    "jarvis": Jarvis,
}
"""Stress schemes that a name can ask for: `Canopy(site, stress="feddes")`."""
