"""One trace forward, one backward, only the gradients asked for, and residuals that live no longer than needed."""

import gc
import threading
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bridges import jax2torch
from bridges._jax2torch.packing import Packing
from tests.bridges.naive import naive_bridge


def leaf(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)


def test_forward_and_backward_are_traced_once_where_the_naive_bridge_traces_at_every_call():
    calls = {"ours": 0, "naive": 0}

    def counted(name):
        def f(x, w):
            calls[name] += 1
            return jnp.tanh(x @ w)

        return f

    f, naive = jax2torch(counted("ours")), naive_bridge(counted("naive"))
    x, w = leaf(4, 3), leaf(3, 2)
    for k in range(5):
        for bridge in (f, naive):
            out = bridge(x * k, w)
            out.backward(torch.ones_like(out))
    assert f.operation.traces == {"forward": 1, "backward": 1}
    assert calls == {"ours": 1, "naive": 5}


def test_new_shapes_dtypes_and_masks_trace_once_each():
    f = jax2torch(lambda x, w: (x * w).sum())
    traces = f.operation.traces
    x, w = leaf(4), leaf(4)

    def new_traces(*args):
        before = traces.copy()
        for _ in range(2):
            out = f(*args)
            if out.requires_grad:
                out.backward()
        return traces - before

    assert new_traces(x, w) == {"forward": 1, "backward": 1}
    assert new_traces(leaf(5), leaf(5)) == {"forward": 1, "backward": 1}
    assert new_traces(x.detach().float().requires_grad_(), w.detach().float()) == {"forward": 1, "backward": 1}
    assert new_traces(x.detach(), w.detach()) == {"primal": 1}
    assert new_traces(x, w) == {}


def test_new_structures_trace_once_each_and_are_not_mixed_up():
    f = jax2torch(lambda tree: tree["a"] - tree["b"] if isinstance(tree, dict) else tree[0] + 2 * tree[1])
    x, y = leaf(3), leaf(3, seed=1)
    for _ in range(2):
        torch.testing.assert_close(f({"a": x, "b": y}), x - y)
        torch.testing.assert_close(f({"b": x, "a": y}), y - x)
        torch.testing.assert_close(f((x, y)), x + 2 * y)
        torch.testing.assert_close(f([y, x]), y + 2 * x)
    assert f.operation.traces == {"forward": 3}


def test_only_the_gradients_asked_for_are_computed():
    """The gradient of x alone leaves out the product that w's gradient needs."""
    f = jax2torch(lambda x, w: x @ w)
    work = {}
    for wanted in ((True, True), (True, False), (False, True)):
        x, w = (torch.ones(64, 64, dtype=torch.float64, requires_grad=grad) for grad in wanted)
        kernel = f.operation.arguments((x, w), {})[0].kernel
        x, w = x.detach().numpy(), w.detach().numpy()
        tagged = kernel.forward(wanted)(x, w)
        residuals = tagged.tag.residuals()
        supplied = [(x, w)[i] for i in residuals.tensors]
        lowered = residuals.backward((True,)).lower(*supplied, *tagged.leaves[1:], np.ones((64, 64)))
        work[wanted] = lowered.compile().cost_analysis()["flops"]
    both, *single = work.values()
    assert single == [pytest.approx(both / 2, rel=0.1)] * 2


def test_gradients_of_every_subset():
    f = jax2torch(lambda x, w: x * w)
    for wanted in ((True, True), (True, False), (False, True)):
        x, w = (leaf(3, seed=s).detach().requires_grad_(grad) for s, grad in enumerate(wanted))
        f(x, w).sum().backward()
        assert (x.grad is not None, w.grad is not None) == wanted
        for ours, expected in ((x.grad, w), (w.grad, x)):
            assert ours is None or torch.equal(ours, expected.detach())
    assert f.operation.traces == {"forward": 3, "backward": 3}


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients_no_residual_is_kept(mode):
    f = jax2torch(lambda x: jnp.sin(x))
    x = leaf(3)
    with mode():
        out = f(x)
    assert not out.requires_grad and out.grad_fn is None
    assert f.operation.traces == {"primal": 1}
    assert not f(x.detach()).requires_grad and f.operation.traces == {"primal": 1}


class Box:
    """What a saved tensor is packed in, so that its life can be watched."""

    def __init__(self, tensor):
        self.tensor = tensor


def forward_with_boxes(f, *args):
    boxes = []

    def pack(tensor):
        box = Box(tensor)
        boxes.append(weakref.ref(box))
        return box

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda box: box.tensor):
        out = f(*args)
    return out, boxes


def test_residuals_are_freed_by_backward_and_a_second_backward_raises_torchs_error():
    x = leaf(100)
    out, boxes = forward_with_boxes(jax2torch(lambda x: jnp.tanh(jnp.sin(x))), x)
    assert len(boxes) >= 2 and all(b() is not None for b in boxes)
    total = out.sum()
    total.backward(retain_graph=True)
    assert all(b() is not None for b in boxes)
    total.backward()
    gc.collect()
    assert all(b() is None for b in boxes)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        total.backward()


def test_the_naive_bridge_keeps_residuals_and_allows_a_second_backward():
    x = leaf(100)
    out, boxes = forward_with_boxes(naive_bridge(lambda x: jnp.tanh(jnp.sin(x))), x)
    assert not boxes
    out.backward(torch.ones_like(out))
    out.backward(torch.ones_like(out))


def live_bytes() -> int:
    return sum(array.nbytes for array in jax.live_arrays())


def test_backward_gives_the_memory_of_residuals_back_while_the_result_lives():
    x = leaf(1 << 16)

    def held_by_graph_after_backward(bridge):
        gc.collect()
        before = live_bytes()
        out = bridge(lambda x: jnp.tanh(jnp.sin(x)))(x)
        at_forward = live_bytes() - before
        torch.autograd.grad(out, x, torch.ones_like(out))
        assert at_forward > out.nbytes
        return live_bytes() - before - out.nbytes

    assert held_by_graph_after_backward(jax2torch) <= 0
    assert held_by_graph_after_backward(naive_bridge) >= x.nbytes


def test_arguments_are_not_kept_a_second_time_as_residuals():
    x, w = leaf(1000), leaf(1000, seed=1)
    out, boxes = forward_with_boxes(jax2torch(lambda x, w: x * w), x, w)
    places = {b().tensor.data_ptr() for b in boxes}
    assert places == {x.data_ptr(), w.data_ptr()} and out.requires_grad


def unrolled(x, w):
    """Thirty steps, with some hundred small residuals of two dtypes."""
    for k in range(30):
        x = jnp.where(x > 0.1 * k, jnp.sin(x * w), jnp.tanh(x) + w)
    return x


def test_many_small_residuals_are_kept_as_a_few_buffers():
    x, w = leaf(5), leaf(5, seed=1)
    out, boxes = forward_with_boxes(jax2torch(unrolled), x, w)
    assert len(boxes) <= 4
    gradients = torch.autograd.grad(out.sum(), (x, w))
    pullback = jax.vjp(unrolled, x.detach().numpy(), w.detach().numpy())[1]
    assert len(jax.tree.leaves(pullback)) > 50
    for ours, expected in zip(gradients, pullback(np.ones(5)), strict=True):
        np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-14)


@given(sizes=st.lists(st.sampled_from([(), (0,), (3,), (2, 2), (5000,), (4096,)]), max_size=6), data=st.data())
def test_packing_is_undone_exactly(sizes, data):
    dtypes = [data.draw(st.sampled_from(["float32", "float64", "bool"])) for _ in sizes]
    arrays = [jnp.asarray(np.arange(np.prod(s)).reshape(s) % 2, d) for s, d in zip(sizes, dtypes, strict=True)]
    packing = Packing(arrays)
    buffers = packing.pack(arrays)
    assert len(buffers) <= 3 + sizes.count((5000,))
    for before, after in zip(arrays, packing.unpack(buffers), strict=True):
        assert before.dtype == after.dtype and before.shape == after.shape and bool((before == after).all())


def test_unused_outputs_and_integer_outputs_send_nothing_back():
    def f(x):
        return jnp.sin(x), jnp.cos(x), jnp.argmax(x), x > 0

    g = jax2torch(f)
    x = leaf(3)
    _, cos, index, positive = g(x)
    assert not index.requires_grad and not positive.requires_grad
    cos.sum().backward()
    torch.testing.assert_close(x.grad, -torch.sin(x.detach()))


@pytest.mark.parametrize("used", [(0,), (2,), (0, 1)])
def test_single_outputs_of_a_scan_send_their_gradient_back(used):
    """JAX itself refuses absent cotangents of a scan; the gradient is that of `jax.grad` of the same sum."""

    def cumulated(x, weight):
        def step(state, entry):
            state = weight * state + entry
            return state, (state, 2.0 * state, jnp.sin(state))

        return jax.lax.scan(step, jnp.zeros((), x.dtype), x)[1]

    x = torch.linspace(-1.0, 1.0, 7, requires_grad=True)
    weight = torch.tensor(0.5, requires_grad=True)
    outputs = jax2torch(cumulated)(x, weight)
    sum(outputs[i].sum() for i in used).backward()

    def total(x, weight):
        return sum(cumulated(x, weight)[i].sum() for i in used)

    expected = jax.grad(total, argnums=(0, 1))(jnp.linspace(-1.0, 1.0, 7), jnp.array(0.5))
    np.testing.assert_allclose(x.grad, expected[0], rtol=1e-5)
    np.testing.assert_allclose(weight.grad, expected[1], rtol=1e-5)


def test_an_unused_output_contributes_nothing_even_where_its_derivative_is_infinite():
    """A cotangent of zeros would turn into 0 * inf; torch and jax.grad leave the output out."""
    x = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    for out in (jax2torch(lambda x: (jnp.sin(x), jnp.sqrt(x)))(x)[0], (torch.sin(x), torch.sqrt(x))[0]):
        for create_graph in (False, True):
            (gradient,) = torch.autograd.grad(out.sum(), x, retain_graph=True, create_graph=create_graph)
            assert gradient.tolist() == [1.0, 1.0]


def test_random_keys_inside_are_the_same_in_backward():
    def f(x, seed):
        key = jax.random.key(seed)
        return x * jax.random.uniform(key, x.shape), jax.random.uniform(key, x.shape)

    x = leaf(5)
    out, mask = jax2torch(f)(x, 3)
    out.sum().backward()
    torch.testing.assert_close(x.grad, mask)


def test_backward_in_another_thread_computes_with_the_settings_of_forward():
    """JAX's contexts are local to a thread; torch runs CUDA backward in its own. The naive pullback fails or loses
    digits."""
    f = jax2torch(lambda x: jnp.sin(x) * 1e-12 + x)
    x = leaf(3)
    result = {}
    jax.config.update("jax_enable_x64", False)
    try:
        with jax.enable_x64(True):
            out = f(x).sum()
            naive = naive_bridge(lambda x: jnp.sin(x) * 1e-12 + x)(x)

        def backward():
            result["ours"] = torch.autograd.grad(out, x)[0]
            try:
                torch.autograd.grad(naive, x, torch.ones_like(naive))
            except ValueError as error:
                result["naive"] = str(error)

        thread = threading.Thread(target=backward)
        thread.start()
        thread.join()
    finally:
        jax.config.update("jax_enable_x64", True)
    assert torch.equal(result["ours"], 1 + 1e-12 * torch.cos(x.detach()))
    assert "float32" in result["naive"]


def test_second_derivatives_and_functional_ones_keep_the_settings_of_forward():
    f = jax2torch(lambda x: jnp.sin(x) * 1e-12 + x**2)
    x = leaf(3)
    jax.config.update("jax_enable_x64", False)
    try:
        with jax.enable_x64(True):
            out = f(x).sum()
            _, pullback = torch.func.vjp(f, x.detach())
        (first,) = torch.autograd.grad(out, x, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), x)
        (functional,) = pullback(torch.ones(3, dtype=torch.float64))
    finally:
        jax.config.update("jax_enable_x64", True)
    x = x.detach()
    expected = torch.cos(x) * 1e-12 + 2 * x
    torch.testing.assert_close((first.detach(), functional), (expected, expected), rtol=1e-15, atol=1e-15)
    torch.testing.assert_close(second - 2, -torch.sin(x) * 1e-12, rtol=1e-3, atol=0)


def test_backward_has_the_matrix_precision_of_forward():
    seen = []

    @jax.custom_vjp
    def f(x):
        return 2 * x

    f.defvjp(lambda x: (2 * x, None), lambda _, g: (seen.append(jax.config.jax_default_matmul_precision) or 2 * g,))
    with jax.default_matmul_precision("highest"):
        out = jax2torch(f)(leaf(3))
    out.sum().backward()
    assert seen == ["highest"]


def test_many_threads_share_one_compilation():
    f = jax2torch(lambda x: jnp.sin(x).sum())
    x = leaf(50).detach()
    gradients = []

    def work():
        for _ in range(20):
            y = x.clone().requires_grad_()
            f(y).backward()
            gradients.append(y.grad)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(gradients) == 80 and all(torch.equal(g, gradients[0]) for g in gradients)
    assert f.operation.traces == {"forward": 1, "backward": 1}


def test_clearing_jaxs_caches_costs_one_trace_and_old_graphs_stay_usable():
    f = jax2torch(lambda x: jnp.sin(x).sum())
    x = leaf(3)
    old = f(x)
    jax.clear_caches()
    f(x).backward()
    assert f.operation.traces == {"forward": 2, "backward": 1}
    old.backward()
    torch.testing.assert_close(x.grad, 2 * torch.cos(x.detach()))


def test_ten_thousand_calls_compile_nothing_and_leak_nothing():
    f = jax2torch(lambda x, w: (jnp.tanh(x * w), (x * w).sum()))
    x, w = leaf(16), leaf(16, seed=1)
    one = torch.ones(16, dtype=torch.float64)

    def step(k):
        y, s = f(x, w)
        torch.autograd.grad((y, s), (x, w), (one, one[0]))

    for k in range(500):
        step(k)
    gc.collect()
    before, arrays = resident(), len(jax.live_arrays())
    for k in range(10_000):
        step(k)
    gc.collect()
    assert f.operation.traces == {"forward": 1, "backward": 1}
    assert len(jax.live_arrays()) <= arrays
    assert resident() - before < 1e6


def resident() -> int:
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * 4096
