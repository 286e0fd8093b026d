"""Who owns which memory: shared where possible, one counted copy elsewhere, and no value changed on the way."""

import gc
import time
import warnings
import weakref

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bridges import ConversionError, copies, jax2torch
from bridges._runtime.convert import result_to_torch, to_jax, to_torch
from tests.bridges.naive import naive_bridge

DTYPES = [
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32,
    torch.uint64, torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128,
]  # fmt: skip

identity = jax2torch(lambda x: x)
pytestmark = pytest.mark.filterwarnings("ignore:.*has been compiled for.*different sets of arguments:UserWarning")


@pytest.fixture(autouse=True)
def counter():
    copies.clear()
    return copies


def pointer(array) -> int:
    return jax.device_put(array).unsafe_buffer_pointer()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (5,), (3, 4), (2, 0, 3)], ids=str)
def test_every_dtype_and_shape_arrives_and_returns_unchanged(dtype, shape):
    tensor = (torch.arange(int(np.prod(shape))).reshape(shape) % 3).to(dtype)
    out = identity(tensor)
    assert out.dtype == dtype and out.shape == tensor.shape
    assert torch.equal(out, tensor)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_import_shares_memory(dtype, counter):
    tensor = torch.ones(1000).to(dtype)
    assert pointer(to_jax(tensor)) == tensor.data_ptr()
    assert not counter


def test_memory_shared_between_processes_is_shared_with_jax_too(counter):
    tensor = torch.ones(1000).share_memory_()
    assert pointer(to_jax(tensor)) == tensor.data_ptr() and not counter


@pytest.mark.parametrize("name", ["e4m3fn", "e5m2", "e4m3fnuz", "e5m2fnuz"])
def test_float8_is_shared_and_returns_unchanged(name, counter):
    tensor = torch.linspace(-2, 2, 64).to(getattr(torch, f"float8_{name}"))
    assert pointer(to_jax(tensor)) == tensor.data_ptr()
    out = identity(tensor)
    assert out.dtype == tensor.dtype and torch.equal(out.view(torch.uint8), tensor.view(torch.uint8)) and not counter


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("convert", [to_torch, result_to_torch])
def test_export_shares_memory(dtype, convert):
    array = jax.jit(lambda: jnp.ones((10, 100), jnp.dtype(str(dtype).removeprefix("torch."))))()
    place = array.unsafe_buffer_pointer()
    tensor = convert(array)
    assert tensor.data_ptr() == place and tensor.dtype == dtype and tensor.shape == (10, 100)
    del array
    assert torch.equal(tensor, torch.ones(10, 100).to(dtype))


def test_export_keeps_the_memory_alive_and_gives_it_back():
    make = jax.jit(lambda k: jnp.full(1 << 16, k))
    tensors = [result_to_torch(make(float(k))) for k in range(20)]
    assert all(bool((t == k).all()) for k, t in enumerate(tensors))
    view = tensors[3][10:20]
    del tensors
    for k in range(20):
        make(100.0 + k).block_until_ready()
    assert bool((view == 3.0).all())


@pytest.mark.parametrize("size", [100, 1 << 17])
def test_memory_is_freed_with_the_tensor_not_by_the_garbage_collector(size):
    """A large result at once, a small one at the next call of JAX at the latest."""
    make = jax.jit(lambda k: jnp.full(size, k))
    array = make(1.0)
    alive = weakref.ref(array)
    gc.disable()
    try:
        tensor = result_to_torch(array)
        del array
        view = tensor[5:]
        del tensor
        assert alive() is not None
        del view
        if size < 1000:
            make(2.0)
        assert alive() is None
    finally:
        gc.enable()


LAYOUTS = {
    "contiguous": (lambda t: t, None),
    "transposed": (lambda t: t.T, "layout"),
    "column": (lambda t: t[:, 3], "layout"),
    "step": (lambda t: t[::2], "layout"),
    "padded_rows": (lambda t: t[:, :7], "layout"),
    "expanded": (lambda t: t[:1].expand(6, 8), "layout"),
    "scalar_expanded": (lambda t: t[0, 0].expand(6), "layout"),
    "flipped": (lambda t: t.flip(0), None),
    "offset": (lambda t: t.flatten()[1:], "alignment"),
    "0d_view": (lambda t: t[1, 1], "alignment"),
}


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.complex64], ids=str)
def test_layouts_arrive_right_with_at_most_one_counted_copy(name, dtype, counter):
    make, reason = LAYOUTS[name]
    tensor = make(torch.arange(48.0).reshape(6, 8).to(dtype))
    assert torch.equal(identity(tensor), tensor)
    assert dict(counter) == ({reason: 1} if reason else {})


def test_negative_strides_come_by_numpy_only():
    array = np.arange(6.0)[::-1]
    assert torch.equal(jax2torch(lambda n: n * 1)(array), torch.arange(5.0, -1, -1, dtype=torch.float64))


def test_large_permuted_tensors_are_shared(counter):
    tensor = torch.arange(1 << 18, dtype=torch.float64).reshape(512, 512).T
    assert to_jax(tensor).unsafe_buffer_pointer() == tensor.data_ptr()
    assert torch.equal(identity(tensor), tensor) and not counter


@given(offset=st.integers(0, 70), step=st.integers(1, 3), n=st.integers(1, 9))
def test_any_view_of_a_buffer(offset, step, n):
    tensor = torch.arange(100.0)[offset : offset + n * step : step][:n]
    assert torch.equal(torch.from_numpy(np.array(to_jax(tensor))), tensor)


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64, torch.complex128, torch.uint64], ids=str)
def test_64_bit_tensors_are_refused_in_32_bit_mode_where_the_naive_bridge_truncates(dtype):
    tensor = torch.tensor([2**40 + 1]).to(dtype)
    with jax.enable_x64(False):
        with pytest.raises(
            ConversionError, match=r'would truncate it. Call jax.config.update\("jax_enable_x64", True\)'
        ):
            identity(tensor)
        with pytest.raises(ConversionError, match="NumPy array, but JAX runs in 32 bits"):
            identity(tensor.numpy())
        assert np.asarray(jax.dlpack.from_dlpack(tensor)).item() != 2**40 + 1
    assert torch.equal(identity(tensor), tensor)


def test_the_negative_bit_is_resolved_where_the_naive_bridge_flips_the_sign(counter):
    tensor = torch.tensor([1 + 2j]).conj().imag
    assert tensor.is_neg() and tensor.item() == -2.0
    assert identity(tensor).item() == -2.0 and counter["negative"] == 1
    assert naive_bridge(lambda x: x * 1)(tensor).item() == 2.0


def test_the_conjugate_bit_is_resolved(counter):
    tensor = torch.tensor([1 + 2j]).conj()
    assert tensor.is_conj() and identity(tensor).item() == 1 - 2j and counter["conjugate"] == 1


def test_gradients_with_stride_zero_arrive():
    """`sum()` sends an expanded scalar back; the naive bridge cannot take it."""
    x = torch.ones(3, dtype=torch.float64, requires_grad=True)
    jax2torch(jnp.sin)(x).sum().backward()
    torch.testing.assert_close(x.grad, torch.cos(x.detach()))
    with pytest.raises(Exception, match="striding"):
        naive_bridge(jnp.sin)(x).sum().backward()


def test_fake_tensors_give_fake_results_where_the_naive_import_gives_garbage():
    with torch._subclasses.fake_tensor.FakeTensorMode() as mode:
        fake = mode.from_tensor(torch.ones(4))
        out = identity(fake)
        assert isinstance(out, torch._subclasses.FakeTensor) and out.shape == (4,) and out.dtype == torch.float32
        with pytest.raises(ConversionError, match="FakeTensor on device cpu has no values"):
            to_jax(fake)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert isinstance(jax.dlpack.from_dlpack(fake), jax.Array)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: torch.ones(2, 2).to_sparse(), "expected a dense tensor.*to_dense"),
        (lambda: torch.ones(2, device="meta"), "on device meta has no values"),
        (lambda: torch.ones(2).to(torch.complex32), "dtype torch.complex32"),
    ],
    ids=["sparse", "meta", "complex32"],
)
@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental:UserWarning")
def test_tensors_without_plain_memory_are_refused(make, message):
    with pytest.raises(ConversionError, match=message):
        identity(make())


class Plain(torch.Tensor):
    """A subclass with a name only."""


class Wrapper(torch.Tensor):
    """A subclass that holds another tensor and has no memory itself."""

    @staticmethod
    def __new__(cls, inner):
        self = torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)
        self.inner = inner
        return self

    def __tensor_flatten__(self):
        return ["inner"], None

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        raise AssertionError("the bridge must not compute with the wrapper")


def test_subclasses_with_memory_pass_and_wrappers_are_refused():
    assert identity(torch.ones(3).as_subclass(Plain)).tolist() == [1.0, 1.0, 1.0]
    assert identity(torch.nn.Parameter(torch.ones(3))).tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(ConversionError, match=r"Wrapper, a tensor subclass that wraps others.*\.to_local\(\)"):
        identity(Wrapper(torch.ones(3)))


def test_random_keys_cannot_leave_and_the_remedy_is_named():
    with pytest.raises(ConversionError, match="jax.random.key_data"):
        jax2torch(lambda n: jax.random.key(n))(1)
    assert jax2torch(lambda k: jax.random.uniform(k))(jax.random.key(1)).dtype == torch.float64


def test_results_of_dtypes_without_an_equivalent_are_refused():
    with pytest.raises(ConversionError, match="dtype int4 has no torch equivalent.*astype"):
        jax2torch(lambda x: x.astype(jnp.int4))(torch.ones(2))
    with pytest.raises(ConversionError, match="dtype .* has no JAX equivalent"):
        jax2torch(lambda x: np.zeros(2, jax.dtypes.float0))(torch.ones(2))


@pytest.mark.parametrize("make", [lambda: torch.zeros(100), lambda: torch.zeros(512, 512).T], ids=["plain", "permuted"])
def test_a_result_that_is_an_argument_does_not_alias_it(make):
    x = make().requires_grad_()
    for out in (identity(x.detach()), identity(x)):
        assert out.data_ptr() != x.data_ptr()


def test_gradients_do_not_alias_each_other_nor_the_cotangent():
    x, y = (torch.zeros(100, requires_grad=True) for _ in range(2))
    cotangent = torch.ones(100)
    gradients = torch.autograd.grad(jax2torch(lambda x, y: x + y)(x, y), (x, y), cotangent)
    assert len({t.data_ptr() for t in (*gradients, cotangent)}) == 3


def test_results_do_not_alias_each_other_nor_constants_nor_residuals():
    constant = jnp.arange(8.0)

    def f(x):
        y = jnp.tanh(x)
        return y, y, constant

    g = jax2torch(f)
    x = torch.linspace(-1, 1, 8, dtype=torch.float64, requires_grad=True)
    for _ in range(2):
        a, b, c = g(x)
        assert len({a.data_ptr(), b.data_ptr(), c.data_ptr()}) == 3
        assert torch.equal(c, torch.arange(8.0, dtype=torch.float64))
        with torch.no_grad():
            for t in (a, c):
                t.add_(100.0)
        (gradient,) = torch.autograd.grad(b.sum(), x)
        torch.testing.assert_close(gradient, 1 - torch.tanh(x.detach()) ** 2)


def test_results_may_be_changed_in_place_as_part_of_the_graph():
    x = torch.linspace(-1, 1, 8, dtype=torch.float64, requires_grad=True)
    a, b = jax2torch(lambda x: (jnp.tanh(x), jnp.exp(x)))(x)
    a.mul_(b.detach().clone())
    b.add_(1.0)
    (a.sum() + b.sum()).backward()
    y = x.detach()
    torch.testing.assert_close(x.grad, (1 - torch.tanh(y) ** 2) * torch.exp(y) + torch.exp(y))


def slow(x):
    """A computation long enough that a write right after the call would meet it."""
    return jax.lax.fori_loop(0, 200, lambda i, y: jnp.sin(y) + x, x)


@pytest.mark.parametrize("size", [1 << 12, 1 << 16], ids=["small", "large"])
def test_the_arguments_may_be_overwritten_as_soon_as_the_call_returns(size):
    x = torch.linspace(0, 1, size, dtype=torch.float64)
    f = jax2torch(slow)
    expected = f(x.clone())
    given = x.clone()
    out = f(given)
    given.fill_(1e3)
    time.sleep(0.05)
    assert torch.equal(out, expected)


def test_a_naive_call_reads_what_is_written_after_it():
    """The same write into the argument of a jitted function, which returns before it has read it. Tried a few times,
    since a busy machine may delay the write until the computation is over."""
    x = torch.linspace(0, 1, 1 << 16, dtype=torch.float64)
    compiled = jax.jit(slow)
    expected = np.array(compiled(to_jax(x)))

    def is_spoilt():
        given = x.clone()
        out = compiled(jax.dlpack.from_dlpack(given))
        given.fill_(1e3)
        return not np.array_equal(np.asarray(out), expected)

    assert any(is_spoilt() for _ in range(20))


def test_cotangents_may_be_overwritten_as_soon_as_backward_returns():
    x = torch.linspace(0, 1, 1 << 12, dtype=torch.float64, requires_grad=True)
    f = jax2torch(lambda x: jax.lax.scan(lambda y, _: (jnp.sin(y) + x, None), x, None, length=50)[0])
    cotangent = torch.ones_like(x)
    (expected,) = torch.autograd.grad(f(x), x, torch.ones_like(x))
    (gradient,) = torch.autograd.grad(f(x), x, cotangent)
    cotangent.fill_(1e3)
    time.sleep(0.05)
    assert torch.equal(gradient, expected)


def test_change_in_place_between_forward_and_backward_raises_where_the_naive_bridge_is_silently_wrong():
    x = torch.ones(64, dtype=torch.float64, requires_grad=True)
    w = torch.full((64,), 2.0, dtype=torch.float64, requires_grad=True)

    def gradient(bridge):
        out = bridge(lambda x, w: x * w)(x, w)
        with torch.no_grad():
            w.add_(5.0)
        try:
            return torch.autograd.grad(out, x, torch.ones_like(out))[0]
        finally:
            with torch.no_grad():
                w.sub_(5.0)

    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        gradient(jax2torch)
    assert torch.equal(gradient(naive_bridge), torch.full_like(x, 7.0))


def test_a_changed_argument_counts_even_if_this_derivative_does_not_need_it():
    x, w = (torch.ones(64, requires_grad=True) for _ in range(2))
    out = jax2torch(lambda x, w: x + w)(x, w)
    with torch.no_grad():
        w.add_(5.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


def test_ml_dtypes_names_are_numpy_dtypes():
    array = np.ones(3, ml_dtypes.bfloat16)
    assert jax2torch(lambda n: n + 1)(array).dtype == torch.bfloat16
