"""Functions whose derivative is finite where the plain formula's is not (the "where" trap, spec 3 section 8.5)."""

import jax.numpy as jnp

from .elementary import positive_power, ratio


def relative_expm1(x):
    """`(1 - exp(-x)) / x` for `x >= 0`, with its limit 1 and derivative -1/2 at zero."""
    small = x < 1e-4
    safe = jnp.where(small, 1.0, x)
    return jnp.where(small, 1.0 - x / 2 + x**2 / 6, ratio(-jnp.expm1(-safe), safe))


def power(base, exponent):
    """`base ** exponent` for `base >= 0`; value and derivatives are 0 at `base == 0`."""
    positive = base > 0
    inside = jnp.where(positive, base, 1.0)
    raised = positive_power(inside, exponent) if isinstance(exponent, float) else inside**exponent
    return jnp.where(positive, raised, 0.0)
