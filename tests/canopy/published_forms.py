"""Published forms of what the package repairs, put back one at a time, to see what each repair does to the fluxes.

They exist in the tests only: the package has one model. Each form replaces a function of the package inside a `with`.
"""

from contextlib import ExitStack, contextmanager
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from canveg_jax.physics import column, leaf_angle, longwave, shortwave, two_stream
from canveg_jax.physics.constants import (
    AIR_MOLAR_MASS,
    AIR_SPECIFIC_HEAT,
    GAS_CONSTANT,
    GRAVITY,
    STEFAN_BOLTZMANN,
    VON_KARMAN,
)
from canveg_jax.physics.scalar_profiles import ScalarDeviation
from canveg_jax.physics.soil_surface import SoilSurface, stability_factor
from canveg_jax.physics.thermodynamics import latent_heat_of_vaporisation, saturation_vapour_pressure
from canveg_jax.solver import implicit

MEASUREMENT_HEIGHT = 5.0
"""m, of both towers that have published runs."""


def angle_weights(name: str) -> np.ndarray:
    """Trapezoid over the class midpoints, densities not normalised: both end half-classes are missing."""
    angles = leaf_angle.class_angles()
    fine = leaf_angle.class_angles(20000)
    density = leaf_angle.DENSITIES[name]
    weights = density(angles) / (density(fine).mean() * np.pi / 2) * np.pi / 100
    weights[[0, -1]] /= 2
    return weights


_beam_penetration, _prepare, _transfer = shortwave.beam_penetration, column.prepare, longwave.transfer


def _sunlit_at_layer_bottom(sin_beta, mean_projection, clumping, layer_lai, n_layers):
    beam = _beam_penetration(sin_beta, mean_projection, clumping, layer_lai, n_layers)
    return beam._replace(sunlit=jnp.minimum(1.0, clumping * (beam.at_top - beam.intercepted)))


def _absorption_from_below(beam, beam_in, diffuse_in, reflect, transmit, ground_reflectance, tau_d, chi):
    absorb = 1.0 - reflect - transmit
    n = beam.at_top.shape[0]
    layers = two_stream.factorise(tau_d + (1.0 - tau_d) * transmit, (1.0 - tau_d) * reflect, ground_reflectance, n)
    intercepted, at_ground = beam_in * beam.intercepted, beam_in * beam.at_ground
    streams = two_stream.solve(
        layers, transmit * intercepted, reflect * intercepted, diffuse_in, ground_reflectance * at_ground
    )
    shaded = absorb * (streams.down[:-1] + streams.up[:-1])
    ground = (1.0 - ground_reflectance) * (streams.down[0] + at_ground)
    return shortwave.Band(shaded + absorb * beam.extinction * beam_in, shaded, streams.up[-1], ground)


def _longwave_from_below(layers, leaf_emissivity, soil_emissivity, tau_d, sunlit, longwave_in, sun, shade, surface):
    emission = leaf_emissivity * STEFAN_BOLTZMANN * (sunlit * sun**4 + (1.0 - sunlit) * shade**4)
    source = (1.0 - tau_d) * emission
    streams = two_stream.solve(layers, source, source, longwave_in, soil_emissivity * STEFAN_BOLTZMANN * surface**4)
    return longwave.LongwaveField(streams.down[:-1] + streams.up[:-1], streams.down[0], streams.up[-1])


def _prepare_full_leaves(*args, **kwargs):
    x = _prepare(*args, **kwargs)
    return x._replace(conditions=x.conditions._replace(chi=jnp.ones_like(x.conditions.chi)))


def _profiles(
    dispersion, sources, soil, friction_velocity, psi, density, molar_density, reference_temperature, n_layers
):
    """Stability from the heat of the leaves and the full height; 0.973 below neutral; the soil without stability."""
    heat = sources[0].sum()
    zeta = (
        -VON_KARMAN
        * GRAVITY
        * MEASUREMENT_HEIGHT
        * heat
        / (density * 1005.0 * reference_temperature * friction_velocity**3)
    )
    zeta = jnp.clip(zeta, -3.0, 0.25)
    psi = jnp.where(zeta < 0, 0.973 * 0.7182 / (0.7182 - jnp.minimum(zeta, 0.0)), 1.0 - 0.31 * zeta)
    excess = ((psi * sources).at[:, 0].add(soil) @ dispersion.T) / friction_velocity
    temperature = excess[0] / (density * AIR_SPECIFIC_HEAT)
    above = reference_temperature + temperature[n_layers]
    vapour = latent_heat_of_vaporisation(above) * 18.01 / (1000.0 * GAS_CONSTANT * above)
    return ScalarDeviation(temperature, excess[1] / vapour, excess[2] / (molar_density * AIR_MOLAR_MASS / 44.0))


def _soil_balance(guess, x):
    """Linearised balances; emission at the reference's air temperature added to that of the soil's air.

    Coefficients are taken at the temperature of the soil's own level (published: one layer below it), stability with
    the package's curve below neutral.
    """
    reference = x.pressure * AIR_MOLAR_MASS / (GAS_CONSTANT * x.density)
    t = x.air_temperature
    emission = x.emissivity * STEFAN_BOLTZMANN * reference**4
    saturation = saturation_vapour_pressure(t)
    lam = latent_heat_of_vaporisation(t)
    slope = 18.0 * lam * saturation / (1000.0 * GAS_CONSTANT * t**2)
    curvature = slope * (18.0 * lam / (1000.0 * GAS_CONSTANT * t**2) - 2.0 / t - 2370.0 / lam)
    deficit = saturation - x.vapour_pressure
    aerodynamic = jnp.log(x.height / x.roughness) ** 2 / (VON_KARMAN**2 * x.wind)

    def fluxes(ts):
        ground = x.conductance * (ts - x.deep_temperature)
        delta = 5.0 * GRAVITY * x.height * (ts - t) / (t * x.wind**2)
        resistance = jnp.clip(aerodynamic * stability_factor(delta), x.resistance_min, x.resistance_max)
        k_c = AIR_SPECIFIC_HEAT * x.density / resistance
        latent = 0.622 * x.density * lam / (1000.0 * x.pressure * (resistance + x.vapour_resistance))
        r = k_c + 4.0 * x.emissivity * STEFAN_BOLTZMANN * t**3
        available = x.absorbed - emission - ground
        a = latent * curvature / (2.0 * r)
        b = -r - latent * slope - 2.0 * a * available
        c = r * latent * deficit + latent * slope * available + a * available**2
        evaporation = 2.0 * c / (-b + jnp.sqrt(jnp.maximum(b**2 - 4.0 * a * c, 10.0)))
        square = 6.0 * x.emissivity * STEFAN_BOLTZMANN * t**2 + 0.5 * curvature * latent
        linear = 4.0 * x.emissivity * STEFAN_BOLTZMANN * t**3 + k_c + latent * slope
        constant = emission - x.absorbed + ground + latent * deficit
        rise = -2.0 * constant / (linear + jnp.sqrt(jnp.maximum(linear**2 - 4.0 * square * constant, 1e-9)))
        return SoilSurface(t + rise, k_c * rise, evaporation, ground)

    surface = jax.lax.fori_loop(0, 200, lambda _, ts: ts + 0.15 * (fluxes(ts).temperature - ts), guess)
    return fluxes(surface)


FORMS = {
    "sunlit fraction and absorption": (
        (shortwave, "beam_penetration", _sunlit_at_layer_bottom),
        (shortwave, "transfer", _absorption_from_below),
        (longwave, "transfer", _longwave_from_below),
        (implicit, "prepare", _prepare_full_leaves),
    ),
    "stability and CO2 profile": ((column, "scalar_profiles", _profiles),),
    "soil surface balance": ((column, "soil_surface_balance", _soil_balance),),
}
"""Name of a repair -> what undoes it: module, function, published form."""


@contextmanager
def published(*names: str):
    """Run with the published forms of the named repairs. Compiled programs are forgotten before and after."""
    with ExitStack() as stack:
        jax.clear_caches()
        stack.callback(jax.clear_caches)
        for name in names:
            for module, function, form in FORMS[name]:
                stack.enter_context(mock.patch.object(module, function, form))
        yield
