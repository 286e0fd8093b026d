"""Division, root, logarithm and power whose derivatives reuse what the value needed.

The usual derivative rules divide once more for every direction (`d(a/b) = da/b - (a/b)/b db`). XLA gives each division and root
that has several readers a kernel of its own, so the rules here, products with one inverse, save much of the time and of the code
of the derivatives (docs/performance.md). Values differ from the plain operations by rounding.
"""

from functools import partial

import jax
import jax.numpy as jnp


@jax.custom_jvp
def inverse(x):
    """`1 / x`."""
    return 1.0 / x


@inverse.defjvp
def _inverse_tangent(primals, tangents):
    (x,), (dx,) = primals, tangents
    y = inverse(x)
    return y, -(y * y) * dx


def ratio(x, y):
    """`x / y`."""
    return x * inverse(y)


@jax.custom_jvp
def root(x):
    """Square root of `x > 0`."""
    return jnp.sqrt(x)


@root.defjvp
def _root_tangent(primals, tangents):
    (x,), (dx,) = primals, tangents
    y = root(x)
    return y, 0.5 * inverse(y) * dx


@jax.custom_jvp
def logarithm(x):
    """Natural logarithm of `x > 0`."""
    return jnp.log(x)


@logarithm.defjvp
def _logarithm_tangent(primals, tangents):
    (x,), (dx,) = primals, tangents
    return logarithm(x), inverse(x) * dx


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def positive_power(x, exponent: float):
    """`x ** exponent` of `x > 0`, for a constant exponent: XLA has exponential and logarithm for whole vectors, but no power."""
    return jnp.exp(exponent * jnp.log(x))


@positive_power.defjvp
def _power_tangent(exponent, primals, tangents):
    (x,), (dx,) = primals, tangents
    y = positive_power(x, exponent)
    return y, exponent * (y * inverse(x)) * dx
