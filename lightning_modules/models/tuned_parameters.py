"""What training did to the process parameters: start, value, bounds, and which ended close to a bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from canveg_jax import PARAMETER_TABLE
from canveg_jax.transforms import LARGEST_SUM, OPTICAL_PAIRS

from .observation import HIGHEST_SHARE, LOWEST_SHARE, ObservationModel

NEAR = 0.01
"""A value is near a bound if closer than this share of its range."""


def parameter_table(
    start: Mapping[str, np.ndarray], values: Mapping[str, np.ndarray], site_names: Sequence[str] | None = None
) -> pd.DataFrame:
    """One row per tuned parameter (and site, where each has its own).

    Args:
        start, values: physical values by name, 0-d or `[site]`.
        site_names: given if values are per site.

    Returns:
        Columns `start, value, lower, upper, near_bound, unit, meaning`, indexed by `parameter` (and `site`).
        Reflectance and transmittance that are tuned together share a simplex: their bounds are 0 and what the partner
        leaves of 0.999.
    """
    rows = []
    for name in values:
        value, first = (np.atleast_1d(np.asarray(v, dtype=float)) for v in (values[name], start[name]))
        lower, upper = _range(name, values)
        share = (value - lower) / (upper - lower)
        near = (share < NEAR) | (share > 1.0 - NEAR)
        for i in range(len(value)):
            label = {} if site_names is None else {"site": site_names[i]}
            numbers = [float(np.broadcast_to(x, value.shape)[i]) for x in (first, value, lower, upper)]
            described = dict(zip(("start", "value", "lower", "upper"), numbers, strict=True))
            info = PARAMETER_TABLE[name]
            rows.append(
                {
                    "parameter": name,
                    **label,
                    **described,
                    "near_bound": bool(near[i]),
                    "unit": info.unit,
                    "meaning": info.meaning,
                }
            )
    index = ["parameter"] if site_names is None else ["parameter", "site"]
    columns = ["start", "value", "lower", "upper", "near_bound", "unit", "meaning"]
    return pd.DataFrame(rows, columns=[*index, *columns]).set_index(index)


def share_table(observation: ObservationModel, site_names: Sequence[str], by_site: bool) -> pd.DataFrame:
    """The learned shares of the turbulent fluxes in the form of `parameter_table`.

    Args:
        site_names: of the towers that the shares belong to.
        by_site: the index has the site as well; else its name is part of that of the parameter, where there are several.
    """
    rows, values = [], observation.shares().detach().cpu().numpy()
    span = HIGHEST_SHARE - LOWEST_SHARE
    for i, site in enumerate(site_names):
        for j, flux in enumerate(("",) if observation.config["factors"] == "one" else ("_of_LE", "_of_H")):
            value, slope = float(values[i, j]), float(observation.slope[i])
            name = f"observed_share{flux}" + ("" if by_site or len(site_names) == 1 else f" {site}")
            rows.append({
                "parameter": name, **({"site": site} if by_site else {}), "start": slope, "value": value,
                "lower": LOWEST_SHARE, "upper": HIGHEST_SHARE,
                "near_bound": min(value - LOWEST_SHARE, HIGHEST_SHARE - value) < NEAR * span, "unit": "1",
                "meaning": "observed share of the turbulent fluxes; the start is the slope of the energy balance",
            })  # fmt: skip
    return pd.DataFrame(rows).set_index(["parameter", "site"] if by_site else "parameter")


def joined_tables(table: pd.DataFrame, more: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """One table of several in the form of `parameter_table`; what knows no sites is of `all` where the first one has them."""
    sited = list(table.index.names) == ["parameter", "site"]
    parts = [table]
    for part in more:
        parts.append(
            pd.concat({"all": part}, names=["site"]).swaplevel() if sited and part.index.nlevels == 1 else part
        )
    filled = [part for part in parts if len(part)]
    return pd.concat(filled) if filled else table


def values_in_words(values: Mapping[str, np.ndarray]) -> str:
    """Such as `kball 8.17, vcopt 50 60`: one number, or that of each site."""
    return ", ".join(f"{name} {' '.join(f'{x:.4g}' for x in np.ravel(v).tolist())}" for name, v in values.items())


def _range(name: str, values: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    for pair in OPTICAL_PAIRS:
        if name in pair and all(member in values for member in pair):
            partner = np.atleast_1d(np.asarray(values[pair[1 - pair.index(name)]], dtype=float))
            return np.zeros_like(partner), LARGEST_SUM - partner
    info = PARAMETER_TABLE[name]
    return np.asarray(info.lower), np.asarray(info.upper)
