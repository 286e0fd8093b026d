"""Inputs of networks and regressions: quantities of a half-hour, computed from its forcing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import torch

from canveg_jax import Site
from canveg_jax.physics.saturation import saturation_vapour_pressure_hpa
from canveg_jax.spelling import unknown

Forcing = Mapping[str, torch.Tensor]


class NetworkInput(NamedTuple):
    """Unit, how to compute it `[time]` from the forcing, and the sign of its effect on the stress factor where known."""

    unit: str
    compute: Callable[[Forcing], torch.Tensor]
    direction: int = 0


def saturation_vapour_pressure(air_temperature: torch.Tensor) -> torch.Tensor:
    """Saturation vapour pressure of the model, kPa, of a temperature in degC (any shape)."""
    return 0.1 * saturation_vapour_pressure_hpa(air_temperature + 273.15, exp=torch.exp, log=torch.log)


def vapour_pressure_deficit(forcing: Forcing) -> torch.Tensor:
    """Vapour pressure deficit of the air, kPa, not below 0."""
    return (saturation_vapour_pressure(forcing["air_temperature"]) - forcing["vapour_pressure"]).clamp(min=0.0)


NETWORK_INPUTS: dict[str, NetworkInput] = {
    "soil_water_content": NetworkInput("m3 m-3", lambda f: f["soil_water_content"], +1),
    "vapour_pressure_deficit": NetworkInput("kPa", vapour_pressure_deficit, -1),
    "air_temperature": NetworkInput("degC", lambda f: f["air_temperature"]),
    "shortwave_in": NetworkInput("W m-2", lambda f: f["shortwave_in"].clamp(min=0.0)),
    "lai": NetworkInput("m2 m-2", lambda f: f["lai"]),
    "soil_temperature": NetworkInput("degC", lambda f: f["soil_temperature"]),
    "wind_speed": NetworkInput("m s-1", lambda f: f["wind_speed"]),
    "co2": NetworkInput("umol mol-1", lambda f: f["co2"]),
    "vapour_pressure": NetworkInput("kPa", lambda f: f["vapour_pressure"]),
    "pressure": NetworkInput("kPa", lambda f: f["pressure"]),
    "friction_velocity": NetworkInput("m s-1", lambda f: f["friction_velocity"]),
}
"""Possible inputs; `direction`: +1 the stress factor rises with it, -1 it falls, 0 unknown."""

DEFAULT_NETWORK_INPUTS = ("soil_water_content", "vapour_pressure_deficit", "air_temperature", "shortwave_in", "lai")


def check_inputs(
    names: Iterable[str], known: Iterable[str] = tuple(NETWORK_INPUTS), what: str = "network input"
) -> tuple[str, ...]:
    """The names as a tuple; `what` they are, for the message.

    Raises:
        ValueError: an unknown name, one given twice, or none.
    """
    names = tuple(names)
    for name in names:
        if name not in known:
            raise ValueError(unknown(what, name, known))
    if not names or len(set(names)) != len(names):
        raise ValueError(f"expected different inputs, at least one; got {list(names)}.")
    return names


def compute_inputs(forcing: Forcing, names: Sequence[str]) -> torch.Tensor:
    """The inputs `[time, input]`, in physical units."""
    return torch.stack([NETWORK_INPUTS[name].compute(forcing) for name in names], dim=-1)


def with_scaled_lai(forcing: Forcing, site: torch.Tensor | None, sites: Sequence[Site]) -> dict[str, torch.Tensor]:
    """The forcing with the LAI that the canopy uses (`lai * Site.lai_scale`), one quantity at all sites."""
    scales = [s.lai_scale for s in sites]
    lai = forcing["lai"]
    if all(scale == scales[0] for scale in scales):
        factor: torch.Tensor | float = scales[0]
    elif site is None:
        raise ValueError(f"several sites ({', '.join(s.name for s in sites)}): the half-hours need a site index.")
    else:
        factor = lai.new_tensor(scales)[site]
    return {**forcing, "lai": lai * factor}
