"""A synthetic tower: invented weather, fluxes of a model under a known stress, noise and gaps of observation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from ..fluxes import FLUX_TABLE
from ..io.arrays import Mask, Series
from ..io.humidity import vapour_pressure_deficit
from ..io.tower_dataset import TARGET_TABLE, Target, target_variables
from ..site import Site
from .observation_errors import TURBULENT, gap_mask, laplace_noise, random_error
from .stress import known_stress
from .weather import PER_DAY, random_streams, synthetic_weather

REQUIRED = ("LE", "H", "G", "Rnet", "NEE")
FluxModel = Callable[[xr.Dataset, Series], Mapping[str, Any]]
"""`flux_model(weather, stress)`: outputs `[time]` by name, in the units of `FLUX_TABLE`; `stress` is `[time]`, in (0, 1]."""


def synthetic_tower(
    site: Site,
    days: int,
    seed: int,
    flux_model: FluxModel,
    noise: bool = True,
    gaps: bool = True,
    *,
    aridity: float | None = None,
    start: str = "2019-01-01",
    stress: Callable[[Any, Any], Any] = known_stress,
) -> xr.Dataset:
    """A tower whose stress and noise-free fluxes are known.

    Weather, noise and gaps come from independent random streams of one seed: without noise or gaps the rest stays the
    same.

    Args:
        site, days, seed, aridity, start: see `synthetic_weather`.
        flux_model: `flux_model(weather, stress)` -> mapping with `LE, H, G, Rnet, NEE` and, if it has them,
            outputs of other targets and the boolean `converged` (half-hours that did not converge count as not measured);
            arrays `[time]` in the units of `FLUX_TABLE`. `stress` is `[time]`, in (0, 1]; a model with a stress of its own leaves
            it alone and returns the factor that it used, as `stress`.
        noise: add the double-exponential errors of `NOISE`.
        gaps: lose samples, more at night (`gap_mask`).
        stress: `stress(soil_water_content, vapour_pressure_deficit)`; default `known_stress`.

    Returns:
        The weather, and for each target the observation (NaN where not measured), `<target>_measured`, `<target>_true`,
        `<target>_sigma` (standard deviation of its noise, where there is noise); `stress_true`; `canopy_conductance_true`, if the
        flux model has it.

    Raises:
        ValueError: the flux model left out a flux, or returned one that is not a finite number for each half-hour.
    """
    tower = synthetic_weather(site, days, seed, aridity, start=start)
    _, noise_stream, gap_stream = random_streams(seed)
    size = tower.sizes["time"]
    factor = np.asarray(stress(tower["soil_water_content"].values, vapour_pressure_deficit(tower).values), dtype=float)
    stress_attrs = {"units": "1", "long_name": "stomatal stress that made the fluxes"}
    fluxes = flux_model(tower, factor)
    solved = np.asarray(fluxes.get("converged", np.ones(size, dtype=bool)), dtype=bool)
    night = tower["shortwave_in"].values <= 0.0
    lost = gap_mask(gap_stream, night, tower["friction_velocity"].values, PER_DAY)

    used = np.where(solved, np.asarray(fluxes.get("stress", factor), dtype=float), np.nan)
    variables: dict[str, Any] = {"stress_true": ("time", used, stress_attrs)}
    if (conductance := _truth(fluxes, "canopy_conductance", solved, size)) is not None:
        attrs = {
            "units": FLUX_TABLE["canopy_conductance"].unit,
            "long_name": "stomatal conductance of all leaves: truth",
        }
        variables["canopy_conductance_true"] = ("time", conductance, attrs)
    for name, info in TARGET_TABLE.items():
        truth = _truth(fluxes, info.flux, solved, size)
        if truth is None:
            variables |= target_variables(name, None, size)
            continue
        sigma = random_error(name, truth)
        error = laplace_noise(noise_stream, sigma)
        measured = measured_samples(name, solved, lost if gaps else None)
        observed = np.where(measured, truth + (error if noise else 0.0), np.nan)
        target = Target(values=observed, measured=measured, source="synthetic", sigma=sigma if noise else None)
        attrs = {"units": info.unit, "long_name": f"{info.long_name}: truth, without noise", "sign": info.sign}
        variables |= target_variables(name, target, size) | {f"{name}_true": ("time", truth, attrs)}
    return tower.assign(variables)


def measured_samples(target: str, solved: Mask, lost: Mapping[str, Mask] | None) -> Mask:
    """Which samples of a target are observed: those that were solved and not lost.

    Args:
        target: name from `TARGET_TABLE`.
        solved: boolean `[time]`.
        lost: boolean `[time]` by cause, as `gap_mask` makes them; None: nothing is lost.

    Returns:
        Boolean `[time]`.
    """
    return solved if lost is None else solved & ~lost["turbulence" if target in TURBULENT else "power"]


def _truth(fluxes: Mapping[str, Any], name: str, solved: Mask, size: int) -> Series | None:
    """One output of the flux model, checked; None where it has no such output and need not have it."""
    if name not in fluxes:
        if name in REQUIRED:
            raise ValueError(
                f"flux_model returned no '{name}'; expected {', '.join(REQUIRED)}, got {', '.join(fluxes)}."
            )
        return None
    values = np.asarray(fluxes[name], dtype=np.float64)
    if values.shape != (size,):
        raise ValueError(f"flux_model: '{name}' has shape {values.shape}; expected ({size},), one value per half-hour.")
    bad = np.flatnonzero(~np.isfinite(values) & solved)
    if bad.size:
        raise ValueError(
            f"flux_model: '{name}' is not finite in {bad.size} half-hour(s), first {bad[0]}. Return "
            "'converged' false there."
        )
    return values
