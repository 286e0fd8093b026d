"""Names, units, CF standard names and signs of everything the canopy returns per half-hour."""

from typing import NamedTuple


class FluxInfo(NamedTuple):
    """What an output means.

    `cf_standard_name` is None where the CF table has no name whose canonical unit our unit converts to. NEE keeps
    umol m-2 s-1: CF asks for a unit *convertible* to the canonical one (mol m-2 s-1), not for that unit itself.
    """

    unit: str
    long_name: str
    cf_standard_name: str | None
    sign: str


FLUX_TABLE: dict[str, FluxInfo] = {
    "LE": FluxInfo(
        "W m-2", "latent heat flux of canopy and soil", "surface_upward_latent_heat_flux", "positive up"
    ),
    "H": FluxInfo(
        "W m-2", "sensible heat flux of canopy and soil", "surface_upward_sensible_heat_flux", "positive up"
    ),
    "G": FluxInfo(
        "W m-2", "ground heat flux", "downward_heat_flux_at_ground_level_in_soil", "positive down"
    ),
    "Rnet": FluxInfo(
        "W m-2", "net radiation above the canopy", "surface_net_downward_radiative_flux", "positive down"
    ),
    "NEE": FluxInfo(
        "umol m-2 s-1", "net ecosystem exchange of CO2 (soil respiration minus net assimilation)",
        "surface_upward_mole_flux_of_carbon_dioxide", "positive = release to the air",
    ),
    "nee_published": FluxInfo(
        "umol m-2 s-1", "soil respiration minus GPP (leaf respiration not counted), as JAX-CanVeg defines NEE",
        None, "positive = release to the air",
    ),
    "GPP": FluxInfo(
        "umol m-2 s-1", "gross primary production (net assimilation plus leaf respiration)", None, "positive = uptake"
    ),
    "soil_respiration": FluxInfo("umol m-2 s-1", "soil respiration", None, "positive = release to the air"),
    "leaf_respiration": FluxInfo(
        "umol m-2 s-1", "dark respiration of all leaves, per ground area", None, "positive = release to the air"
    ),
    "net_assimilation": FluxInfo(
        "umol m-2 s-1", "net assimilation of all leaves, per ground area", None, "positive = uptake"
    ),
    "canopy_LE": FluxInfo("W m-2", "latent heat flux of all leaves", None, "positive up"),
    "canopy_H": FluxInfo("W m-2", "sensible heat flux of all leaves", None, "positive up"),
    "soil_LE": FluxInfo("W m-2", "latent heat flux of the soil surface", None, "positive up"),
    "soil_H": FluxInfo("W m-2", "sensible heat flux of the soil surface", None, "positive up"),
    "soil_surface_temperature": FluxInfo("K", "temperature of the soil surface", None, "thermodynamic temperature"),
    "canopy_temperature": FluxInfo(
        "K", "mean leaf temperature", "canopy_temperature", "thermodynamic temperature"
    ),
    "canopy_conductance": FluxInfo(
        "mol m-2 s-1", "stomatal conductance to water vapour of all leaves, per ground area", None, "never negative"
    ),
    "shortwave_out": FluxInfo(
        "W m-2", "outgoing short-wave radiation above the canopy", "surface_upwelling_shortwave_flux_in_air",
        "positive up",
    ),
    "longwave_out": FluxInfo(
        "W m-2", "outgoing long-wave radiation above the canopy", "surface_upwelling_longwave_flux_in_air",
        "positive up",
    ),
    "longwave_in": FluxInfo(
        "W m-2", "incoming long-wave radiation used by the model (measured or modelled)",
        "surface_downwelling_longwave_flux_in_air", "positive down",
    ),
    "zeta": FluxInfo(
        "1", "stability parameter (z - d) / L of Monin and Obukhov", None, "positive = stable, negative = unstable"
    ),
    "passes": FluxInfo("1", "passes of the fixed-point solver", None, "count"),
    "residual": FluxInfo("W m-2", "largest energy residual of the solution", None, "never negative"),
    "converged": FluxInfo("1", "whether the solution met the tolerance", None, "flag: 0 no, 1 yes"),
}  # fmt: skip
"""Canonical output name -> unit, meaning, CF standard name, sign."""

TARGETS: dict[str, tuple[str, str]] = {
    "latent_heat": ("LE", "W m-2"),
    "sensible_heat": ("H", "W m-2"),
    "ground_heat": ("G", "W m-2"),
    "net_radiation": ("Rnet", "W m-2"),
    "nee": ("NEE", "umol m-2 s-1"),
}
"""Observed flux -> the output it is compared with, and their unit."""
