"""What networks have seen of their inputs, read back from the networks themselves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from canveg_jax.io.antecedents import antecedent_name
from canveg_jax.io.daily_weather import DAILY_DRIVERS

from .inputs import NETWORK_INPUTS
from .statistics import MeanSd


def scales_of(networks: Iterable[Any]) -> dict[str, MeanSd]:
    """Mean and standard deviation of each input by name; how many samples they are of is not known (0).

    Args:
        networks: with `inputs`, `input_mean` and `input_sd`, and perhaps a `memory` of days; others are passed over.
    """
    found: dict[str, MeanSd] = {}
    for network in networks:
        for i, name in enumerate(getattr(network, "inputs", ())):
            if name in NETWORK_INPUTS and hasattr(network, "input_mean"):
                found[name] = MeanSd(float(network.input_mean[i]), float(network.input_sd[i]), 0)
        if (memory := getattr(network, "memory", None)) is not None:
            for i, driver in enumerate(DAILY_DRIVERS):
                name = antecedent_name(driver, 1)
                found.setdefault(name, MeanSd(float(memory.driver_mean[i]), float(memory.driver_sd[i]), 0))
    return found
