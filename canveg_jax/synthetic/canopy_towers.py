"""The four synthetic towers with fluxes of the canopy itself under a known stress: for demonstration, and to try files on.

`tower.py` makes a tower with any flux model; here the flux model is the canopy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
import yaml

from ..canopy import Canopy
from ..files import replacing
from ..forcing import Forcing
from ..io.arrays import Series
from ..parameters import Parameters
from ..site import Site
from ..stress import AbstractStress
from .sites import SYNTHETIC_SITES
from .tower import FluxModel, synthetic_tower

N_LAYERS = 3
"""Layers of the canopies that make the fluxes; dispersion matrices for 1 and 3 are shipped."""

FORCING_COLUMNS = {
    "air_temperature": "TA", "shortwave_in": "SW_IN", "vapour_pressure": "eair", "wind_speed": "WS", "co2": "CO2",
    "pressure": "PA", "friction_velocity": "USTAR", "soil_temperature": "TS", "soil_water_content": "SWC", "lai": "LAI",
    "longwave_in": "LW_IN", "observed_canopy_height": "veg_ht",
}  # fmt: skip
FLUX_COLUMNS = {"latent_heat": "LE", "sensible_heat": "H", "ground_heat": "G", "net_radiation": "NETRAD", "nee": "FC"}


def synthetic_sites(n_layers: int = N_LAYERS) -> list[Site]:
    """The invented sites, from humid to arid, cut into `n_layers` layers."""
    return [Site(**{**site.model_dump(), "n_layers": n_layers}) for site in SYNTHETIC_SITES.values()]


def synthetic_towers(
    days: int | Sequence[int],
    seed: int = 0,
    *,
    n_layers: int = N_LAYERS,
    parameters: Parameters | None = None,
    in_loop: AbstractStress | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> list[tuple[Site, xr.Dataset]]:
    """Each invented site with its record (see `canveg_jax.synthetic.synthetic_tower`), beginning in its spring.

    Args:
        days: length of the records; several numbers: of each.
        seed: of the first tower; the next ones take the next seeds.
        n_layers: layers of the canopies.
        parameters: of the canopies; default: the defaults.
        in_loop: a stress of every leaf inside the solver, for example `KnownLeafStress()`, in place of `known_stress`.
        progress: called with a line of text per tower.
    """
    sites = synthetic_sites(n_layers)
    canopy = Canopy(sites, parameters)
    towers = []
    for i, site in enumerate(sites):
        start = "2019-05-01" if site.latitude > 0 else "2019-11-01"
        length = days if isinstance(days, int) else days[i]
        tower = synthetic_tower(site, length, seed + i, canopy_flux_model(canopy, i, in_loop), start=start)
        towers.append((site, tower))
        progress(f"{site.name}: {tower.sizes['time']} half-hours")
    return towers


def canopy_flux_model(canopy: Canopy, site: int, in_loop: AbstractStress | None = None) -> FluxModel:
    """One site of a canopy, by its index among the canopy's sites, as the flux model of `synthetic_tower`; with a stress in the
    loop that of the tower has no say."""

    def fluxes(weather: xr.Dataset, stress: Series) -> Mapping[str, Any]:
        forcing = Forcing.from_dataset(weather, site=np.full(weather.sizes["time"], site))
        if in_loop is None:
            solution, used = canopy.solve(forcing, stress), stress
        else:
            solution = canopy.solve(forcing, in_loop=in_loop)
            used = np.asarray(solution.in_loop_factor)
        return {**vars(solution.fluxes), "converged": solution.diagnostics.converged, "stress": used}

    return fluxes


def write_prepared_csv(folder: str | Path, site: Site, tower: xr.Dataset) -> list[Path]:
    """Write `<site>-forcings.csv`, `<site>-fluxes.csv` and `<site>.yaml` as `read_tower` and `Site.from_yaml` read them.

    Samples that were not measured are left empty. Existing files are replaced, each by a complete one; the folder is made if
    it does not exist.

    Returns:
        The three paths, in this order.

    Raises:
        OSError: the folder cannot be written.
    """
    folder = Path(folder)
    end = pd.DatetimeIndex(tower["time_end"].values).strftime("%Y-%m-%d %H:%M:%S")
    forcing = pd.DataFrame({column: tower[name].values for name, column in FORCING_COLUMNS.items()}, index=end)
    fluxes = pd.DataFrame(
        {
            column: np.where(tower[f"{name}_measured"], tower[name], np.nan)
            for name, column in FLUX_COLUMNS.items()
        },
        index=end,
    )  # fmt: skip
    fluxes.insert(0, "P_mm", tower["precipitation"].values)
    paths = [folder / f"{site.name}-forcings.csv", folder / f"{site.name}-fluxes.csv", folder / f"{site.name}.yaml"]
    for path, table in zip(paths[:2], (forcing, fluxes), strict=True):
        with replacing(path) as temporary:
            table.to_csv(temporary, index_label="TIMESTAMP_END", float_format="%.6g")
    with replacing(paths[2]) as temporary:
        temporary.write_text(yaml.safe_dump(site.model_dump(mode="json", exclude_defaults=True), sort_keys=False))
    return paths
