"""Complex numbers: parts, conjugates, arguments, and pairs of real numbers as complex ones.

A derivative with respect to a complex number is JAX's, the conjugate of torch's.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from .table import aten, floating, promote


@aten("view_as_real.default")
def _view_as_real(x):
    return jnp.stack([x.real, x.imag], axis=-1)


@aten("view_as_complex.default")
def _view_as_complex(x):
    return jax.lax.complex(x[..., 0], x[..., 1])


@aten("complex.default")
def _complex(real, imaginary):
    return jax.lax.complex(*jnp.broadcast_arrays(real, imaginary))


@aten("polar.default")
def _polar(length, angle):
    length, angle = jnp.broadcast_arrays(length, angle)
    return jax.lax.complex(length * jnp.cos(angle), length * jnp.sin(angle))


@aten("real.default")
def _real(x):
    return jnp.real(x)


@aten("imag.default")
def _imag(x):
    return jnp.imag(x)


@aten("_conj.default", "conj.default", "conj_physical.default")
def _conj(x):
    return jnp.conj(x)


@aten("resolve_conj.default", "resolve_neg.default")
def _resolved(x):
    return x


@aten("angle.default")
def _angle(x):
    """The argument; of real numbers 0 or pi, without derivative."""
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        zero = x == 0
        safe = jnp.where(zero, 1, x)
        return jnp.where(zero, 0, jnp.arctan2(safe.imag, safe.real))
    x = jax.lax.stop_gradient(floating(x))
    return jnp.where(jnp.isnan(x), x, jnp.where(x < 0, jnp.pi, 0)).astype(x.dtype)


@aten("sgn.default")
def _sgn(x):
    """x / |x|, and 0 at 0."""
    if not jnp.issubdtype(x.dtype, jnp.complexfloating):
        return jnp.sign(x)
    zero = x == 0
    safe = jnp.where(zero, 1, x)
    return jnp.where(zero, 0, safe / jnp.abs(safe))


@aten("vdot.default")
def _vdot(a, b):
    a, b = promote(a, b)
    return jnp.sum(jnp.conj(a) * b)
