"""Scalar parameters of the canopy: names, defaults, units, bounds and meaning.

`PARAMETER_TABLE` is the single place where a parameter is defined; `Parameters` is the pytree that the physics reads.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp


class ParameterInfo(NamedTuple):
    """Definition of one scalar parameter. `lower` and `upper` bound it in training (smooth transform, never a clip)."""

    default: float
    lower: float
    upper: float
    unit: str
    meaning: str
    tunable: bool = False


_P = ParameterInfo

PARAMETER_TABLE: dict[str, ParameterInfo] = {
    # --- canopy structure and optics
    "leaf_clumping_factor": _P(0.95, 0.3, 1.0, "1", "Markov clumping of leaves, all layers", True),
    "par_reflect": _P(0.05, 0.01, 0.3, "1", "leaf reflectance, PAR", True),
    "par_trans": _P(0.05, 0.005, 0.3, "1", "leaf transmittance, PAR", True),
    "par_soil_refl": _P(0.05, 0.01, 0.5, "1", "soil reflectance, PAR", True),
    "nir_reflect": _P(0.60, 0.1, 0.8, "1", "leaf reflectance, near infrared", True),
    "nir_trans": _P(0.20, 0.05, 0.5, "1", "leaf transmittance, near infrared", True),
    "nir_soil_refl": _P(0.10, 0.03, 0.6, "1", "soil reflectance, near infrared", True),
    "ep": _P(0.98, 0.90, 0.995, "1", "leaf emissivity", True),
    "epsoil": _P(0.98, 0.90, 0.995, "1", "soil emissivity", True),
    # --- photosynthesis and stomata
    "vcopt": _P(171.0, 5.0, 300.0, "umol m-2 s-1", "carboxylation capacity at its optimum temperature", True),
    "jmopt": _P(259.0, 10.0, 600.0, "umol m-2 s-1", "electron transport capacity at its optimum temperature", True),
    "toptvc": _P(303.0, 288.0, 318.0, "K", "optimum temperature of carboxylation", True),
    "toptjm": _P(303.0, 288.0, 318.0, "K", "optimum temperature of electron transport", True),
    "kball": _P(8.17, 2.0, 20.0, "1", "Ball-Berry slope", True),
    "bprime": _P(0.05, 1e-3, 0.5, "mol m-2 s-1", "Ball-Berry intercept, water vapour", True),
    "qalpha": _P(0.22, 0.05, 0.5, "mol mol-1", "electrons per absorbed photon at low light", True),
    "lleaf": _P(0.04, 0.005, 0.1, "m", "leaf length", True),
    "hkin": _P(200000.0, 150000.0, 250000.0, "J mol-1", "deactivation energy of both capacities"),
    "ejm": _P(55000.0, 30000.0, 90000.0, "J mol-1", "activation energy of electron transport"),
    "evc": _P(55000.0, 30000.0, 90000.0, "J mol-1", "activation energy of carboxylation"),
    "kc25": _P(274.6, 100.0, 600.0, "umol mol-1", "Michaelis constant for CO2 at tk_25"),
    "ko25": _P(419.8, 150.0, 700.0, "mbar", "Michaelis constant for O2 (no temperature response)"),
    "o2": _P(210.0, 150.0, 250.0, "mmol mol-1", "oxygen"),
    "ekc": _P(80500.0, 50000.0, 110000.0, "J mol-1", "activation energy of kc25"),
    "erd": _P(38000.0, 20000.0, 70000.0, "J mol-1", "activation energy of dark respiration"),
    "tk_25": _P(298.16, 298.0, 298.3, "K", "reference temperature of the Arrhenius functions"),
    "dark_respiration_ratio": _P(0.004657, 0.001, 0.03, "1", "dark respiration at tk_25 per unit vcopt"),
    "light_inhibition": _P(0.6, 0.0, 1.0, "1", "share of dark respiration suppressed in light"),
    "light_inhibition_par": _P(10.0, 2.0, 50.0, "umol m-2 s-1", "absorbed PAR at half suppression"),
    "light_inhibition_width": _P(2.0, 0.5, 10.0, "umol m-2 s-1", "width of the logistic of suppression"),
    # --- boundary layer and wind
    "betfac": _P(1.5, 1.0, 3.0, "1", "enhancement of forced convection by canopy turbulence"),
    "nuvisc": _P(13.27, 13.0, 13.5, "mm2 s-1", "kinematic viscosity at 273.16 K, 101.3 kPa"),
    "dc": _P(13.81, 13.0, 14.5, "mm2 s-1", "diffusivity of CO2, same conditions"),
    "dh": _P(18.69, 18.0, 20.0, "mm2 s-1", "diffusivity of heat, same conditions"),
    "dv": _P(21.78, 21.0, 23.0, "mm2 s-1", "diffusivity of water vapour, same conditions"),
    "wind_extinction": _P(2.0, 0.5, 5.0, "1", "exponent of the wind profile in the canopy"),
    "wind_floor": _P(0.75, 0.1, 1.5, "m s-1", "smallest wind speed used"),
    "friction_velocity_floor": _P(0.1, 0.02, 0.3, "m s-1", "smallest friction velocity used"),
    # --- soil
    "porosity": _P(0.60, 0.3, 0.9, "1", "pore volume of the soil"),
    "organic_fraction": _P(0.08, 0.0, 0.3, "1", "organic volume of the soil; the mineral one is the rest"),
    "mineral_conductivity": _P(2.5, 1.0, 8.0, "W m-1 K-1", "thermal conductivity of minerals"),
    "water_conductivity": _P(0.25, 0.2, 0.7, "W m-1 K-1", "thermal conductivity of water, as published (true 0.57)"),
    "organic_conductivity": _P(0.8, 0.1, 1.5, "W m-1 K-1", "thermal conductivity in the weight of organic matter"),
    "organic_conductivity_sum": _P(2.5, 0.1, 3.0, "W m-1 K-1", "conductivity of organic matter in the weighted sum"),
    "surface_moisture_ratio": _P(0.1, 0.02, 1.0, "1", "moisture of the evaporating surface per measured moisture"),
    "soil_roughness": _P(0.02, 0.001, 0.05, "m", "roughness length of the soil surface"),
    "soil_resistance_min": _P(25.0, 5.0, 60.0, "s m-1", "smallest aerodynamic resistance over the soil"),
    "soil_resistance_max": _P(1000.0, 300.0, 5000.0, "s m-1", "largest aerodynamic resistance over the soil"),
    "respiration_depth_fraction": _P(1022.0 / 2046.0, 0.05, 1.0, "1", "depth of the respiring soil / soil depth"),
    "q10a": _P(5.0, 0.1, 40.0, "umol m-2 s-1", "soil respiration at 10 degC and unit moisture", True),
    "q10b": _P(1.7, 1.0, 4.0, "1", "Q10 of soil respiration", True),
    "q10c": _P(0.8, 0.05, 2.0, "1", "moisture exponent of soil respiration", True),
    "wilting_point": _P(0.05, 0.005, 0.2, "m3 m-3", "soil moisture of closed stomata (soil-moisture stress)", False),
    "field_capacity": _P(0.2, 0.1, 0.5, "m3 m-3", "upper moisture of the soil-moisture stress", False),
    # --- stress schemes (`canveg_jax.stress`)
    "feddes_critical_moisture": _P(0.15, 0.02, 0.5, "m3 m-3", "soil moisture below which stress begins (Feddes)"),
    "feddes_wet_moisture": _P(0.50, 0.2, 0.85, "m3 m-3", "soil moisture above which roots lack air (Feddes)"),
    "jarvis_deficit": _P(3.0, 0.2, 20.0, "kPa", "vapour pressure deficit that halves the factor (Jarvis)"),
    "jarvis_optimum_temperature": _P(25.0, 5.0, 45.0, "degC", "air temperature of no stress (Jarvis)"),
    "jarvis_temperature_range": _P(30.0, 5.0, 80.0, "K", "from the optimum to closed stomata (Jarvis)"),
    # --- other stomatal conductance schemes (`canveg_jax.physics.conductance`)
    "medlyn_slope": _P(4.0, 0.5, 15.0, "kPa0.5", "slope g1 of the Medlyn conductance"),
    "leuning_slope": _P(9.0, 2.0, 30.0, "1", "slope a1 of the Leuning conductance"),
    "leuning_deficit": _P(1.5, 0.2, 10.0, "kPa", "deficit scale D0 of the Leuning conductance"),
    # --- air
    "stability_unstable": _P(0.7182, 0.2, 3.0, "1", "constant a of psi = a / (a - zeta), unstable air"),
    "stability_stable": _P(0.0, -2.0, 1.0, "1", "constant b of psi = 1 - b zeta, stable air (published 0.31)"),
}

TUNABLE: tuple[str, ...] = tuple(name for name, info in PARAMETER_TABLE.items() if info.tunable)
"""The twenty process parameters of the published training set-up that act on the model (its `rd25` does not)."""


class UnknownParameterError(KeyError):
    """A parameter name that does not exist; the message suggests the nearest one."""

    def __init__(self, name: str):
        near = difflib.get_close_matches(name, PARAMETER_TABLE, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        super().__init__(f"unknown parameter '{name}'.{hint} See canveg_jax.PARAMETER_TABLE.")

    def __str__(self) -> str:
        return self.args[0]


class Parameters(eqx.Module):
    """Values of all scalar parameters: a pytree of 0-d arrays (or `[time]` arrays for per-half-hour parameters).

    `Parameters(kball=9.0)` starts from the defaults of `PARAMETER_TABLE`; `replace` returns a changed copy.

    Raises:
        UnknownParameterError: a name is not in `PARAMETER_TABLE`.
    """

    values: dict[str, Any]

    def __init__(self, **values: Any):
        for name in values:
            if name not in PARAMETER_TABLE:
                raise UnknownParameterError(name)
        self.values = {name: jnp.asarray(values.get(name, info.default)) for name, info in PARAMETER_TABLE.items()}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "values":
            raise AttributeError(name)
        try:
            return self.values[name]
        except KeyError:
            raise AttributeError(str(UnknownParameterError(name))) from None

    def replace(self, changes: Mapping[str, Any]) -> Parameters:
        """A copy with the values of `changes`; raises `UnknownParameterError` for an unknown name."""
        for name in changes:
            if name not in PARAMETER_TABLE:
                raise UnknownParameterError(name)
        return Parameters(**{**self.values, **changes})
