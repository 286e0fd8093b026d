"""How often the inputs of networks are beyond what the training part has shown, where networks answer as at the edge of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from canveg_jax import Site

from .dataset import TowerDataset
from .inputs import LARGEST_DEVIATION, NETWORK_INPUTS, with_scaled_lai
from .statistics import ScalingStatistics

MENTIONED = 0.005
"""Shares of half-hours below this are not mentioned."""


def shares_beyond(
    part: TowerDataset, statistics: ScalingStatistics, names: Iterable[str], sites: Sequence[Site]
) -> dict[str, float]:
    """Share of the half-hours in which an input is more than `LARGEST_DEVIATION` standard deviations from its mean.

    Args:
        part: of the data.
        statistics: of the training part.
        names: of `NETWORK_INPUTS`.
        sites: in index order.
    """
    columns = {name: column.double() for name, column in (part.forcing | part.history).items()}
    columns = with_scaled_lai(columns, part.site, sites)
    shares = {}
    for name in dict.fromkeys(names):
        scale = statistics.inputs[name]
        distance = (NETWORK_INPUTS[name].compute(columns) - scale.mean).abs()
        shares[name] = float((distance > LARGEST_DEVIATION * (scale.sd or 1.0)).double().mean())
    return shares


def extrapolation_text(shares: Mapping[str, Mapping[str, float]]) -> str:
    """Words on the inputs that are often beyond, by part; empty if none is.

    Args:
        shares: of `shares_beyond`, by part.
    """
    lines = []
    for part, by_name in shares.items():
        worst = sorted(by_name.items(), key=lambda item: -item[1])
        often = [f"{name} {100.0 * share:.1f} %" for name, share in worst if share >= MENTIONED]
        if often:
            lines.append(f"{part}: {', '.join(often)}")
    if not lines:
        return ""
    return (
        f"half-hours whose inputs are more than {LARGEST_DEVIATION:g} standard deviations from the mean of the training part "
        "(networks answer as at that distance): " + "; ".join(lines)
    )
