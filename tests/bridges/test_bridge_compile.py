"""torch.compile and torch.export: no graph break, few graphs, gradients, and the operators' own checks."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from bridges import BridgeError, jax2torch
from bridges import _compiled as compiled

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


def test_importing_the_bridge_does_not_import_the_compiler():
    code = "import bridges, sys; bridges.jax2torch(lambda x: x); print('torch._dynamo' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False"]
