"""What each stand-in costs: scores of the physics alone, with a stand-in in place of a variable that the tower did measure.

    python -m benchmarks.stand_in_scores FORCINGS FLUXES --site US-Bi1 --elevation -3

prints the table of docs/stand-ins.md: one layer, default parameters, half-hours that were measured and converged in every run.
"""

from __future__ import annotations

import argparse
import warnings

import jax
import numpy as np

import canveg_jax as cv
from canveg_jax.io import TowerDataWarning
from canveg_jax.io.stand_ins import STAND_INS

TARGETS = {"LE": "latent_heat", "NEE": "nee", "H": "sensible_heat"}


def efficiency(modelled: np.ndarray, observed: np.ndarray) -> float:
    """Nash-Sutcliffe efficiency."""
    return float(1.0 - np.mean((modelled - observed) ** 2) / np.var(observed))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("forcings")
    parser.add_argument("fluxes")
    parser.add_argument("--site", default="US-Bi1")
    parser.add_argument("--elevation", type=float, default=0.0)
    parser.add_argument("--lai", type=float, help="the constant of the last run; default: the mean of the record")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    warnings.simplefilter("ignore", TowerDataWarning)
    warnings.simplefilter("ignore", cv.NotConvergedWarning)
    site = cv.Site.named(options.site, n_layers=1, elevation=options.elevation)

    def read(stand_ins, lai=None):
        return cv.read_tower(options.forcings, options.fluxes, site=site, stand_ins=stand_ins, lai=lai)

    everywhere = {
        variable: {"method": next(iter(methods)), "where": "everywhere"} for variable, methods in STAND_INS.items()
    }
    measured = read(dict.fromkeys(STAND_INS, "none"))
    constant = float(measured["lai"].mean()) if options.lai is None else options.lai
    towers = {"all measured": measured}
    for variable, setting in everywhere.items():
        towers[f"{variable}: {setting['method']}"] = read({variable: setting})
    towers["these five together"] = read(everywhere)
    towers[f"lai: {constant:.2f}"] = read({}, constant)
    towers["these five, and lai"] = read(everywhere, constant)

    canopy = cv.Canopy(site)
    rows = np.logical_and.reduce([tower["forcing_complete"].values for tower in towers.values()])
    solutions = {
        name: canopy.solve(cv.Forcing.from_dataset(tower.isel(time=np.flatnonzero(rows))))
        for name, tower in towers.items()
    }
    converged = np.logical_and.reduce([np.asarray(solution.diagnostics.converged) for solution in solutions.values()])
    print(f"{int(converged.sum())} of {rows.size} half-hours in every run\n")
    print("| in place of the measurement | correlation | mean difference | LE | NEE | H |\n|---|---|---|---|---|---|")
    for name, solution in solutions.items():
        variable = name.split(":")[0]
        cells = ["", ""]
        if variable in STAND_INS:
            made, truth = (tower[variable].values[rows] for tower in (towers[name], measured))
            spread = np.std(made) > 0
            cells = [
                f"{np.corrcoef(made, truth)[0, 1]:.2f}" if spread else "constant", f"{np.mean(made - truth):+.3g}"
            ]  # fmt: skip
        for flux, target in TARGETS.items():
            seen = converged & measured[f"{target}_measured"].values[rows]
            value = np.asarray(getattr(solution.fluxes, flux))
            cells.append(f"{efficiency(value[seen], measured[target].values[rows][seen]):.3f}")
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
