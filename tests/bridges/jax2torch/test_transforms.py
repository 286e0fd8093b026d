"""Derivatives of any order, torch.func, forward mode, complex numbers, and what a function does not allow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.autograd import forward_ad

from bridges import ConversionError, TransformError, jax2torch
from tests.bridges.naive import naive_bridge

# torch imports its own deprecated decompositions at the first use of forward mode.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")

JAX, TORCH = jnp, torch


def formula(np, x, w):
    return np.tanh(x @ w) * np.sin(w[0]), (x * x).sum() * w[0, 0]


ours = jax2torch(lambda x, w: formula(JAX, x, w))


def reference(x, w):
    return formula(TORCH, x, w)


@pytest.fixture(scope="module")
def xw():
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(3, 3, generator=generator, dtype=torch.float64) for _ in range(2))


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_gradcheck_in_reverse_forward_and_second_order(xw):
    x, w = (t.clone().requires_grad_() for t in xw)
    assert torch.autograd.gradcheck(ours, (x, w), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(ours, (x, w))


def test_second_derivative_through_create_graph_equals_torch(xw):
    results = []
    for f in (ours, reference):
        x, w = (t.clone().requires_grad_() for t in xw)
        (g,) = torch.autograd.grad(f(x, w)[0].square().sum(), x, create_graph=True)
        g.square().sum().backward()
        results.append((x.grad, w.grad))
    close(*results)


def test_third_derivative(xw):
    x = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    y = jax2torch(jnp.sin)(x)
    for expected in (torch.cos(x), -torch.sin(x), -torch.cos(x)):
        (y,) = torch.autograd.grad(y, x, create_graph=True)
        close(y, expected)


def test_a_gradient_penalty_has_a_graph_which_the_naive_bridge_drops():
    x = torch.tensor([0.3], dtype=torch.float64, requires_grad=True)
    (g,) = torch.autograd.grad(jax2torch(jnp.sin)(x), x, create_graph=True)
    assert g.requires_grad
    (g,) = torch.autograd.grad(naive_bridge(jnp.sin)(x), x, create_graph=True)
    assert not g.requires_grad


def test_a_numpy_array_changed_before_a_functional_pullback_runs_does_not_change_it():
    n = np.full(3, 2.0)
    x = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
    f = jax2torch(lambda x, n: jnp.sin(x) * n)
    _, pullback = torch.func.vjp(lambda x: f(x, n), x)
    n[:] = 1e6
    close(pullback(torch.ones_like(x))[0], 2 * torch.cos(x))


TRANSFORMS = {
    "grad": lambda f: torch.func.grad(lambda x, w: f(x, w)[0].sum() * f(x, w)[1]),
    "grad_both": lambda f: torch.func.grad(lambda x, w: f(x, w)[1], argnums=(0, 1)),
    "vjp": lambda f: lambda x, w: torch.func.vjp(f, x, w)[1]((x, x[0, 0])),
    "jvp": lambda f: lambda x, w: torch.func.jvp(f, (x, w), (w, x)),
    "jacrev": lambda f: torch.func.jacrev(f, argnums=(0, 1)),
    "jacfwd": lambda f: torch.func.jacfwd(f, argnums=(0, 1)),
    "hessian": lambda f: torch.func.hessian(lambda x, w: f(x, w)[0].sum() + f(x, w)[1], argnums=(0, 1)),
    "jacfwd_of_jacfwd": lambda f: torch.func.jacfwd(torch.func.jacfwd(lambda x, w: f(x, w)[1])),
    "jacrev_of_jacrev": lambda f: torch.func.jacrev(torch.func.jacrev(lambda x, w: f(x, w)[1])),
    "grad_of_grad": lambda f: torch.func.grad(lambda x, w: torch.func.grad(lambda y: f(y, w)[1] ** 2)(x).sum()),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_torch_func_equals_torch(name, xw):
    close(TRANSFORMS[name](ours)(*xw), TRANSFORMS[name](reference)(*xw))


def test_vmap_equals_torch_with_any_axes_nested_and_inside_gradients(xw):
    x, w = xw
    X, W = torch.stack([x, 2 * x], 1), torch.stack([w, w + 1])
    for f, g in ((ours, reference),):
        close(torch.vmap(f, (1, None))(X, w), torch.vmap(g, (1, None))(X, w))
        close(torch.vmap(f, (1, 0))(X, W), torch.vmap(g, (1, 0))(X, W))
        nested = [torch.vmap(torch.vmap(h, (None, 0)), (1, None))(X, W) for h in (f, g)]
        close(*nested)
        per_sample = [torch.vmap(torch.func.grad(lambda a, b, h=h: h(a, b)[1]), (1, None))(X, w) for h in (f, g)]
        close(*per_sample)


def test_vmap_carries_gradients_to_the_parameters(xw):
    x, w = xw
    results = []
    for f in (ours, reference):
        leaf = w.clone().requires_grad_()
        torch.vmap(f, (0, None))(torch.stack([x, x + 1]), leaf)[0].square().sum().backward()
        results.append(leaf.grad)
    close(*results)


def test_vmap_over_pytrees_and_integers():
    f = jax2torch(lambda d, i: {"out": d["x"][i] * 2, "i": i + 1})
    out = torch.vmap(f, ({"x": 0}, 0))({"x": torch.arange(6.0).reshape(2, 3)}, torch.tensor([0, 2]))
    assert out["out"].tolist() == [0.0, 10.0] and out["i"].tolist() == [1, 3]


def test_dual_numbers(xw):
    x, w = xw
    results = []
    for f in (ours, reference):
        with forward_ad.dual_level():
            out = f(forward_ad.make_dual(x, w), w)
            results.append([forward_ad.unpack_dual(o).tangent for o in out])
    close(*results)


def test_forward_over_reverse_with_dual_numbers(xw):
    results = []
    for f in (ours, reference):
        x, w = (t.clone().requires_grad_() for t in xw)
        with forward_ad.dual_level():
            out = f(forward_ad.make_dual(x, torch.ones_like(x)), w)
            (g,) = torch.autograd.grad(out[1] ** 2, w, create_graph=True)
            results.append(forward_ad.unpack_dual(g).tangent)
    close(*results)


def complex_formula(np, z, x):
    return z * z * np.exp(1j * x) + x, np.abs(z) ** 2 * x


def test_complex_gradients_follow_the_convention_of_torch():
    """JAX's cotangents are the conjugates of torch's; a naive bridge returns the conjugate gradient without a word."""
    z = torch.tensor([1 + 2j, -0.5j + 0.3], dtype=torch.complex128, requires_grad=True)
    x = torch.tensor([0.3, -1.0], dtype=torch.float64, requires_grad=True)
    f = jax2torch(lambda z, x: complex_formula(JAX, z, x))
    assert torch.autograd.gradcheck(f, (z, x), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(f, (z, x))

    def gradient(f):
        return torch.autograd.grad((f(z, x)[0] * (1 - 3j)).abs().sum() + (f(z, x)[1] * 2).sum(), (z, x))

    expected = gradient(lambda z, x: complex_formula(TORCH, z, x))
    close(gradient(f), expected)
    naive = gradient(naive_bridge(lambda z, x: complex_formula(JAX, z, x)))
    assert (naive[0] - expected[0]).abs().max() > 0.1


@jax.custom_vjp
def implicit(x):
    return jax.lax.while_loop(lambda y: jnp.any(jnp.abs(y * y - x) > 1e-14), lambda y: 0.5 * (y + x / y), x)


def _implicit_forward(x):
    y = implicit(x)
    return y, y


def _implicit_backward(y, g):
    doubled = jax.lax.while_loop(lambda s: s[1] < 2, lambda s: (s[0] + g / y, s[1] + 1), (jnp.zeros_like(g), 0))[0]
    return (doubled / 4,)


implicit.defvjp(_implicit_forward, _implicit_backward)


def test_custom_vjp_in_reverse_mode():
    x = torch.tensor([4.0, 9.0], dtype=torch.float64, requires_grad=True)
    f = jax2torch(implicit)
    assert torch.autograd.gradcheck(f, x)
    close(torch.func.jacrev(f)(x.detach()), torch.diag(1 / (2 * x.detach().sqrt())))
    close(torch.vmap(torch.func.grad(lambda v: f(v)))(x.detach()), 1 / (2 * x.detach().sqrt()))


def test_custom_vjp_refuses_forward_mode_in_torch_terms():
    x = torch.tensor([4.0], dtype=torch.float64)
    f = jax2torch(implicit, name="square_root")
    with pytest.raises(TransformError, match="square_root has no forward-mode derivative.*Use reverse mode") as info:
        torch.func.jvp(f, (x,), (x,))
    assert info.value.__suppress_context__
    with pytest.raises(TransformError, match="no forward-mode derivative"), forward_ad.dual_level():
        f(forward_ad.make_dual(x, x))


def test_second_derivative_that_does_not_exist_is_refused_in_torch_terms():
    x = torch.tensor([4.0], dtype=torch.float64, requires_grad=True)
    (g,) = torch.autograd.grad(jax2torch(implicit)(x), x, create_graph=True)
    with pytest.raises(
        TransformError, match=r"cannot be differentiated in reverse.*custom_vjp rule.*create_graph=True"
    ):
        g.backward()
    loop = jax2torch(lambda x: jax.lax.while_loop(lambda y: jnp.all(y < 100), lambda y: 2 * y, x))
    with pytest.raises(TransformError, match="loop of unknown length"):
        loop(x).backward()
    assert loop(x.detach()).item() == 128.0


def test_batched_gradients_of_the_old_kind_are_refused_with_the_alternative(xw):
    x = xw[0].clone().requires_grad_()
    y = jax2torch(jnp.sin)(x)
    with pytest.raises(ConversionError, match=r"torch.func.*is_grads_batched and vectorize=True are not supported"):
        torch.autograd.grad(y, x, torch.stack([x.detach(), x.detach()]), is_grads_batched=True)


def test_functional_derivatives_compile_once_per_transformation(xw):
    f = jax2torch(lambda x: jnp.sin(x) ** 2)
    hessian = torch.func.hessian(lambda x: f(x).sum())
    hessian(xw[0])
    before = f.operation.traces.total()
    for k in range(3):
        hessian(xw[0] + k)
    assert f.operation.traces.total() == before
