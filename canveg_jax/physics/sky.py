"""Incoming radiation: beam and diffuse parts [Weiss1985] (as in the published model) and long-wave from the sky.

See docs/decisions.md, 2 to 4.
"""

from typing import cast

import jax.numpy as jnp

from ..types import Scalar, Values
from .constants import PAR_PER_JOULE, PAR_SHARE, SOLAR_CONSTANT, STEFAN_BOLTZMANN
from .elementary import power, ratio
from .state import IncomingShortwave

MIN_SIN_BETA = 1e-3
"""Smallest sine of elevation that is divided by; no beam is left there."""

_VISIBLE_SHARE, _NIR_SHARE = 0.383, 0.517
_Q_MIN, _Q_MAX = 0.22, 0.89


def split_shortwave(sin_beta: Values, shortwave_in: Values, pressure: Values) -> IncomingShortwave:
    """Split global radiation into beam and diffuse PAR and near infrared [Weiss1985].

    Sun below the horizon: everything is diffuse. By day and night
    `(par_beam + par_diffuse)/4.6 + nir_beam + nir_diffuse = shortwave_in`.

    Args:
        sin_beta: sine of solar elevation.
        shortwave_in: global radiation on a horizontal area, W m-2, >= 0.
        pressure: kPa.
    """
    day = sin_beta > 0
    mu = jnp.maximum(sin_beta, MIN_SIN_BETA)
    air_mass = ratio(pressure / 101.3, mu)
    visible, nir = SOLAR_CONSTANT * _VISIBLE_SHARE, SOLAR_CONSTANT * _NIR_SHARE
    beam_visible = visible * jnp.exp(-0.185 * air_mass) * mu
    diffuse_visible = 0.4 * (visible * mu - beam_visible)
    water = 0.077 * SOLAR_CONSTANT * power(2.0 * air_mass, 0.3)
    beam_nir = (nir * jnp.exp(-0.06 * air_mass) - water) * mu
    diffuse_nir = 0.6 * (nir - ratio(beam_visible, mu) - water) * mu
    potential_visible = jnp.maximum(0.1, beam_visible + diffuse_visible)
    potential_nir = jnp.maximum(0.1, beam_nir + diffuse_nir)
    q = jnp.clip(ratio(shortwave_in, potential_visible + potential_nir), _Q_MIN, _Q_MAX)
    share_visible = jnp.clip(ratio(beam_visible, potential_visible) * (1 - power((0.9 - q) / 0.70, 0.67)), 0, 1)
    share_nir = jnp.clip(ratio(beam_nir, potential_nir) * (1 - power((0.9 - q) / 0.68, 0.67)), 0, 1)
    par = PAR_PER_JOULE * PAR_SHARE * shortwave_in
    near_infrared = (1 - PAR_SHARE) * shortwave_in
    par_beam = jnp.where(day, share_visible * par, 0.0)
    nir_beam = jnp.where(day, share_nir * near_infrared, 0.0)
    return IncomingShortwave(
        par_beam=par_beam,
        par_diffuse=cast(Scalar, par - par_beam),
        nir_beam=nir_beam,
        nir_diffuse=cast(Scalar, near_infrared - nir_beam),
        q=jnp.where(day, q, _Q_MAX),
    )


def sky_longwave(sin_beta: Values, q: Values, air_temperature: Values) -> Values:
    """Long-wave from the sky, W m-2: emissivity of [Idso1969] blended with cloud by `q`.

    The night value of `q` (0.89) goes over into the measured one between 0 and 5.7 degrees of elevation (docs/decisions.md, 4).

    Args:
        sin_beta: sine of solar elevation.
        q: clearness ratio of `split_shortwave`.
        air_temperature: K.
    """
    s = jnp.clip(sin_beta / 0.1, 0.0, 1.0)
    blended = _Q_MAX + s * s * (3.0 - 2.0 * s) * (q - _Q_MAX)
    clear_sky = 1.0 - 0.261 * jnp.exp(-7.77e-4 * (273.16 - air_temperature) ** 2)
    return STEFAN_BOLTZMANN * air_temperature**4 * (clear_sky * blended + 1.0 - blended)
