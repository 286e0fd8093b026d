"""A bucket of soil water: the daily water balance of the root zone, in JAX, differentiable to its capacity and drainage."""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from ...types import Scalar

CAPACITY = 150.0
"""mm of water between the wilting point and field capacity: a loam of three quarters of a metre."""

DRAINAGE = 10.0
"""mm a day out of a full bucket."""

CRITICAL_SHARE = 0.5
"""Share of the capacity below which water limits evaporation [Allen1998]."""

DRAINAGE_POWER = 4
MELT_PER_DEGREE = 3.0
"""mm of melt per day and degree above zero [Hock2003]."""

CYCLES = 20
DAYS_OF_A_YEAR = 365


class WaterBalance(NamedTuple):
    """Water of each day `[day]`, mm: what is stored at its end, and what came and went during it.

    `rain` fell as rain and `melt` came out of the snow, `evaporation` and `drainage` (with what overflowed) left. `start` is
    what soil and snow held at the beginning.
    """

    water: Float[Array, " day"]
    snow: Float[Array, " day"]
    rain: Float[Array, " day"]
    melt: Float[Array, " day"]
    evaporation: Float[Array, " day"]
    drainage: Float[Array, " day"]
    start: Float[Array, " store"]


class RootZone(eqx.Module):
    """The bucket: water `W` between 0 and the capacity `C`, both mm, day by day.

    Snow waits: precipitation of a day below 0 degC is stored and melts at 3 mm per day and degree above zero [Hock2003].
    Rain and melt come first; what exceeds the capacity overflows. Then evaporation takes
    `potential min(1, W / (0.5 C))` [Allen1998], and drainage `D (W / C)**4`; neither takes more than there is. So

    `precipitation = evaporation + drainage + change of water + change of snow`

    holds exactly for each day. The first year (the whole record, if it is shorter) is run through 20 times from a full bucket
    before the record begins, so that the start is that of a steady year.

    `JaxModule(RootZone())` of `bridges` is the same in PyTorch, with `capacity` and `drainage` as parameters.

    Args:
        capacity: `C`, mm, positive.
        drainage: `D`, mm a day, not negative.
    """

    capacity: Scalar
    drainage: Scalar

    def __init__(self, capacity: ArrayLike = CAPACITY, drainage: ArrayLike = DRAINAGE):
        self.capacity = jnp.asarray(capacity, dtype=float)
        self.drainage = jnp.asarray(drainage, dtype=float)

    def __call__(
        self,
        precipitation: Float[Array, " day"],
        potential_evaporation: Float[Array, " day"],
        air_temperature: Float[Array, " day"],
    ) -> WaterBalance:
        """The balance of every day.

        Args:
            precipitation: rain and snow, mm a day.
            potential_evaporation: mm a day.
            air_temperature: daily mean, degC.
        """
        days = jnp.stack([jnp.asarray(x) for x in (precipitation, potential_evaporation, air_temperature)], axis=1)
        first_year = days[:DAYS_OF_A_YEAR]

        def day(stored, weather):
            return self.day(stored, weather)

        def cycle(stored, _):
            return jax.lax.scan(day, stored, first_year)[0], None

        full = jnp.stack([self.capacity, jnp.zeros_like(self.capacity)]).astype(days.dtype)
        start, _ = jax.lax.scan(cycle, full, None, length=CYCLES)
        _, columns = jax.lax.scan(day, start, days)
        return WaterBalance(*columns.T, start=start)

    def day(self, stored: Float[Array, " store"], weather: Float[Array, " weather"]):
        """One day: water and snow at its end, and a row of the columns of `WaterBalance`."""
        (water, snow), (precipitation, potential, temperature) = stored, weather
        freezing = temperature < 0.0
        rain = jnp.where(freezing, 0.0, precipitation)
        snow = snow + precipitation - rain
        melt = jnp.minimum(snow, MELT_PER_DEGREE * jnp.maximum(temperature, 0.0))
        snow = snow - melt
        wetted = water + rain + melt
        overflow = jnp.maximum(wetted - self.capacity, 0.0)
        water = wetted - overflow
        supply = jnp.minimum(water / (CRITICAL_SHARE * self.capacity), 1.0)
        evaporation = jnp.minimum(potential * supply, water)
        drained = jnp.minimum(self.drainage * (water / self.capacity) ** DRAINAGE_POWER, water - evaporation)
        water = water - evaporation - drained
        return jnp.stack([water, snow]), jnp.stack([water, snow, rain, melt, evaporation, overflow + drained])


def soil_water_content(
    water: Float[ArrayLike, " day"], capacity: ArrayLike, dry: float = 0.12, wet: float = 0.32
) -> Float[Array, " day"]:
    """Volumetric soil water `[day]`, m3 m-3: from `dry` (the wilting point, an empty bucket) to `wet` (field capacity)."""
    return dry + (wet - dry) * jnp.asarray(water) / capacity


def at_half_hours(
    daily: Float[np.ndarray, " day"], start: float, day: Int[np.ndarray, " time"], share: Float[np.ndarray, " time"]
) -> Float[np.ndarray, " time"]:
    """Values `[time]` from those at the end of each day, on straight lines.

    Args:
        daily: at the end of each day.
        start: at the beginning of the first day.
        day: index of the day of each half-hour.
        share: how much of that day has passed at its middle, 0..1.
    """
    ends = np.concatenate(([start], daily))
    return ends[day] + share * (ends[day + 1] - ends[day])
