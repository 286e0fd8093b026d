"""The canopy on the rows of the published model's converged runs, and the differences by day and by night.

`python -m tests.canopy.golden` prints the tables of `docs/reference-comparison.md`.
"""

from pathlib import Path

import jax
import numpy as np
import pandas as pd

import canveg_jax as cv
from canveg_jax.io import read_tower
from tests.canopy.published_forms import FORMS, angle_weights, published

SITES = ("US-Bi1", "US-Hn1")
WINDOWS = ("growing", "winter")
FLUXES = ("LE", "H", "Rnet", "G", "NEE")
Runs = dict[tuple[str, str], dict[str, np.ndarray]]
"""Fluxes by site and window."""


def golden(shared: Path, site: str, n_layers: int, window: str):
    """Published run of a site and window."""
    return np.load(shared / "reference" / f"golden-{site}-{n_layers}L-{window}.npz")


def forcing_rows(shared: Path, site: str, stamp: str, twilight: bool) -> dict[str, np.ndarray]:
    """Forcing of both windows.

    `stamp="end"` computes the sun at the end of the half-hour, as the published runs do; without `twilight` short-wave
    is dropped where their sun is below the horizon.
    """
    path = shared / "data" / site / f"{site}-forcings.csv"
    tower, rows = read_tower(path), np.concatenate([golden(shared, site, 1, w)["rows"] for w in WINDOWS])
    columns = {name: np.asarray(tower[name].values, float)[rows] for name in cv.FORCING_TABLE if name in tower}
    if stamp == "end":
        file = pd.read_csv(path).iloc[rows]
        columns |= {"day_of_year": file["DoY"].to_numpy(float), "hour": file["Hour"].to_numpy(float)}
    if not twilight:
        sine = np.concatenate([golden(shared, site, 1, w)["sin_beta"] for w in WINDOWS])
        columns["shortwave_in"] = np.where(sine > 0, columns["shortwave_in"], 0.0)
    return columns


def run(
    shared: Path,
    n_layers: int,
    undone: tuple[str, ...] = (),
    stamp: str = "middle",
    twilight: bool = True,
    angles: bool = False,
) -> Runs:
    """Both sites, both windows, published dispersion matrices, leaf area as prepared.

    Args:
        undone: names of `FORMS` to put back.
        stamp, twilight: see `forcing_rows`. angles: use the published quadrature of leaf angles.
    """
    sites = [
        cv.Site.named(
            name,
            n_layers=n_layers,
            dispersion=shared / "data" / "dij" / f"Dij_{name}_{n_layers}L.csv",
            lai_scale=1.0,
            soil_heat="conduction",
        )  # fmt: skip
        for name in SITES
    ]
    canopy = cv.Canopy(sites, options=cv.SolverOptions(max_passes=300))
    if angles:
        weights = np.stack([angle_weights(site.leaf_angle) for site in sites])
        canopy.site_arrays = jax.tree.map(lambda x: x, canopy.site_arrays)
        object.__setattr__(canopy.site_arrays, "leaf_angle_weights", weights)
    result = {}
    with published(*undone):
        for i, name in enumerate(SITES):
            columns = forcing_rows(shared, name, stamp, twilight)
            solution = canopy.solve(cv.Forcing(site=np.full(columns["hour"].size, i), **columns))
            rows = {key: np.asarray(value) for key, value in vars(solution.fluxes).items()}
            rows["converged"] = solution.diagnostics.converged
            cut = golden(shared, name, 1, "growing")["rows"].size
            result[name, "growing"] = {key: value[:cut] for key, value in rows.items()}
            result[name, "winter"] = {key: value[cut:] for key, value in rows.items()}
    return result


PUBLISHED = {"stamp": "end", "twilight": False, "angles": True, "undone": tuple(FORMS)}
"""Arguments of `run` that put everything back."""
STEPS = {
    "none": {},
    "time of the row, twilight": {"stamp": "end", "twilight": False},
    "leaf-angle quadrature": {"angles": True},
    **{name: {"undone": (name,)} for name in FORMS},
}
"""What is put back, one after the other and kept: arguments of `run`."""


def ladder(shared: Path, n_layers: int) -> dict[str, Runs]:
    """The canopy with more and more published forms."""
    arguments: dict = {"undone": ()}
    runs = {}
    for name, change in STEPS.items():
        arguments |= {k: v for k, v in change.items() if k != "undone"}
        arguments["undone"] += change.get("undone", ())
        runs[name] = run(shared, n_layers, **arguments)
    return runs


def light(reference, time: str) -> np.ndarray:
    """Rows by day (sun above 3 degrees) or by night, converged in all published runs."""
    sine = reference["sin_beta"]
    converged = reference["converged"] & reference["swconv_converged"] & reference["swconv_isolated_converged"]
    return converged & (sine > 0.05 if time == "day" else sine < 0)


def published_fluxes(reference, kind: str) -> dict[str, np.ndarray]:
    """Published fluxes: `main` as published, `swconv` short-wave converged, `isolated` also without the storage term.

    `Rnet` is the balance above the canopy, the same quantity as that of the package.
    """
    prefix = {"main": "", "swconv": "swconv_", "isolated": "swconv_isolated_"}[kind]
    fluxes = {name: reference[prefix + name] for name in FLUXES}
    fluxes["leaves and soil"] = fluxes["Rnet"]
    fluxes["Rnet"] = reference["Rnet_top" if kind == "main" else "swconv_Rnet_top"]
    return fluxes


def _line(label: str, values: np.ndarray) -> str:
    sign = "+" if label.startswith("+") else ""
    digits = [1, 1, 1, 1, 2]
    return f"| {label} | " + " | ".join(f"{v:{sign}.{d}f}" for v, d in zip(values, digits, strict=True)) + " |"


def table(shared: Path, n_layers: int) -> str:
    """Markdown: mean fluxes of the published run, then what each repair adds, down to the package."""
    steps = ladder(shared, n_layers)
    names = list(steps)
    lines = []
    for site in SITES:
        for window in WINDOWS:
            reference = golden(shared, site, n_layers, window)
            for time in ("day", "night"):
                rows = light(reference, time) & np.all([steps[n][site, window]["converged"] for n in names], axis=0)
                kinds = {kind: published_fluxes(reference, kind) for kind in ("main", "swconv", "isolated")}

                def mean(fluxes, rows=rows):
                    return np.array([fluxes[name][rows].mean() for name in FLUXES])

                ours = {name: mean(steps[name][site, window]) for name in names}
                gross = steps[names[-1]][site, window]["nee_published"][rows].mean()
                definition = np.array([0, 0, 0, 0, ours[names[-1]][4] - gross])
                entries = {"published run": mean(kinds["main"])}
                entries["+ short-wave converged"] = mean(kinds["swconv"]) - mean(kinds["main"])
                entries["+ no storage term"] = mean(kinds["isolated"]) - mean(kinds["swconv"])
                entries["+ leaf respiration in NEE"] = definition
                entries["+ all else (leaf)"] = ours[names[-1]] - definition - mean(kinds["isolated"])
                for later, earlier in zip(names[:0:-1], names[-2::-1], strict=True):
                    entries[f"+ {later}"] = ours[earlier] - ours[later]
                entries["this package"] = ours["none"]
                lines += [f"\n**{site}, {window}, {time}, {n_layers} layer(s), {rows.sum()} half-hours**\n"]
                lines += ["| | LE | H | Rnet | G | NEE |", "|---|---|---|---|---|---|"]
                lines += [_line(label, values) for label, values in entries.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    for layers in (1, 50):
        print(table(Path(__file__).resolve().parents[2].parent / "shared", layers), flush=True)
