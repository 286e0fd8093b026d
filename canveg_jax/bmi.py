"""The canopy under the Basic Model Interface [Hutton2020]: a site driven half-hour by half-hour, to couple it with other models.

Needs bmipy: `pip install 'canveg-torch[bmi]'`. Names follow the rules of the CSDMS Standard Names, units are those of
`FORCING_TABLE` and `FLUX_TABLE`. Every variable is one number on a scalar grid (rank 0).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, cast

import jax
import numpy as np
import pandas as pd
import pydantic

from .canopy import Canopy, warn_not_converged
from .configuration import CanopyConfig, Date, SiteConstants
from .fluxes import FLUX_TABLE
from .forcing import FORCING_TABLE, Forcing
from .io.timestamps import middle_of_interval
from .io.tower_files import as_site
from .parameters import Parameters
from .solver.state_vector import state_size
from .spelling import unknown

try:
    from bmipy import Bmi
except ImportError as error:
    raise ImportError(f"canveg_jax.bmi needs bmipy ({error}). Install it: pip install 'canveg-torch[bmi]'") from error

INPUTS: dict[str, str] = {
    "atmosphere_bottom_air__temperature": "air_temperature",
    "land_surface_radiation~incoming~shortwave__energy_flux": "shortwave_in",
    "land_surface_radiation~incoming~longwave__energy_flux": "longwave_in",
    "atmosphere_bottom_air_water-vapor__partial_pressure": "vapour_pressure",
    "atmosphere_bottom_air_flow__reference-height_speed": "wind_speed",
    "atmosphere_bottom_air_flow__shear_speed": "friction_velocity",
    "atmosphere_bottom_air_carbon-dioxide__mole_fraction": "co2",
    "atmosphere_bottom_air__pressure": "pressure",
    "soil__temperature": "soil_temperature",
    "soil__time_derivative_of_temperature": "soil_temperature_tendency",
    "soil_water__volume_fraction": "soil_water_content",
    "land_vegetation__leaf-area_index": "lai",
    "land_vegetation_canopy__height": "observed_canopy_height",
}
"""Standard name -> column of the forcing. Day and hour come from the time of the model."""

OUTPUTS: dict[str, str] = {
    "atmosphere_bottom_air_land_net-latent-heat__energy_flux": "LE",
    "atmosphere_bottom_air_land_net-sensible-heat__energy_flux": "H",
    "land_surface_soil_heat~downward__energy_flux": "G",
    "land_surface_radiation~net__energy_flux": "Rnet",
    "atmosphere_bottom_air_land_net-carbon-dioxide__mole_flux": "NEE",
    "land_vegetation__gross-primary-production_mole_flux": "GPP",
    "soil_respiration_carbon-dioxide__mole_flux": "soil_respiration",
    "land_vegetation_latent-heat__energy_flux": "canopy_LE",
    "land_vegetation_sensible-heat__energy_flux": "canopy_H",
    "soil_surface_latent-heat__energy_flux": "soil_LE",
    "soil_surface_sensible-heat__energy_flux": "soil_H",
    "soil_surface__temperature": "soil_surface_temperature",
    "land_vegetation_canopy__temperature": "canopy_temperature",
    "land_vegetation_canopy_water-vapor__stomatal_conductance": "canopy_conductance",
    "land_surface_radiation~outgoing~shortwave__energy_flux": "shortwave_out",
    "land_surface_radiation~outgoing~longwave__energy_flux": "longwave_out",
    "model_solver__residual_of_energy_flux": "residual",
    "model_solver__count_of_passes": "passes",
    "model_solver__convergence_flag": "converged",
    "model_solver__reason_code": "reason",
}
"""Standard name -> output of the canopy. The last four tell of the solver (`Diagnostics`, `REASONS`)."""

GRID = 0
"""The only grid: scalar."""


class BmiConfig(CanopyConfig):
    """What `initialize` reads from YAML: site, parameters and solver as of `CanopyConfig`, and these.

    Args:
        site: name of a preset, path of a site YAML, or constants, as of `canveg simulate`.
        start: start of the first interval, local standard time of the site.
        end: end of the last one; None: none is known.
        time_step: length of an interval, s.
        stress: name of a scheme, or none.
        conductance: equation of the stomata.
    """

    expects = "`site` and `start`"

    site: str | SiteConstants
    start: Date
    end: Date | None = None
    time_step: float = pydantic.Field(default=1800.0, gt=0, le=86_400)
    stress: str | None = None
    conductance: str = "ball_berry"


class CanopyBmi(Bmi):
    """A canopy at one site. Set the forcing of the interval that begins now, `update`, and read its fluxes.

    An input keeps its value until it is set again; optional ones (long-wave radiation, tendency of the soil temperature,
    height) may stay unset. The solver starts at the solution of the interval before. A half-hour without a solution has fluxes
    that are NaN, `model_solver__convergence_flag` 0, and a warning.

    Example:
        >>> model = CanopyBmi()
        >>> model.initialize("bmi.yaml")                                         # doctest: +SKIP
        >>> model.set_value("atmosphere_bottom_air__temperature", np.array([18.0]))   # doctest: +SKIP
        >>> model.update()                                                       # doctest: +SKIP
    """

    _values: Mapping[str, np.ndarray] = MappingProxyType({})  # before initialize, and after finalize

    def initialize(self, config_file: str) -> None:
        """Read the configuration and build the canopy; the program compiles at the first `update`.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: no mapping, an unknown key, or a value that cannot be right.
        """
        self._config = BmiConfig.from_yaml(config_file)
        try:
            self._start = pd.Timestamp(self._config.start)
            end = None if self._config.end is None else pd.Timestamp(self._config.end)
        except ValueError as error:
            raise ValueError(
                f"{config_file}: start and end must be dates such as 2019-06-01T00:00 ({error})."
            ) from error
        self._end = np.finfo(np.float64).max if end is None else (end - self._start).total_seconds()
        if not self._end > 0.0:
            raise ValueError(
                f"{config_file}: end must be later than start; got {self._config.start} to {self._config.end}."
            )
        site = as_site(self._config.site, self._config.site_options)
        self._canopy = Canopy(
            site, Parameters(**self._config.parameters), self._config.stress, options=self._config.options,
            conductance=self._config.conductance,
        )  # fmt: skip
        self._run = jax.jit(self._solve)
        self._values = {name: np.full(1, np.nan) for name in (*INPUTS, *OUTPUTS)}
        self._state = np.full((1, state_size(site.n_layers)), np.nan)
        self._time = 0.0

    def _solve(self, columns: dict[str, Any], start: Any) -> Any:
        solution = self._canopy.compute(self._canopy.parameters, Forcing(**columns), start=start)
        return vars(solution.fluxes), solution.diagnostics, solution.state

    def update(self) -> None:
        """Solve the interval that begins now.

        Raises:
            ValueError: an input was never set, or the interval would end after the end of the configuration.
            RuntimeError: not initialized, or finalized.

        Warns:
            NotConvergedWarning: the interval has no solution.
        """
        self._require_ready("update")
        if self._time + self._config.time_step > self._end + 1e-6:
            raise ValueError(
                f"update: the interval would end at {self._time + self._config.time_step} s, the configuration at {self._end} s. "
                "Let `end` be later, or leave it out."
            )
        optional = [name for name, column in INPUTS.items() if FORCING_TABLE[column].optional]
        if missing := [name for name in INPUTS if name not in optional and np.isnan(self._values[name][0])]:
            raise ValueError(f"update: {', '.join(missing)} must be set before (set_value).")
        begin = pd.DatetimeIndex([self._start + pd.Timedelta(seconds=self._time)])
        day, hour = middle_of_interval(begin, cast(pd.Timedelta, pd.Timedelta(seconds=self._config.time_step)))
        columns = {column: self._values[name].copy() for name, column in INPUTS.items()}
        columns |= {"day_of_year": day, "hour": hour}
        with jax.enable_x64(True):
            fluxes, diagnostics, state = jax.device_get(self._run(columns, self._state))
        warn_not_converged(diagnostics, self._canopy.options)
        found = {**fluxes, **diagnostics._asdict()}
        for name, output in OUTPUTS.items():
            self._values[name][0] = float(found[output][0])
        # What did not converge is no start for the next interval.
        self._state = state if diagnostics.converged[0] else np.full_like(state, np.nan)
        self._time += self._config.time_step

    def update_until(self, time: float) -> None:
        """Solve all intervals up to a time (s), with the inputs as they are.

        Raises:
            ValueError: a time before now, within an interval, or after the end of the configuration.
            RuntimeError: as of `update`.
        """
        self._require_ready("update_until")
        if not np.isfinite(time) or time > self._end + 1e-6:
            raise ValueError(f"update_until({time!r}): expected a time up to {self._end} s.")
        steps = (time - self._time) / self._config.time_step
        if steps < 0 or abs(steps - round(steps)) > 1e-6:
            raise ValueError(
                f"update_until({time!r}): expected the end of an interval, {self._time} s plus a multiple of "
                f"{self._config.time_step} s."
            )
        for _ in range(round(steps)):
            self.update()

    def finalize(self) -> None:
        """Let go of the canopy and its values."""
        self._values = MappingProxyType({})

    def _require_ready(self, what: str) -> None:
        if not self._values:
            raise RuntimeError(
                f"{what}: there is no canopy. Call initialize(config_file) before, and nothing after finalize()."
            )

    # --- what it is

    def get_component_name(self) -> str:
        """Name of the model."""
        return "CanVeg multilayer canopy (canveg-torch)"

    def get_input_item_count(self) -> int:
        """Number of inputs."""
        return len(INPUTS)

    def get_output_item_count(self) -> int:
        """Number of outputs."""
        return len(OUTPUTS)

    def get_input_var_names(self) -> tuple[str, ...]:
        """Standard names of the inputs."""
        return tuple(INPUTS)

    def get_output_var_names(self) -> tuple[str, ...]:
        """Standard names of the outputs."""
        return tuple(OUTPUTS)

    # --- variables

    def _array(self, name: str) -> np.ndarray:
        self._require_ready(name)
        if name not in self._values:
            raise ValueError(unknown("variable", name, [*INPUTS, *OUTPUTS]))
        return self._values[name]

    def get_var_grid(self, name: str) -> int:
        """The scalar grid."""
        self._array(name)
        return GRID

    def get_var_type(self, name: str) -> str:
        """All are float64, flags and counts too."""
        return str(self._array(name).dtype)

    def get_var_units(self, name: str) -> str:
        """Unit, in the notation of UDUNITS."""
        self._array(name)
        return FORCING_TABLE[INPUTS[name]].unit if name in INPUTS else FLUX_TABLE[OUTPUTS[name]].unit

    def get_var_itemsize(self, name: str) -> int:
        """Bytes of a number."""
        return self._array(name).itemsize

    def get_var_nbytes(self, name: str) -> int:
        """Bytes of the variable."""
        return self._array(name).nbytes

    def get_var_location(self, name: str) -> str:
        """On the node of the scalar grid."""
        self._array(name)
        return "node"

    def get_value(self, name: str, dest: np.ndarray) -> np.ndarray:
        """Copy a variable into `dest`."""
        return self.get_value_at_indices(name, dest, np.zeros(1, dtype=int))

    def get_value_ptr(self, name: str) -> np.ndarray:
        """The array of a variable itself; it changes with every update."""
        return self._array(name)

    def get_value_at_indices(self, name: str, dest: np.ndarray, inds: np.ndarray) -> np.ndarray:
        """Copy numbers of a variable into `dest`; the only index is 0."""
        values = self._array(name)[_only_index(name, inds)]
        if np.size(dest) != 1:
            raise ValueError(f"get_value: {name} is one number; `dest` takes {np.size(dest)}.")
        dest[:] = values
        return dest

    def set_value(self, name: str, src: np.ndarray) -> None:
        """Set an input.

        Raises:
            ValueError: an output, or not one number.
        """
        self.set_value_at_indices(name, np.array([0]), src)

    def set_value_at_indices(self, name: str, inds: np.ndarray, src: np.ndarray) -> None:
        """Set an input; the only index is 0."""
        if name in OUTPUTS:
            raise ValueError(f"set_value: {name} is an output of the canopy; set one of {', '.join(INPUTS)}.")
        numbers = np.asarray(src, dtype=np.float64).reshape(-1)
        if numbers.size != 1:
            raise ValueError(f"set_value: {name} is one number; got {numbers.size}.")
        self._array(name)[_only_index(name, inds)] = numbers

    # --- time

    def get_current_time(self) -> float:
        """Start of the interval to come, s since the start."""
        return self._time

    def get_start_time(self) -> float:
        """0."""
        return 0.0

    def get_end_time(self) -> float:
        """End of the last interval; the largest number where none is known."""
        return self._end

    def get_time_units(self) -> str:
        """Seconds."""
        return "s"

    def get_time_step(self) -> float:
        """Length of an interval."""
        return self._config.time_step

    # --- the grid: a single point

    def get_grid_rank(self, grid: int) -> int:
        """0."""
        return 0

    def get_grid_size(self, grid: int) -> int:
        """1."""
        return 1

    def get_grid_type(self, grid: int) -> str:
        """`scalar`."""
        return "scalar"

    def get_grid_node_count(self, grid: int) -> int:
        """1."""
        return 1

    def get_grid_edge_count(self, grid: int) -> int:
        """None of them."""
        return 0

    def get_grid_face_count(self, grid: int) -> int:
        """None of them."""
        return 0

    def _no_geometry(self, *_: Any) -> np.ndarray:
        """A scalar grid has no geometry.

        Raises:
            NotImplementedError: always, as the interface asks for.
        """
        raise NotImplementedError("the grid is a scalar: it has no shape, spacing, coordinates, edges or faces.")

    get_grid_shape = get_grid_spacing = get_grid_origin = cast(Any, _no_geometry)
    get_grid_x = get_grid_y = get_grid_z = cast(Any, _no_geometry)
    get_grid_edge_nodes = get_grid_face_edges = get_grid_face_nodes = get_grid_nodes_per_face = cast(Any, _no_geometry)


def _only_index(name: str, inds: Any) -> np.ndarray:
    """`[0]`.

    Raises:
        ValueError: other indices.
    """
    indices = np.asarray(inds).reshape(-1)
    if indices.dtype == bool or indices.tolist() != [0]:
        raise ValueError(f"{name} is one number, whose index is 0; got {indices.tolist()}.")
    return np.zeros(1, dtype=int)
