"""One time step of the canopy, from forcing to fluxes: the whole flow of the model in one file.

    forcing -> conditions -> prepare -> [ leaf_drivers -> leaves -> soil -> fluxes -> air ] -> profiles
                                          `one_pass`, repeated until it returns its own state

`conditions` and `prepare` compute everything that the unknowns do not change, single numbers first and then profiles. `one_pass`
maps a state to the next one and to fluxes; the solution is the state that it maps to itself. `profiles` adds the air above.
All are written for ONE time step and batched with `vmap`. The model is that of [Baldocchi1998] and [Jiang2025] with its
equations solved exactly (docs/decisions.md).
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..fluxes import Fluxes
from ..forcing import Forcing
from ..parameters import Parameters
from ..types import Layers, Scalar, Values
from . import leaf_angle, longwave, shortwave, sky, soil_respiration
from .constants import PAR_PER_JOULE, ZERO_CELSIUS
from .leaf_exchange import leaf_exchange
from .scalar_profiles import ScalarDeviation, column_sources, scalar_profiles
from .soil_properties import surface_vapour_resistance, thermal_conductivity, volumetric_heat_capacity
from .soil_surface import SoilInputs, SoilSurface, soil_surface_balance
from .stability import dispersion_factor, stability_parameter
from .state import (
    Closure,
    Conditions,
    LeafDrivers,
    LeafExchange,
    Leaves,
    Prepared,
    Profiles,
    Scheme,
    SiteArrays,
    State,
)
from .sun import sine_of_solar_elevation
from .thermodynamics import air_density, molar_air_density
from .wind import DISPLACEMENT_RATIO, wind_profile

SECONDS_PER_HOUR = 3600.0

LOWEST_CO2 = 50.0
"""umol mol-1; iterates far from the solution may go below it, a solution never does."""

LeafResponse = Callable[[LeafDrivers], LeafExchange]
"""What the leaves do under given drivers; the adjoint puts the tangent of the leaves in this place."""


def canopy_heights(canopy_height: Values, n_layers: int) -> Layers:
    """Heights of the layer tops in the canopy, m."""
    return canopy_height * (jnp.arange(n_layers) + 1.0) / n_layers


def conditions(forcing: Forcing, p: Parameters, site: SiteArrays, scheme: Scheme) -> Conditions:
    """Air, sky, sun and soil of one time step (0-d forcing)."""
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
        soil_heat_storage=_heat_storage(forcing, p, site, scheme),
        deep_temperature=forcing.soil_temperature + ZERO_CELSIUS,
        soil_water_content=forcing.soil_water_content,
        observed_canopy_height=_where_finite(forcing.observed_canopy_height, site.canopy_height),
    )


def _heat_storage(forcing: Forcing, p: Parameters, site: SiteArrays, scheme: Scheme) -> Scalar:
    """Heat that the soil above the measured depth takes up, W m-2; 0 where its tendency is not known."""
    tendency = _where_finite(forcing.soil_temperature_tendency, jnp.zeros_like(forcing.soil_temperature))
    if scheme.soil_heat == "conduction":
        return jnp.zeros_like(tendency)
    return volumetric_heat_capacity(forcing.soil_water_content, p) * site.soil_depth * tendency / SECONDS_PER_HOUR


def prepare(
    c: Conditions,
    p: Parameters,
    site: SiteArrays,
    stress: Scalar | Layers,
    scheme: Scheme,
    forcing: Forcing | None = None,
) -> Prepared:
    """Short-wave transfer, wind and long-wave coefficients of one time step.

    `stress` and `forcing` are handed on: see `Prepared`.
    """
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
    return Prepared(
        conditions=c,
        sunlit=beam.sunlit,
        absorbed_par=absorbed_par,
        absorbed_shortwave=absorbed_par / PAR_PER_JOULE + jnp.stack([nir.sunlit, nir.shaded]),
        wind=wind_profile(c.wind_speed, heights, site.canopy_height, site.measurement_height, p.wind_extinction),
        longwave_layers=longwave.factorise(p.ep, p.epsoil, c.tau_d, n),
        shortwave_out=par.up_top / PAR_PER_JOULE + nir.up_top,
        soil_shortwave=par.ground_net / PAR_PER_JOULE + nir.ground_net,
        stress=jnp.broadcast_to(stress, (n,)),
        forcing=forcing,
    )


def _where_finite(measured: Scalar, otherwise: Scalar) -> Scalar:
    """An optional forcing variable where it was measured, else the stand-in; no NaN reaches a derivative."""
    there = jnp.isfinite(measured)
    return jnp.where(there, jnp.where(there, measured, 0.0), otherwise)


def initial_state(x: Prepared) -> State:
    """Everything at the temperature, humidity and CO2 of the air above."""
    zero = jnp.zeros_like(x.wind)
    return State(
        air_temperature=zero,
        vapour_pressure=zero,
        co2=zero,
        leaf_temperature=jnp.zeros_like(x.absorbed_par),
        surface_temperature=jnp.zeros_like(x.conditions.air_temperature),
    )


def one_pass(
    state: State,
    x: Prepared,
    p: Parameters,
    site: SiteArrays,
    scheme: Scheme,
    closure: Closure | None = None,
    respond: LeafResponse | None = None,
) -> tuple[State, Fluxes, LeafExchange]:
    """Radiation from the state's temperatures, then leaves, soil and air: the next state, fluxes and leaves of the pass.

    Args:
        closure: a stress scheme that is evaluated with the state of each leaf (`AbstractStress` with `in_loop`), or None.
        respond: replaces the leaves' response to their drivers.
    """
    if respond is None:
        respond = partial(leaf_exchange, x=x, p=p, sides=site.stomatal_sides, scheme=scheme, closure=closure)
    drivers, field = leaf_drivers(state, x, p)
    leaves = respond(drivers)
    soil = _soil(state, drivers, field, x, p, site, scheme)
    fluxes, released = _fluxes(leaves, soil, field, x, p, site, scheme)
    air = _air(fluxes, released, x, p, site.dispersion[: scheme.n_layers + 1])
    n, above = scheme.n_layers, x.conditions.air_temperature
    following = State(
        air_temperature=air.temperature[:n],
        vapour_pressure=air.vapour_pressure[:n],
        co2=air.co2[:n],
        leaf_temperature=leaves.temperature - above,
        surface_temperature=soil.temperature - above,
    )
    return following, fluxes, leaves


def leaf_drivers(state: State, x: Prepared, p: Parameters) -> tuple[LeafDrivers, longwave.LongwaveField]:
    """What a state means for the leaves, and its long-wave field."""
    c = x.conditions
    leaf = c.air_temperature + state.leaf_temperature
    surface = c.air_temperature + state.surface_temperature
    field = longwave.transfer(
        x.longwave_layers,
        leaf_emissivity=p.ep,
        soil_emissivity=p.epsoil,
        tau_d=c.tau_d,
        sunlit=x.sunlit,
        longwave_in=c.longwave_in,
        sun=leaf[0],
        shade=leaf[1],
        surface=surface,
    )
    drivers = LeafDrivers(
        leaf_temperature=leaf,
        air_temperature=c.air_temperature + state.air_temperature,
        vapour_pressure=c.vapour_pressure + state.vapour_pressure,
        co2=jnp.maximum(c.co2 + state.co2, LOWEST_CO2),
        incident=field.incident,
    )
    return drivers, field


def _soil(
    state: State,
    drivers: LeafDrivers,
    field: longwave.LongwaveField,
    x: Prepared,
    p: Parameters,
    site: SiteArrays,
    scheme: Scheme,
) -> SoilSurface:
    """Energy balance of the soil surface under the air of the second layer (the only one, if there is one)."""
    c, level = x.conditions, min(1, scheme.n_layers - 1)
    inputs = SoilInputs(
        absorbed=x.soil_shortwave + p.epsoil * field.down_ground,
        emissivity=p.epsoil,
        air_temperature=drivers.air_temperature[level],
        vapour_pressure=drivers.vapour_pressure[level],
        wind=x.wind[level],
        height=canopy_heights(site.canopy_height, scheme.n_layers)[level],
        pressure=c.pressure,
        density=c.density,
        vapour_resistance=c.soil_vapour_resistance,
        conductance=c.soil_conductance,
        heat_storage=c.soil_heat_storage,
        deep_temperature=c.deep_temperature,
        roughness=p.soil_roughness,
        resistance_min=p.soil_resistance_min,
        resistance_max=p.soil_resistance_max,
    )
    return soil_surface_balance(c.air_temperature + state.surface_temperature, inputs)


def _fluxes(
    leaves: LeafExchange,
    soil: SoilSurface,
    field: longwave.LongwaveField,
    x: Prepared,
    p: Parameters,
    site: SiteArrays,
    scheme: Scheme,
) -> tuple[Fluxes, Float[Array, "3 layer"]]:
    """Sums over canopy and soil; and what the leaves of each layer release: heat, vapour (W m-2), CO2 (umol m-2 s-1)."""
    c = x.conditions
    heat, latent, net = (_layer_sum(x, y) for y in (leaves.sensible_heat, leaves.latent_heat, leaves.net))
    canopy_h, canopy_le, assimilation = heat.sum(), latent.sum(), net.sum()
    leaf_respiration = _layer_sum(x, leaves.dark_respiration).sum()
    respiring = soil_respiration.soil_temperature_at(p.respiration_depth_fraction, soil.temperature, c.deep_temperature)
    if scheme.soil_respiration == "alfalfa":
        respired = soil_respiration.alfalfa_respiration(
            assimilation + leaf_respiration, leaf_respiration, respiring, c.soil_water_content, c.observed_canopy_height
        )
    else:
        respired = soil_respiration.q10_respiration(respiring, c.soil_water_content, p)
    respired = p.soil_respiration_factor * respired
    sensible = canopy_h + soil.sensible_heat
    zeta = stability_parameter(
        sensible,
        site.measurement_height - DISPLACEMENT_RATIO * site.canopy_height,
        c.density,
        c.air_temperature,
        c.friction_velocity,
    )
    longwave_out = field.up_top
    fluxes = Fluxes(
        LE=canopy_le + soil.latent_heat,
        H=sensible,
        G=soil.ground_heat,
        Rnet=c.shortwave_in - x.shortwave_out + c.longwave_in - longwave_out,
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
        canopy_conductance=_layer_sum(x, leaves.conductance).sum(),
        shortwave_out=x.shortwave_out,
        longwave_out=longwave_out,
        longwave_in=c.longwave_in,
        zeta=zeta,
    )
    return fluxes, jnp.stack([heat, latent, -net])


def _layer_sum(x: Prepared, y: Leaves) -> Layers:
    """What the leaves of each layer do per ground area, from what they do per leaf area."""
    return column_sources(x.conditions.layer_lai, x.sunlit, y[0], y[1])


def _air(
    fluxes: Fluxes, released: Float[Array, "3 layer"], x: Prepared, p: Parameters, dispersion: Float[Array, "row layer"]
) -> ScalarDeviation:
    """Air at the receptors of these rows of the dispersion matrix."""
    c = x.conditions
    return scalar_profiles(
        dispersion,
        released,
        jnp.stack([fluxes.soil_H, fluxes.soil_LE, fluxes.soil_respiration]),
        friction_velocity=c.friction_velocity,
        psi=dispersion_factor(fluxes.zeta, p.stability_unstable, p.stability_stable),
        density=c.density,
        molar_density=c.molar_density,
        reference_temperature=c.air_temperature,
        n_layers=x.wind.shape[0],
    )


def profiles(fluxes: Fluxes, leaves: LeafExchange, x: Prepared, p: Parameters, site: SiteArrays) -> Profiles:
    """Vertical structure that belongs to the fluxes and leaves of a pass, in and above the canopy."""
    c = x.conditions
    released = [_layer_sum(x, y) for y in (leaves.sensible_heat, leaves.latent_heat, -leaves.net)]
    air = _air(fluxes, jnp.stack(released), x, p, site.dispersion)
    return Profiles(
        air_temperature=c.air_temperature + air.temperature,
        vapour_pressure=c.vapour_pressure + air.vapour_pressure,
        co2=c.co2 + air.co2,
        leaf_temperature=leaves.temperature,
        net_assimilation=leaves.net,
        stomatal_conductance=leaves.conductance,
        latent_heat=leaves.latent_heat,
        sensible_heat=leaves.sensible_heat,
        absorbed_par=x.absorbed_par,
        sunlit=x.sunlit,
        wind=x.wind,
    )
