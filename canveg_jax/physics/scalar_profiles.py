"""Air temperature, vapour pressure and CO2 in and above the canopy from sources and dispersion (spec 4 section 7)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .constants import AIR_SPECIFIC_HEAT, GAS_CONSTANT
from .elementary import inverse, ratio
from .thermodynamics import latent_heat_of_vaporisation


class ScalarDeviation(NamedTuple):
    """Air minus reference at the receptor heights: K, Pa, umol mol-1."""

    temperature: Any
    vapour_pressure: Any
    co2: Any


def scalar_profiles(
    dispersion, sources, soil, friction_velocity, psi, density, molar_density, reference_temperature, n_layers: int
) -> ScalarDeviation:
    """Profiles `c - c_ref = psi (D q + D_0 F_soil) / (u* Phi)`.

    Args:
        dispersion: `D`, s m-1 at unit friction velocity, rows = receptors (at least `n_layers + 1`), `n_layers` columns.
        sources: `[3, N]` per ground area: heat W m-2, vapour W m-2, CO2 umol m-2 s-1 (release positive).
        soil: `[3]`, the same of the soil.
        psi: stability factor. density: kg m-3. molar_density: mol m-3.
    """
    released = sources.at[:, 0].add(soil)
    # Full precision: on a GPU JAX would round float32 products to 10 bits (TF32), and no pass would settle.
    product = jnp.matmul(released, dispersion.T, precision=jax.lax.Precision.HIGHEST)
    excess = ratio(psi, friction_velocity) * product
    temperature = excess[0] * inverse(density * AIR_SPECIFIC_HEAT)
    above = reference_temperature + temperature[n_layers]
    vapour = ratio(latent_heat_of_vaporisation(above) * 18.01, 1000.0 * GAS_CONSTANT * above)
    return ScalarDeviation(temperature, excess[1] * inverse(vapour), excess[2] * inverse(molar_density))


def column_sources(layer_lai, sunlit, sun, shade):
    """Layer sources per ground area `dL [p y_sun + (1-p) y_shade]`, `[N]`."""
    return layer_lai * (sunlit * sun + (1.0 - sunlit) * shade)
