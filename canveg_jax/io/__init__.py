"""Files at the edge of the model: tower data in, fluxes out. Everything here speaks NumPy and xarray, not JAX."""

from .humidity import vapour_pressure_deficit as vapour_pressure_deficit
from .measured import interpolated_samples as interpolated_samples
from .netcdf import read_fluxes as read_fluxes
from .netcdf import write_fluxes as write_fluxes
from .read_tower import read_tower as read_tower
from .tower_dataset import TARGET_TABLE as TARGET_TABLE
from .tower_dataset import TowerDataWarning as TowerDataWarning
from .tower_dataset import TowerFileError as TowerFileError
from .tower_dataset import forcing_complete as forcing_complete
