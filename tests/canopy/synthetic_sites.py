"""Small synthetic sites with a smooth dispersion matrix read from CSV: nothing has to be generated or cached."""

from pathlib import Path

import numpy as np

import canveg_jax as cv
from tests.independent.cases import ALFALFA, FOREST, SHRUB, dispersion_matrix

KINDS = {"alfalfa": ALFALFA, "forest": FOREST | {"leaf_angle": "spherical"}, "shrub": SHRUB}
N_AIR_LAYERS = 10


def small_site(kind: str, n_layers: int, folder: Path, **changes) -> cv.Site:
    """One of `KINDS` cut into `n_layers` layers and ten of air."""
    constants = KINDS[kind] | {"n_layers": n_layers, "n_air_layers": N_AIR_LAYERS} | changes
    path = folder / f"{kind}-{n_layers}.csv"
    if not path.exists():
        matrix = dispersion_matrix(
            constants["canopy_height"], constants["measurement_height"], n_layers, N_AIR_LAYERS
        )
        np.savetxt(path, matrix, delimiter=",", fmt="%.12e")
    return cv.Site(name=kind, dispersion=path, **constants)


def small_sites(n_layers: int, folder: Path) -> list[cv.Site]:
    """One site of each kind: low and tall, hypo- and amphistomatous, three leaf-angle distributions."""
    return [small_site(kind, n_layers, folder) for kind in KINDS]
