"""Observed fluxes that a model is trained on or compared with, and the model output each belongs to."""

from __future__ import annotations

from collections.abc import Iterable

from canveg_jax.io import TARGET_TABLE
from canveg_jax.spelling import unknown

FLUX_OF_TARGET: dict[str, str] = {name: info.flux for name, info in TARGET_TABLE.items()}
"""Observed flux (`latent_heat`) -> the model output it is compared with (`LE`)."""

DEFAULT_TARGETS: tuple[str, ...] = ("latent_heat", "nee", "sensible_heat", "net_radiation", "ground_heat")
"""Fluxes that are scored; which of them are fitted is a matter of the loss weights."""


def check_targets(names: Iterable[str]) -> tuple[str, ...]:
    """The names as a tuple.

    Raises:
        ValueError: a name is not an observed flux, or there is none.
    """
    names = tuple(names)
    for name in names:
        if name not in TARGET_TABLE:
            raise ValueError(unknown("observed flux", name, TARGET_TABLE))
    if not names:
        raise ValueError(f"expected at least one target of {', '.join(TARGET_TABLE)}; got none.")
    return names
