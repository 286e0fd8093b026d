"""Every operator of the table against torch's own, values and derivatives; and the list in the documentation."""

import re
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from bridges import torch2jax
from bridges._torch2jax.operators import RANDOM, TABLE, supported_operators
from bridges._torch2jax.operators.clamp import share_at_a_limit
from tests.bridges.torch2jax.samples import ALL_OPTIONS, MORE
from tests.bridges.torch2jax.test_random import DISTRIBUTIONS
from tests.bridges.torch_networks import Function

torch.manual_seed(11)
A = torch.randn(3, 4, dtype=torch.float64)
B = torch.randn(3, 4, dtype=torch.float64)
P = torch.rand(3, 4, dtype=torch.float64) * 0.8 + 0.1
C = torch.randn(2, 4, 6, dtype=torch.float64)
V = torch.randn(4, dtype=torch.float64)
S = torch.tensor(0.7, dtype=torch.float32)
I = torch.tensor([[5, -7, 2, 9], [1, 3, -4, 8], [0, 6, 7, -2]])  # noqa: E741
J = torch.tensor([[2, 3, -3, 4], [1, 2, 5, 3], [4, 1, -2, 3]])
M = torch.tensor([[True, False, True, True], [False, True, False, True], [True, True, False, False]])
ROW = torch.tensor([2, 0])
OPTIONS = {"dtype": torch.float64, "device": torch.device("cpu")}


def rnn_weights(gates: int, layers: int, directions: int, bias: bool) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    make = lambda *n: torch.randn(*n, dtype=torch.float64, generator=generator)  # noqa: E731
    weights = []
    for layer in range(layers):
        for _ in range(directions):
            weights += [make(3 * gates, 4 if layer == 0 else 3 * directions), make(3 * gates, 3)]
            weights += [make(3 * gates), make(3 * gates)] if bias else []
    return weights


def cell(gates: int) -> tuple:
    return tuple(rnn_weights(gates, 1, 1, True))


H = torch.randn(3, 3, dtype=torch.float64)
SEQUENCE = torch.randn(5, 3, 4, dtype=torch.float64)


def states(n: int) -> torch.Tensor:
    return torch.randn(n, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def sequence(gates: int, state) -> list:
    two = state(4), rnn_weights(gates, 2, 2, True), True, 2, 0.0, False, True, False
    one = state(1), rnn_weights(gates, 1, 1, False), False, 1, 0.5, True, False, True
    return [(SEQUENCE, *two), (SEQUENCE.transpose(0, 1).contiguous(), *one)]


SAMPLES: dict[str, list[tuple]] = {
    **{f"{n}.default": [(P,), (I,)] for n in "exp exp2 expm1 sin cos tan sinh cosh tanh asinh".split()},
    **{f"{n}.default": [(P,), (I,)] for n in "atan erf erfc sigmoid".split()},
    **{f"{n}.default": [(P,)] for n in "log log2 log10 log1p sqrt rsqrt asin acos atanh reciprocal".split()},
    "acosh.default": [(1 + P,)],
    **{f"{n}.default": [(A,), (I,)] for n in "neg abs sign square floor ceil trunc round".split()},
    **{f"{n}.default": [(torch.tensor([1.0, float("nan"), float("inf")]),)] for n in ("isnan", "isinf", "isfinite")},
    "logical_not.default": [(M,), (I,)],
    "bitwise_not.default": [(M,), (I,)],
    **{f"{n}.default": [(A, B), (I, J)] for n in ("maximum", "minimum")},
    "logaddexp.default": [(A, B)],
    **{f"logical_{n}.default": [(M, I)] for n in ("and", "or", "xor")},
    **{f"bitwise_{n}.Tensor": [(M, ~M), (I, J)] for n in ("and", "or", "xor")},
    **{f"bitwise_{n}.Scalar": [(I, 6)] for n in ("and", "or", "xor")},
    **{f"{n}.Tensor": [(A, B), (I, J), (A, S), (I, A), (A.float(), V.sum())] for n in ("mul", "add", "sub", "rsub")},
    **{f"{n}.Tensor": [(A, B), (I, J)] for n in ("fmod", "remainder", "div", "true_divide")},
    **{f"{n}.Scalar": [(A, 1.5), (I, 3)] for n in "fmod remainder floor_divide mul add sub rsub div".split()},
    "floor_divide.default": [(A, B), (I, J)],
    "div.Tensor_mode": [(A, B, {"rounding_mode": m}) for m in ("floor", "trunc", None)]
    + [(I, J, {"rounding_mode": "floor"})],
    "div.Scalar_mode": [(A, 0.3, {"rounding_mode": "floor"}), (I, 3, {"rounding_mode": "trunc"})],
    **{f"{n}.Tensor": [(I, J), (A.float(), V.sum())] for n in "eq ne lt le gt ge".split()},
    **{f"{n}.Scalar": [(I, 2), (A, 0.0)] for n in "eq ne lt le gt ge".split()},
    "pow.Tensor_Tensor": [(P, B)],
    "pow.Scalar": [(2.5, B)],
    "pow.Tensor_Scalar": [(A, 3), (A, 2.0), (P, 0.4), (A, -2), (I, 2), (A, 0)],
    "clamp.default": [(A, -0.5, 0.5), (A, None, 0.2), (I, 0, 3)],
    "clamp.Tensor": [(A, -P, P)],
    "clamp_min.default": [(A, 0.1)],
    "clamp_max.default": [(A, 0.1)],
    "clamp_min.Tensor": [(A, P)],
    "clamp_max.Tensor": [(A, P)],
    "where.self": [(M, A, B)],
    "where.ScalarOther": [(M, A, 2.0)],
    "where.ScalarSelf": [(M, 2.0, A)],
    "where.Scalar": [(M, 2.0, 1.0)],
    "masked_fill.Scalar": [(A, M, -1.0)],
    "masked_fill.Tensor": [(A, M, torch.tensor(2.0, dtype=torch.float64))],
    "addcmul.default": [(A, B, P, {"value": 2.0})],
    "addcdiv.default": [(A, B, P, {"value": 2.0})],
    "lerp.Scalar": [(A, B, 0.3)],
    "lerp.Tensor": [(A, B, P)],
    "nan_to_num.default": [(torch.tensor([1.0, float("nan"), float("inf"), -float("inf")]), 2.0, 3.0, -3.0)],
    **{f"{n}.default": [(A,)] for n in ("clone", "alias", "lift_fresh_copy")},
    "_to_copy.default": [(A, {"dtype": torch.float32}), (I, {"dtype": torch.float64}), (A, {"dtype": torch.int32})],
    "copy.default": [(A.float(), B)],
    "detach.default": [(A,)],
    "native_dropout.default": [(A, 0.4, False)],
    # activations
    **{f"{n}.default": [(3 * A,)] for n in "relu gelu silu mish log_sigmoid selu hardsigmoid hardswish relu6".split()},
    "leaky_relu.default": [(A, 0.2)],
    "prelu.default": [(A, V), (A, V[:1])],
    "_prelu_kernel.default": [(A, V[None])],
    "rrelu.default": [(A,)],
    "elu.default": [(A, 0.7, 1.1, 0.9)],
    "celu.default": [(A, 0.7)],
    "softplus.default": [(3 * A, 2.0, 3.0)],
    "hardtanh.default": [(A, -0.4, 0.6)],
    "hardshrink.default": [(A,)],
    "softshrink.default": [(A,)],
    "threshold.default": [(A, 0.1, 5.0)],
    "glu.default": [(A, 1)],
    "softmax.int": [(A, 1)],
    "log_softmax.int": [(A, 0)],
    "_softmax.default": [(A, 1, False)],
    "_log_softmax.default": [(A, 0, False)],
    "_safe_softmax.default": [(A.masked_fill(torch.tensor([[True], [False], [False]]), -float("inf")), 1)],
    "logsumexp.default": [(A, [0, 1]), (A, [1], True)],
    # reductions
    **{f"{n}.default": [(A,), (M,)] for n in ("sum", "prod")},
    "mean.default": [(A,)],
    "sum.dim_IntList": [(C, [0, 2]), (A, [1], True), (M, [0])],
    "mean.dim": [(C, [0, 2]), (A, [1], True)],
    "prod.dim_int": [(A, 1, True)],
    "cumsum.default": [(A, 1)],
    "cumprod.default": [(A, 1)],
    "logcumsumexp.default": [(A, 1)],
    "var.correction": [(A, [1], {"correction": 0}), (A, None)],
    "std.correction": [(A, [1], {"correction": 1, "keepdim": True})],
    "var_mean.correction": [(A, [1])],
    "linalg_vector_norm.default": [(A, p, [1], True) for p in (2, 1, 0, 3, 0.5, -1, -2, float("inf"), -float("inf"))]
    + [(torch.complex(A, B), 2, [1]), (torch.zeros(2, 3, dtype=torch.float64), 3, [1])],
    **{f"{n}.default": [(A, [1], True), (C, [0, 2])] for n in ("amax", "amin")},
    **{f"{n}.default": [(A,)] for n in ("max", "min")},
    **{f"{n}.dim": [(A, 1), (A, 0, True)] for n in ("max", "min")},
    **{f"{n}.default": [(A,), (A, 1, True)] for n in ("argmax", "argmin")},
    "sort.default": [(A,), (A, 0, True)],
    **{f"{n}.default": [(M,)] for n in ("any", "all")},
    **{f"{n}.dim": [(M, 1, True)] for n in ("any", "all")},
    **{f"{n}.dims": [(M, [0, 1])] for n in ("any", "all")},
    # shapes
    **{f"{n}.default": [(C, [2, -1, 3])] for n in ("view", "_unsafe_view")},
    "permute.default": [(C, [2, 0, -2])],
    "transpose.int": [(C, 0, -1)],
    "t.default": [(A,), (V,)],
    "expand.default": [(V, [2, 3, -1])],
    "squeeze.default": [(C[:1],)],
    "squeeze.dim": [(C[:1], 0), (C, 1)],
    "squeeze.dims": [(C[:1], [0, 1])],
    "unsqueeze.default": [(A, -1)],
    **{f"{n}.default": [([A, B], 1)] for n in ("cat", "concat", "stack")},
    "split.Tensor": [(C, 4, 2)],
    "split_with_sizes.default": [(C, [1, 2, 3], -1)],
    "unbind.int": [(C, 1)],
    "select.int": [(C, 1, -1), (C, 2, 3)],
    "slice.Tensor": [(C, 2, 1, 2**63 - 1, 2), (C, 1, -3, -1)],
    "slice_scatter.default": [(A, B[:, :2], 1, 1, 3)],
    "select_scatter.default": [(A, V, 0, -1)],
    "index.Tensor": [(A, [ROW]), (C, [None, ROW]), (A, [ROW, torch.tensor([1, 3])]), (A, [ROW - 3])],
    "index_put.default": [(A, [ROW], B[:2]), (A, [ROW], B[:2], True), (A, [M], torch.tensor(2.0, dtype=torch.float64))],
    "gather.default": [(A, 1, torch.tensor([[0, 3], [1, 1]]))],
    "index_select.default": [(A, 1, ROW)],
    "repeat.default": [(A, [2, 1, 3])],
    "repeat_interleave.self_int": [(A, 2, 1)],
    "repeat_interleave.Tensor": [(torch.tensor([1, 0, 3, 2]), {"output_size": 6})],
    "flip.default": [(C, [0, 2])],
    "roll.default": [(A, [1], [1]), (A, [2])],
    "tril.default": [(A, -1)],
    "triu.default": [(A, 1)],
    **{f"{n}_indices.default": [(3, 4), (4, 3, -1), (3, 4, 1, OPTIONS | {"dtype": torch.int64})] for n in ("tril", "triu")},
    "constant_pad_nd.default": [(C, [1, 2, -1, 0], 0.5)],
    "full.default": [([2, 3], 1.5, OPTIONS), ([2], 3), ([2], True)],
    "zeros.default": [([2, 3], OPTIONS), ([2],)],
    "ones.default": [([2, 3], OPTIONS)],
    "empty.memory_format": [([2, 3], OPTIONS)],
    "full_like.default": [(A, 2.0), (A, 2, {"dtype": torch.int64})],
    **{f"{n}.default": [(A,)] for n in ("zeros_like", "ones_like", "empty_like")},
    **{f"{n}.default": [(A, [2]), (A, [2], {"dtype": torch.bool})] for n in ("new_zeros", "new_ones")},
    "new_full.default": [(A, [2], 3.0)],
    "scalar_tensor.default": [(1.5,), (2, OPTIONS)],
    "arange.default": [(5,), (3.0, OPTIONS)],
    "arange.start": [(2, 5)],
    "arange.start_step": [(1, 8, 3)],
    "linspace.default": [(0.0, 1.0, 5, OPTIONS)],
    "sym_size.int": [(A, 1)],
    "sym_numel.default": [(A,)],
    # networks
    "mm.default": [(A, B.T.contiguous())],
    "bmm.default": [(C, C.transpose(1, 2).contiguous())],
    "matmul.default": [(C, C[0].T.contiguous()), (V, A.T.contiguous())],
    "mv.default": [(A, V)],
    "dot.default": [(V, V + 1)],
    "outer.default": [(V, V + 1)],
    "linear.default": [(C, torch.ones(3, 6, dtype=torch.float64), V[:3]), (A, B)],
    "addmm.default": [(H, A, B.T.contiguous()), (H, A, B.T.contiguous(), {"beta": 2, "alpha": 0.5})],
    "baddbmm.default": [(torch.ones(2, 4, 4, dtype=torch.float64), C, C.transpose(1, 2).contiguous())],
    "addmv.default": [(V[:3], A, V)],
    "einsum.default": [("ij,kj->ik", [A, B])],
    "bilinear.default": [(A, B, torch.randn(2, 4, 4, dtype=torch.float64), V[:2])],
    "convolution.default": [
        (C, torch.randn(2, 4, 3, dtype=torch.float64), V[:2], [2], [1], [1], False, [0], 1),
        (C, torch.randn(4, 2, 3, dtype=torch.float64), None, [1], [2], [2], False, [0], 2),
        (C, torch.randn(4, 3, 3, dtype=torch.float64), None, [3], [1], [2], True, [2], 2),
    ],
    "conv1d.default": [(C, torch.randn(2, 4, 3, dtype=torch.float64), V[:2]), (C[0], torch.randn(2, 4, 3).double())],
    "conv2d.default": [(C[None], torch.randn(3, 2, 2, 3).double(), None, [1, 2], [1, 0])],
    "conv3d.default": [(C[None, None], torch.randn(3, 1, 2, 2, 3).double())],
    "conv1d.padding": [(C, torch.randn(2, 4, 4).double(), V[:2], [1], "same", [1]),
                       (C, torch.randn(2, 4, 3).double(), None, [2], "valid")],
    "conv2d.padding": [(C[None], torch.randn(3, 2, 2, 3).double(), None, [1, 1], "same")],
    "conv3d.padding": [(C[None, None], torch.randn(3, 1, 2, 2, 3).double(), None, [1, 1, 1], "same")],
    "native_layer_norm.default": [(C, [4, 6], C[0], C[1], 1e-5), (A, [4], None, None, 1e-5)],
    "layer_norm.default": [(A, [4], V, V + 1)],
    "rms_norm.default": [(A, [4], V, 1e-3), (A, [4])],
    "group_norm.default": [(C, 2, V, V + 1)],
    "_native_batch_norm_legit_no_training.default": [(C, V, V + 1, V - 1, V.abs() + 0.5, 0.1, 1e-5)],
    "embedding.default": [(A, torch.tensor([[0, 2], [1, 1]])), (A, torch.tensor([0, 2, 2]), 2)],
    "scaled_dot_product_attention.default": [
        (C, C + 1, C - 1), (C, C, C, None, 0.0, True), (C, C, C, torch.eye(4, dtype=torch.bool)),
        (C, C, C, torch.randn(4, 4).double(), 0.0, False, {"scale": 0.3}),
        (C[None].repeat(1, 2, 1, 1), C[None], C[None], {"enable_gqa": True}),
    ],
    "gru_cell.default": [(A, H, *cell(3))],
    "lstm_cell.default": [(A, [H, H + 1], *cell(4))],
    "rnn_tanh_cell.default": [(A, H, *cell(1))],
    "rnn_relu_cell.default": [(A, H, *cell(1))],
    "gru.input": sequence(3, states),
    "rnn_tanh.input": sequence(1, states),
    "rnn_relu.input": sequence(1, states),
    "lstm.input": sequence(4, lambda n: [states(n), states(n) + 1]),
    "empty_strided.default": [([2, 3], [3, 1], OPTIONS)],
    "new_empty_strided.default": [(A, [2, 3], [3, 1])],
    **MORE,
}  # fmt: skip

UNDERIVED = {
    *(f"aten.{name}" for name in ("copy.default", "floor_divide.default", "floor_divide.Scalar", "nextafter.default")),
    *(
        f"aten.{name}"
        for name in (
            "scatter.reduce",
            "scatter.value_reduce",
            "histc.default",
            "_local_scalar_dense.default",
            "_embedding_bag_forward_only.default",
        )
    ),
}
"""Without a derivative in torch."""
STATISTICS = {
    "aten._native_batch_norm_legit_no_training.default": (3, 4),
    "aten._native_batch_norm_legit_functional.default": (3, 4),
    "aten.special_zeta.default": (0,),
    "aten.special_zeta.other_scalar": (0,),
    "aten.igamma.default": (0,),
    "aten.igammac.default": (0,),
    "aten.binary_cross_entropy.default": (2,),
}
"""Which tensors torch does not differentiate."""
COARSE = {"aten.hardsigmoid.default", "aten.celu.default"}
"""torch's float64 derivative contains a number in float32."""
UNDEFINED = {
    f"aten.{name}"
    for name in ("empty.memory_format", "empty_like.default", "empty_strided.default", "new_empty_strided.default")
}


def flat(value) -> list:
    return [x for v in value for x in flat(v)] if isinstance(value, (tuple, list)) else [value]


def real(values: list) -> list:
    """Complex results as two real ones."""
    parts = [
        (v.real, v.imag) if getattr(v, "dtype", None) in (torch.complex128, jnp.complex128) else (v,) for v in values
    ]
    return [part for pair in parts for part in pair]


def swap(value, supply):
    """The arguments with each tensor replaced by the next of `supply`."""
    if isinstance(value, (tuple, list)):
        return type(value)(swap(v, supply) for v in value)
    return next(supply) if isinstance(value, torch.Tensor) else value


def no_random_numbers(sampler):
    raise AssertionError("an operator without randomness draws random numbers")


KEPT_FOR_BACKWARD = {
    "aten._embedding_bag.default": 1, "aten._embedding_bag_forward_only.default": 1, "aten._linalg_det.default": 1,
    "aten._linalg_slogdet.default": 2, "aten._linalg_solve_ex.default": 1,
}  # fmt: skip
"""Operators of which only so many results are for users."""


class Case(NamedTuple):
    """One sample of an operator: its tensors, which of them are varied, and torch's results and gradients."""

    sample: tuple
    tensors: list[torch.Tensor]
    chosen: list[int]
    results: list
    weights: list[torch.Tensor]
    gradients: list[torch.Tensor] | None

    @property
    def args(self) -> tuple:
        return self.sample[:-1] if isinstance(self.sample[-1], dict) else self.sample

    @property
    def kwargs(self) -> dict:
        return self.sample[-1] if isinstance(self.sample[-1], dict) else {}


def by_torch(name: str, sample: tuple) -> Case:
    """An operator's results, and the gradients of their weighted sum."""
    _, base, overload = name.split(".")
    case = Case(sample, [], [], [], [], None)
    tensors = [t for t in flat(case.args) if isinstance(t, torch.Tensor)]
    constants = STATISTICS.get(name, ())
    chosen = [i for i, t in enumerate(tensors) if (t.is_floating_point() or t.is_complex()) and i not in constants]
    leaves = [t.clone().requires_grad_(i in chosen) for i, t in enumerate(tensors)]
    with torch.no_grad() if name in UNDEFINED | UNDERIVED else torch.enable_grad():
        results = flat(getattr(getattr(torch.ops.aten, base), overload)(*swap(case.args, iter(leaves)), **case.kwargs))
        results = results[: KEPT_FOR_BACKWARD.get(name)]
        results = real([o.resolve_conj() if isinstance(o, torch.Tensor) else torch.tensor(o) for o in results])
    weights = [torch.linspace(0.5, 1.5, o.numel()).reshape(o.shape).to(o.dtype) for o in results]
    reached = [(o * w).sum() for o, w in zip(results, weights, strict=True) if o.requires_grad]
    gradients = None
    if reached:
        gradients = torch.autograd.grad(sum(reached), [leaves[i] for i in chosen], allow_unused=True)
        gradients = [
            torch.zeros_like(tensors[i]) if g is None else (g + 0).resolve_conj()
            for i, g in zip(chosen, gradients, strict=True)
        ]
    return Case(sample, tensors, chosen, results, weights, gradients)


def by_jax(name: str, cases: list[Case]) -> list[tuple]:
    """Results and gradients for all samples of an operator, by one compiled program."""
    first = [no_random_numbers] if name in RANDOM else []

    def one(case: Case, arrays: list, named: dict) -> tuple:
        def call(floats):
            given = [floats[case.chosen.index(i)] if i in case.chosen else x for i, x in enumerate(arrays)]
            results = flat(TABLE[name](*first, *swap(case.args, iter(given)), **{**case.kwargs, **named}))
            return real([jnp.asarray(r) for r in results[: KEPT_FOR_BACKWARD.get(name)]])

        floats = [arrays[i] for i in case.chosen]
        if case.gradients is None:
            return call(floats), None
        results, pull = jax.vjp(call, floats)
        assert [r.shape for r in results] == [tuple(o.shape) for o in case.results]
        seeds = [
            jnp.asarray(w.numpy(), r.dtype)
            if jnp.issubdtype(r.dtype, jnp.inexact)
            else np.zeros(r.shape, jax.dtypes.float0)
            for r, o, w in zip(results, case.results, case.weights, strict=True)
        ]
        return results, [jnp.conj(g) for g in pull(seeds)[0]]

    arrays = [[t.numpy() for t in case.tensors] for case in cases]
    named = [{k: v.numpy() for k, v in case.kwargs.items() if isinstance(v, torch.Tensor)} for case in cases]
    return jax.jit(lambda *given: [one(*own) for own in zip(cases, *given, strict=True)])(arrays, named)


REMOVED = {"aten.cholesky.default"}
"""Operators that torch had up to 2.14: exported networks of then may hold them."""


@pytest.mark.filterwarnings(
    "ignore:.*(in beta|are deprecated in favor of|is deprecated in favor of).*:UserWarning",
    "ignore:Using padding='same' with even kernel lengths:UserWarning",
    "ignore:The reduce argument of torch.scatter with Tensor src is deprecated:UserWarning",
)
@pytest.mark.parametrize(
    "name", [name for name in supported_operators() if name not in DISTRIBUTIONS and "_svd" not in name]
)
def test_operator_equals_torch(name):
    if name in REMOVED and not hasattr(torch.ops.aten, name.split(".")[1]):
        pytest.skip(f"this torch has no {name} to compare with")
    compare(name, SAMPLES[name.removeprefix("aten.")])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*in beta.*:UserWarning")
@pytest.mark.parametrize("name", list(ALL_OPTIONS))
def test_operator_equals_torch_in_all_its_options(name):
    compare(f"aten.{name}", ALL_OPTIONS[name])


def compare(name: str, samples: list[tuple]) -> None:
    """Values and gradients of an operator at some samples, against torch's."""
    cases = [by_torch(name, sample) for sample in samples]
    for case, (results, gradients) in zip(cases, by_jax(name, cases), strict=True):
        for ours, theirs in zip(results, case.results, strict=True):
            assert ours.shape == tuple(theirs.shape)
            close = 1e-5 if theirs.dtype is torch.float32 else 1e-11
            if name not in UNDEFINED:
                message = f"{name}{case.sample}"
                np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=close, atol=close, err_msg=message)
        if gradients is None:
            continue
        close = 1e-4 if any(t.dtype is torch.float32 for t in case.tensors) else 1e-7 if name in COARSE else 1e-9
        for ours, theirs, i in zip(gradients, case.gradients, case.chosen, strict=True):
            message = f"{name}{case.sample}: {i}"
            np.testing.assert_allclose(ours, theirs.numpy(), rtol=close, atol=close, err_msg=message)


def test_singular_vectors_up_to_their_sign():
    tall = MORE["_linalg_svd.default"][0][0]

    def products(u, s, v):
        return u * u, s, v * v, (u * s[..., None, :]) @ v

    leaf = tall.clone().requires_grad_()
    expected = products(*torch.ops.aten._linalg_svd.default(leaf))
    outputs, pull = jax.vjp(lambda x: products(*TABLE["aten._linalg_svd.default"](x)), jnp.asarray(tall.numpy()))
    weights = [torch.linspace(0.5, 1.5, o.numel(), dtype=o.dtype).reshape(o.shape) for o in expected]
    (gradient,) = torch.autograd.grad(sum((o * w).sum() for o, w in zip(expected, weights, strict=True)), leaf)
    for ours, theirs in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(ours, theirs.detach(), rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(pull(tuple(jnp.asarray(w.numpy()) for w in weights))[0], gradient, rtol=1e-8, atol=1e-9)


def test_trigamma_equals_its_exact_value():
    """torch's own is off by 5e-10 in float64: it ends the series early."""
    x = np.linspace(0.1, 9, 40)
    value, pull = jax.vjp(lambda x: TABLE["aten.polygamma.default"](1, x), jnp.asarray(x))
    np.testing.assert_allclose(value, scipy.special.polygamma(1, x), rtol=1e-12)
    np.testing.assert_allclose(pull(jnp.ones_like(value))[0], scipy.special.polygamma(2, x), rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("clamp.default", (-1.0, 1.0)), ("clamp.default", (-1.0, None)), ("clamp.default", (None, 1.0)),
        ("clamp.default", (1.0, 1.0)), ("clamp.default", (1.0, -1.0)),
        ("clamp_min.default", (-1.0,)), ("clamp_max.default", (1.0,)),
        ("clamp.Tensor", ([-1.0] * 5, [1.0] * 5)), ("clamp.Tensor", ([-1.0] * 5, None)),
        ("clamp.Tensor", (None, [1.0] * 5)), ("clamp.Tensor", ([1.0] * 5, [1.0] * 5)),
        ("clamp.Tensor", ([1.0] * 5, [-1.0] * 5)), ("clamp.Tensor", ([-1.0] * 5, 1.0)),
        ("clamp_min.Tensor", ([-1.0] * 5,)), ("clamp_max.Tensor", ([1.0] * 5,)),
    ],
)  # fmt: skip
def test_a_value_at_its_limit_has_the_derivative_of_the_installed_torch(name, limits):
    x = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0], dtype=torch.float64)
    if name.endswith("Tensor"):
        limits = tuple(None if v is None else torch.tensor(v, dtype=torch.float64) for v in limits)
    compare(f"aten.{name}", [(x, *limits)])


def test_the_derivative_at_a_limit_is_known_under_no_grad_and_inside_transforms():
    expected = [share_at_a_limit(tensors) for tensors in (False, True)]
    assert expected in ([1.0, 1.0], [0.0, 0.5])
    share_at_a_limit.cache_clear()
    with torch.inference_mode(), FakeTensorMode():
        assert [share_at_a_limit(tensors) for tensors in (False, True)] == expected


def test_the_samples_belong_to_the_table():
    assert not DISTRIBUTIONS.keys() & {f"aten.{name}" for name in SAMPLES}
    assert sorted([*DISTRIBUTIONS, *(f"aten.{name}" for name in SAMPLES)]) == list(supported_operators())


def test_the_documentation_lists_the_operators():
    text = (Path(__file__).parents[3] / "docs" / "torch2jax.md").read_text()
    listed = re.findall(r"`(\S+)`", text.split("## Supported operators")[1].split("\n## ")[0])
    assert sorted(f"aten.{name}" for name in listed) == list(supported_operators())


BY_AXIS = {
    **{name: getattr(torch, name) for name in (
        "max", "min", "argmax", "argmin", "sum", "mean", "prod", "amax", "any", "softmax", "log_softmax", "logsumexp", "cumsum",
        "cumprod", "logcumsumexp", "cummax", "sort", "median", "mode", "nansum",
    )},
    "aminmax": lambda x, dim: torch.aminmax(x, dim=dim), "kthvalue": lambda x, dim: torch.kthvalue(x, 1, dim),
    "topk": lambda x, dim: torch.topk(x, 1, dim),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_AXIS)
def test_a_number_without_axes_has_an_axis_as_in_torch(name):
    function = Function(lambda x: BY_AXIS[name](x, -1))
    x = torch.tensor(0.7, dtype=torch.float64)
    convert, weights = torch2jax(function, (x,), free_axes=None)  # compares values and gradients
    ours = jax.tree.leaves(convert(weights, jnp.asarray(0.7)))
    assert all(y.shape == () for y in ours)
