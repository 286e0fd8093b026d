"""A bucket of soil water that dries by evaporative demand, and leaf area that follows water and warmth."""

from __future__ import annotations

import numpy as np

from ..io.arrays import Series

ROOT_DEPTH = 500.0
"""mm of soil in the bucket."""

RESIDUAL_WATER = 0.04
POROSITY = 0.45
SMALLEST_LAI = 0.1
LEAF_MEMORY_DAYS = 25.0


def evaporative_demand(air_temperature: Series, shortwave_in: Series, hours: float) -> Series:
    """Potential evaporation `[time]`, mm per step [Priestley1972], net radiation taken as `0.75 Rg - 40` W m-2.

    Args:
        air_temperature: `[time]`, degC.
        shortwave_in: `[time]`, W m-2.
        hours: length of a step.
    """
    slope = (
        4098.0 * 0.6108 * np.exp(17.27 * air_temperature / (air_temperature + 237.3)) / (air_temperature + 237.3) ** 2
    )
    net = np.maximum(0.75 * shortwave_in - 40.0, 0.0)
    return 1.26 * slope / (slope + 0.066) * net * 3600.0 * hours / 2.45e6


def soil_water_and_leaf_area(
    demand: Series, rain: Series, warmth: Series, steps_per_day: int, aridity: float
) -> tuple[Series, Series]:
    """Volumetric soil water (m3 m-3) and leaf area index (m2 m-2), `[time]`.

    Evaporation is demand times vegetation cover times a linear water factor; water above field capacity drains within
    days. Leaf area relaxes within weeks to a maximum (5 for humid, 1 for arid) times a water and a warmth factor. The
    record is run through once before, so that its start does not matter much.

    Args:
        demand: `[time]`, mm per step.
        rain: `[time]`, mm per step.
        warmth: `[time]`, temperature of the last days, degC.
        steps_per_day: intervals in a day.
        aridity: 0 humid .. 1 arid.
    """
    capacity = 0.32 - 0.08 * aridity
    largest = 5.0 - 4.0 * aridity
    budding = 1.0 / (1.0 + np.exp(-(warmth - 6.0) / 2.5))
    leaf_weight = 1.0 - np.exp(-1.0 / (LEAF_MEMORY_DAYS * steps_per_day))
    drainage = 1.0 - np.exp(-1.0 / (2.0 * steps_per_day))
    water, leaves = RESIDUAL_WATER + 0.5 * (capacity - RESIDUAL_WATER), 0.5 * largest
    waters, leaf_areas = np.empty(len(rain)), np.empty(len(rain))
    columns = [column.tolist() for column in (demand, rain, budding)]
    for _ in range(2):
        for i, (need, wetting, bud) in enumerate(zip(*columns, strict=True)):
            available = min(max((water - RESIDUAL_WATER) / (capacity - RESIDUAL_WATER), 0.0), 1.0)
            cover = 0.15 + 0.85 * leaves / (leaves + 1.0)
            water += (wetting - need * cover * min(1.6 * available, 1.0)) / ROOT_DEPTH
            water -= drainage * max(water - capacity, 0.0)
            water = min(max(water, RESIDUAL_WATER), POROSITY)
            leaves += leaf_weight * (largest * bud * min(1.5 * available, 1.0) - leaves)
            leaves = max(leaves, SMALLEST_LAI)
            waters[i], leaf_areas[i] = water, leaves
    return waters, leaf_areas
