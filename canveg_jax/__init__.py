"""CanVeg: a multilayer canopy solved to convergence in JAX, with exact implicit derivatives."""

from typing import TYPE_CHECKING

from .canopy import Canopy as Canopy
from .canopy import Diagnostics as Diagnostics
from .canopy import NotConvergedWarning as NotConvergedWarning
from .canopy import Solution as Solution
from .fluxes import FLUX_TABLE as FLUX_TABLE
from .fluxes import Fluxes as Fluxes
from .forcing import FORCING_TABLE as FORCING_TABLE
from .forcing import Forcing as Forcing
from .forcing import ForcingError as ForcingError
from .forcing import ForcingWarning as ForcingWarning
from .forcing import check_batch as check_batch
from .parameters import PARAMETER_TABLE as PARAMETER_TABLE
from .parameters import TUNABLE as TUNABLE
from .parameters import Parameters as Parameters
from .parameters import UnknownParameterError as UnknownParameterError
from .physics.dispersion import DispersionMatrix as DispersionMatrix
from .physics.dispersion import dispersion_matrix as dispersion_matrix
from .physics.state import Profiles as Profiles
from .site import SITES as SITES
from .site import Site as Site
from .solver.acceptance import REASONS as REASONS
from .solver.options import SolverOptions as SolverOptions
from .solver.stored_programs import keep_programs as keep_programs
from .stress import LEAF_INPUTS as LEAF_INPUTS
from .stress import STRESSES as STRESSES
from .stress import AbstractStress as AbstractStress
from .stress import TrainableStress as TrainableStress
from .stress import soil_moisture_stress as soil_moisture_stress
from .transforms import constrain as constrain
from .transforms import unconstrain as unconstrain

if TYPE_CHECKING:
    from .io import read_tower as read_tower


def __getattr__(name: str):
    """`read_tower`, imported when it is first asked for (it brings pandas and xarray)."""
    if name == "read_tower":
        from .io import read_tower

        return read_tower
    raise AttributeError(f"module 'canveg_jax' has no attribute '{name}'")
