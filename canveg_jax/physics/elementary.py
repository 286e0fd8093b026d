"""Elementary functions whose derivatives are cheap in every direction and finite where the plain formula's are not.

The usual derivative rules divide once more for every direction (`d(a/b) = da/b - (a/b)/b db`). XLA gives each division, root
and power that has several readers a kernel of its own, so the rules here, products with the one inverse that the value needed,
save much of the time and of the code of the derivatives (docs/performance.md). Values differ from the plain operations by
rounding.

The rule, where an equation divides or takes a root, a logarithm or a power of something that a derivative flows through:

* By a variable, in what every half-hour or every pass computes from parameters, forcing or the unknowns: `ratio`, `inverse`,
  `root`, `logarithm`, `positive_power`; `power` where the base may be zero, where the plain derivative is not finite.
* By a number written in the code, by a constant of `constants.py` or by the static number of layers: plain `/`. The derivative
  is one product anyway.
* By a length of the site or an angle (`wind`, `sun`, `leaf_angle`, heights): plain `/`, `jnp.log`, `jnp.sqrt`. Nothing is learned
  from them, so no derivative passes through the divisor, and they are computed once, not in every pass.
* Where nothing is differentiated: plain `/`. So under `stop_gradient` (starts, brackets and safeguarded Newton steps of
  `gas_exchange` and `soil_surface`), in NumPy, and in `random_flight` and `dispersion`.
* Exceptions that keep a published form: the four divisions of `soil_respiration.alfalfa_respiration` (single numbers), and powers
  of parameters, which all half-hours share (`soil_respiration.q10_respiration`, `leaf_boundary_layer`).
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..types import Values


@jax.custom_jvp
def inverse(x: Values) -> Values:
    """`1 / x`."""
    return 1.0 / x


@inverse.defjvp
def _inverse_tangent(primals, tangents):
    (x,), (dx,) = primals, tangents
    y = inverse(x)
    return y, -(y * y) * dx


def ratio(x: Values | float, y: Values | float) -> Values:
    """`x / y`."""
    return x * inverse(y)


@jax.custom_jvp
def root(x: Values) -> Float[Array, "..."]:
    """Square root of `x > 0`."""
    return jnp.sqrt(x)


@root.defjvp
def _root_tangent(primals, tangents):
    (x,), (dx,) = primals, tangents
    y = root(x)
    return y, 0.5 * inverse(y) * dx


@jax.custom_jvp
def logarithm(x: Values) -> Float[Array, "..."]:
    """Natural logarithm of `x > 0`."""
    return jnp.log(x)


@logarithm.defjvp
def _logarithm_tangent(primals, tangents):
    (x,), (dx,) = primals, tangents
    return logarithm(x), inverse(x) * dx


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def positive_power(x: Values, exponent: float) -> Float[Array, "..."]:
    """`x ** exponent` of `x > 0`, for a constant exponent: XLA has exponential and logarithm for whole vectors, but no power."""
    return jnp.exp(exponent * jnp.log(x))


@positive_power.defjvp
def _power_tangent(exponent, primals, tangents):
    (x,), (dx,) = primals, tangents
    y = positive_power(x, exponent)
    return y, exponent * (y * inverse(x)) * dx


def relative_expm1(x: Values) -> Float[Array, "..."]:
    """`(1 - exp(-x)) / x` for `x >= 0`, with its limit 1 and derivative -1/2 at zero."""
    small = x < 1e-4
    # The branch that is not taken must be finite too: its derivative is multiplied by zero, and 0 * inf is NaN.
    safe = jnp.where(small, 1.0, x)
    return jnp.where(small, 1.0 - x / 2 + x**2 / 6, ratio(-jnp.expm1(-safe), safe))


def power(base: Values, exponent: Values | float) -> Float[Array, "..."]:
    """`base ** exponent` for `base >= 0`; value and derivatives are 0 at `base == 0`."""
    positive = base > 0
    inside = jnp.where(positive, base, 1.0)
    raised = positive_power(inside, exponent) if isinstance(exponent, float) else inside**exponent
    return jnp.where(positive, raised, 0.0)


def newton_or_midpoint(
    x: Values, value: Values, slope: Values, low: Values, high: Values
) -> tuple[Float[Array, "..."], Float[Array, "..."], Float[Array, "..."]]:
    """One safeguarded Newton step towards the root of a decreasing function.

    The sign of `value` moves one end of the bracket to `x`; a Newton step that leaves the bracket is replaced by its midpoint,
    so that the root is found from any start, and quadratically once the steps stay inside.

    Args:
        x: the current point, in the bracket.
        value, slope: the function and its derivative at `x`.
        low, high: bracket of the root.

    Returns:
        The next point and the new `low` and `high`.
    """
    low, high = jnp.where(value > 0, x, low), jnp.where(value > 0, high, x)
    newton = x - value / slope
    return jnp.where((newton >= low) & (newton <= high), newton, 0.5 * (low + high)), low, high
