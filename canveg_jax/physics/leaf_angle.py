"""Leaf-angle distributions, mean projection `G`, diffuse transmission of a layer (spec 2 section 2; decisions 5-7).

Distributions after de Wit (1965), Lemeur & Blad (1974); projection after Warren Wilson (1960), Wang, Li & Su (2007).
"""

import jax.numpy as jnp
import numpy as np

from .elementary import relative_expm1

N_CLASSES = 50
"""Number of leaf-inclination and of sky-zenith classes."""

DENSITIES = {
    "erectophile": lambda theta: 1 - np.cos(2 * theta),
    "spherical": np.sin,
    "planophile": lambda theta: 1 + np.cos(2 * theta),
    "plagiophile": lambda theta: 1 - np.cos(4 * theta),
    "extremophile": lambda theta: 1 + np.cos(4 * theta),
    "uniform": np.ones_like,
}
"""Unnormalised density of leaf inclination (0 = horizontal leaf) by name."""


def class_angles(n_classes: int = N_CLASSES) -> np.ndarray:
    """Midpoints of `n_classes` equal classes of [0, pi/2], rad."""
    return (np.arange(n_classes) + 0.5) * np.pi / (2 * n_classes)


def leaf_angle_weights(name: str, n_classes: int = N_CLASSES) -> np.ndarray:
    """Share of leaf area in each inclination class `[n_classes]`, sum 1."""
    density = DENSITIES[name](class_angles(n_classes))
    return density / density.sum()


def mean_projection(cos_zenith, weights):
    """Mean projection `G` of unit leaf area towards a direction.

    `G = sum_i w_i A(theta, theta_i)`, `A = cos cos [1 + 2/pi (tan psi - psi)]`, `cos psi = clip(cot cot, -1, 1)`.

    Args:
        cos_zenith: cosine of the zenith angle of the direction, (0, 1], any shape.
        weights: share of leaf area by inclination class, `[class]`.

    Returns:
        G of the shape of `cos_zenith` (dimensionless, 0.5 for spherical leaves).
    """
    angles = jnp.asarray(class_angles(weights.shape[-1]), dtype=weights.dtype)
    cos_zenith = jnp.asarray(cos_zenith)[..., None]
    sine_squared = jnp.maximum(1.0 - cos_zenith**2, 1e-12)
    cot_cot = cos_zenith / jnp.sqrt(sine_squared) / jnp.tan(angles)
    crossed = cot_cot < 1.0
    psi = jnp.arccos(jnp.where(crossed, cot_cot, 0.0))
    both_sides = jnp.where(crossed, 2.0 / jnp.pi * (jnp.tan(jnp.where(crossed, psi, 0.0)) - psi), 0.0)
    return jnp.sum(weights * cos_zenith * jnp.cos(angles) * (1.0 + both_sides), axis=-1)


def sky_projection(weights):
    """`G` towards each of the sky classes `[class]`; depends on the leaf angles only."""
    return mean_projection(jnp.cos(jnp.asarray(class_angles(weights.shape[-1]), dtype=weights.dtype)), weights)


def diffuse_interception(layer_lai, clumping, sky_g):
    """Interception of isotropic light by a layer.

    `tau_d = sum_i v_i exp(-x_i)`, `x_i = Omega dL G_i / cos theta_i`, weights `v_i` proportional to `cos sin`.

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
