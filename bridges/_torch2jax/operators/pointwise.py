"""Elementwise arithmetic, comparison and elementary functions."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ..._runtime.dtypes import jax_dtype
from .table import aten, floating, promote


def absolute(x):
    """|x| with derivative 0 at 0, of complex numbers too."""
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        zero = x == 0
        return jnp.where(zero, 0, jnp.abs(jnp.where(zero, 1, x)))
    return x * jnp.sign(x)


def _next_after(x, y):
    """The next number towards y, without derivative."""
    return jnp.nextafter(jax.lax.stop_gradient(x), jax.lax.stop_gradient(y))


_UNARY = {
    "exp": jnp.exp, "exp2": jnp.exp2, "expm1": jnp.expm1, "log": jnp.log, "log2": jnp.log2, "log10": jnp.log10,
    "log1p": jnp.log1p, "sqrt": jnp.sqrt, "rsqrt": jax.lax.rsqrt, "sin": jnp.sin, "cos": jnp.cos, "tan": jnp.tan,
    "asin": jnp.arcsin, "acos": jnp.arccos, "atan": jnp.arctan, "sinh": jnp.sinh, "cosh": jnp.cosh, "tanh": jnp.tanh,
    "asinh": jnp.arcsinh, "acosh": jnp.arccosh, "atanh": jnp.arctanh, "erf": jax.lax.erf, "erfc": jax.lax.erfc,
    "sigmoid": jax.nn.sigmoid, "reciprocal": jnp.reciprocal,
}  # fmt: skip

_KEEP_DTYPE = {
    "neg": jnp.negative, "abs": absolute, "sign": jnp.sign, "square": jnp.square, "floor": jnp.floor, "ceil": jnp.ceil,
    "trunc": jnp.trunc, "round": jnp.round, "isnan": jnp.isnan, "isinf": jnp.isinf, "isfinite": jnp.isfinite,
    "logical_not": jnp.logical_not, "bitwise_not": jnp.invert, "signbit": jnp.signbit,
}  # fmt: skip

_BINARY = {
    "maximum": jnp.maximum, "minimum": jnp.minimum, "fmax": jnp.fmax, "fmin": jnp.fmin, "fmod": jnp.fmod,
    "logaddexp": jnp.logaddexp,
    "bitwise_and": jnp.bitwise_and, "bitwise_or": jnp.bitwise_or, "bitwise_xor": jnp.bitwise_xor,
    "remainder": jnp.remainder, "floor_divide": jnp.floor_divide, "mul": jnp.multiply,
    "eq": jnp.equal, "ne": jnp.not_equal, "lt": jnp.less, "le": jnp.less_equal, "gt": jnp.greater,
    "ge": jnp.greater_equal, "logical_and": jnp.logical_and, "logical_or": jnp.logical_or,
    "logical_xor": jnp.logical_xor, "gcd": jnp.gcd, "lcm": jnp.lcm, "nextafter": _next_after,
    "bitwise_left_shift": jnp.left_shift, "bitwise_right_shift": jnp.right_shift,
}  # fmt: skip

_WITH_SCALAR = {"fmod", "remainder", "floor_divide", "mul", "eq", "ne", "lt", "le", "gt", "ge"} | {
    "bitwise_and", "bitwise_or", "bitwise_xor",
}  # fmt: skip

_WITHOUT_OVERLOAD = {
    "maximum", "minimum", "logaddexp", "logical_and", "logical_or", "logical_xor", "floor_divide", "fmax", "fmin", "gcd",
    "lcm", "nextafter",
}  # fmt: skip

for _name, _function in _UNARY.items():
    aten(f"{_name}.default")(lambda x, f=_function: f(floating(x)))
for _name, _function in _KEEP_DTYPE.items():
    aten(f"{_name}.default")(lambda x, f=_function: f(jnp.asarray(x)))
for _name, _function in _BINARY.items():
    _overloads = ["default" if _name in _WITHOUT_OVERLOAD else "Tensor"] + ["Scalar"] * (_name in _WITH_SCALAR)
    aten(*(f"{_name}.{_o}" for _o in _overloads))(lambda x, y, f=_function: f(*promote(x, y)))


@aten("add.Tensor", "add.Scalar")
def _add(x, y, alpha=1):
    x, y = promote(x, y)
    return jnp.add(x, y if alpha == 1 else alpha * y)


@aten("sub.Tensor", "sub.Scalar")
def _sub(x, y, alpha=1):
    x, y = promote(x, y)
    return jnp.subtract(x, y if alpha == 1 else alpha * y)


@aten("rsub.Tensor", "rsub.Scalar")
def _rsub(x, y, alpha=1):
    return _sub(y, x, alpha)


@aten("div.Tensor", "div.Scalar", "true_divide.Tensor", "div.Tensor_mode", "div.Scalar_mode")
def _div(x, y, rounding_mode=None):
    x, y = promote(x, y)
    if rounding_mode == "floor":
        return jnp.floor_divide(x, y)
    if rounding_mode == "trunc":
        return jnp.trunc(x / y) if jnp.issubdtype(x.dtype, jnp.inexact) else jax.lax.div(x, y)
    return floating(x) / floating(y)


@aten("atan2.default")
def _atan2(y, x):
    y, x = (floating(v) for v in promote(y, x))
    return jnp.arctan2(y, x)


@aten("hypot.default")
def _hypot(x, y):
    """sqrt(x^2 + y^2) without overflow, with the derivative x / hypot of torch."""
    return _hypotenuse(*jnp.broadcast_arrays(*promote(x, y)))


@jax.custom_jvp
def _hypotenuse(x, y):
    return jnp.hypot(x, y)


@_hypotenuse.defjvp
def _hypotenuse_jvp(primals, tangents):
    (x, y), (dx, dy) = primals, tangents
    length = _hypotenuse(x, y)
    return length, x / length * dx + y / length * dy


@aten("copysign.Tensor", "copysign.Scalar")
def _copysign(x, y):
    """Derivative to x: 1 or -1, 0 where x is 0; to y: 0."""
    x, y = (floating(v) for v in promote(x, y))
    return x * jax.lax.stop_gradient(jnp.sign(x) * jnp.where(jnp.signbit(y), -1, 1)) + jnp.copysign(0.0, y).astype(
        x.dtype
    )


@aten("round.decimals")
def _round_decimals(x, *, decimals=0):
    return jnp.round(x, decimals)


@aten("frexp.Tensor")
def _frexp(x):
    """Mantissa and exponent; the derivative of the mantissa is 2^-exponent."""
    exponent = jnp.frexp(jax.lax.stop_gradient(x))[1]
    return jnp.ldexp(x, -exponent), exponent


@aten("ldexp.Tensor")
def _ldexp(x, y):
    x, y = promote(x, y)
    return floating(x) * jnp.exp2(floating(y))


@aten("pow.Tensor_Tensor", "pow.Scalar")
def _pow(x, y):
    return jnp.power(*promote(x, y))


@aten("pow.Tensor_Scalar")
def _pow_scalar(x, exponent):
    """Whole exponents by multiplication, as torch does: finite derivatives at 0 and of negative numbers."""
    if isinstance(exponent, float) and exponent.is_integer() and jnp.issubdtype(x.dtype, jnp.inexact):
        exponent = int(exponent)
    if isinstance(exponent, int) and jnp.issubdtype(x.dtype, jnp.inexact):
        return jax.lax.integer_pow(x, exponent) if exponent else jnp.ones_like(x)
    return jnp.power(*promote(x, exponent))


@aten("where.self", "where.ScalarOther", "where.ScalarSelf", "where.Scalar")
def _where(condition, x, y):
    return jnp.where(condition, *promote(x, y))


@aten("masked_fill.Scalar", "masked_fill.Tensor")
def _masked_fill(x, mask, value):
    return jnp.where(mask, jnp.asarray(value, x.dtype), x)


@aten("addcmul.default")
def _addcmul(x, a, b, *, value=1):
    return x + value * (a * b)


@aten("addcdiv.default")
def _addcdiv(x, a, b, *, value=1):
    return x + value * (a / b)


@aten("lerp.Scalar", "lerp.Tensor")
def _lerp(start, end, weight):
    return start + jnp.asarray(weight, start.dtype) * (end - start)


@aten("nan_to_num.default")
def _nan_to_num(x, nan=None, posinf=None, neginf=None):
    return jnp.nan_to_num(x, nan=0.0 if nan is None else nan, posinf=posinf, neginf=neginf)


@aten("_local_scalar_dense.default")
def _item(x):
    """A number taken out of a tensor, without derivative."""
    return jax.lax.stop_gradient(x.reshape(()))


@aten("fill.Scalar", "fill.Tensor")
def _fill(x, value):
    return jnp.broadcast_to(jnp.asarray(value, x.dtype), x.shape)


@aten("clone.default", "alias.default", "lift_fresh_copy.default", "_to_copy.default")
def _copy(x, *, dtype=None, **memory: Any):
    del memory
    return x if dtype is None else x.astype(jax_dtype(dtype))


@aten("copy.default")
def _overwrite(x, source, non_blocking=False):
    del non_blocking
    return jnp.broadcast_to(source, x.shape).astype(x.dtype)


@aten("detach.default")
def _detach(x):
    return jax.lax.stop_gradient(x)
