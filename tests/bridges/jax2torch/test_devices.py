"""Where a bridged function runs. The tests on a GPU skip without one."""

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
import torch

from bridges import ConversionError, DeviceError, JaxModule, JaxProgram, copies, jax2torch
from bridges._runtime import device
from bridges._runtime.convert import to_jax, to_torch

needs_gpu = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


def repeated(network, x):
    """A JAX program that calls a network in a loop."""
    return jax.lax.fori_loop(0, 5, lambda _, x: jnp.tanh(network(x)), x)


class Elsewhere:
    """Stands for a tensor on a device that this machine does not have."""

    def __init__(self, name, dim=1):
        self.device, self._dim = torch.device(name), dim

    def dim(self):
        return self._dim


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_cuda_tensor_without_a_gpu_backend_of_jax_names_the_fix():
    with pytest.raises(DeviceError, match=r"tensor on cuda:0, but JAX has no GPU backend.*jax\[cuda13\].*\.cpu\(\)"):
        device.require_backend(torch.device("cuda:0"))


class OnCuda(torch.Tensor):
    """A CPU tensor that says it is elsewhere."""

    is_cpu = False
    device = torch.device("cuda:0")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_call_with_a_cuda_tensor_names_the_fix():
    with pytest.raises(DeviceError, match=r"tensor on cuda:0, but JAX has no GPU backend.*jax\[cuda13\]"):
        jax2torch(lambda x: x + 1)(torch.ones(3).as_subclass(OnCuda))


def test_other_devices_are_refused():
    with pytest.raises(DeviceError, match="got a tensor on mps"):
        device.require_backend(torch.device("mps"))


def test_mixed_devices_are_refused_and_the_data_decide(monkeypatch):
    monkeypatch.setattr(device, "require_backend", lambda d: None)
    monkeypatch.setattr(device, "_gpu_devices", lambda: [jax.devices("cpu")[0]] * 2)
    with pytest.raises(DeviceError, match="expected all tensors on one device, got cpu, cuda:0"):
        device.run_on([Elsewhere("cpu"), Elsewhere("cuda:0")])
    with monkeypatch.context() as patched:
        patched.setattr(device, "_gpu_devices", lambda: ["first", "second"])
        patched.setattr(jax, "default_device", lambda chosen: chosen)
        assert device.run_on([Elsewhere("cpu", dim=0), Elsewhere("cuda:1")]) == "second"
        assert device.run_on([Elsewhere("cuda:0")]) == "first"
    with device.run_on([]):
        assert jnp.zeros(1).devices() == {jax.devices()[0]}
    with device.run_on([Elsewhere("cpu")]):
        assert jnp.zeros(1).devices() == {jax.devices("cpu")[0]}


class TestGpu:
    pytestmark = needs_gpu

    def test_pointers_are_shared_both_ways(self):
        copies.clear()
        x = torch.ones(1000, device="cuda")
        array = to_jax(x)
        assert array.unsafe_buffer_pointer() == x.data_ptr() and not copies
        out = jax.jit(lambda a: a + 1)(array)
        assert to_torch(out).data_ptr() == out.unsafe_buffer_pointer()

    @pytest.mark.parametrize(
        "dtype", [torch.bool, torch.int64, torch.bfloat16, torch.float64, torch.complex64], ids=str
    )
    def test_dtypes_are_shared_and_return_unchanged(self, dtype):
        copies.clear()
        x = (torch.arange(1000, device="cuda") % 3).to(dtype)
        assert to_jax(x).unsafe_buffer_pointer() == x.data_ptr()
        out = jax2torch(lambda x: x)(x)
        assert torch.equal(out, x) and out.data_ptr() != x.data_ptr() and not copies

    def test_layouts_arrive_right_with_at_most_one_counted_copy(self):
        x = torch.arange(48.0, device="cuda").reshape(6, 8)
        for view, reason in (
            (x.T, None), (x[:, 3], "layout"), (x[:1].expand(6, 8), "layout"), (x.flatten()[1:], "alignment"),
            (x[1, 1], "alignment"), (x[:0], None),
        ):  # fmt: skip
            copies.clear()
            assert torch.equal(jax2torch(lambda x: x)(view), view)
            assert dict(copies) == ({reason: 1} if reason else {})

    def test_each_device_is_compiled_for_once(self):
        f = jax2torch(lambda x: jnp.sin(x).sum())
        for _ in range(3):
            for name in ("cpu", "cuda"):
                f(torch.ones(3, device=name, requires_grad=True)).backward()
        assert f.operation.traces["backward"] <= 2 and f.operation.traces["forward"] <= 2

    def test_modules_move(self):
        """A new module is on torch's default device, wherever JAX made its arrays; matrix products may be TF32."""
        module = JaxModule(eqx.nn.MLP(3, 2, 4, 1, key=jax.random.key(0)), vmap=True)
        assert all(p.device.type == "cpu" for p in module.parameters())
        with torch.device("cuda"):
            made_there = JaxModule(eqx.nn.MLP(3, 2, 4, 1, key=jax.random.key(0)), vmap=True)
        assert all(p.device.type == "cuda" for p in made_there.parameters())
        for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 1e-2)):
            module = module.cpu().to(dtype)
            module.zero_grad()
            x = torch.randn(5, 3, dtype=dtype)
            expected = module(x)
            out = module.to("cuda")(x.cuda())
            out.sum().backward()
            assert all(p.device.type == p.grad.device.type == "cuda" for p in module.parameters())
            torch.testing.assert_close(out.cpu(), expected, rtol=tolerance, atol=tolerance)
            torch.testing.assert_close(module.cpu()(x), expected)

    def test_a_program_with_a_torch_network_moves(self):
        network = torch.nn.Linear(3, 3).double().eval()
        module = JaxProgram(repeated, network, torch.zeros(2, 3, dtype=torch.float64))
        x = torch.randn(5, 3, dtype=torch.float64)
        expected = module(x)
        out = module.to("cuda")(x.cuda())
        out.sum().backward()
        assert all(p.device.type == p.grad.device.type == "cuda" for p in module.parameters())
        torch.testing.assert_close(out.cpu(), expected, rtol=1e-9, atol=1e-9)

    @pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-2)], ids=str)
    def test_values_and_gradients_equal_the_cpu(self, dtype, tolerance):
        """To rounding in float64; JAX computes float32 products in TF32 unless it is told otherwise."""
        f = jax2torch(lambda x, w: jnp.tanh(x @ w).sum())
        x, w = torch.randn(64, 32, dtype=dtype), torch.randn(32, 8, dtype=dtype)
        results = []
        for name in ("cpu", "cuda"):
            a, b = (t.detach().clone().to(name).requires_grad_() for t in (x, w))
            out = f(a, b)
            out.backward()
            assert out.device.type == a.grad.device.type == name
            results.append([t.detach().cpu() for t in (out, a.grad, b.grad)])
        torch.testing.assert_close(*results, rtol=tolerance, atol=tolerance)

    def test_work_queued_on_any_stream_is_waited_for_both_ways(self):
        f = jax2torch(lambda x: x * 2)
        f(torch.zeros(1 << 22, device="cuda"))
        for k in range(20):
            stream = torch.cuda.Stream()
            with torch.cuda.stream(stream):
                x = torch.zeros(1 << 22, device="cuda")
                torch.cuda._sleep(20_000_000)
                x += k
                out = f(x)
                x.fill_(-1.0)
                total = out.sum()
            stream.synchronize()
            assert total.item() == 2 * k * (1 << 22)

    def test_cpu_tensors_stay_on_the_cpu(self):
        assert jax2torch(lambda x: x + 1)(torch.ones(3)).device.type == "cpu"

    def test_zero_dimensional_cpu_tensors_may_accompany(self):
        x, s = torch.ones(3, device="cuda", requires_grad=True), torch.tensor(2.0, requires_grad=True)
        jax2torch(lambda x, s: (x * s).sum())(x, s).backward()
        assert s.grad.device.type == "cpu" and s.grad.item() == 3.0
        with pytest.raises(DeviceError, match="expected all tensors on one device"):
            jax2torch(lambda x, s: x * s)(x, torch.ones(3))

    def test_backward_in_torchs_own_thread_computes_in_float64(self):
        x = torch.ones(3, device="cuda", dtype=torch.float64, requires_grad=True)
        jax.config.update("jax_enable_x64", False)
        try:
            with jax.enable_x64(True):
                out = jax2torch(lambda x: jnp.sin(x) * 1e-12 + x)(x).sum()
            out.backward()
        finally:
            jax.config.update("jax_enable_x64", True)
        assert (x.grad - 1).abs().max() > 0

    def test_memory_is_shared_with_torch(self):
        jax2torch(lambda x: x + 1)(torch.ones(1, device="cuda"))
        free, total = torch.cuda.mem_get_info()
        assert free > total / 2

    def test_second_device(self):
        if torch.cuda.device_count() < 2:
            pytest.skip("needs two CUDA devices")
        assert jax2torch(lambda x: x + 1)(torch.ones(3, device="cuda:1")).device.index == 1

    def test_pinned_batches_copied_without_blocking(self):
        f = jax2torch(lambda x: x * 2)
        batches = torch.utils.data.DataLoader(torch.arange(64.0).reshape(16, 4), 4, pin_memory=True)
        rows = [f(x.to("cuda", non_blocking=True)) for x in batches]
        assert torch.equal(torch.cat(rows).cpu(), 2 * torch.arange(64.0).reshape(16, 4))
        assert torch.equal(f(torch.ones(4).pin_memory()), torch.full((4,), 2.0))

    def test_compiled(self):
        f = jax2torch(lambda x: jnp.tanh(x))
        x = torch.randn(8, device="cuda", requires_grad=True)
        out = torch.compile(lambda x: f(x.sin()).sum(), backend="aot_eager", fullgraph=True)(x)
        out.backward()
        torch.testing.assert_close(x.grad, torch.autograd.grad(x.sin().tanh().sum(), x)[0])

    def test_refusals(self):
        with jax.enable_x64(False), pytest.raises(ConversionError, match="32 bits"):
            to_jax(torch.ones(1, device="cuda", dtype=torch.float64))
