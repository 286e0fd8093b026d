"""JaxModule: arrays of an equinox module as torch parameters, there and back."""

import copy
import io
import pickle
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import lightning
import numpy as np
import pytest
import torch

from bridges import BridgeError, JaxModule
from bridges._runtime.convert import copy_to_torch

KEY = jax.random.key(3)


class Gauge(eqx.Module):
    """Every kind of leaf: floating, frozen, integer, boolean, typed key, NumPy, number, function, static."""

    scale: jax.Array
    train: jax.Array
    parts: dict
    count: jax.Array
    flag: jax.Array
    key: jax.Array
    table: np.ndarray
    power: int
    act: Callable
    label: str = eqx.field(static=True, default="a")

    def __call__(self, x, shift=0.0):
        noise = jax.random.normal(self.key, x.shape, x.dtype)
        y = self.act(self.scale * x + self.parts["a.b"][0]) ** self.power + self.train
        return {"y": jnp.where(self.flag, y, 0) + self.count + shift, "noise": noise + self.table}


def gauge() -> Gauge:
    return Gauge(
        jnp.array([0.5, -1.5, 2.0]), jnp.array(0.25), {"a.b": (jnp.array([0.1, 0.2, 0.3]),)}, jnp.arange(3),
        jnp.array([True, False, True]), KEY, np.array([1.0, 2.0, 3.0]), 2, jax.nn.softplus,
    )  # fmt: skip


def inputs(*shape: int) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(1).normal(size=shape))


def arrays(tree) -> list[np.ndarray]:
    return [np.asarray(x) for x in jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array))]


@pytest.mark.parametrize(
    ("module", "shapes"),
    [
        (eqx.nn.MLP(3, 2, 4, 2, key=KEY), [(5, 3)]),
        (eqx.nn.Linear(3, 2, use_bias=False, key=KEY), [(5, 3)]),
        (eqx.nn.LayerNorm(3), [(5, 3)]),
        (eqx.nn.GRUCell(3, 4, key=KEY), [(5, 3), (5, 4)]),
    ],
    ids=lambda m: type(m).__name__ if callable(m) else "",
)
def test_outputs_and_gradients_are_those_of_the_equinox_module(module, shapes):
    net = JaxModule(module, vmap=True)
    x = [inputs(*shape).requires_grad_() for shape in shapes]
    y = net(*x)
    y.square().sum().backward()

    def loss(module, x):
        return jnp.sum(jax.vmap(module)(*x) ** 2)

    x_jax = [jnp.array(v.detach().numpy()) for v in x]
    np.testing.assert_allclose(y.detach(), jax.vmap(module)(*x_jax), rtol=1e-12)
    grads = eqx.filter_grad(loss)(module, x_jax)
    for parameter, gradient in zip(net.parameters(), arrays(grads), strict=True):
        np.testing.assert_allclose(parameter.grad, gradient, rtol=1e-10, atol=1e-12)
    for v, gradient in zip(x, jax.grad(lambda x: loss(module, x))(x_jax), strict=True):
        np.testing.assert_allclose(v.grad, gradient, rtol=1e-10, atol=1e-12)


class Scaled(eqx.Module):
    weight: jax.Array

    def __call__(self, x, offset, *, scale):
        return self.weight * x * jnp.sum(scale) + offset


def test_vmap_maps_positional_tensors_with_an_axis_and_shares_the_rest():
    net = JaxModule(Scaled(jnp.array([1.0, 2.0])), vmap=True)
    x, offset, scale = inputs(5, 2), torch.tensor(3.0, dtype=torch.float64), inputs(4)
    torch.testing.assert_close(net(x, offset, scale=scale), net.weight * x * scale.sum() + 3.0)


def test_names_come_from_the_path_and_kinds_from_the_dtype():
    net = JaxModule(gauge())
    assert [name for name, _ in net.named_parameters()] == ["scale", "train_", "parts.a_b.0"]
    assert [name for name, _ in net.named_buffers()] == ["count", "flag", "key"]
    mlp = JaxModule(eqx.nn.MLP(3, 2, 4, 1, key=KEY))
    assert list(mlp.state_dict()) == ["layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias"]


def test_every_kind_of_leaf_computes_the_same_and_comes_back():
    module, x = gauge(), inputs(3)
    net = JaxModule(module)
    expected = module(jnp.array(x.numpy()), shift=2.0)
    for out in (net(x, shift=2.0), jax.tree.map(torch.tensor, net.to_jax()(x.numpy(), shift=2.0))):
        assert sorted(out) == ["noise", "y"]
        np.testing.assert_allclose(out["y"].detach(), expected["y"], rtol=1e-12)
        np.testing.assert_allclose(out["noise"].detach(), expected["noise"], rtol=1e-12)
    back = net.to_jax()
    assert jax.tree.structure(back) == jax.tree.structure(module)
    assert back.power == 2 and back.label == "a" and back.act is jax.nn.softplus


def test_an_optimiser_step_does_not_reach_jax():
    module = gauge()
    before = [x.copy() for x in arrays(module)]
    net = JaxModule(module)
    seen = net.to_jax()
    net(inputs(3))["y"].sum().backward()
    torch.optim.SGD(net.parameters(), lr=0.5).step()
    for now, then in zip(arrays(module), before, strict=True):
        np.testing.assert_array_equal(now, then)
    np.testing.assert_array_equal(seen.scale, module.scale)
    assert not np.allclose(net.to_jax().scale, module.scale)
    np.testing.assert_array_equal(net.to_jax().scale, net.scale.detach())


def test_training_fits_a_line():
    net = JaxModule(eqx.nn.Linear(1, 1, key=KEY), vmap=True)
    x = torch.linspace(-1, 1, 16, dtype=torch.float64)[:, None]
    optimiser = torch.optim.Adam(net.parameters(), lr=0.1)
    for _ in range(200):
        optimiser.zero_grad()
        (net(x) - (3 * x - 2)).square().mean().backward()
        optimiser.step()
    np.testing.assert_allclose(net.to_jax().weight, [[3.0]], atol=1e-2)
    np.testing.assert_allclose(net.to_jax().bias, [-2.0], atol=1e-2)


@pytest.mark.parametrize(
    ("trainable", "expected"),
    [
        (True, ["scale", "train_", "parts.a_b.0"]),
        (False, []),
        ("parts.*", ["parts.a_b.0"]),
        (("scale", "train_"), ["scale", "train_"]),
        (lambda leaf: leaf.ndim == 0, ["train_"]),
        (eqx.tree_at(lambda g: g.scale, jax.tree.map(lambda _: False, gauge()), True), ["scale"]),
    ],
    ids=["all", "none", "pattern", "patterns", "function", "tree"],
)
def test_frozen_arrays_are_buffers(trainable, expected):
    net = JaxModule(gauge(), trainable=trainable)
    assert [name for name, _ in net.named_parameters()] == expected
    assert set(net.state_dict()) == {"scale", "train_", "parts.a_b.0", "count", "flag", "key"}
    np.testing.assert_array_equal(net.to_jax().scale, gauge().scale)


def test_a_pattern_that_fits_nothing_is_refused():
    with pytest.raises(BridgeError, match=r"\['layer.\*'\] fits no array; the arrays are scale"):
        JaxModule(gauge(), trainable=("scale", "layer.*"))


@pytest.mark.parametrize("copier", ["pickle", "deepcopy", "torch.save", "state_dict"])
def test_copies_are_equal_and_independent(copier):
    mlp = eqx.nn.MLP(3, 2, 4, 1, key=KEY)
    net, x = JaxModule(mlp, vmap=True), inputs(2, 3)
    y = net(x)
    if copier == "pickle":
        twin = pickle.loads(pickle.dumps(net))
    elif copier == "deepcopy":
        twin = copy.deepcopy(net)
    elif copier == "torch.save":
        stream = io.BytesIO()
        torch.save(net, stream)
        stream.seek(0)
        twin = torch.load(stream, weights_only=False)
    else:
        stream = io.BytesIO()
        torch.save(net.state_dict(), stream)
        stream.seek(0)
        twin = JaxModule(eqx.nn.MLP(3, 2, 4, 1, key=jax.random.key(9)), vmap=True)
        assert not torch.allclose(twin(x), y)
        twin.load_state_dict(torch.load(stream, weights_only=True))
    torch.testing.assert_close(twin(x), y, rtol=0, atol=0)
    with torch.no_grad():
        next(twin.parameters()).add_(1.0)
    torch.testing.assert_close(net(x), y, rtol=0, atol=0)
    assert not torch.allclose(twin(x), y)


def test_local_functions_are_copied_but_not_pickled():
    net = JaxModule(eqx.nn.Lambda(lambda x: 2 * x), vmap=True)
    x = inputs(2)
    torch.testing.assert_close(copy.deepcopy(net)(x), 2 * x)
    with pytest.raises(BridgeError, match="cannot be pickled.*lambda.*state_dict"):
        pickle.dumps(net)


def test_a_new_module_is_on_torchs_default_device():
    with torch.device("meta"):
        net = JaxModule(gauge())
    assert all(t.device.type == "meta" for t in net.state_dict().values())
    assert all(t.device.type == "cpu" for t in JaxModule(gauge()).state_dict().values())


class OnAnotherDevice:
    """Stands for the devices of an array that JAX made on a GPU."""

    platform = "gpu"


def test_arrays_on_another_device_of_jax_are_fetched(monkeypatch):
    array, fetched = jnp.arange(3.0), []
    monkeypatch.setattr(type(array), "devices", lambda self: {OnAnotherDevice()})
    put = jax.device_put
    monkeypatch.setattr(jax, "device_put", lambda x, device: fetched.append(device) or put(x, device))
    tensor = copy_to_torch(array)
    assert fetched == [jax.devices("cpu")[0]]
    assert tensor.tolist() == [0.0, 1.0, 2.0] and tensor.data_ptr() != array.unsafe_buffer_pointer()


def test_dtype_follows_the_torch_module():
    net = JaxModule(gauge()).to(torch.float32)
    assert net.scale.dtype is torch.float32 and net.count.dtype is torch.int64
    assert net(inputs(3).float())["y"].dtype is torch.float32
    assert net.to_jax().scale.dtype == jnp.float32
    assert net.double()(inputs(3))["y"].dtype is torch.float64


class Fit(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = JaxModule(eqx.nn.MLP(2, 1, 4, 1, key=KEY), vmap=True).float()

    def training_step(self, batch, _):
        return self.net(batch).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.filterwarnings("ignore:.*(does not have many workers|LeafSpec|logging interval|treespec).*")
def test_lightning_checkpoint_restores_the_weights(tmp_path):
    fit = Fit()
    trainer = lightning.Trainer(
        max_steps=2, accelerator="cpu", logger=False, default_root_dir=tmp_path, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    start = {k: v.clone() for k, v in fit.state_dict().items()}
    trainer.fit(fit, torch.utils.data.DataLoader(inputs(4, 2).float(), batch_size=2))
    trainer.save_checkpoint(tmp_path / "fit.ckpt")
    loaded = Fit.load_from_checkpoint(tmp_path / "fit.ckpt", weights_only=True)
    assert not torch.equal(start["net.layers.0.weight"], fit.net.state_dict()["layers.0.weight"])
    for name, value in fit.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value, rtol=0, atol=0)


def test_stateful_layers_and_plain_arrays_are_refused():
    norm, _ = eqx.nn.make_with_state(eqx.nn.BatchNorm)(3, "batch", mode="ema")
    with pytest.raises(BridgeError, match="BatchNorm keeps state in equinox.nn.State"):
        JaxModule(norm)
    with pytest.raises(BridgeError, match="expected a module that can be called, got a dict"):
        JaxModule({"a": jnp.ones(2)})
    with pytest.raises(BridgeError, match="cannot be called alone"):
        JaxModule(eqx.nn.MLP(2, 1, 4, 1, key=KEY)).layers(torch.ones(2))
