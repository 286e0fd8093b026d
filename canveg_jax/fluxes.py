"""What the canopy returns per half-hour: names, units, CF standard names and signs, declared once.

`Fluxes` is the declaration; `FLUX_TABLE` is made from it, with the three numbers about the solver that every output carries.
"""

import dataclasses
from typing import Any, NamedTuple

import equinox as eqx

from .types import Column


class FluxInfo(NamedTuple):
    """What an output means.

    `cf_standard_name` is None where the CF table has no name whose canonical unit our unit converts to. NEE keeps
    umol m-2 s-1: CF asks for a unit *convertible* to the canonical one (mol m-2 s-1), not for that unit itself.
    """

    unit: str
    long_name: str
    cf_standard_name: str | None
    sign: str


def flux(unit: str, long_name: str, sign: str, cf_standard_name: str | None = None) -> Any:
    """Field of `Fluxes` with its `FluxInfo`."""
    return eqx.field(metadata={"info": FluxInfo(unit, long_name, cf_standard_name, sign)})


class Fluxes(eqx.Module):
    """Fluxes of each half-hour, `[time]`. W m-2 unless said otherwise; turbulent fluxes up, net radiation and `G` down.

    `NEE` is soil respiration minus net assimilation of all leaves (umol m-2 s-1, release positive), `GPP` assimilation
    plus leaf respiration, `nee_published` soil respiration minus `GPP`. `Rnet` is the radiation balance above the canopy;
    at the solution `Rnet = LE + H + G`.
    """

    LE: Column = flux("W m-2", "latent heat flux of canopy and soil", "positive up", "surface_upward_latent_heat_flux")
    H: Column = flux(
        "W m-2", "sensible heat flux of canopy and soil", "positive up", "surface_upward_sensible_heat_flux"
    )
    G: Column = flux("W m-2", "ground heat flux", "positive down", "downward_heat_flux_at_ground_level_in_soil")
    Rnet: Column = flux(
        "W m-2", "net radiation above the canopy", "positive down", "surface_net_downward_radiative_flux"
    )
    NEE: Column = flux(
        "umol m-2 s-1",
        "net ecosystem exchange of CO2 (soil respiration minus net assimilation)",
        "positive = release to the air",
        "surface_upward_mole_flux_of_carbon_dioxide",
    )
    GPP: Column = flux(
        "umol m-2 s-1", "gross primary production (net assimilation plus leaf respiration)", "positive = uptake"
    )
    nee_published: Column = flux(
        "umol m-2 s-1",
        "soil respiration minus GPP (leaf respiration not counted), as JAX-CanVeg defines NEE",
        "positive = release to the air",
    )
    soil_respiration: Column = flux("umol m-2 s-1", "soil respiration", "positive = release to the air")
    leaf_respiration: Column = flux(
        "umol m-2 s-1", "dark respiration of all leaves, per ground area", "positive = release to the air"
    )
    net_assimilation: Column = flux(
        "umol m-2 s-1", "net assimilation of all leaves, per ground area", "positive = uptake"
    )
    canopy_LE: Column = flux("W m-2", "latent heat flux of all leaves", "positive up")
    canopy_H: Column = flux("W m-2", "sensible heat flux of all leaves", "positive up")
    soil_LE: Column = flux("W m-2", "latent heat flux of the soil surface", "positive up")
    soil_H: Column = flux("W m-2", "sensible heat flux of the soil surface", "positive up")
    soil_surface_temperature: Column = flux("K", "temperature of the soil surface", "thermodynamic temperature")
    canopy_temperature: Column = flux("K", "mean leaf temperature", "thermodynamic temperature", "canopy_temperature")
    canopy_conductance: Column = flux(
        "mol m-2 s-1", "stomatal conductance to water vapour of all leaves, per ground area", "never negative"
    )
    shortwave_out: Column = flux(
        "W m-2",
        "outgoing short-wave radiation above the canopy",
        "positive up",
        "surface_upwelling_shortwave_flux_in_air",
    )
    longwave_out: Column = flux(
        "W m-2",
        "outgoing long-wave radiation above the canopy",
        "positive up",
        "surface_upwelling_longwave_flux_in_air",
    )
    longwave_in: Column = flux(
        "W m-2",
        "incoming long-wave radiation used by the model (measured or modelled)",
        "positive down",
        "surface_downwelling_longwave_flux_in_air",
    )
    zeta: Column = flux(
        "1", "stability parameter (z - d) / L of Monin and Obukhov", "positive = stable, negative = unstable"
    )


FLUX_TABLE: dict[str, FluxInfo] = {
    **{field.name: field.metadata["info"] for field in dataclasses.fields(Fluxes)},
    "passes": FluxInfo("1", "passes of the fixed-point solver", None, "count"),
    "residual": FluxInfo("W m-2", "largest energy residual of the solution", None, "never negative"),
    "converged": FluxInfo("1", "whether the solution met the tolerance", None, "flag: 0 no, 1 yes"),
    "reason": FluxInfo("1", "why a half-hour has no solution", None, "code of canveg_jax.REASONS: 0 solved"),
}
"""Output name -> unit, meaning, CF standard name, sign."""
