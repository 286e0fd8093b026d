"""The trade-off between LE and NEE: normalised errors of every weight, the front, its hypervolume and its knee."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..data.splits import PARTS
from .benchmarks import require
from .frames import Frame
from .plan import Run
from .scores import scores_of_pairs, seen, used
from .tables import Predictions

REFERENCES = {"HV(1, 1)": (1.0, 1.0), "HV(1.5, 1.5)/2.25": (1.5, 1.5)}
"""Reference points of the hypervolume: the mean of the observations, and one for towers where that is hard to beat. The second
is divided by 1.5 squared, so that both lie between 0 and 1."""

FLUXES = ("LE", "NEE")


def normalised_error(nse: float) -> float:
    """rho = RMSE / sd of the observations = sqrt(1 - NSE)."""
    return float(np.sqrt(1.0 - nse))


def points(runs: Sequence[Run], results: Mapping[str, Any], predictions: Predictions) -> Frame:
    """`rho_LE` and `rho_NEE` of every run: columns `row, seed, le_weight, part`. Several towers count together."""
    left = {key: iter(datasets) for key, datasets in predictions.items()}
    rows = []
    for run in runs:
        if run.name not in results:
            continue
        dataset = next(left[run.label, run.split])
        for part in ("val", "test"):
            here = dataset["split"].values == PARTS.index(part)
            entry: dict[str, Any] = {"row": run.label, "seed": run.seed, "le_weight": run.le_weight, "part": part}
            for flux in FLUXES:
                entry[f"rho_{flux}"] = np.nan
                if flux in dataset:
                    chosen = here & used(dataset, flux)
                    observed = np.asarray(dataset[f"{flux}_observed"].values, float)
                    pairs = scores_of_pairs(seen(dataset, flux)[chosen], observed[chosen])
                    entry[f"rho_{flux}"] = normalised_error(pairs["NSE"])
            rows.append(entry)
    return pd.DataFrame(rows, columns=["row", "seed", "le_weight", "part", "rho_LE", "rho_NEE"])


def hypervolume(rho: np.ndarray, reference: tuple[float, float]) -> float:
    """Area between the front of the points `[n, 2]` and a reference point, over `reference[0] * reference[1]`; 0 if no point is
    better than it in both.

    Smaller is better in both coordinates. A perfect model has 1.
    """
    moocore = require("moocore")
    finite = rho[np.isfinite(rho).all(axis=1)]
    inside = finite[(finite < np.asarray(reference)).all(axis=1)]
    area = float(moocore.hypervolume(inside, ref=np.asarray(reference))) if len(inside) else 0.0
    return area / (reference[0] * reference[1])


def front(rho: np.ndarray) -> np.ndarray:
    """Which points `[n, 2]` no other point beats in both coordinates, `[n]` bool; not those that are no numbers."""
    moocore = require("moocore")
    finite = np.isfinite(rho).all(axis=1)
    result = np.zeros(len(rho), dtype=bool)
    if finite.any():
        result[finite] = moocore.is_nondominated(rho[finite])
    return result


def knee(rho: np.ndarray) -> tuple[int, float]:
    """The point nearest to the ideal one (the best of each coordinate), and its distance.

    Raises:
        ValueError: no point is a number.
    """
    if not np.isfinite(rho).all(axis=1).any():
        raise ValueError("a knee needs at least one point with both errors.")
    distance = np.linalg.norm(rho - np.nanmin(np.where(np.isfinite(rho), rho, np.inf), axis=0), axis=1)
    i = int(np.nanargmin(distance))
    return i, float(distance[i])


def figures_of_merit(table: Frame) -> Frame:
    """A row for each `row, seed`: hypervolumes of validation and test part, what the validation part would choose, the knee.

    `chosen` are the weights that lie on the front of the validation part; `HV... test, chosen` is the hypervolume on the test
    part of these weights alone, which nothing seen on the test part has chosen. `knee` is the weight nearest to the ideal
    point on the validation part, with its errors on the test part.
    """
    rows = []
    for (row, seed), group in table.groupby(["row", "seed"], sort=False):
        by_part = {part: g.sort_values("le_weight").reset_index(drop=True) for part, g in group.groupby("part")}
        rho = {part: g[["rho_LE", "rho_NEE"]].to_numpy(float) for part, g in by_part.items()}
        weights = by_part["val"]["le_weight"].to_numpy(float)
        entry: dict[str, Any] = {"row": row, "seed": seed, "weights": len(weights)}
        on_front = front(rho["val"])
        for name, reference in REFERENCES.items():
            entry[f"{name} val"] = hypervolume(rho["val"], reference)
            entry[f"{name} test"] = hypervolume(rho["test"], reference)
            entry[f"{name} test, chosen"] = hypervolume(rho["test"][on_front], reference)
        entry["chosen"] = " ".join(f"{w:g}" for w in weights[on_front] if np.isfinite(w))
        if np.isfinite(rho["val"]).all(axis=1).any():
            i, distance = knee(rho["val"])
            entry |= {
                "knee": weights[i], "knee distance": distance, "rho_LE": rho["test"][i, 0], "rho_NEE": rho["test"][i, 1],
            }  # fmt: skip
        rows.append(entry)
    return pd.DataFrame(rows)


def matched(table: Frame, row: str, than: str, part: str = "test") -> dict[str, int]:
    """In how many weights and seeds that both have a row beats another: in `both` fluxes, `LE only`, `NEE only`, `neither`."""
    columns = ["rho_LE", "rho_NEE"]
    a, b = (
        table[(table["row"] == name) & (table["part"] == part)].set_index(["le_weight", "seed"])[columns].dropna()
        for name in (row, than)
    )
    common = a.index.intersection(b.index)
    better = (a.loc[common] < b.loc[common]).to_numpy()
    le, nee = better[:, 0], better[:, 1]
    counts = {"both": le & nee, "LE only": le & ~nee, "NEE only": nee & ~le, "neither": ~le & ~nee}
    return {name: int(which.sum()) for name, which in counts.items()}
