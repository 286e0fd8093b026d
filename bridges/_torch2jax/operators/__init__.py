"""JAX equivalents of PyTorch's core operators (ATen): the whole table, and plain Python operators of traced sizes."""

from __future__ import annotations

import math
import operator

import torch

from . import activation as _aten_activation
from . import nn as _aten_nn
from . import pointwise as _aten_pointwise
from . import recurrent as _aten_recurrent
from . import reduce as _aten_reduce
from . import shape as _aten_shape
from .table import TABLE as TABLE
from .table import UnsupportedOperatorError as UnsupportedOperatorError

MODULES = (_aten_pointwise, _aten_activation, _aten_reduce, _aten_shape, _aten_nn, _aten_recurrent)
"""Where the entries are written."""

SIZE_ARITHMETIC = frozenset(
    {
        operator.getitem, operator.add, operator.sub, operator.mul, operator.floordiv, operator.truediv, operator.mod,
        operator.neg, operator.pow, operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge,
        operator.and_, operator.or_, math.ceil, math.floor, torch.sym_max, torch.sym_min, torch.sym_float,
        torch.sym_int, torch.sym_not,
    }
)  # fmt: skip
"""Functions of Python numbers that a traced graph applies to sizes."""

ASSERTIONS = frozenset(
    {
        "aten._assert_scalar.default", "aten._assert_tensor_metadata.default", "aten.sym_constrain_range.default",
        "aten.sym_constrain_range_for_size.default",
    }
)  # fmt: skip
"""Statements about sizes and dtypes, which are checked at the entry instead."""


def supported_operators() -> tuple[str, ...]:
    """Names of all operators that `torch2jax` can convert, sorted."""
    return tuple(sorted(TABLE))


def is_random(operator: str) -> bool:
    """Whether an operator draws random numbers, as dropout does in training mode."""
    return operator.startswith(("aten.bernoulli", "aten.rand", "aten.normal", "aten.uniform", "aten.multinomial"))
