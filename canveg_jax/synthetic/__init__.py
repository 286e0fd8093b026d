"""Synthetic flux towers: invented weather and, with a flux model, invented observations of a KNOWN stomatal stress.

They stand in for real towers in demonstrations and tests: what a network learned from them can be compared with the
function that made them.
"""

from .observation_errors import NOISE as NOISE
from .observation_errors import gap_mask as gap_mask
from .observation_errors import laplace_noise as laplace_noise
from .observation_errors import random_error as random_error
from .sites import SYNTHETIC_ARIDITY as SYNTHETIC_ARIDITY
from .sites import SYNTHETIC_SITES as SYNTHETIC_SITES
from .stress import KnownLeafStress as KnownLeafStress
from .stress import known_canopy_stress as known_canopy_stress
from .stress import known_stress as known_stress
from .tower import synthetic_tower as synthetic_tower
from .weather import synthetic_weather as synthetic_weather
