"""Air temperature, vapour pressure and CO2 in and above the canopy from sources and dispersion [Raupach1989]."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..types import Values
from .constants import AIR_SPECIFIC_HEAT, GAS_CONSTANT
from .elementary import inverse, ratio
from .thermodynamics import latent_heat_of_vaporisation


class ScalarDeviation(NamedTuple):
    """Air minus reference at the receptor heights: K, Pa, umol mol-1."""

    temperature: Float[Array, " receptor"]
    vapour_pressure: Float[Array, " receptor"]
    co2: Float[Array, " receptor"]


def scalar_profiles(
    dispersion: Float[Array, "receptor layer"],
    sources: Float[Array, "3 layer"],
    soil: Float[Array, "3"],
    *,
    friction_velocity: Values,
    psi: Values,
    density: Values,
    molar_density: Values,
    reference_temperature: Values,
    n_layers: int,
) -> ScalarDeviation:
    """Profiles `c - c_ref = psi (D q + D_0 F_soil) / (u* Phi)` [Raupach1989]; `Phi` turns flux densities into concentrations.

    Args:
        dispersion: `D`, s m-1 at unit friction velocity; receptors from the ground up, at least `n_layers + 1`.
        sources: `q` per ground area: heat W m-2, vapour W m-2, CO2 umol m-2 s-1 (release positive).
        soil: `F_soil`, the same of the soil.
        friction_velocity: `u*`, m s-1.
        psi: stability factor.
        density: of the air, kg m-3.
        molar_density: mol m-3.
        reference_temperature: of the air at measurement height, K.
    """
    # The soil releases into the lowest layer, whose column of D is nearest to its own.
    released = sources.at[:, 0].add(soil)
    # Full precision: on a GPU JAX would round float32 products to 10 bits (TF32), and no pass would settle.
    product = jnp.matmul(released, dispersion.T, precision=jax.lax.Precision.HIGHEST)
    excess = ratio(psi, friction_velocity) * product
    temperature = excess[0] * inverse(density * AIR_SPECIFIC_HEAT)
    # Latent heat and the gas law of vapour are taken just above the canopy.
    above = reference_temperature + temperature[n_layers]
    vapour = ratio(latent_heat_of_vaporisation(above) * 18.01, 1000.0 * GAS_CONSTANT * above)
    return ScalarDeviation(
        temperature=temperature, vapour_pressure=excess[1] * inverse(vapour), co2=excess[2] * inverse(molar_density)
    )


def column_sources(layer_lai: Values, sunlit: Values, sun: Values, shade: Values) -> Values:
    """Layer sources per ground area, `dL [p y_sun + (1 - p) y_shade]`, of what sunlit and shaded leaves release per leaf area.

    Args:
        layer_lai: leaf area index of a layer, `dL`.
        sunlit: share `p` of sunlit leaves in each layer.
        sun, shade: `y_sun`, `y_shade` of each layer.
    """
    return layer_lai * (sunlit * sun + (1.0 - sunlit) * shade)
