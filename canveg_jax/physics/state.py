"""The records that pass between equations. They stand below all equations, so that each equation can name what it reads.

Everything is for ONE half-hour. Axes: `layer`, the N canopy layers from the ground up; `receptor`, layers and at least one
bin of air above; `2 layer`, sunlit and shaded leaves of each layer. Units are those of `Forcing` except where said.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import equinox as eqx
from jaxtyping import Array, Float

from ..forcing import Forcing
from ..parameters import Parameters
from ..types import Column, Constant, Layers, Scalar, Values

Leaves = Float[Array, "2 layer"]


class Scheme(NamedTuple):
    """Choices that are compiled into the program.

    `n_layers` of the canopy; `soil_respiration`: `q10` or `alfalfa`; `smooth_colimitation` of photosynthesis, else the minimum;
    `conductance`: the equation of the stomata; `soil_heat`: `storage` or `conduction`.
    """

    n_layers: int
    soil_respiration: str = "q10"
    smooth_colimitation: bool = False
    conductance: str = "ball_berry"
    soil_heat: str = "storage"


class SiteArrays(eqx.Module):
    """Numbers of a site that the equations read.

    Angles in degrees, `utc_offset` in hours, lengths in m; `stomatal_sides`: faces of a leaf that have stomata, 1 or 2;
    `leaf_angle_weights`: share of leaf area per class of inclination; `dispersion`: s m-1 at unit friction velocity, from
    the ground up.
    """

    latitude: Constant
    longitude: Constant
    utc_offset: Constant
    canopy_height: Constant
    measurement_height: Constant
    soil_depth: Constant
    stomatal_sides: Constant
    lai_scale: Constant
    leaf_angle_weights: Column
    dispersion: Values


class State(NamedTuple):
    """The unknowns, as deviations from the air at measurement height: `5 N + 1` numbers.

    `air_temperature` K, `vapour_pressure` Pa and `co2` umol mol-1 of the air in the layers; `leaf_temperature` K;
    `surface_temperature` of the soil, K. Stability and the air above the canopy follow from the fluxes of a pass.
    """

    air_temperature: Layers
    vapour_pressure: Layers
    co2: Layers
    leaf_temperature: Leaves
    surface_temperature: Scalar


class IncomingShortwave(NamedTuple):
    """Radiation at the canopy top, horizontal: PAR in umol m-2 s-1, near infrared in W m-2; `q`: clearness ratio."""

    par_beam: Scalar
    par_diffuse: Scalar
    nir_beam: Scalar
    nir_diffuse: Scalar
    q: Scalar


class TwoStreamLayers(NamedTuple):
    """What depends on transmission, scattering and the ground only: computed once, used for any sources.

    `transmit`, `reflect`: of a layer. `reflectance[j]`: of everything below level `j`;
    `gain[j]`: `1 / (1 - reflect reflectance[j])`.
    """

    transmit: Scalar
    reflect: Scalar
    reflectance: Float[Array, " level"]
    gain: Layers


class Conditions(NamedTuple):
    """Air, sky, sun and soil of a half-hour: a number each, none of which the unknowns change.

    Temperatures in K, vapour pressure in Pa, radiation in W m-2 (PAR in umol m-2 s-1). `sin_beta`: sine of solar elevation;
    `projection`: G, mean projection of the leaves towards the sun; `layer_lai`: leaf area of a layer; `tau_d`: its
    transmission of diffuse light; `chi`: its interception per leaf area. They are a step of their own because XLA would
    otherwise compute some, the height of the sun with its 13 sines, again for every leaf that reads them.
    """

    air_temperature: Scalar
    vapour_pressure: Scalar
    co2: Scalar
    pressure: Scalar
    density: Scalar
    molar_density: Scalar
    friction_velocity: Scalar
    wind_speed: Scalar
    sin_beta: Scalar
    projection: Scalar
    incoming: IncomingShortwave
    shortwave_in: Scalar
    longwave_in: Scalar
    layer_lai: Scalar
    tau_d: Scalar
    chi: Scalar
    soil_vapour_resistance: Scalar
    soil_conductance: Scalar
    soil_heat_storage: Scalar
    deep_temperature: Scalar
    soil_water_content: Scalar
    observed_canopy_height: Scalar


class Prepared(NamedTuple):
    """Everything that does not depend on the unknowns.

    `sunlit`: fraction of the leaves; `absorbed_par` umol m-2 s-1 and `absorbed_shortwave` W m-2 per leaf area; `wind` m s-1;
    `longwave_layers`: coefficients of long-wave transfer; `shortwave_out` above the canopy and `soil_shortwave` absorbed by
    the soil, W m-2; `stress`: factor computed before the canopy is solved; `forcing`: what a closure in the loop may read
    besides the state of the leaf, None without one.
    """

    conditions: Conditions
    sunlit: Layers
    absorbed_par: Leaves
    absorbed_shortwave: Leaves
    wind: Layers
    longwave_layers: TwoStreamLayers
    shortwave_out: Scalar
    soil_shortwave: Scalar
    stress: Layers
    forcing: Forcing | None = None


class LeafDrivers(NamedTuple):
    """What the leaves feel of the unknowns: their own temperature, K; temperature (K), vapour pressure (Pa) and CO2
    (umol mol-1) of the air; long-wave `incident` on both faces, W m-2."""

    leaf_temperature: Leaves
    air_temperature: Layers
    vapour_pressure: Layers
    co2: Layers
    incident: Layers


class LeafEnvironment(NamedTuple):
    """What a closure in the loop may read of each leaf.

    `humidity`: vapour pressure of the air over saturation at leaf temperature, 0.01 to 1; `vapour_pressure_deficit`: that
    saturation minus the vapour pressure of the air, kPa, not below 0; `temperature` K; `absorbed_par` umol m-2 s-1;
    `air_co2` umol mol-1; `relative_depth`: leaf area above the middle of the layer over all leaf area, 0 top to 1 ground.
    """

    humidity: Leaves
    vapour_pressure_deficit: Leaves
    temperature: Leaves
    absorbed_par: Leaves
    air_co2: Leaves
    relative_depth: Leaves


class Closure(Protocol):
    """A scheme in the loop: forcing of the time step, state of the leaves and parameters in, its factor `[2, layer]` out."""

    @property
    def replaces_humidity(self) -> bool:
        """Whether the factor stands in place of the relative humidity instead of multiplying it."""
        ...

    def __call__(self, forcing: Forcing, leaf: LeafEnvironment, parameters: Parameters, /) -> Float[Array, ...]: ...


class LeafExchange(NamedTuple):
    """Response of the leaves per one-sided leaf area: temperature K; heat fluxes W m-2, away from the leaf; net assimilation and
    dark respiration umol m-2 s-1; stomatal conductance to water vapour mol m-2 s-1."""

    temperature: Leaves
    sensible_heat: Leaves
    latent_heat: Leaves
    net: Leaves
    dark_respiration: Leaves
    conductance: Leaves


class Profiles(NamedTuple):
    """Vertical structure of the solution: air temperature K, vapour pressure Pa, CO2 umol mol-1; leaves as `LeafExchange`;
    `absorbed_par` umol m-2 s-1 per leaf area; `sunlit` fraction; `wind` m s-1."""

    air_temperature: Float[Array, " receptor"]
    vapour_pressure: Float[Array, " receptor"]
    co2: Float[Array, " receptor"]
    leaf_temperature: Leaves
    net_assimilation: Leaves
    stomatal_conductance: Leaves
    latent_heat: Leaves
    sensible_heat: Leaves
    absorbed_par: Leaves
    sunlit: Layers
    wind: Layers
