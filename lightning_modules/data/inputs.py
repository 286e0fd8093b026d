"""Inputs of networks and regressions: quantities of a half-hour, computed from its forcing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import torch

from canveg_jax import Site
from canveg_jax.io.antecedents import ANTECEDENTS, antecedent_name
from canveg_jax.io.daily_weather import DAILY, DAILY_DRIVERS
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
    "hour_sine": NetworkInput("1", lambda f: torch.sin(f["hour"] * (2.0 * math.pi / 24.0))),
    "hour_cosine": NetworkInput("1", lambda f: torch.cos(f["hour"] * (2.0 * math.pi / 24.0))),
    "season_sine": NetworkInput("1", lambda f: torch.sin(f["day_of_year"] * (2.0 * math.pi / 365.25))),
    "season_cosine": NetworkInput("1", lambda f: torch.cos(f["day_of_year"] * (2.0 * math.pi / 365.25))),
    **{name: NetworkInput(unit, lambda f, name=name: f[name]) for name, unit in ANTECEDENTS.items()},
}
"""Possible inputs; `direction`: +1 the stress factor rises with it, -1 it falls, 0 unknown. The past of a half-hour
(`canveg_jax.io.antecedents`) is there where the data carry it (`TowerDataset.history`)."""

DEFAULT_NETWORK_INPUTS = ("soil_water_content", "vapour_pressure_deficit", "air_temperature", "shortwave_in", "lai")

SLOW_DRIVERS = ("air_temperature", "shortwave_in", "vapour_pressure_deficit", "soil_water_content")

INPUT_GROUPS: dict[str, tuple[str, ...]] = {
    "environment": (*DEFAULT_NETWORK_INPUTS, "wind_speed"),
    "slow": (
        "lai", "soil_water_content", "soil_temperature",
        *(antecedent_name(driver, days) for driver in SLOW_DRIVERS for days in (7, 30)),
    ),
    "antecedents": tuple(name for name in ANTECEDENTS if not name.startswith("precipitation")),
    "rain": tuple(name for name in ANTECEDENTS if name.startswith("precipitation")),
    "calendar": ("hour_sine", "hour_cosine", "season_sine", "season_cosine"),
}  # fmt: skip
"""Names that stand for several inputs."""


def expanded(names: Iterable[str]) -> tuple[str, ...]:
    """The names with the members of `INPUT_GROUPS` in place of their group, each once."""
    return tuple(dict.fromkeys(member for name in names for member in INPUT_GROUPS.get(name, (name,))))


def check_inputs(
    names: Iterable[str], known: Iterable[str] = tuple(NETWORK_INPUTS), what: str = "network input"
) -> tuple[str, ...]:
    """The names as a tuple, members in place of their group; `what` they are, for the message.

    Raises:
        ValueError: an unknown name, one given twice, or none.
    """
    names = tuple(names)
    if any(name in INPUT_GROUPS for name in names):
        names = expanded(names)
    for name in names:
        if name not in known:
            raise ValueError(unknown(what, name, [*known, *INPUT_GROUPS]))
    if not names or len(set(names)) != len(names):
        raise ValueError(f"expected different inputs, at least one; got {list(names)}.")
    return names


def compute_inputs(forcing: Forcing, names: Sequence[str]) -> torch.Tensor:
    """The inputs `[time, input]`, in physical units.

    Raises:
        ValueError: a column that an input is computed from is not there.
    """
    columns = []
    for name in names:
        try:
            columns.append(NETWORK_INPUTS[name].compute(forcing))
        except KeyError as error:
            raise ValueError(
                f"network input '{name}' needs the column {error}, which these half-hours lack. Columns of the past come with a "
                "FluxTowerDataModule (those of rain where the file has precipitation); else compute them with "
                "canveg_jax.io.antecedents.with_antecedents, or leave the input out."
            ) from None
    return torch.stack(columns, dim=-1)


LARGEST_DEVIATION = 4.0
"""Standard deviations of the training part beyond which an input counts as just that far, so that a network that meets a
year outside of its experience answers as at the edge of it."""


def standardised(columns: torch.Tensor, mean: torch.Tensor, sd: torch.Tensor) -> torch.Tensor:
    """Inputs `[..., input]` minus mean, over standard deviation, within +-`LARGEST_DEVIATION`."""
    scaled = (columns - mean.to(columns.dtype)) / sd.to(columns.dtype)
    return scaled.clamp(-LARGEST_DEVIATION, LARGEST_DEVIATION)


LEAF_AREAS = ("lai", *(name for name in ANTECEDENTS if name.startswith("lai_")))


def with_scaled_lai(forcing: Forcing, site: torch.Tensor | None, sites: Sequence[Site]) -> dict[str, torch.Tensor]:
    """The forcing with the LAI that the canopy uses (`lai * Site.lai_scale`), one quantity at all sites; its past likewise."""
    scales = [s.lai_scale for s in sites]
    lai = forcing["lai"]
    if all(scale == scales[0] for scale in scales):
        factor: torch.Tensor | float = scales[0]
    elif site is None:
        raise ValueError(f"several sites ({', '.join(s.name for s in sites)}): the half-hours need a site index.")
    else:
        factor = lai.new_tensor(scales)[site]
    scaled = {name: forcing[name] * factor for name in LEAF_AREAS if name in forcing}
    if DAILY in forcing:
        scaled[DAILY] = forcing[DAILY].clone()
        scaled[DAILY][..., DAILY_DRIVERS.index("lai")] *= (
            factor[:, None] if isinstance(factor, torch.Tensor) else factor
        )
    return {**forcing, **scaled}
