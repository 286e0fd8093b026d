"""Leaf-angle distributions, mean projection `G`, diffuse transmission of a layer (docs/decisions.md, 5 to 7).

Distributions after [deWit1965] and [Lemeur1974]; projection after [WarrenWilson1960] and [Wang2007].
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..types import Values
from .elementary import relative_expm1

N_CLASSES = 50
"""Number of leaf-inclination and of sky-zenith classes."""

DENSITIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "erectophile": lambda theta: 1 - np.cos(2 * theta),
    "spherical": np.sin,
    "planophile": lambda theta: 1 + np.cos(2 * theta),
    "plagiophile": lambda theta: 1 - np.cos(4 * theta),
    "extremophile": lambda theta: 1 + np.cos(4 * theta),
    "uniform": np.ones_like,
}
"""Density of leaf inclination (0 = horizontal leaf) by name, not normalised [deWit1965] [Lemeur1974]."""


def class_angles(n_classes: int = N_CLASSES) -> Float[np.ndarray, " angle"]:
    """Midpoints of `n_classes` equal classes of [0, pi/2], rad."""
    return (np.arange(n_classes) + 0.5) * np.pi / (2 * n_classes)


def leaf_angle_weights(name: str, n_classes: int = N_CLASSES) -> Float[np.ndarray, " angle"]:
    """Share of leaf area in each inclination class of the distribution `name`, sum 1."""
    density = DENSITIES[name](class_angles(n_classes))
    return density / density.sum()


def mean_projection(cos_zenith: Values, weights: Float[Array | np.ndarray, " angle"]) -> Float[Array, "..."]:
    """Mean projection `G` of unit leaf area towards a direction [WarrenWilson1960] [Wang2007].

    `G = sum_i w_i A(theta, theta_i)`, `A = cos cos [1 + 2/pi (tan psi - psi)]`, `cos psi = clip(cot cot, -1, 1)`.

    Args:
        cos_zenith: cosine of the zenith angle of the direction, (0, 1], any shape.
        weights: share of leaf area by inclination class.

    Returns:
        G of the shape of `cos_zenith` (dimensionless, 0.5 for spherical leaves).
    """
    angles = jnp.asarray(class_angles(weights.shape[-1]), dtype=weights.dtype)
    cos_zenith = jnp.asarray(cos_zenith)[..., None]
    sine_squared = jnp.maximum(1.0 - cos_zenith**2, 1e-12)
    # Below 1 the direction meets one or the other face of a leaf, depending on the leaf's azimuth. At 1 and above psi is 0, where
    # arccos has an infinite derivative: its argument is replaced before, as a choice afterwards would give NaN.
    cot_cot = cos_zenith / jnp.sqrt(sine_squared) / jnp.tan(angles)
    crossed = cot_cot < 1.0
    psi = jnp.arccos(jnp.where(crossed, cot_cot, 0.0))
    both_sides = jnp.where(crossed, 2.0 / jnp.pi * (jnp.tan(jnp.where(crossed, psi, 0.0)) - psi), 0.0)
    return jnp.sum(weights * cos_zenith * jnp.cos(angles) * (1.0 + both_sides), axis=-1)


def sky_projection(weights: Float[Array | np.ndarray, " angle"]) -> Float[Array, " angle"]:
    """`G` towards each of the sky classes; depends on the leaf angles only."""
    return mean_projection(jnp.cos(jnp.asarray(class_angles(weights.shape[-1]), dtype=weights.dtype)), weights)


def diffuse_interception(layer_lai: Values, clumping: Values, sky_g: Float[Array, " angle"]) -> tuple[Values, Values]:
    """Interception of isotropic light by a layer.

    `tau_d = sum_i v_i exp(-x_i)`, `x_i = Omega dL G_i / cos theta_i`, weights `v_i` proportional to `cos sin` [Norman1979].

    Args:
        layer_lai: leaf area index of the layer `dL`.
        clumping: Markov clumping factor `Omega`.
        sky_g: `G` by sky class.

    Returns:
        `(tau_d, chi)`: transmission, and interception per leaf area `(1 - tau_d)/dL` with its limit at `dL = 0`.
    """
    angles = class_angles(sky_g.shape[-1])
    weights = np.cos(angles) * np.sin(angles)
    weights = jnp.asarray(weights / weights.sum(), dtype=sky_g.dtype)
    per_leaf_area = clumping * sky_g / jnp.asarray(np.cos(angles), dtype=sky_g.dtype)
    chi = jnp.sum(weights * per_leaf_area * relative_expm1(layer_lai * per_leaf_area))
    return 1.0 - layer_lai * chi, chi
