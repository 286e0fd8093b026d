"""Any pytree in and out, keywords, defaults, static and non-differentiable arguments."""

import dataclasses
import importlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bridges import ConversionError, jax2torch


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclasses.dataclass(frozen=True)
class Weather:
    temperature: Any
    wind: Any = None
    label: str = "tower"


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Registered:
    value: Any
    unit: str = dataclasses.field(metadata={"static": True}, default="K")


def tensor(*values, grad=False):
    return torch.tensor(values, dtype=torch.float64, requires_grad=grad)


def test_nested_structures_pass_through_and_keep_their_types():
    f = jax2torch(lambda tree: jax.tree.map(lambda x: x * 2, tree))
    tree = {"a": [tensor(1.0), (tensor(2.0), None)], "p": Pair(tensor(3.0), {"z": tensor(4.0)}), "n": 5}
    out = f(tree)
    assert type(out["a"]) is list and type(out["a"][1]) is tuple and out["a"][1][1] is None
    assert isinstance(out["p"], Pair)
    assert [out["a"][0], out["a"][1][0], out["p"].left, out["p"].right["z"]] == [2.0, 4.0, 6.0, 8.0]
    assert isinstance(out["n"], torch.Tensor) and out["n"] == 10


def test_plain_dataclasses_go_in_and_come_out_without_registration():
    def f(w: Weather, other: Registered):
        assert w.label == "tower" and other.unit == "K"
        return Weather(w.temperature + other.value, w.wind), Registered(w.temperature * 2)

    t = tensor(1.0, 2.0, grad=True)
    weather, registered = jax2torch(f)(Weather(t), Registered(tensor(3.0)))
    assert type(weather) is Weather and weather.wind is None and weather.label == "tower"
    assert type(registered) is Registered and registered.unit == "K"
    (weather.temperature.sum() + registered.value.sum()).backward()
    torch.testing.assert_close(t.grad, tensor(3.0, 3.0))


def test_gradients_reach_tensors_nested_in_containers():
    x, w = tensor(1.0, 2.0, grad=True), tensor(3.0, grad=True)
    jax2torch(lambda d: (d["layers"][0] * d["layers"][1]["w"]).sum())({"layers": [x, {"w": w}]}).backward()
    torch.testing.assert_close(x.grad, tensor(3.0, 3.0))
    torch.testing.assert_close(w.grad, tensor(3.0))


def test_keywords_defaults_keyword_only_and_variadic_arguments():
    def f(a, b=2.0, /, c=3.0, *rest, d=4.0, **more):
        return a + 10 * b + 100 * c + 1000 * d + sum(rest) + sum(more.values())

    g = jax2torch(f)
    a = tensor(1.0, grad=True)
    for args, kwargs in (
        ((), {}),
        ((5.0,), {}),
        ((5.0, 6.0, 7.0, 8.0), {"d": tensor(9.0)}),
        ((), {"c": 1, "e": tensor(5.0)}),
    ):
        out = g(a, *args, **kwargs)
        plain = f(1.0, *args, **{k: v.item() if isinstance(v, torch.Tensor) else v for k, v in kwargs.items()})
        assert out.item() == pytest.approx(plain)
        assert torch.autograd.grad(out, a)[0].item() == 1.0


def test_call_style_of_the_published_package():
    """Same values and gradients as jax2torch 0.0.7, whose two conversion functions are repaired for today's
    versions."""
    pytest.importorskip("jax2torch")
    package = importlib.import_module("jax2torch.jax2torch")
    package.j2t = torch.from_dlpack
    package.t2j = lambda t: jax.dlpack.from_dlpack(t.detach().contiguous())

    @jax.jit
    def f(a, b):
        return jnp.tanh(a @ b) * 3

    generator = torch.Generator().manual_seed(1)
    a, b = (torch.randn(4, 4, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(2))
    results = []
    for bridge in (jax2torch, package.jax2torch):
        out = bridge(f)(a, b=b)
        results.append((out.detach(), *torch.autograd.grad(out.square().sum(), (a, b))))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-14, atol=1e-14)


def test_static_arguments_by_keyword_position_and_default_compile_per_value():
    def f(x, mode="double", power=1):
        return (x * 2 if mode == "double" else x * 3) ** power

    g = jax2torch(f, static_argnames=("mode", "power"))
    x = tensor(1.0)
    assert [g(x).item(), g(x, "triple").item(), g(x, mode="triple", power=2).item(), g(x, "double", 2).item()] == [
        2,
        3,
        9,
        4,
    ]
    traces = g.operation.traces["primal"]
    g(x + 1, mode="triple", power=2)
    assert g.operation.traces["primal"] == traces
    with pytest.raises(ConversionError, match="argument power.*hashable"):
        g(x, power=[1])
    with pytest.raises(ConversionError, match="static argument must be a plain value, got a tensor"):
        g(x, power=x)


def test_equal_static_values_of_different_types_are_different_programs():
    g = jax2torch(
        lambda x, k: x * (10 if isinstance(k, bool) else 20 if isinstance(k, int) else 30), static_argnames="k"
    )
    x = tensor(1.0)
    assert [g(x, k=True).item(), g(x, k=1).item(), g(x, k=1.0).item()] == [10, 20, 30]


def test_texts_and_functions_among_the_arguments_compile_per_value():
    f = jax2torch(lambda x, how: x * 2 if how == "double" else x * 3 if how == "triple" else how(x))
    x = tensor(0.5)
    for _ in range(2):
        results = [f(x, how).item() for how in ("double", "triple", jnp.sin, jnp.cos)]
        assert results == pytest.approx([1.0, 1.5, np.sin(0.5), np.cos(0.5)])
    assert f.operation.traces == {"primal": 4}


def test_nondiff_arguments_get_no_gradient_and_no_derivative_is_computed():
    f = jax2torch(lambda x, forcing: (x * forcing["t"]).sum(), nondiff_argnames=("forcing",))
    x, t = tensor(2.0, grad=True), tensor(3.0, grad=True)
    f(x, {"t": t}).backward()
    assert x.grad.item() == 3.0 and t.grad is None
    assert not f(x.detach(), {"t": t}).requires_grad
    assert not f(x.detach(), forcing={"t": t}).requires_grad
    variadic = jax2torch(lambda x, *more, **forcing: x * more[0] * forcing["t"], nondiff_argnames=("t", "more"))
    assert not variadic(x.detach(), t, t=t).requires_grad and variadic(x, t, t=t).requires_grad


@pytest.mark.parametrize("option", ["static_argnames", "nondiff_argnames", "vectorized"])
def test_unknown_argument_names_are_refused_at_once(option):
    with pytest.raises(ValueError, match="no argument 'y'; it has x, z"):
        jax2torch(lambda x, z: x, **{option: ("y",)})


def test_numpy_and_jax_arrays_and_numbers_accompany_tensors():
    f = jax2torch(lambda x, n, j, k, c: x * n * j * k + c.real)
    x = tensor(1.0, grad=True)
    out = f(x, np.array([2.0]), jnp.array([3.0]), True, 1j)
    out.sum().backward()
    assert out.item() == 6.0 and x.grad.item() == 6.0


def test_numpy_array_changed_between_forward_and_backward_does_not_change_the_gradient():
    n = np.full(64, 2.0)
    x = torch.ones(64, dtype=torch.float64, requires_grad=True)
    out = jax2torch(lambda x, n: (jnp.sin(x) * n).sum())(x, n)
    n[:] = 1e6
    out.backward()
    torch.testing.assert_close(x.grad, 2 * torch.cos(x.detach()))


def test_integer_bool_and_none_arguments_and_results():
    def f(x, index, mask, nothing):
        assert nothing is None
        return x[index] * mask, index + 1, mask, None

    x = tensor(1.0, 2.0, 3.0, grad=True)
    value, index, mask, nothing = jax2torch(f)(x, torch.tensor([2, 0]), torch.tensor([True, False]), None)
    assert value.requires_grad and not index.requires_grad and not mask.requires_grad and nothing is None
    assert index.dtype == torch.int64 and mask.dtype == torch.bool
    value.sum().backward()
    torch.testing.assert_close(x.grad, tensor(0.0, 0.0, 1.0))


def test_changing_numbers_do_not_trace_again():
    f = jax2torch(lambda x, k: x * k)
    x = tensor(1.0)
    assert [f(x, 0.5 * i).item() for i in range(5)] == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert f.operation.traces["primal"] == 1


def test_result_structure_may_depend_on_dtype_and_shape():
    """The layout of a result belongs to its trace, not to the structure of the arguments."""

    def f(x):
        return {"whole": x} if jnp.issubdtype(x.dtype, jnp.integer) else {"float": x * 2, "rank": x.ndim}

    g = jax2torch(f)
    x = tensor(1.0, grad=True)
    first = g(x)
    second = g(torch.tensor([3]))
    third = g(x)
    assert set(first) == set(third) == {"float", "rank"} and set(second) == {"whole"}
    assert third["float"].requires_grad and third["rank"] == 1 and second["whole"].dtype == torch.int64


def test_function_without_tensors_and_function_without_results():
    assert jax2torch(lambda n: jnp.arange(3) + n)(2).tolist() == [2, 3, 4]
    x = tensor(1.0, grad=True)
    assert jax2torch(lambda x: None)(x) is None
    assert jax2torch(lambda x: {})(x) == {}


def test_errors_name_the_argument_and_the_remedy():
    f = jax2torch(lambda x, more=None: x)
    with pytest.raises(ConversionError, match=r"argument more\['net'\]: got the torch module Linear.*torch2jax"):
        f(tensor(1.0), more={"net": torch.nn.Linear(1, 1)})
    with pytest.raises(ConversionError, match=r"argument 0\['s'\]: got a set, which is neither an array"):
        f({"s": {1, 2}})
    with pytest.raises(ConversionError, match="NumPy array of dtype <U1"):
        f(np.array(["a"]))
    with pytest.raises(ConversionError, match="expected a result of arrays.*got a object"):
        jax2torch(lambda x: (x, object()))(tensor(1.0))


def test_wraps_the_function():
    def stress(x):
        """Doc."""
        return x

    assert jax2torch(stress).__name__ == "stress" and jax2torch(stress).__doc__ == "Doc."
    operation = jax2torch(stress, name="beta").operation
    assert operation.name == "beta"
    assert operation.arguments((tensor(1.0),), {})[0].kernel.primal.__name__ == "beta_primal"


@given(n=st.integers(1, 400))
def test_padded_number_of_rows(n):
    from bridges._jax2torch.rows import Rows

    size = Rows("f").size(n)
    assert n <= size <= max(2 * n - 1, 1) and (size & (size - 1) == 0 if n <= 256 else size % 256 == 0)


@given(n=st.integers(1, 400), smallest=st.integers(1, 400))
def test_small_batches_are_padded_to_the_smallest_size(n, smallest):
    from bridges._jax2torch.rows import Rows

    assert Rows("f", smallest).size(n) == Rows("f").size(max(n, smallest))


def test_vectorized_function_compiles_for_few_batch_sizes_with_exact_results():
    def f(x, w):
        return {"y": jnp.tanh(x @ w), "argmax": jnp.argmax(x, axis=1)}

    g = jax2torch(f, vectorized=("x",))
    w = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    for n in (8, 5, 6, 7):
        x = torch.randn(n, 3, dtype=torch.float64, requires_grad=True)
        out = g(x, w)
        assert out["y"].shape == (n, 2) and out["argmax"].shape == (n,)
        torch.testing.assert_close(out["y"], torch.tanh(x @ w))
        ours = torch.autograd.grad(out["y"].square().sum(), (x, w))
        torch.testing.assert_close(ours, torch.autograd.grad(torch.tanh(x @ w).square().sum(), (x, w)))
    assert g.operation.traces == {"forward": 1, "backward": 1}


def test_vectorized_by_true_means_every_tensor_with_an_axis():
    g = jax2torch(lambda x, y, k: x * y[:, None] + k, vectorized=True)
    for n in (8, 5, 6):
        x, y, k = torch.randn(n, 2, dtype=torch.float64), torch.randn(n, dtype=torch.float64), tensor(3.0)[0]
        torch.testing.assert_close(g(x, y, k), x * y[:, None] + 3.0)
    assert g.operation.traces == {"primal": 1}


def test_vectorized_function_refuses_what_padding_would_falsify():
    x = torch.ones(3, 2, dtype=torch.float64)
    with pytest.raises(ConversionError, match=r"each of its results must have the 4 rows.*one has shape \(\)"):
        jax2torch(lambda x: x.sum(), vectorized=True)(x)
    with pytest.raises(ConversionError, match=r"rows.*is 3 for argument 0, but argument 1 has shape \(2,\)"):
        jax2torch(lambda x, y: x, vectorized=True)(x, torch.ones(2, dtype=torch.float64))


@pytest.mark.parametrize(
    ("fn", "error", "message"),
    [
        (lambda x, y: x @ jnp.ones((4, 2)), TypeError, r"dot_general requires .*\(5,\) and \(4,\)"),
        (lambda x, y: x + y, (TypeError, ValueError), r"[Ii]ncompatible shapes.*\(3, 5\), \(4,\)"),
        (lambda x, y: x.reshape(7), (TypeError, ValueError), r"cannot reshape array of shape \(3, 5\)"),
        (lambda x, y: x[0, 0, 0], IndexError, "Too many indices"),
        (lambda x, y: x if x.sum() > 0 else y, jax.errors.TracerBoolConversionError, "boolean conversion"),
    ],
    ids=["product", "sum", "reshape", "index", "branch"],
)
def test_an_error_inside_the_function_names_it_and_what_it_was_called_with(fn, error, message):
    f = jax2torch(fn, name="mine")
    for grad in (False, True):
        with pytest.raises(error, match=message) as caught:
            f(torch.ones(3, 5, requires_grad=grad), torch.ones(4))
        text = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
        assert "in the JAX function mine, called with float32[3, 5], float32[4]" in text
