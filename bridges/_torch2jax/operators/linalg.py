"""Linear algebra: factorisations, inverses, determinants, solutions.

A matrix for which torch raises (singular, not positive definite) gives NaN or infinite results. Signs of vectors and the
order of values are those of LAPACK, as in torch on a CPU.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.lax import Precision

from .table import aten


def _product(a, b):
    return jnp.matmul(a, b, precision=Precision.HIGHEST)


def _transposed(x):
    return jnp.swapaxes(x, -1, -2)


def _adjoint(x):
    return jnp.conj(_transposed(x))


def _info(x):
    """LAPACK's report: no error."""
    return jnp.zeros(x.shape[:-2], jnp.int32)


def _lu(a):
    """Factors as LAPACK returns them: both in one matrix, rows exchanged (counted from 1), and the permutation."""
    packed, pivots, order = jax.lax.linalg.lu(a)
    return packed, pivots + 1, order


def _parity(pivots):
    """1 or -1 by the number of exchanges."""
    exchanged = pivots != jnp.arange(1, pivots.shape[-1] + 1)
    return jnp.where(jnp.sum(exchanged, axis=-1) % 2 == 0, 1, -1)


@aten("linalg_inv_ex.default")
def _inverse(a, *, check_errors=False):
    del check_errors
    return jnp.linalg.inv(a), _info(a)


@aten("linalg_cholesky_ex.default")
def _cholesky(a, *, upper=False, check_errors=False):
    """Only the triangle that torch reads is read, and the derivative is that of a Hermitian matrix."""
    del check_errors
    lower = _hermitian(_adjoint(a) if upper else a, "L")
    factor = jnp.linalg.cholesky(lower, symmetrize_input=False)
    return (_adjoint(factor) if upper else factor), _info(a)


@aten("cholesky.default")
def _old_cholesky(a, upper=False):
    return _cholesky(a, upper=upper)[0]


def _hermitian(a, triangle: str):
    """The Hermitian matrix of which one triangle is given; as in torch, half of the derivative goes to either triangle."""
    strict = jnp.tril(a, -1) if triangle == "L" else jnp.triu(a, 1)
    diagonal = jnp.real(jnp.diagonal(a, axis1=-2, axis2=-1)).astype(a.dtype)
    value = jax.lax.stop_gradient(strict + _adjoint(strict) + diagonal[..., None] * jnp.eye(a.shape[-1], dtype=a.dtype))
    mean = (a + _adjoint(a)) / 2
    return value + (mean - jax.lax.stop_gradient(mean))


@aten("_linalg_det.default")
def _determinant(a):
    packed, pivots, _ = _lu(jax.lax.stop_gradient(a))
    return jnp.linalg.det(a), packed, pivots


@aten("_linalg_slogdet.default")
def _sign_and_logarithm(a):
    packed, pivots, _ = _lu(jax.lax.stop_gradient(a))
    sign, logarithm = jnp.linalg.slogdet(a)
    return sign, logarithm, packed, pivots


def _columns(a, b, left: bool):
    """Whether the right-hand side is one vector per matrix, as torch decides it."""
    return left and (b.ndim == 1 or (a.ndim - 1 == b.ndim and b.shape == a.shape[:-1]))


@aten("_linalg_solve_ex.default")
def _solve(a, b, *, left=True, check_errors=False):
    del check_errors
    packed, pivots, _ = _lu(jax.lax.stop_gradient(a))
    vector = _columns(a, b, left)
    b = b[..., None] if vector else b
    lead = jnp.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    matrix, right = (jnp.broadcast_to(v, (*lead, *v.shape[-2:])) for v in (a, b))
    x = jnp.linalg.solve(matrix, right) if left else _transposed(jnp.linalg.solve(*map(_transposed, (matrix, right))))
    return (x[..., 0] if vector else x), packed, pivots, _info(a)


def _unpacked(packed, rows: int, columns: int):
    """The lower factor (ones on its diagonal) and the upper one."""
    k = min(rows, columns)
    lower = jnp.tril(packed[..., :, :k], -1) + jnp.eye(rows, k, dtype=packed.dtype)
    return lower, jnp.triu(packed[..., :k, :])


def _permutation(order, dtype):
    """The matrix P of A = P L U."""
    return _transposed(jax.nn.one_hot(order, order.shape[-1], dtype=dtype))


@aten("linalg_lu.default")
def _factors(a, *, pivot=True):
    del pivot
    packed, _, order = jax.lax.linalg.lu(a)
    return (_permutation(order, a.dtype), *_unpacked(packed, *a.shape[-2:]))


@aten("linalg_lu_factor_ex.default")
def _packed_factors(a, *, pivot=True, check_errors=False):
    del pivot, check_errors
    packed, pivots, _ = _lu(a)
    return packed, pivots, _info(a)


def _order_of(pivots, rows: int):
    return jax.lax.linalg.lu_pivots_to_permutation(pivots - 1, rows)


@aten("lu_unpack.default")
def _unpack(packed, pivots, unpack_data=True, unpack_pivots=True):
    empty = jnp.zeros((0,), packed.dtype)
    order = _permutation(_order_of(pivots, packed.shape[-2]), packed.dtype) if unpack_pivots else empty
    return (order, *(_unpacked(packed, *packed.shape[-2:]) if unpack_data else (empty, empty)))


@aten("linalg_lu_solve.default")
def _solve_factored(packed, pivots, b, *, left=True, adjoint=False):
    lower, upper = _unpacked(packed, *packed.shape[-2:])
    a = _product(_permutation(_order_of(pivots, packed.shape[-2]), packed.dtype), _product(lower, upper))
    return _solve(_adjoint(a) if adjoint else a, b, left=left)[0]


@aten("_linalg_eigh.default")
def _eigenvalues(a, triangle="L", compute_v=True):
    """Ascending eigenvalues and vectors of a Hermitian matrix of which one triangle is read."""
    vectors, values = jax.lax.linalg.eigh(_hermitian(a, triangle[0].upper()), symmetrize_input=False)
    return values, vectors if compute_v else jnp.zeros((0,), a.dtype)


@aten("linalg_qr.default")
def _qr(a, mode="reduced"):
    if mode == "r":
        return jnp.zeros((0,), a.dtype), jnp.linalg.qr(a, mode="r")
    return tuple(jnp.linalg.qr(a, mode=mode))


@aten("_linalg_svd.default")
def _svd(a, full_matrices=False, compute_uv=True, *, driver=None):
    """U, S, Vh; without U and V their places are empty."""
    del driver
    if not compute_uv:
        empty = jnp.zeros((0,), a.dtype)
        return empty, jnp.linalg.svd(a, compute_uv=False), empty
    return tuple(jnp.linalg.svd(a, full_matrices=full_matrices))


@aten("linalg_eigvals.default")
def _general_eigenvalues(a):
    return jnp.linalg.eigvals(a)


@aten("linalg_pinv.atol_rtol_tensor")
def _pseudo_inverse(a, *, atol=None, rtol=None, hermitian=False):
    """By singular values; those below max(atol, rtol * largest) count as 0 (rtol: largest size times epsilon)."""
    u, s, v = jnp.linalg.svd(a, full_matrices=False, hermitian=hermitian)
    absolute = jnp.zeros(()) if atol is None else atol
    relative = (0.0 if atol is not None else max(a.shape[-2:]) * jnp.finfo(a.dtype).eps) if rtol is None else rtol
    largest = jnp.max(s, axis=-1, keepdims=True, initial=0.0)
    limit = jnp.maximum(jnp.asarray(absolute)[..., None], jnp.asarray(relative)[..., None] * largest)
    kept = jax.lax.stop_gradient(s > limit)
    inverse = jnp.where(kept, 1 / jnp.where(kept, s, 1), 0).astype(a.dtype)
    return _product(_adjoint(v) * inverse[..., None, :], _adjoint(u))


@aten("linalg_solve_triangular.default")
def _solve_triangular(a, b, *, upper, left=True, unitriangular=False):
    lead = jnp.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = (jnp.broadcast_to(v, (*lead, *v.shape[-2:])) for v in (a, b))
    return jax.lax.linalg.triangular_solve(a, b, left_side=left, lower=not upper, unit_diagonal=unitriangular)


@aten("triangular_solve.default")
def _old_solve_triangular(b, a, upper=True, transpose=False, unitriangular=False):
    matrix = _transposed(a) if transpose else a
    return _solve_triangular(matrix, b, upper=upper != transpose, unitriangular=unitriangular), a


def _from_cholesky(factor, upper: bool):
    """The matrix of a factor of which one triangle is read; as in torch, the derivative reaches all its entries."""
    kept = jax.lax.stop_gradient(jnp.triu(factor) if upper else jnp.tril(factor))
    factor = kept + (factor - jax.lax.stop_gradient(factor))
    return _product(_adjoint(factor), factor) if upper else _product(factor, _adjoint(factor))


@aten("cholesky_solve.default")
def _solve_cholesky(b, factor, upper=False):
    return _solve(_from_cholesky(factor, upper), b)[0]


@aten("cholesky_inverse.default")
def _inverse_from_cholesky(factor, upper=False):
    return jnp.linalg.inv(_from_cholesky(factor, upper))


@aten("linalg_matrix_exp.default")
def _matrix_exponential(a):
    flat = a.reshape(-1, *a.shape[-2:])
    return jax.vmap(jax.scipy.linalg.expm)(flat).reshape(a.shape) if flat.shape[0] else a
