"""JAX equivalents of PyTorch's core operators (ATen): the whole table, and plain Python operators of traced sizes."""

from __future__ import annotations

import math
import operator

import torch

from . import activation as _aten_activation
from . import backward as _aten_backward
from . import clamp as _aten_clamp
from . import complex as _aten_complex
from . import embedding as _aten_embedding
from . import fft as _aten_fft
from . import interpolation as _aten_interpolation
from . import linalg as _aten_linalg
from . import nn as _aten_nn
from . import normalisation as _aten_normalisation
from . import order as _aten_order
from . import pointwise as _aten_pointwise
from . import pooling as _aten_pooling
from . import random as _aten_random
from . import recurrent as _aten_recurrent
from . import reduce as _aten_reduce
from . import scatter as _aten_scatter
from . import shape as _aten_shape
from . import special as _aten_special
from . import unfolding as _aten_unfolding
from .table import RANDOM as RANDOM
from .table import TABLE as TABLE
from .table import UnsupportedOperatorError as UnsupportedOperatorError

MODULES = (
    _aten_activation, _aten_backward, _aten_clamp, _aten_complex, _aten_embedding, _aten_fft, _aten_interpolation, _aten_linalg,
    _aten_nn, _aten_normalisation, _aten_order, _aten_pointwise, _aten_pooling, _aten_random, _aten_recurrent,
    _aten_reduce, _aten_scatter, _aten_shape, _aten_special, _aten_unfolding,
)  # fmt: skip
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
        "aten.sym_constrain_range_for_size.default", "aten._linalg_check_errors.default", "aten._assert_async.msg",
        "aten._assert_async.default",
    }
)  # fmt: skip
"""Statements about sizes and dtypes, which are checked at the entry instead."""


def supported_operators() -> tuple[str, ...]:
    """Names of all operators that `torch2jax` can convert, sorted."""
    return tuple(sorted(TABLE))


def is_random(operator: str) -> bool:
    """Whether an operator draws random numbers, as dropout does in training mode."""
    return operator.startswith(("aten.bernoulli", "aten.rand", "aten.normal", "aten.uniform", "aten.multinomial"))
