"""One half-hour of the canopy, from forcing to fluxes: the whole flow of the model in one file.

`conditions` and `prepare` compute everything that the unknowns do not change, single numbers and profiles; `one_pass` maps a
state to the next one and to fluxes. The solution is the state that `one_pass` maps to itself; `profiles` adds the air above.
All are written for ONE half-hour and batched with `vmap`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from ..fluxes import Fluxes
from ..forcing import Forcing
from ..parameters import Parameters
from . import leaf_angle, longwave, shortwave, sky, soil_respiration, two_stream
from .constants import PAR_PER_JOULE, ZERO_CELSIUS
from .leaf_exchange import LeafDrivers, LeafExchange, leaf_exchange
from .scalar_profiles import ScalarDeviation, column_sources, scalar_profiles
from .soil_properties import surface_vapour_resistance, thermal_conductivity
from .soil_surface import SoilInputs, soil_surface_balance
from .stability import dispersion_factor, stability_parameter
from .sun import sine_of_solar_elevation
from .thermodynamics import air_density, molar_air_density
from .wind import DISPLACEMENT_RATIO, wind_profile

LOWEST_CO2 = 50.0
"""umol mol-1; guard of wild iterates, never reached by a solution."""


LeafResponse = Callable[[LeafDrivers], LeafExchange]


class Scheme(NamedTuple):
    """Static choices: compiled into the model."""

    n_layers: int
    soil_respiration: str = "q10"
    smooth_colimitation: bool = False


class SiteArrays(eqx.Module):
    """Numbers of a site that the equations read. `dispersion`: `[N + 1 or more, N]`, s m-1, ground first."""

    latitude: Any
    longitude: Any
    utc_offset: Any
    canopy_height: Any
    measurement_height: Any
    soil_depth: Any
    stomatal_sides: Any
    lai_scale: Any
    leaf_angle_weights: Any
    dispersion: Any


class State(NamedTuple):
    """The unknowns, as deviations from the air at measurement height: `5 N + 1` numbers.

    `air_temperature` K, `vapour_pressure` Pa, `co2` umol mol-1: `[N]`; `leaf_temperature` K: `[2, N]`, sunlit and shaded;
    `surface_temperature` of the soil, K. Stability and the air above the canopy follow from the fluxes of a pass.
    """

    air_temperature: Any
    vapour_pressure: Any
    co2: Any
    leaf_temperature: Any
    surface_temperature: Any


class Conditions(NamedTuple):
    """Air, sky, sun and soil of a half-hour: a number each, none of which the unknowns change.

    Units of `Forcing`, but K and Pa; radiation W m-2 (PAR umol m-2 s-1). `sin_beta`: sine of solar elevation; `projection`: G of
    the leaves towards it; `layer_lai`, `tau_d`, `chi`: leaf area of a layer, its transmission of diffuse light, interception per
    leaf area. They are a step of their own because XLA would otherwise compute some, the height of the sun with its 13 sines,
    again for every leaf that reads them.
    """

    air_temperature: Any
    vapour_pressure: Any
    co2: Any
    pressure: Any
    density: Any
    molar_density: Any
    friction_velocity: Any
    wind_speed: Any
    sin_beta: Any
    projection: Any
    incoming: sky.IncomingShortwave
    shortwave_in: Any
    longwave_in: Any
    layer_lai: Any
    tau_d: Any
    chi: Any
    soil_vapour_resistance: Any
    soil_conductance: Any
    deep_temperature: Any
    soil_water_content: Any
    observed_canopy_height: Any


class Prepared(NamedTuple):
    """What does not depend on the unknowns. Layer arrays `[N]` from the ground up, leaf arrays `[2, N]` (sunlit, shaded)."""

    air_temperature: Any
    vapour_pressure: Any
    co2: Any
    pressure: Any
    density: Any
    molar_density: Any
    friction_velocity: Any
    layer_lai: Any
    tau_d: Any
    chi: Any
    sunlit: Any
    absorbed_par: Any
    absorbed_shortwave: Any
    wind: Any
    longwave_in: Any
    longwave_layers: two_stream.Layers
    shortwave_in: Any
    shortwave_out: Any
    soil_shortwave: Any
    soil_vapour_resistance: Any
    soil_conductance: Any
    deep_temperature: Any
    soil_water_content: Any
    observed_canopy_height: Any
    stress: Any


class Profiles(NamedTuple):
    """Vertical structure of the solution. Air `[N + 1]` or more (ground up), leaves `[2, N]` (sunlit, shaded), wind `[N]`."""

    air_temperature: Any
    vapour_pressure: Any
    co2: Any
    leaf_temperature: Any
    net_assimilation: Any
    stomatal_conductance: Any
    latent_heat: Any
    sensible_heat: Any
    absorbed_par: Any
    sunlit: Any
    wind: Any


def canopy_heights(canopy_height, n_layers: int):
    """Heights of the layer tops in the canopy, m, `[N]`."""
    return canopy_height * (jnp.arange(n_layers) + 1.0) / n_layers


def conditions(forcing: Forcing, p: Parameters, site: SiteArrays, scheme: Scheme) -> Conditions:
    """Air, sky, sun and soil of one half-hour (0-d forcing)."""
    temperature = forcing.air_temperature + ZERO_CELSIUS
    shortwave_in = jnp.maximum(forcing.shortwave_in, 0.0)
    sin_beta = sine_of_solar_elevation(
        forcing.day_of_year, forcing.hour, site.latitude, site.longitude, site.utc_offset
    )
    incoming = sky.split_shortwave(sin_beta, shortwave_in, forcing.pressure)
    layer_lai = forcing.lai * site.lai_scale / scheme.n_layers
    sky_g = leaf_angle.sky_projection(site.leaf_angle_weights)
    tau_d, chi = leaf_angle.diffuse_interception(layer_lai, p.leaf_clumping_factor, sky_g)
    conductivity = thermal_conductivity(forcing.soil_water_content, temperature, forcing.pressure, p)
    return Conditions(
        air_temperature=temperature,
        vapour_pressure=1000.0 * forcing.vapour_pressure,
        co2=forcing.co2,
        pressure=forcing.pressure,
        density=air_density(forcing.pressure, temperature),
        molar_density=molar_air_density(forcing.pressure, temperature),
        friction_velocity=jnp.maximum(forcing.friction_velocity, p.friction_velocity_floor),
        wind_speed=jnp.maximum(forcing.wind_speed, p.wind_floor),
        sin_beta=sin_beta,
        projection=leaf_angle.mean_projection(jnp.maximum(sin_beta, sky.MIN_SIN_BETA), site.leaf_angle_weights),
        incoming=incoming,
        shortwave_in=shortwave_in,
        longwave_in=_where_finite(forcing.longwave_in, sky.sky_longwave(sin_beta, incoming.q, temperature)),
        layer_lai=layer_lai,
        tau_d=tau_d,
        chi=chi,
        soil_vapour_resistance=surface_vapour_resistance(forcing.soil_water_content, p),
        soil_conductance=conductivity / site.soil_depth,
        deep_temperature=forcing.soil_temperature + ZERO_CELSIUS,
        soil_water_content=forcing.soil_water_content,
        observed_canopy_height=_where_finite(forcing.observed_canopy_height, site.canopy_height),
    )


def prepare(c: Conditions, p: Parameters, site: SiteArrays, stress, scheme: Scheme) -> Prepared:
    """Short-wave transfer, wind and long-wave coefficients of one half-hour."""
    n = scheme.n_layers
    beam = shortwave.beam_penetration(c.sin_beta, c.projection, p.leaf_clumping_factor, c.layer_lai, n)
    bands = jax.vmap(shortwave.transfer, in_axes=(None, 0, 0, 0, 0, 0, None, None))(
        beam,
        jnp.stack([c.incoming.par_beam, c.incoming.nir_beam]),
        jnp.stack([c.incoming.par_diffuse, c.incoming.nir_diffuse]),
        jnp.stack([p.par_reflect, p.nir_reflect]),
        jnp.stack([p.par_trans, p.nir_trans]),
        jnp.stack([p.par_soil_refl, p.nir_soil_refl]),
        c.tau_d,
        c.chi,
    )
    par, nir = (jax.tree.map(lambda y, k=k: y[k], bands) for k in range(2))
    absorbed_par = jnp.stack([par.sunlit, par.shaded])
    heights = canopy_heights(site.canopy_height, n)
    unchanged = {name: value for name, value in c._asdict().items() if name in Prepared._fields}
    return Prepared(
        **unchanged,
        sunlit=beam.sunlit,
        absorbed_par=absorbed_par,
        absorbed_shortwave=absorbed_par / PAR_PER_JOULE + jnp.stack([nir.sunlit, nir.shaded]),
        wind=wind_profile(c.wind_speed, heights, site.canopy_height, site.measurement_height, p.wind_extinction),
        longwave_layers=longwave.factor(p.ep, p.epsoil, c.tau_d, n),
        shortwave_out=par.up_top / PAR_PER_JOULE + nir.up_top,
        soil_shortwave=par.ground_net / PAR_PER_JOULE + nir.ground_net,
        stress=jnp.broadcast_to(stress, (n,)),
    )


def _where_finite(measured, otherwise):
    """An optional forcing variable where it was measured, else the stand-in; no NaN reaches a derivative."""
    there = jnp.isfinite(measured)
    return jnp.where(there, jnp.where(there, measured, 0.0), otherwise)


def initial_state(x: Prepared) -> State:
    """Everything at the temperature, humidity and CO2 of the air above."""
    zero = jnp.zeros_like(x.wind)
    return State(zero, zero, zero, jnp.zeros_like(x.absorbed_par), jnp.zeros_like(x.air_temperature))


def leaf_drivers(state: State, x: Prepared, p: Parameters) -> tuple[LeafDrivers, longwave.LongwaveField]:
    """What a state means for the leaves, and its long-wave field."""
    leaf = x.air_temperature + state.leaf_temperature
    surface = x.air_temperature + state.surface_temperature
    field = longwave.transfer(
        x.longwave_layers, p.ep, p.epsoil, x.tau_d, x.sunlit, x.longwave_in, leaf[0], leaf[1], surface
    )
    drivers = LeafDrivers(
        leaf_temperature=leaf,
        air_temperature=x.air_temperature + state.air_temperature,
        vapour_pressure=x.vapour_pressure + state.vapour_pressure,
        co2=jnp.maximum(x.co2 + state.co2, LOWEST_CO2),
        incident=field.incident,
    )
    return drivers, field


def one_pass(
    state: State, x: Prepared, p: Parameters, site: SiteArrays, scheme: Scheme, respond: LeafResponse | None = None
) -> tuple[State, Fluxes, LeafExchange]:
    """Radiation from the state's temperatures, then leaves, soil, air; returns the next state, the pass's fluxes and leaves.

    `respond` replaces the leaves' response to their drivers (the adjoint puts its tangent there).
    """
    n = scheme.n_layers
    if respond is None:
        respond = partial(
            leaf_exchange, x=x, p=p, sides=site.stomatal_sides, smooth_colimitation=scheme.smooth_colimitation
        )
    drivers, field = leaf_drivers(state, x, p)
    _, air, vapour, _, _ = drivers
    surface = x.air_temperature + state.surface_temperature
    leaves = respond(drivers)

    # Soil.
    level = min(1, n - 1)
    soil = soil_surface_balance(
        surface,
        SoilInputs(
            absorbed=x.soil_shortwave + p.epsoil * field.down_ground,
            emissivity=p.epsoil,
            air_temperature=air[level],
            vapour_pressure=vapour[level],
            wind=x.wind[level],
            height=canopy_heights(site.canopy_height, n)[level],
            pressure=x.pressure,
            density=x.density,
            vapour_resistance=x.soil_vapour_resistance,
            conductance=x.soil_conductance,
            deep_temperature=x.deep_temperature,
            roughness=p.soil_roughness,
            resistance_min=p.soil_resistance_min,
            resistance_max=p.soil_resistance_max,
        ),
    )

    # Totals of the canopy, and respiration of the soil.
    layer_sum = partial(_layer_sum, x)
    heat, latent, net = layer_sum(leaves.sensible_heat), layer_sum(leaves.latent_heat), layer_sum(leaves.net)
    canopy_h, canopy_le, assimilation = heat.sum(), latent.sum(), net.sum()
    leaf_respiration = layer_sum(leaves.dark_respiration).sum()
    respiring = soil_respiration.soil_temperature_at(p.respiration_depth_fraction, soil.temperature, x.deep_temperature)
    if scheme.soil_respiration == "alfalfa":
        respired = soil_respiration.alfalfa_respiration(
            assimilation + leaf_respiration, leaf_respiration, respiring, x.soil_water_content, x.observed_canopy_height
        )
    else:
        respired = soil_respiration.q10_respiration(respiring, x.soil_water_content, p)

    # Air.
    sensible = canopy_h + soil.sensible_heat
    zeta = stability_parameter(
        sensible,
        site.measurement_height - DISPLACEMENT_RATIO * site.canopy_height,
        x.density,
        x.air_temperature,
        x.friction_velocity,
    )

    longwave_out = field.up_top
    fluxes = Fluxes(
        LE=canopy_le + soil.latent_heat,
        H=sensible,
        G=soil.ground_heat,
        Rnet=x.shortwave_in - x.shortwave_out + x.longwave_in - longwave_out,
        NEE=respired - assimilation,
        GPP=assimilation + leaf_respiration,
        nee_published=respired - assimilation - leaf_respiration,
        soil_respiration=respired,
        leaf_respiration=leaf_respiration,
        net_assimilation=assimilation,
        canopy_LE=canopy_le,
        canopy_H=canopy_h,
        soil_LE=soil.latent_heat,
        soil_H=soil.sensible_heat,
        soil_surface_temperature=soil.temperature,
        canopy_temperature=jnp.mean(x.sunlit * leaves.temperature[0] + (1.0 - x.sunlit) * leaves.temperature[1]),
        canopy_conductance=layer_sum(leaves.conductance).sum(),
        shortwave_out=x.shortwave_out,
        longwave_out=longwave_out,
        longwave_in=x.longwave_in,
        zeta=zeta,
    )
    deviation = _air(fluxes, jnp.stack([heat, latent, -net]), x, p, site.dispersion[: n + 1])
    following = State(
        air_temperature=deviation.temperature[:n],
        vapour_pressure=deviation.vapour_pressure[:n],
        co2=deviation.co2[:n],
        leaf_temperature=leaves.temperature - x.air_temperature,
        surface_temperature=soil.temperature - x.air_temperature,
    )
    return following, fluxes, leaves


def _layer_sum(x: Prepared, y):
    """What the leaves of each layer do per ground area, `[N]`, from what they do per leaf area, `[2, N]`."""
    return column_sources(x.layer_lai, x.sunlit, y[0], y[1])


def _air(fluxes: Fluxes, released, x: Prepared, p: Parameters, dispersion) -> ScalarDeviation:
    """Air at the receptors of these rows of the dispersion matrix; `released` `[3, N]`: heat, vapour, CO2 of the leaves."""
    return scalar_profiles(
        dispersion,
        released,
        jnp.stack([fluxes.soil_H, fluxes.soil_LE, fluxes.soil_respiration]),
        x.friction_velocity,
        dispersion_factor(fluxes.zeta, p.stability_unstable, p.stability_stable),
        x.density,
        x.molar_density,
        x.air_temperature,
        x.wind.shape[0],
    )


def profiles(fluxes: Fluxes, leaves: LeafExchange, x: Prepared, p: Parameters, site: SiteArrays) -> Profiles:
    """Vertical structure that belongs to the fluxes and leaves of a pass, in and above the canopy."""
    released = [_layer_sum(x, y) for y in (leaves.sensible_heat, leaves.latent_heat, -leaves.net)]
    deviation = _air(fluxes, jnp.stack(released), x, p, site.dispersion)
    return Profiles(
        air_temperature=x.air_temperature + deviation.temperature,
        vapour_pressure=x.vapour_pressure + deviation.vapour_pressure,
        co2=x.co2 + deviation.co2,
        leaf_temperature=leaves.temperature,
        net_assimilation=leaves.net,
        stomatal_conductance=leaves.conductance,
        latent_heat=leaves.latent_heat,
        sensible_heat=leaves.sensible_heat,
        absorbed_par=x.absorbed_par,
        sunlit=x.sunlit,
        wind=x.wind,
    )
