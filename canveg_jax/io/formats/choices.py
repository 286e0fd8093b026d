"""The choice among columns that would all do: by the share of half-hours in which they hold a number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from ..arrays import Series

AS_GOOD_AS = 0.95
"""A candidate with at least this share of the half-hours of the fullest one is taken before those that come after it."""

Reader = Callable[[Iterable[str | None]], Mapping[str, Series]]
"""Gives columns `[time]` by name."""


def shares(numbers: Reader, names: Iterable[str]) -> dict[str, float]:
    """The share of half-hours in which each column holds a number."""
    return {name: float(np.isfinite(v).mean()) if v.size else 0.0 for name, v in numbers(names).items()}


def choose_by_share(
    numbers: Reader, candidates: Mapping[str, Sequence[str]], as_good_as: float = AS_GOOD_AS
) -> dict[str, str]:
    """For each variable the candidate that holds numbers in most half-hours; of nearly equal ones the first.

    Candidates with at least the share `as_good_as` of the half-hours of the fullest count as equal. Variables without
    candidates are left out; if no candidate holds a number, the first one is taken.
    """
    chosen = {}
    for variable, names in candidates.items():
        if names:
            share = shares(numbers, names)
            enough = as_good_as * max(share.values())
            chosen[variable] = next(name for name in names if share[name] >= enough)
    return chosen


def text_of_choices(numbers: Reader, chosen: Mapping[str, str], candidates: Mapping[str, Sequence[str]]) -> list[str]:
    """What was chosen from what, one text for each variable: `latent_heat: LE_1_2_1 (100 %); not LE_1_1_1 (8 %)`."""
    texts = []
    for variable, name in chosen.items():
        share = shares(numbers, [name, *candidates.get(variable, ())])
        others = [f"{other} ({100 * part:.0f} %)" for other, part in share.items() if other != name]
        texts.append(
            f"{variable}: {name} ({100 * share[name]:.0f} %)" + (f"; not {', '.join(others)}" if others else "")
        )
    return texts
