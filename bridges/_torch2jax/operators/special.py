"""Special functions: gamma, error, Bessel and entropy functions, and products of a number and a logarithm.

Derivatives are finite where torch's are; where torch has none (in the order of `polygamma`, the parameter of `igamma`), the
function has none here either.
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import jax.scipy.special as special
import numpy as np
from jax.custom_derivatives import SymbolicZero

from .table import aten, floating, promote

_UNARY = {
    "erfinv": jax.lax.erf_inv, "lgamma": jax.lax.lgamma, "digamma": jax.lax.digamma, "i0": special.i0,
    "special_i0e": special.i0e, "special_i1": special.i1, "special_i1e": special.i1e, "special_ndtri": special.ndtri,
    "special_log_ndtr": special.log_ndtr, "sinc": jnp.sinc,
}  # fmt: skip

for _name, _function in _UNARY.items():
    aten(f"{_name}.default")(lambda x, f=_function: f(floating(x)))


@aten("polygamma.default")
def _polygamma(n, x):
    """The derivative number n of digamma, (-1)^(n + 1) n! zeta(n + 1, x)."""
    x = floating(x)
    if n == 0:
        return jax.lax.digamma(x)
    return (-1) ** (n + 1) * math.factorial(n) * special.zeta(jnp.asarray(n + 1, x.dtype), x)


@aten("igamma.default")
def _igamma(a, x):
    a, x = promote(a, x)
    return jax.lax.igamma(jax.lax.stop_gradient(a), x)


@aten("igammac.default")
def _igammac(a, x):
    a, x = promote(a, x)
    return jax.lax.igammac(jax.lax.stop_gradient(a), x)


@aten("special_zeta.default", "special_zeta.self_scalar", "special_zeta.other_scalar")
def _zeta(x, q):
    x, q = promote(x, q)
    return special.zeta(jax.lax.stop_gradient(floating(x)), floating(q))


@jax.custom_jvp
def _times_logarithm(x, y):
    """x log(y), and 0 where x is 0."""
    value = jnp.where(x == 0, 0, x * jnp.log(jnp.where(x == 0, 1, y)))
    return jnp.where(jnp.isnan(y), y, value)


@_times_logarithm.defjvp
def _times_logarithm_jvp(primals, tangents):
    """To x: log(y), but 0 where x is 0 and y is not positive. To y: x / y."""
    (x, y), (dx, dy) = primals, tangents
    flat = (x == 0) & (y <= 0)
    slope = jnp.where(flat, 0, jnp.log(jnp.where(flat, 1, y)))
    return _times_logarithm(x, y), slope * dx + x / y * dy


@aten("xlogy.Tensor", "xlogy.Scalar_Self", "xlogy.Scalar_Other")
def xlogy(x, y):
    """x log(y), and 0 where x is 0, with torch's derivatives."""
    x, y = promote(x, y)
    return _times_logarithm(*jnp.broadcast_arrays(floating(x), floating(y)))


@aten("special_xlog1py.default", "special_xlog1py.self_scalar", "special_xlog1py.other_scalar")
def _xlog1py(x, y):
    """x log(1 + y), and 0 where x is 0, with torch's derivatives."""
    x, y = promote(x, y)
    return _times_shifted_logarithm(*jnp.broadcast_arrays(floating(x), floating(y)))


@jax.custom_jvp
def _times_shifted_logarithm(x, y):
    value = jnp.where(x == 0, 0, x * jnp.log1p(jnp.where(x == 0, 0, y)))
    return jnp.where(jnp.isnan(y), y, value)


@_times_shifted_logarithm.defjvp
def _times_shifted_logarithm_jvp(primals, tangents):
    """To x: log(1 + y), but 0 where x is 0 and y at most -1. To y: x / (1 + y)."""
    (x, y), (dx, dy) = primals, tangents
    flat = (x == 0) & (y <= -1)
    slope = jnp.where(flat, 0, jnp.log1p(jnp.where(flat, 0, y)))
    return _times_shifted_logarithm(x, y), slope * dx + x / (y + 1) * dy


@aten("special_entr.default")
def _entropy(x):
    """-x log(x): 0 at 0, -inf below."""
    x = floating(x)
    inside = x > 0
    value = -x * jnp.log(jnp.where(inside, x, 1))
    return jnp.where(inside | jnp.isnan(x), value, jnp.where(x == 0, -_times_logarithm(x, x), -jnp.inf))


@aten("logit.default")
def _logit(x, eps=None):
    """log(x / (1 - x)), x first limited to [eps, 1 - eps]; derivative 0 where it is limited."""
    x = floating(x)
    if eps is not None:
        x = jnp.where(x < eps, eps, jnp.where(x > 1 - eps, 1 - eps, x)).astype(x.dtype)
    return jnp.log(x / (1 - x))


@aten("special_erfcx.default")
def _erfcx(x):
    """exp(x^2) erfc(x) without overflow: by its definition below 5, by its series in 1 / x^2 above."""
    x = floating(x)
    large = x > 5
    direct = jnp.exp(jnp.square(jnp.where(large, 0, x))) * jax.lax.erfc(jnp.where(large, 0, x))
    far = jnp.where(large, x, 6)
    fraction = far
    for k in range(60, 0, -1):
        fraction = far + (k / 2) / fraction
    return jnp.where(large, 1 / (jnp.sqrt(jnp.pi) * fraction), direct)


@aten("binary_cross_entropy.default")
def _binary_cross_entropy(x, target, weight=None, reduction=1):
    """Both logarithms are at least -100. The derivative to x is (x - t) / max(x (1 - x), 1e-12) with torch's float32 1e-12."""
    loss = _cross_entropy(x, target)
    loss = loss if weight is None else loss * weight
    return (loss, jnp.mean(loss), jnp.sum(loss))[reduction] if reduction else loss


@jax.custom_jvp
def _cross_entropy(x, target):
    low = jnp.asarray(-100, x.dtype)
    return (target - 1) * jnp.maximum(jnp.log1p(-x), low) - target * jnp.maximum(jnp.log(x), low)


@functools.partial(_cross_entropy.defjvp, symbolic_zeros=True)
def _cross_entropy_jvp(primals, tangents):
    """To the target the logarithms have no limit, as in torch; a target that does not vary adds no infinity times 0."""
    (x, target), (dx, dt) = primals, tangents
    tangent = jnp.zeros_like(x)
    if not isinstance(dx, SymbolicZero):
        tangent += (x - target) / jnp.maximum(x * (1 - x), float(np.float32(1e-12))) * dx
    if not isinstance(dt, SymbolicZero):
        tangent += (jnp.log1p(-x) - jnp.log(x)) * dt
    return _cross_entropy(x, target), tangent
