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
        matrix = dispersion_matrix(constants["canopy_height"], constants["measurement_height"], n_layers, N_AIR_LAYERS)
        np.savetxt(path, matrix, delimiter=",", fmt="%.12e")
    return cv.Site(name=kind, dispersion=path, **constants)


def small_sites(n_layers: int, folder: Path) -> list[cv.Site]:
    """One site of each kind: low and tall, hypo- and amphistomatous, three leaf-angle distributions."""
    return [small_site(kind, n_layers, folder) for kind in KINDS]


def random_sites(n: int, n_layers: int, folder: Path, seed: int) -> list[cv.Site]:
    """Sites of any latitude, height, leaf angle and stomata; the same dispersion shape, so one program serves all."""
    rng = np.random.default_rng(seed)
    angles = ("erectophile", "spherical", "planophile", "plagiophile", "extremophile", "uniform")
    sites = []
    for i in range(n):
        longitude, height = float(rng.uniform(-175, 175)), float(np.exp(rng.uniform(np.log(0.3), np.log(25))))
        measurement_height = height * float(rng.uniform(1.5, 4)) + 1.0
        path = folder / f"random-{i}.csv"
        np.savetxt(path, dispersion_matrix(height, measurement_height, n_layers, N_AIR_LAYERS), delimiter=",")
        sites.append(
            cv.Site(
                name=f"random-{i}", latitude=float(rng.uniform(-65, 65)), longitude=longitude,
                utc_offset=round(longitude / 15), canopy_height=height, measurement_height=measurement_height,
                stomata=("hypostomatous", "amphistomatous")[i % 2], leaf_angle=angles[i % 6], n_layers=n_layers,
                n_air_layers=N_AIR_LAYERS, soil_depth=float(rng.uniform(0.05, 0.3)), dispersion=path,
            )
        )  # fmt: skip
    return sites
