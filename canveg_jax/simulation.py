"""Physics alone, from a configuration: tower CSV in, fluxes out. Needs no PyTorch."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydantic
import xarray as xr
import yaml

from .canopy import Canopy, Solution
from .configuration import CanopyConfig, Date, require_known
from .forcing import FORCING_TABLE, Forcing
from .io.completeness import table_of_costs
from .io.doctor import examine, require_usable, short_text
from .io.netcdf import write_fluxes
from .io.tower_files import TowerFiles
from .parameters import Parameters
from .site import Site


class SimulationConfig(CanopyConfig):
    """What `canveg simulate` reads from YAML: site, parameters and solver as of `CanopyConfig`, and these.

    Args:
        tower: site and files, as in the training configuration (`TowerFiles`); the fluxes may be left out.
        folder: relative file names of `tower` start here; default: the folder the command runs in.
        stress: none, or the built-in `soil_moisture`.
        smooth_colimitation: quadratic co-limitation of photosynthesis instead of the hard minimum.
        dtype: precision of the computation.
        first, last: dates (or date-times) of the first and last interval to simulate; default: the whole record.
    """

    expects = "`tower: ...`"

    tower: dict[str, Any]
    folder: Path | None = None
    stress: Literal["soil_moisture"] | None = None
    smooth_colimitation: bool = False
    dtype: Literal["float64", "float32"] = "float64"
    first: Date | None = None
    last: Date | None = None

    @pydantic.field_validator("tower")
    @classmethod
    def _known_settings(cls, tower: dict[str, Any]) -> dict[str, Any]:
        require_known("tower", tower, [field.name for field in dataclasses.fields(TowerFiles)])
        return tower

    def files(self) -> TowerFiles:
        """The tower's files, relative names resolved against `folder`.

        Raises:
            ValueError: a setting of `tower` has a wrong type (pydantic's message names it).
        """
        return pydantic.TypeAdapter(TowerFiles).validate_python(self.tower).inside(self.folder)


@dataclasses.dataclass(frozen=True)
class Simulation:
    """What `simulate` made.

    Args:
        site: with the configuration's options applied.
        tower: the intervals that were simulated, as `read_tower` makes them.
        solution: the canopy's fluxes and diagnostics of them, `[time]`.
        left_out: the number of intervals of the period with incomplete forcing.
        checks: what an examination of the whole record found, in a few lines.
    """

    site: Site
    tower: xr.Dataset
    solution: Solution
    left_out: int
    checks: str = ""

    def write(self, path: str | Path, config: SimulationConfig) -> Path:
        """Write fluxes and solver diagnostics as CF NetCDF; the configuration goes into the attribute `configuration`.

        Raises:
            FileNotFoundError: the folder does not exist.
        """
        fluxes = vars(self.solution.fluxes) | self.solution.diagnostics._asdict()
        described = yaml.safe_dump(config.model_dump(mode="json", exclude_defaults=True, exclude={"folder"}))
        return write_fluxes(path, fluxes, tower=self.tower, attributes={"configuration": described})

    def summary(self) -> str:
        """What was computed, in a few lines."""
        diagnostics, fluxes = self.solution.diagnostics, self.solution.fluxes
        time = self.tower["time"].values.astype("datetime64[m]")
        solved = diagnostics.converged
        mean = (
            {n: float(np.mean(getattr(fluxes, n)[solved])) for n in ("LE", "H", "G", "Rnet", "NEE")}
            if solved.any()
            else {}
        )
        means = ", ".join(f"{n} {value:.4g}" for n, value in mean.items()) or "none"
        lost = f" ({self.left_out} left out: forcing incomplete)" if self.left_out else ""
        return (
            f"{self.site.name}: {len(time)} half-hours from {time[0]} to {time[-1]}{lost}\n"
            f"{int(solved.sum())} of {solved.size} converged, in {np.median(diagnostics.passes):.0f} passes (median)\n"
            f"mean of these: {means} (W m-2; NEE umol m-2 s-1)"
        )


def simulate(config: SimulationConfig) -> Simulation:
    """Run the canopy over a tower's record. Half-hours with incomplete forcing are left out and counted.

    Raises:
        ValueError: no half-hour is left, or the forcing is unusable; the message has the remedy.

    Warns:
        NotConvergedWarning: some half-hours did not converge; they are flagged in the result.
    """
    files = config.files()
    site = files.build_site(config.site_options)
    record = files.read(site)[0]
    examination = examine(record, site)
    period = record.sel(time=slice(config.first, config.last))
    tower = period.isel(time=np.flatnonzero(period["forcing_complete"].values))
    if not tower.sizes["time"]:
        raise ValueError(
            f"{site.name}: no half-hour with complete forcing between {config.first or 'the start'} and "
            f"{config.last or 'the end'}; the record has {record.sizes['time']} half-hours, "
            f"{record['time'].values[0]} to {record['time'].values[-1]}. Change first/last or mend the columns."
            + (f" {table_of_costs(period)}" if period.sizes["time"] else "")
        )
    require_usable(examination)
    canopy = Canopy(
        site, Parameters(**config.parameters), config.stress, options=config.options,
        smooth_colimitation=config.smooth_colimitation,
    )  # fmt: skip
    forcing = Forcing.from_dataset(tower)
    if config.dtype == "float32":
        forcing = Forcing(
            site=forcing.site,
            **{name: np.asarray(getattr(forcing, name), dtype=np.float32) for name in FORCING_TABLE},
        )
    return Simulation(
        site, tower, canopy.solve(forcing), period.sizes["time"] - tower.sizes["time"], short_text(examination)
    )


def require_folder(path: str | Path) -> Path:
    """The path of a file to write; its folder must exist already, so that nothing is computed in vain.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    path = Path(path)
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise FileNotFoundError(f"cannot write {path}: the folder {path.parent} does not exist or is not writable.")
    return path
