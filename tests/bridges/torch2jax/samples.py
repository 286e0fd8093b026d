"""Arguments of operators: pooling, interpolation, scatter, order, special functions, complex numbers, linear algebra."""

import torch

torch.manual_seed(12)
F64 = torch.float64


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(100 + seed))


A, B = draw(3, 4, seed=1), draw(3, 4, seed=2)
P = torch.rand(3, 4, dtype=F64) * 0.8 + 0.1
I = torch.tensor([[5, 7, 2, 9], [1, 3, 4, 8], [0, 6, 7, 2]])  # noqa: E741
J = torch.tensor([[2, 3, 3, 4], [1, 2, 5, 3], [4, 1, 2, 3]])
WHERE = torch.tensor([[0, 2, 1, 0], [1, 0, 2, 2]])
ROW = torch.tensor([2, 0])
MASK = torch.tensor([[True, False, True, True], [False, True, False, True], [True, True, False, False]])
SIGNAL, IMAGE, VOLUME = draw(2, 3, 9, seed=3), draw(1, 2, 6, 7, seed=4), draw(1, 1, 4, 5, 6, seed=5)
SPACE = {1: SIGNAL, 2: IMAGE, 3: VOLUME}
Z = torch.complex(A, B)
SQUARE = draw(2, 3, 3, seed=6) + 2 * torch.eye(3, dtype=F64)
POSITIVE = SQUARE @ SQUARE.mT + torch.eye(3, dtype=F64)
RIGHT = draw(2, 3, 2, seed=7)
LOWER = torch.linalg.cholesky(POSITIVE)
LU, PIVOTS = torch.linalg.lu_factor(SQUARE)
GRID, DEEP = 0.9 * draw(1, 3, 4, 2, seed=10), 0.9 * draw(1, 2, 2, 3, 3, seed=11)
TIES = torch.tensor([[1.0, 2.0, 2.0, 0.0], [3.0, 3.0, 1.0, 3.0], [0.0, 0.0, 0.0, 0.0]], dtype=F64)


def same(n: int, value) -> list:
    return [value] * n


def pooling() -> dict[str, list[tuple]]:
    found: dict[str, list[tuple]] = {}
    for n, x in SPACE.items():
        windows = [
            (x, same(n, 2)),
            (x, same(n, 3), same(n, 2), same(n, 1), same(n, 1), True),
            (x[0], same(n, 2), same(n, 1), same(n, 0), same(n, 2)),
        ]
        found[f"max_pool{n}d.default"] = windows
        found[f"max_pool{n}d_with_indices.default"] = windows
        found[f"avg_pool{n}d.default"] = [
            (x, same(n, 2)), (x, same(n, 3), same(n, 2), same(n, 1), True),
            (x[0], same(n, 3), same(n, 2), same(n, 1), True, False),
        ] + ([(x, same(n, 3), same(n, 2), same(n, 1), True, True, 5)] if n > 1 else [])  # fmt: skip
        sizes = [3, 2, 4][:n]
        found[f"adaptive_avg_pool{n}d.default"] = [(x, sizes), (x[0], same(n, 1))]
        found[f"adaptive_max_pool{n}d.default"] = [(x, sizes)]
        if n > 1:
            found[f"_adaptive_avg_pool{n}d.default"] = [(x, sizes)]
    small = draw(1, 2, 2, 2, seed=8)
    found["max_unpool2d.default"] = [(small, torch.tensor([[[[0, 3], [8, 11]]] * 2]).reshape(1, 2, 2, 2), [4, 4])]
    found["max_unpool3d.default"] = [
        (small[:, :1, None], torch.tensor([0, 3, 8, 11]).reshape(1, 1, 1, 2, 2), [2, 4, 4], [2, 2, 2], [0, 0, 0])
    ]
    found["unfold.default"] = [(A, 1, 3, 1), (SIGNAL, 2, 4, 2), (SIGNAL, 0, 2, 1)]
    found["im2col.default"] = [(IMAGE, [2, 3], [1, 1], [0, 1], [2, 1]), (IMAGE, [2, 2], [2, 1], [1, 1], [1, 1])]
    found["col2im.default"] = [(draw(1, 12, 12, seed=9), [4, 4], [2, 3], [1, 1], [1, 1], [2, 1])]
    return found


def interpolation() -> dict[str, list[tuple]]:
    found: dict[str, list[tuple]] = {}
    for n, x in SPACE.items():
        sizes, factors = [5, 13, 4][:n], [1.7, 0.6, 2.0][:n]
        for name in (f"upsample_nearest{n}d", f"_upsample_nearest_exact{n}d"):
            found[f"{name}.vec"] = [(x, sizes, None), (x, None, factors)]
            found[f"{name}.default"] = [(x, sizes)]
        name = {1: "upsample_linear1d", 2: "upsample_bilinear2d", 3: "upsample_trilinear3d"}[n]
        found[f"{name}.vec"] = [(x, sizes, False, None), (x, sizes, True, None), (x, None, False, factors)]
        found[f"{name}.default"] = [(x, sizes, True), (x, sizes, False, *factors)]
    for name in ("upsample_bicubic2d", "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa"):
        found[f"{name}.vec"] = [
            (IMAGE, [5, 13], False, None),
            (IMAGE, [3, 3], True, None),
            (IMAGE, None, False, [0.4, 2.0]),
        ]
        found[f"{name}.default"] = [(IMAGE, [4, 3], False)]
    few = [(0, 0, False), (0, 1, True), (0, 2, False), (1, 0, True), (2, 2, True)]
    found["grid_sampler_2d.default"] = [(IMAGE, GRID, *chosen) for chosen in few]
    found["grid_sampler_3d.default"] = [(VOLUME, DEEP, *chosen) for chosen in few[1:4]]
    return found


def scatter() -> dict[str, list[tuple]]:
    once = torch.tensor([[0, 2, 1, 0], [1, 0, 2, 2]])
    reductions = [
        (A, 0, WHERE, B[:2], kind, {"include_self": own})
        for kind in ("sum", "prod", "mean", "amax", "amin")
        for own in (True, False)
    ] + [(TIES, 0, WHERE, TIES[:2], kind) for kind in ("amax", "amin")]  # fmt: skip
    return {
        "scatter.src": [(A, 0, once, B[:2]), (A, 1, torch.tensor([[3, 0], [1, 2]]), B[:2, :2]), (I, 0, once, J)],
        "scatter.value": [(A, 0, once, 2.0)],
        "scatter.reduce": [(A, 0, WHERE, B[:2], {"reduce": kind}) for kind in ("add", "multiply")],
        "scatter.value_reduce": [(A, 0, WHERE, 2.0, {"reduce": kind}) for kind in ("add", "multiply")],
        "scatter_add.default": [(A, 0, WHERE, B[:2]), (I, 0, WHERE, J), (A[0, 0], 0, torch.tensor(0), B[0, 0])],
        "scatter_reduce.two": reductions,
        "index_add.default": [(A, 1, torch.tensor([3, 3, 0]), B[:, :3]), (A, 0, ROW, B[:2], {"alpha": 2.5})],
        "index_copy.default": [(A, 1, torch.tensor([3, 1]), B[:, :2])],
        "index_fill.int_Scalar": [(A, 1, ROW, 2.5)],
        "index_fill.int_Tensor": [(A, 0, ROW, torch.tensor(2.5, dtype=F64))],
        "index_reduce.default": [(A, 0, torch.tensor([2, 0, 2]), B, kind) for kind in ("prod", "mean", "amax", "amin")],
        "put.default": [(A, torch.tensor([3, -1]), B[0, :2]), (A, torch.tensor([3, 3]), B[0, :2], True)],
        "masked_scatter.default": [(A, MASK, B)],
        "diagonal.default": [(A,), (SIGNAL, 1, -1, 0)],
        "diagonal_scatter.default": [(A, B[0, :3]), (A, B[0, :3], 1), (A, B[0, :2], -1), (SIGNAL, draw(3, 2), 0, 0, 2)],
        "take.default": [(A, torch.tensor([[3, -1], [7, 0]]))],
        "_unsafe_index.Tensor": [(A, [None, ROW])],
        "_unsafe_index_put.default": [(A, [ROW], B[:2], True)],
        "as_strided.default": [(A, [2, 3], [1, 2], 1)],
    }


def order() -> dict[str, list[tuple]]:
    nan = torch.tensor([[1.0, float("nan"), 0.5, 3.0], [2.0, 1.0, 4.0, -1.0]], dtype=F64)
    steps = torch.tensor([0.0, 0.5, 0.5, 1.0], dtype=F64)
    return {
        "sort.stable": [
            (TIES, {"stable": True, "dim": 1}), (TIES, {"stable": True, "dim": 0, "descending": True}),
            (nan, {"stable": True}),
        ],
        "topk.default": [(A, 2), (A, 2, 0), (A, 3, 1, False), (I, 2), (nan, 2)],
        "kthvalue.default": [(A, 2), (A, 1, 0, True), (nan, 4)],
        "median.dim": [(A, 1), (A, 0, True), (nan, 1)],
        "nanmedian.dim": [(A, 1), (nan, 1, True)],
        "median.default": [(A,), (TIES,)],
        "nanmedian.default": [(nan,)],
        "mode.default": [(TIES, 1), (I, 0, True)],
        "cummax.default": [(TIES, 1), (A, 0), (nan, 1)],
        "cummin.default": [(TIES, 1), (A, 0), (nan, 1)],
        "searchsorted.Tensor": [
            (steps, P), (steps, P, {"right": True}), (A.sort(-1).values, B, {"side": "right"}),
            (A, B, {"sorter": A.argsort(-1)}),
        ],
        "searchsorted.Scalar": [(steps, 0.5)],
        "bucketize.Tensor": [(P, steps), (steps, steps, {"right": True, "out_int32": True})],
        "bucketize.Scalar": [(0.5, steps)],
        "histc.default": [(A, 5, -1.0, 1.0), (A, 4)],
    }  # fmt: skip


def special() -> dict[str, list[tuple]]:
    one = ("lgamma", "digamma", "i0", "special_i0e", "special_i1", "special_i1e", "special_log_ndtr", "sinc")
    zeros, limits = torch.tensor([0.0, 0.0, 2.0, 0.0], dtype=F64), torch.tensor([0.0, 1.5, 2.0, -1.0], dtype=F64)
    chances = torch.tensor([0.0, 1.0, 0.3, 0.9], dtype=F64)
    return {
        **{f"{n}.default": [(3 * P,), (I + 1,)] for n in one},
        "sinc.default": [(A,), (zeros,)],
        "special_log_ndtr.default": [(A,), (-20 * P,)],
        **{f"{n}.default": [(P,)] for n in ("erfinv", "special_ndtri")},
        "polygamma.default": [(n, 3 * P) for n in (0, 2, 3)],
        "igamma.default": [(P, 2 * P)],
        "igammac.default": [(P, 2 * P)],
        "special_zeta.default": [(2 + P, 1 + P)],
        "special_zeta.self_scalar": [(2.5, 1 + P)],
        "special_zeta.other_scalar": [(2 + P, 1.5)],
        "xlogy.Tensor": [(A, P), (zeros, limits[:3].repeat(2)[:4].abs())],
        "xlogy.Scalar_Self": [(2.0, P)],
        "xlogy.Scalar_Other": [(A, 2.0)],
        "special_xlog1py.default": [(A, P), (zeros, limits)],
        "special_xlog1py.self_scalar": [(2.0, P)],
        "special_xlog1py.other_scalar": [(A, 2.0)],
        "special_entr.default": [(P,)],
        "logit.default": [(P,), (P, 0.3)],
        "special_erfcx.default": [(A,), (12 * P,)],
        "binary_cross_entropy.default": [(P, P.flip(0)), (P, P.flip(0), P + 1, 0), (chances, chances.flip(0), None, 2)],
        "atan2.default": [(A, B), (I, J)],
        "hypot.default": [(A, B)],
        "copysign.Tensor": [(A, B)],
        "copysign.Scalar": [(A, -1.0)],
        "round.decimals": [(A, {"decimals": 1})],
        "frexp.Tensor": [(A,)],
        "ldexp.Tensor": [(A, J)],
        "signbit.default": [(A,), (I,)],
        "fmax.default": [(A, B)],
        "fmin.default": [(A, B)],
        "gcd.default": [(I, J)],
        "lcm.default": [(I, J)],
        "nextafter.default": [(A, B)],
        "bitwise_left_shift.Tensor": [(I, J)],
        "bitwise_right_shift.Tensor": [(I, J)],
        "_local_scalar_dense.default": [(torch.tensor(0.7, dtype=F64),)],
        "fill.Scalar": [(A, 2.0)],
        "fill.Tensor": [(A, torch.tensor(2.0, dtype=F64))],
        "_cdist_forward.default": [(A, B[:2], p, None) for p in (0.5, 1.0, 1.5, 2.0, 3.0, float("inf"))],
        "_euclidean_dist.default": [(A, B[:2])],
        "_pdist_forward.default": [(A, 2.0)],
    }


def numbers() -> dict[str, list[tuple]]:
    full, packed = draw(3, 4, 2, seed=13), torch.fft.rfft(A)
    return {
        "view_as_real.default": [(Z,)],
        "view_as_complex.default": [(full,)],
        "complex.default": [(A, B)],
        "polar.default": [(P, A)],
        "real.default": [(Z,), (A,)],
        "imag.default": [(Z,)],
        **{f"{n}.default": [(Z,)] for n in ("_conj", "conj", "conj_physical", "resolve_conj", "resolve_neg")},
        "angle.default": [(Z,), (A,)],
        "sgn.default": [(Z,), (A,)],
        "vdot.default": [(A[0], B[0]), (Z[0], Z[1])],
        "_fft_r2c.default": [(A, [1], n, one) for n, one in ((0, True), (1, True), (2, False))]
        + [(IMAGE, [2, 3], 0, True)],
        "_fft_c2r.default": [(packed, [1], n, 4) for n in (0, 1, 2)] + [(packed, [0, 1], 2, 5)],
        "_fft_c2c.default": [(Z, [1], 0, True), (Z, [0, 1], 2, False), (Z, [1], 1, True)],
    }


def matrices() -> dict[str, list[tuple]]:
    tall = draw(2, 4, 3, seed=14)
    return {
        "linalg_inv_ex.default": [(SQUARE,)],
        "linalg_cholesky_ex.default": [(POSITIVE,), (POSITIVE, {"upper": True})],
        "cholesky.default": [(POSITIVE,)],
        "_linalg_det.default": [(SQUARE,)],
        "_linalg_slogdet.default": [(SQUARE,), (-SQUARE[0],)],
        "_linalg_solve_ex.default": [(SQUARE, RIGHT), (SQUARE, RIGHT[..., 0]), (SQUARE, RIGHT.mT, {"left": False})],
        "linalg_lu.default": [(SQUARE,), (tall,)],
        "linalg_lu_factor_ex.default": [(SQUARE,)],
        "lu_unpack.default": [(LU, PIVOTS), (LU, PIVOTS, True, False)],
        "linalg_lu_solve.default": [(LU, PIVOTS, RIGHT), (LU, PIVOTS, RIGHT, {"adjoint": True})],
        "_linalg_eigh.default": [(POSITIVE,), (SQUARE,)],
        "linalg_qr.default": [(tall,), (SQUARE, "complete")],
        "_linalg_svd.default": [(tall,)],
        "linalg_eigvals.default": [(SQUARE,)],
        "linalg_pinv.atol_rtol_tensor": [(tall,), (tall.mT, {"rtol": torch.tensor(1e-3, dtype=F64)})],
        "linalg_solve_triangular.default": [
            (LOWER, RIGHT, {"upper": False}), (LOWER.mT, RIGHT, {"upper": True}),
            (LOWER, RIGHT.mT, {"upper": False, "left": False}), (LOWER, RIGHT, {"upper": False, "unitriangular": True}),
        ],
        "triangular_solve.default": [(RIGHT, LOWER.mT), (RIGHT, LOWER, False, True)],
        "cholesky_solve.default": [(RIGHT, LOWER), (RIGHT, LOWER.mT, True)],
        "cholesky_inverse.default": [(LOWER,)],
        "linalg_matrix_exp.default": [(SQUARE,)],
    }  # fmt: skip


def layers() -> dict[str, list[tuple]]:
    table, index, offsets = draw(5, 3, seed=16), torch.tensor([1, 4, 2, 2, 0, 3]), torch.tensor([0, 2, 2, 5])
    bags = [(table, index, offsets, False, mode) for mode in (0, 1, 2)] + [
        (table, index, offsets, False, 0, False, P.flatten()[:6]), (table, index, offsets, False, 1, False, None, False, 2),
        (table, index, torch.tensor([0, 2, 6]), False, 2, False, None, True, 4),
    ]  # fmt: skip
    weight, shift = draw(3, seed=17), draw(3, seed=18)
    back = draw(1, 2, 3, 3, seed=19)
    return {
        "_embedding_bag.default": bags,
        "_embedding_bag_forward_only.default": bags[:3],
        "native_group_norm.default": [(SIGNAL.repeat(1, 2, 1), weight.repeat(2), shift.repeat(2), 2, 6, 9, 3, 1e-5)],
        "_native_batch_norm_legit.no_stats": [(SIGNAL, weight, shift, True, 0.1, 1e-5), (A, None, None, True, 0.1, 1e-5)],
        "_native_batch_norm_legit_functional.default": [
            (SIGNAL, weight, shift, weight.abs(), shift.abs(), train, 0.3, 1e-5) for train in (True, False)
        ],
        "_adaptive_avg_pool2d_backward.default": [(back, IMAGE)],
        "avg_pool2d_backward.default": [(back, IMAGE, [2, 2], [2, 2], [0, 0], False, True, None)],
        "max_pool2d_with_indices_backward.default": [
            (back, IMAGE, [2, 2], [2, 2], [0, 0], [1, 1], False,
             torch.ops.aten.max_pool2d_with_indices.default(IMAGE, [2, 2], [2, 2])[1]),
        ],
        "convolution_backward.default": [
            (draw(1, 3, 5, 6, seed=20), IMAGE, draw(3, 2, 2, 2, seed=21), [3], [1, 1], [0, 0], [1, 1], False, [0, 0], 1,
             [True, True, True]),
        ],
    }  # fmt: skip


MORE: dict[str, list[tuple]] = {
    **pooling(), **interpolation(), **scatter(), **order(), **special(), **numbers(), **matrices(), **layers(),
}  # fmt: skip

_PADDING = [(padding, corners) for padding in (0, 1, 2) for corners in (False, True)]
ALL_OPTIONS: dict[str, list[tuple]] = {
    "grid_sampler_2d.default": [(IMAGE, GRID, mode, *own) for mode in (0, 1, 2) for own in _PADDING],
    "grid_sampler_3d.default": [(VOLUME, DEEP, mode, *own) for mode in (0, 1) for own in _PADDING],
}
"""Every combination of options, of operators that take long to compile."""
