"""torch.compile and torch.export: no graph break, few graphs, gradients, and the operators' own checks."""

import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from bridges import BridgeError, JaxModule, jax2torch
from bridges._jax2torch import compiled

# torch imports its own deprecated code when the compiler starts.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def make():
    return jax2torch(
        lambda d, k=1.0: {"y": jnp.tanh(d["x"] @ d["w"]) * k, "i": (jnp.argmax(d["x"], axis=1), jnp.sum(d["x"] ** 2))}
    )


def program(f):
    def user(x, w):
        out = f({"x": x.sin(), "w": w}, k=2.0)
        return out["y"].sum() * out["i"][1] + out["i"][0].sum()

    return user


def inputs(n, grad=True):
    generator = torch.Generator().manual_seed(n)
    return tuple(
        torch.randn(*s, generator=generator, dtype=torch.float64, requires_grad=grad) for s in ((n, 3), (3, 4))
    )


@pytest.mark.parametrize("backend", ["eager", "aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_fullgraph_compilation_equals_eager_with_two_graphs_for_five_batch_sizes(backend):
    f = make()
    counter = CompileCounterWithBackend(backend)
    fast = torch.compile(program(f), backend=counter, fullgraph=True)
    for n in (5, 6, 7, 9, 12):
        x, w = inputs(n)
        out, expected = fast(x, w), program(f)(x, w)
        torch.testing.assert_close(out, expected)
        torch.testing.assert_close(torch.autograd.grad(out, (x, w)), torch.autograd.grad(expected, (x, w)))
    assert counter.frame_count <= 2


def test_several_functions_in_the_same_code_are_compiled_each():
    functions = [jax2torch(f) for f in (jnp.sin, jnp.cos, jnp.tanh)]
    x = torch.linspace(-1, 1, 4, dtype=torch.float64)

    def twice(f, x):
        return f(f(x))

    for f, expected in zip(functions, (torch.sin, torch.cos, torch.tanh), strict=True):
        torch.testing.assert_close(torch.compile(f, backend="aot_eager", fullgraph=True)(x), expected(x))
        fast = torch.compile(twice, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(fast(f, x), expected(expected(x)))


def test_compiled_module_without_gradients():
    f = make()
    fast = torch.compile(program(f), backend="aot_eager", fullgraph=True)
    x, w = inputs(4, grad=False)
    torch.testing.assert_close(fast(x, w), program(f)(x, w))
    assert "forward" not in f.operation.traces


def test_compiled_training_step_compiles_jax_once():
    f = make()
    fast = torch.compile(program(f), backend="aot_eager", fullgraph=True)
    x, w = inputs(5)
    fast(x, w).backward()
    before = f.operation.traces.copy()
    for _ in range(5):
        fast(x, w).backward()
    assert f.operation.traces == before


def test_a_size_that_the_function_fixes_or_bends_is_specialised_not_guessed():
    f = jax2torch(lambda x: jnp.concatenate([x, jnp.zeros(x.shape[0] % 3)]) if x.shape[0] != 6 else x[:2])
    fast = torch.compile(lambda x: f(x) * 2, backend="aot_eager", fullgraph=True)
    for n in (4, 5, 6, 7):
        x = torch.ones(n, dtype=torch.float64)
        torch.testing.assert_close(fast(x), f(x) * 2)


def test_a_program_whose_residuals_depend_on_the_size_is_refused_not_mixed_up():
    def f(x):
        for k in range(min(x.shape[0], 8)):
            x = jnp.sin(x) * k
        return x

    fast = torch.compile(jax2torch(f), backend="aot_eager", fullgraph=True)
    for n in (9, 10, 11):
        fast(torch.ones(n, dtype=torch.float64, requires_grad=True)).sum().backward()
    with pytest.raises(BridgeError, match=r"compiled for \d+ outputs and residuals.*\[\(5,\)\].*dynamic=False"):
        fast(torch.ones(5, dtype=torch.float64, requires_grad=True))


# torch's checks look at gradients of tensors that are no leaves.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
def test_operators_pass_torchs_own_checks():
    f = jax2torch(lambda x, w, k: (jnp.tanh(x @ w) * k, jnp.sum(x**2)))
    x, w = inputs(5)
    kernel, tensors, extras = f.operation.arguments((x, w, 2.0), {})[0]
    entry = compiled._Entry(kernel, extras, (True, True))
    compiled._entries[entry.handle] = entry
    torch.library.opcheck(torch.ops.bridges.forward.default, (entry.handle, tensors))
    plain = compiled._Entry(kernel, extras, (False, False))
    compiled._entries[plain.handle] = plain
    torch.library.opcheck(torch.ops.bridges.primal.default, (plain.handle, [t.detach() for t in tensors]))


def test_export_keeps_the_function_as_an_operator():
    f = make()
    module = type("Program", (torch.nn.Module,), {"forward": lambda self, x, w: program(f)(x, w)})()
    x, w = inputs(5, grad=False)
    exported = torch.export.export(module, (x, w), strict=False)
    assert any("bridges" in str(node.target) for node in exported.graph.nodes)
    torch.testing.assert_close(exported.module()(x, w), program(f)(x, w))


def test_graph_of_a_function_that_is_gone_says_so():
    entry = compiled._Entry(
        make().operation.arguments(({"x": torch.ones(2, 2), "w": torch.ones(2, 2)},), {})[0].kernel, [], ()
    )
    handle = entry.handle
    del entry
    with pytest.raises(BridgeError, match="no longer exists"):
        torch.ops.bridges.primal(handle, [torch.ones(2)])


def test_64_bits_are_refused_while_compiling_too():
    x, w = inputs(5, grad=False)
    with jax.enable_x64(False), pytest.raises(Exception, match="nonstrict_trace") as info:
        torch.compile(program(make()), backend="aot_eager", fullgraph=True)(x, w)
    chain, error = [], info.value
    while error is not None:
        chain.append(str(error))
        error = error.__cause__ or error.__context__
    assert any("JAX runs in 32 bits" in text for text in chain)


def test_backward_of_a_compiled_function_has_the_settings_of_forward():
    f = jax2torch(lambda x: jnp.sin(x) * 1e-12 + x)
    fast = torch.compile(lambda x: f(x).sum(), backend="aot_eager", fullgraph=True)
    x = torch.ones(3, dtype=torch.float64, requires_grad=True)
    jax.config.update("jax_enable_x64", False)
    try:
        with jax.enable_x64(True):
            out = fast(x)
        out.backward()
    finally:
        jax.config.update("jax_enable_x64", True)
    assert torch.equal(x.grad, 1 + 1e-12 * torch.cos(x.detach()))


def test_a_second_derivative_of_a_compiled_function_is_computed_or_refused_not_dropped():
    x = torch.ones(3, dtype=torch.float64, requires_grad=True)

    def second_derivative(backend):
        fast = torch.compile(jax2torch(jnp.sin), backend=backend, fullgraph=True)
        (g,) = torch.autograd.grad(fast(x).sum(), x, create_graph=True)
        return torch.autograd.grad(g.sum(), x)[0]

    torch.testing.assert_close(second_derivative("eager"), -torch.sin(x.detach()))
    with pytest.raises(RuntimeError, match="does not currently support double backward"):
        second_derivative("aot_eager")


NUMBERS = np.full(4, 3.0)
BREAKS = {
    "numpy": lambda f, x: f(x.cos(), NUMBERS),
    "jvp": lambda f, x: torch.func.jvp(lambda y: f(y) * 2, (x.cos(),), (torch.ones_like(x),)),
    "grad": lambda f, x: torch.func.grad(lambda y: f(y).sum())(x.cos()),
    "vmap": lambda f, x: torch.vmap(lambda y: f(y) * 2)(x.cos()),
}


@pytest.mark.parametrize("name", BREAKS)
def test_transformations_and_foreign_arrays_in_a_compiled_function_break_the_graph_and_are_right(name):
    x = torch.linspace(-1, 1, 4, dtype=torch.float64)
    f, g = (jax2torch(lambda x, k=1.0: jnp.sin(x) ** 2 * k) for _ in range(2))
    out = torch.compile(lambda x: BREAKS[name](f, x), backend="aot_eager")(x)
    torch.testing.assert_close(out, BREAKS[name](g, x))
    torch._dynamo.reset()
    with pytest.raises(torch._dynamo.exc.Unsupported):
        torch.compile(lambda x: BREAKS[name](f, x), backend="aot_eager", fullgraph=True)(x)


# Dynamo asks every tensor it sees for its gradient.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
def test_backward_inside_a_compiled_function():
    f = jax2torch(lambda x: jnp.sin(x) ** 2)
    leaf = torch.linspace(-1, 1, 4, dtype=torch.float64, requires_grad=True)
    outside = f(leaf).sum()

    def step(x):
        x = x.detach().requires_grad_()
        f(x).sum().backward()
        return x.grad + torch.autograd.grad(outside, leaf)[0]

    torch.testing.assert_close(torch.compile(step, backend="aot_eager")(leaf), 2 * torch.sin(2 * leaf.detach()))


def test_autocast_has_the_same_policy_when_compiled():
    f = jax2torch(lambda x: jnp.exp(x))
    net = torch.nn.Linear(3, 4)

    def user(x):
        with torch.autocast("cpu", torch.bfloat16):
            hidden = net(x)
            return hidden, f(hidden)

    x = torch.ones(5, 3)
    hidden, out = torch.compile(user, backend="aot_eager", fullgraph=True)(x)
    assert hidden.dtype == torch.bfloat16 and out.dtype == torch.float32
    torch.testing.assert_close(out, user(x)[1])
    ours, eager = (torch.autograd.grad(y.sum(), net.weight) for y in (out, user(x)[1]))
    torch.testing.assert_close(ours, eager)


def test_a_module_compiles_without_a_break():
    module = JaxModule(eqx.nn.MLP(3, 2, 4, 1, key=jax.random.key(0)), vmap=True)
    x = torch.randn(5, 3, dtype=torch.float64)
    out = torch.compile(module, backend="aot_eager", fullgraph=True)(x)
    torch.testing.assert_close(out, module(x))
    for ours, eager in zip(
        torch.autograd.grad(out.sum(), module.parameters()),
        torch.autograd.grad(module(x).sum(), module.parameters()),
        strict=True,
    ):
        torch.testing.assert_close(ours, eager)


def test_importing_the_bridge_does_not_import_the_compiler():
    code = "import bridges, sys; bridges.jax2torch(lambda x: x); print('torch._dynamo' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False"]


def scaled(x, factor=None):
    value = x["a"] if isinstance(x, dict) else x
    return value * 2 if factor is None else value * factor


@pytest.mark.parametrize("where", ["argument", "keyword", "dict", "absent"])
def test_arguments_that_are_none_stay_in_the_graph(where):
    f = jax2torch(scaled)
    x = torch.ones(3, requires_grad=True)
    args, kwargs = {
        "argument": ((x, None), {}),
        "keyword": ((x,), {"factor": None}),
        "dict": (({"a": x, "b": None},), {}),
        "absent": ((x,), {}),
    }[where]
    out = torch.compile(lambda *a, **k: f(*a, **k), fullgraph=True, backend="aot_eager")(*args, **kwargs)
    assert torch.equal(out, torch.full((3,), 2.0))
    assert torch.equal(torch.autograd.grad(out.sum(), x)[0], torch.full((3,), 2.0))
