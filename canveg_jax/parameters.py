"""Scalar parameters of the canopy: names, defaults, units, bounds and meaning, declared once.

`Parameters` is the declaration and the pytree that the physics reads; `PARAMETER_TABLE` and `TUNABLE` are made from it.
"""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .spelling import unknown

Value = Float[Array, "..."]
"""A parameter: one number, or one per half-hour, `[time]`."""


class ParameterInfo(NamedTuple):
    """Definition of one scalar parameter. `lower` and `upper` bound it in training (smooth transform, never a clip)."""

    default: float
    lower: float
    upper: float
    unit: str
    meaning: str
    tunable: bool = False


class UnknownParameterError(KeyError):
    """A parameter name that does not exist; the message suggests the nearest one."""

    def __init__(self, name: str):
        super().__init__(unknown("parameter", name, PARAMETER_TABLE, listed_in="canveg_jax.PARAMETER_TABLE"))

    def __str__(self) -> str:
        return self.args[0]


def parameter(default: float, lower: float, upper: float, unit: str, meaning: str, *, tunable: bool = False) -> Any:
    """Field of `Parameters` with its `ParameterInfo`."""
    return eqx.field(metadata={"info": ParameterInfo(default, lower, upper, unit, meaning, tunable)})


class Parameters(eqx.Module):
    """Values of all scalar parameters: a pytree of 0-d arrays (or `[time]` arrays for per-half-hour parameters).

    `Parameters(kball=9.0)` starts from the defaults; `replace` returns a changed copy. Each field is declared with default,
    lower and upper bound in training, unit and meaning; `tunable` marks the twenty that are trained by default.

    Raises:
        UnknownParameterError: a name is not a field (listed in `PARAMETER_TABLE`).
    """

    # --- canopy structure and optics
    leaf_clumping_factor: Value = parameter(0.95, 0.3, 1.0, "1", "Markov clumping of leaves, all layers", tunable=True)
    par_reflect: Value = parameter(0.05, 0.01, 0.3, "1", "leaf reflectance, PAR", tunable=True)
    par_trans: Value = parameter(0.05, 0.005, 0.3, "1", "leaf transmittance, PAR", tunable=True)
    par_soil_refl: Value = parameter(0.05, 0.01, 0.5, "1", "soil reflectance, PAR", tunable=True)
    nir_reflect: Value = parameter(0.60, 0.1, 0.8, "1", "leaf reflectance, near infrared", tunable=True)
    nir_trans: Value = parameter(0.20, 0.05, 0.5, "1", "leaf transmittance, near infrared", tunable=True)
    nir_soil_refl: Value = parameter(0.10, 0.03, 0.6, "1", "soil reflectance, near infrared", tunable=True)
    ep: Value = parameter(0.98, 0.90, 0.995, "1", "leaf emissivity", tunable=True)
    epsoil: Value = parameter(0.98, 0.90, 0.995, "1", "soil emissivity", tunable=True)
    # --- photosynthesis and stomata
    vcopt: Value = parameter(
        171.0, 5.0, 300.0, "umol m-2 s-1", "carboxylation capacity at its optimum temperature", tunable=True
    )
    jmopt: Value = parameter(
        259.0, 10.0, 600.0, "umol m-2 s-1", "electron transport capacity at its optimum temperature", tunable=True
    )
    toptvc: Value = parameter(303.0, 288.0, 318.0, "K", "optimum temperature of carboxylation", tunable=True)
    toptjm: Value = parameter(303.0, 288.0, 318.0, "K", "optimum temperature of electron transport", tunable=True)
    kball: Value = parameter(8.17, 2.0, 20.0, "1", "Ball-Berry slope", tunable=True)
    bprime: Value = parameter(0.05, 1e-3, 0.5, "mol m-2 s-1", "Ball-Berry intercept, water vapour", tunable=True)
    qalpha: Value = parameter(0.22, 0.05, 0.5, "mol mol-1", "electrons per absorbed photon at low light", tunable=True)
    lleaf: Value = parameter(0.04, 0.005, 0.1, "m", "leaf length", tunable=True)
    hkin: Value = parameter(200000.0, 150000.0, 250000.0, "J mol-1", "deactivation energy of both capacities")
    ejm: Value = parameter(55000.0, 30000.0, 90000.0, "J mol-1", "activation energy of electron transport")
    evc: Value = parameter(55000.0, 30000.0, 90000.0, "J mol-1", "activation energy of carboxylation")
    kc25: Value = parameter(274.6, 100.0, 600.0, "umol mol-1", "Michaelis constant for CO2 at tk_25")
    ko25: Value = parameter(419.8, 150.0, 700.0, "mbar", "Michaelis constant for O2 (no temperature response)")
    o2: Value = parameter(210.0, 150.0, 250.0, "mmol mol-1", "oxygen")
    ekc: Value = parameter(80500.0, 50000.0, 110000.0, "J mol-1", "activation energy of kc25")
    erd: Value = parameter(38000.0, 20000.0, 70000.0, "J mol-1", "activation energy of dark respiration")
    tk_25: Value = parameter(298.16, 298.0, 298.3, "K", "reference temperature of the Arrhenius functions")
    dark_respiration_ratio: Value = parameter(0.004657, 0.001, 0.03, "1", "dark respiration at tk_25 per unit vcopt")
    light_inhibition: Value = parameter(0.6, 0.0, 1.0, "1", "share of dark respiration suppressed in light")
    light_inhibition_par: Value = parameter(10.0, 2.0, 50.0, "umol m-2 s-1", "absorbed PAR at half suppression")
    light_inhibition_width: Value = parameter(2.0, 0.5, 10.0, "umol m-2 s-1", "width of the logistic of suppression")
    # --- boundary layer and wind
    betfac: Value = parameter(1.5, 1.0, 3.0, "1", "enhancement of forced convection by canopy turbulence")
    nuvisc: Value = parameter(13.27, 13.0, 13.5, "mm2 s-1", "kinematic viscosity at 273.16 K, 101.3 kPa")
    dc: Value = parameter(13.81, 13.0, 14.5, "mm2 s-1", "diffusivity of CO2, same conditions")
    dh: Value = parameter(18.69, 18.0, 20.0, "mm2 s-1", "diffusivity of heat, same conditions")
    dv: Value = parameter(21.78, 21.0, 23.0, "mm2 s-1", "diffusivity of water vapour, same conditions")
    wind_extinction: Value = parameter(2.0, 0.5, 5.0, "1", "exponent of the wind profile in the canopy")
    wind_floor: Value = parameter(0.75, 0.1, 1.5, "m s-1", "smallest wind speed used")
    friction_velocity_floor: Value = parameter(0.1, 0.02, 0.3, "m s-1", "smallest friction velocity used")
    # --- soil
    porosity: Value = parameter(0.60, 0.3, 0.9, "1", "pore volume of the soil")
    organic_fraction: Value = parameter(0.08, 0.0, 0.3, "1", "organic volume of the soil; the mineral one is the rest")
    mineral_conductivity: Value = parameter(2.5, 1.0, 8.0, "W m-1 K-1", "thermal conductivity of minerals")
    water_conductivity: Value = parameter(
        0.25, 0.2, 0.7, "W m-1 K-1", "thermal conductivity of water, as published (true 0.57)"
    )
    organic_conductivity: Value = parameter(
        0.8, 0.1, 1.5, "W m-1 K-1", "thermal conductivity in the weight of organic matter"
    )
    organic_conductivity_sum: Value = parameter(
        2.5, 0.1, 3.0, "W m-1 K-1", "conductivity of organic matter in the weighted sum"
    )
    surface_moisture_ratio: Value = parameter(
        0.1, 0.02, 1.0, "1", "moisture of the evaporating surface per measured moisture"
    )
    soil_roughness: Value = parameter(0.02, 0.001, 0.05, "m", "roughness length of the soil surface")
    soil_resistance_min: Value = parameter(25.0, 5.0, 60.0, "s m-1", "smallest aerodynamic resistance over the soil")
    soil_resistance_max: Value = parameter(
        1000.0, 300.0, 5000.0, "s m-1", "largest aerodynamic resistance over the soil"
    )
    respiration_depth_fraction: Value = parameter(
        1022.0 / 2046.0, 0.05, 1.0, "1", "depth of the respiring soil / soil depth"
    )
    q10a: Value = parameter(
        5.0, 0.1, 40.0, "umol m-2 s-1", "soil respiration at 10 degC and unit moisture", tunable=True
    )
    q10b: Value = parameter(1.7, 1.0, 4.0, "1", "Q10 of soil respiration", tunable=True)
    q10c: Value = parameter(0.8, 0.05, 2.0, "1", "moisture exponent of soil respiration", tunable=True)
    soil_respiration_factor: Value = parameter(1.0, 0.1, 10.0, "1", "factor on the soil respiration of either scheme")
    wilting_point: Value = parameter(
        0.05, 0.005, 0.2, "m3 m-3", "soil moisture of closed stomata (soil-moisture stress)"
    )
    field_capacity: Value = parameter(0.2, 0.1, 0.5, "m3 m-3", "upper moisture of the soil-moisture stress")
    # --- stress schemes (`canveg_jax.stress`)
    feddes_critical_moisture: Value = parameter(
        0.15, 0.02, 0.5, "m3 m-3", "soil moisture below which stress begins (Feddes)"
    )
    feddes_wet_moisture: Value = parameter(
        0.50, 0.2, 0.85, "m3 m-3", "soil moisture above which roots lack air (Feddes)"
    )
    jarvis_deficit: Value = parameter(3.0, 0.2, 20.0, "kPa", "vapour pressure deficit that halves the factor (Jarvis)")
    jarvis_optimum_temperature: Value = parameter(25.0, 5.0, 45.0, "degC", "air temperature of no stress (Jarvis)")
    jarvis_temperature_range: Value = parameter(30.0, 5.0, 80.0, "K", "from the optimum to closed stomata (Jarvis)")
    # --- other stomatal conductance schemes (`canveg_jax.physics.conductance`)
    medlyn_slope: Value = parameter(4.0, 0.5, 15.0, "kPa0.5", "slope g1 of the Medlyn conductance")
    leuning_slope: Value = parameter(9.0, 2.0, 30.0, "1", "slope a1 of the Leuning conductance")
    leuning_deficit: Value = parameter(1.5, 0.2, 10.0, "kPa", "deficit scale D0 of the Leuning conductance")
    # --- air
    stability_unstable: Value = parameter(0.7182, 0.2, 3.0, "1", "constant a of psi = a / (a - zeta), unstable air")
    stability_stable: Value = parameter(
        0.0, -2.0, 1.0, "1", "constant b of psi = 1 - b zeta, stable air (published 0.31)"
    )

    def __init__(self, **values: ArrayLike):
        for name in values:
            if name not in PARAMETER_TABLE:
                raise UnknownParameterError(name)
        for name, info in PARAMETER_TABLE.items():
            value = jnp.asarray(values.get(name, info.default))
            setattr(self, name, value if jnp.issubdtype(value.dtype, jnp.floating) else value.astype(float))

    if not TYPE_CHECKING:  # so that a type checker knows the declared fields only

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(name if name.startswith("__") else str(UnknownParameterError(name)))

    @property
    def values(self) -> dict[str, Value]:
        """All values by name, in the order of `PARAMETER_TABLE`."""
        return {name: getattr(self, name) for name in PARAMETER_TABLE}

    def replace(self, changes: Mapping[str, ArrayLike]) -> "Parameters":
        """A copy with the values of `changes`; raises `UnknownParameterError` for an unknown name."""
        return Parameters(**{**self.values, **changes})


PARAMETER_TABLE: dict[str, ParameterInfo] = {
    field.name: field.metadata["info"] for field in dataclasses.fields(Parameters)
}
"""Default, bounds, unit and meaning of each parameter by name, in the order of their declaration."""

TUNABLE: tuple[str, ...] = tuple(name for name, info in PARAMETER_TABLE.items() if info.tunable)
"""The twenty process parameters of the published training set-up that act on the model (its `rd25` does not)."""
