"""Converted torch networks against torch: values, gradients, transformations."""

import copy
import pickle
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.utils import _pytree as torch_tree

from bridges import torch2jax
from tests.bridges.torch_networks import CASES, Function, Residual, SiteStress, Tied

OUTPUTS = {torch.float32: 1e-6, torch.float64: 1e-12}
GRADIENTS = {torch.float32: 1.5e-6, torch.float64: 1e-12}
"""More than 1e-6 in float32 because XLA's tanh is off by 2.6e-7, which sums up in gradients."""
N_RANDOM = 100


def to_numpy(tree):
    return torch_tree.tree_map_only(torch.Tensor, lambda t: t.detach().numpy().copy(), tree)


def double(tree):
    return torch_tree.tree_map_only(torch.Tensor, lambda t: t.double() if t.is_floating_point() else t, tree)


def network(name: str, dtype: torch.dtype):
    torch.manual_seed(7)
    case = CASES[name]
    return case.make().to(dtype).eval(), case


def torch_result(module, inputs, weights):
    """Outputs, and gradients of their weighted sum to parameters and floating inputs."""
    inputs = torch_tree.tree_map_only(torch.Tensor, lambda t: t.clone().requires_grad_(t.is_floating_point()), inputs)
    tensors = [t for t in torch_tree.tree_leaves(inputs) if t.requires_grad]
    outputs = torch_tree.tree_leaves(module(*copy.copy([dict(i) if isinstance(i, dict) else i for i in inputs])))
    weights.extend(torch.randn_like(o) for o in outputs[len(weights) :])
    total = sum((o * w).sum() for o, w in zip(outputs, weights, strict=True))
    names = [name for name, _ in module.named_parameters()]
    gradients = torch.autograd.grad(total, [*module.parameters(), *tensors])
    return outputs, dict(zip(names, gradients, strict=False)), gradients[len(names) :]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", list(CASES))
def test_equals_torch_on_random_inputs(name, dtype):
    """Exported with a batch of 2, used with a batch of 3; error relative to the largest value of each tensor or to 1.

    Gradients in float32 are judged by torch's in float64: their error may exceed that of torch's float32 gradients by
    the tolerance (those of normalisations are ill-conditioned; torch's are off by 1e-5).
    """
    module, case = network(name, dtype)
    fn, params = torch2jax(module, case.inputs(2, dtype), verify=False)
    assert list(params) == [name for name, _ in module.named_parameters()]

    @jax.jit
    def run(params, inputs, weights):
        floats = [leaf for leaf in torch_tree.tree_leaves(inputs) if jnp.issubdtype(leaf.dtype, jnp.floating)]

        def total(params, floats):
            supply = iter(floats)
            given = torch_tree.tree_map(lambda x: next(supply) if jnp.issubdtype(x.dtype, jnp.floating) else x, inputs)
            outputs = torch_tree.tree_leaves(fn(params, *given))
            return sum(jnp.sum(o * w) for o, w in zip(outputs, weights, strict=True)), outputs

        return jax.grad(total, argnums=(0, 1), has_aux=True)(params, floats)

    wide = copy.deepcopy(module).double()
    worst = {"outputs": 0.0, "gradients": 0.0}
    for _ in range(N_RANDOM):
        inputs, weights = case.inputs(3, dtype), []
        outputs, to_params, to_inputs = torch_result(module, inputs, weights)
        exact = [*outputs, *to_params.values(), *to_inputs]
        if dtype is torch.float32:
            _, *parts = torch_result(wide, double(inputs), double(weights))
            exact = [*outputs, *parts[0].values(), *parts[1]]
        (ours_params, ours_inputs), ours = run(params, to_numpy(inputs), to_numpy(weights))
        if isinstance(inputs[0], dict):  # JAX sorts the keys
            keys = [k for k in inputs[0] if k != "site"]
            ours_inputs = [ours_inputs[sorted(keys).index(k)] for k in keys]
        got = [*ours, *(ours_params[n] for n in to_params), *ours_inputs]
        for i, (a, b, c) in enumerate(zip(got, [*outputs, *to_params.values(), *to_inputs], exact, strict=True)):
            b, c = b.detach().numpy(), c.detach().numpy()
            assert a.shape == b.shape and a.dtype == b.dtype
            error = (np.abs(a - c).max() - np.abs(b - c).max()) / max(np.abs(b).max(), 1.0)
            kind = "outputs" if i < len(outputs) else "gradients"
            worst[kind] = max(worst[kind], float(error))
    print(f"{name} {dtype}: largest errors {worst}")
    assert worst["outputs"] <= OUTPUTS[dtype]
    assert worst["gradients"] <= GRADIENTS[dtype]


@pytest.fixture(scope="module")
def residual():
    torch.manual_seed(7)
    module = Residual().double().eval()
    return module, *torch2jax(module, torch.randn(3, 4, dtype=torch.float64))


@pytest.mark.parametrize("batch", [0, 1, 2, 17])
def test_any_batch_size(residual, batch):
    module, fn, params = residual
    x = torch.randn(batch, 4, dtype=torch.float64)
    np.testing.assert_allclose(fn(params, x.numpy()), module(x).detach(), rtol=1e-12)


@pytest.mark.parametrize("batch", [1, 0])
def test_an_example_of_one_row_leaves_the_batch_free(batch):
    module = torch.nn.Linear(3, 2)
    fn, params = torch2jax(module, torch.randn(batch, 3))
    x = torch.randn(5, 3)
    np.testing.assert_allclose(fn(params, x.numpy()), module(x).detach(), rtol=1e-5, atol=1e-6)


def test_vmap_over_samples_and_over_members(residual):
    module, fn, params = residual
    x = torch.randn(6, 4, dtype=torch.float64)
    expected = module(x).detach().numpy()
    per_sample = jax.vmap(lambda row: fn(params, row[None])[0])(x.numpy())
    np.testing.assert_allclose(per_sample, expected, rtol=1e-12)
    members = jax.tree.map(lambda p: jnp.stack([p, 2 * p]), params)
    ensemble = jax.vmap(fn, in_axes=(0, None))(members, x.numpy())
    np.testing.assert_allclose(ensemble[0], expected, rtol=1e-12)
    assert not np.allclose(ensemble[1], expected)


def test_forward_mode_and_second_derivatives(residual):
    module, fn, params = residual
    x = torch.randn(1, 4, dtype=torch.float64)
    f = lambda row: fn(params, row[None])[0]  # noqa: E731
    hessian = torch.autograd.functional.hessian(lambda row: module(row[None])[0], x[0])
    np.testing.assert_allclose(jax.hessian(f)(x[0].numpy()), hessian, rtol=1e-9, atol=1e-12)
    jacobian = torch.autograd.functional.jacobian(lambda row: module(row[None])[0], x[0])
    np.testing.assert_allclose(jax.jacfwd(f)(x[0].numpy()), jacobian, rtol=1e-10, atol=1e-13)


def test_in_while_loop_and_scan(residual):
    module, fn, params = residual
    x = torch.full((2, 4), 0.3, dtype=torch.float64)
    expected, steps = x, 0
    while expected.sum() < 12:
        expected, steps = expected + module(expected)[:, None], steps + 1

    @jax.jit
    def loop(params, x):
        return jax.lax.while_loop(
            lambda c: jnp.sum(c[0]) < 12, lambda c: (c[0] + fn(params, c[0])[:, None], c[1] + 1), (x, 0)
        )

    got, count = loop(params, x.numpy())
    assert count == steps > 1
    np.testing.assert_allclose(got, expected.detach(), rtol=1e-12)

    def scanned(params):
        return jax.lax.scan(lambda c, _: (c + fn(params, c)[:, None], None), x.numpy(), None, length=3)[0].sum()

    y = x
    for _ in range(3):
        y = y + module(y)[:, None]
    gradients = dict(zip(params, torch.autograd.grad(y.sum(), list(module.parameters())), strict=True))
    for name, gradient in jax.jit(jax.grad(scanned))(params).items():
        np.testing.assert_allclose(gradient, gradients[name], rtol=1e-9, atol=1e-12)


def test_tied_parameters_appear_once_with_the_whole_gradient():
    torch.manual_seed(1)
    module, x = Tied().double(), torch.randn(3, 4, dtype=torch.float64)
    fn, params = torch2jax(module, x, verify=False)
    assert list(params) == ["encode.weight", "encode.bias", "decode.bias"]
    module(x).sum().backward()
    gradient = jax.grad(lambda p: fn(p, x.numpy()).sum())(params)["encode.weight"]
    np.testing.assert_allclose(gradient, module.encode.weight.grad, rtol=1e-12)


def test_parameters_are_copies_and_arguments():
    module, x = torch.nn.Linear(3, 2), torch.randn(2, 3)
    fn, params = torch2jax(module, x)
    before = np.array(fn(params, x.numpy()))
    with torch.no_grad():
        module.weight.add_(1.0)
    np.testing.assert_array_equal(fn(params, x.numpy()), before)
    updated = {name: jnp.asarray(p.detach().numpy()) for name, p in module.named_parameters()}
    np.testing.assert_allclose(fn(updated, x.numpy()), module(x).detach(), rtol=1e-5)


def test_buffers_are_constants_that_an_entry_replaces():
    module = torch.nn.BatchNorm1d(2).double().eval()
    x = torch.randn(4, 2, dtype=torch.float64)
    fn, params = torch2jax(module, x)
    assert list(params) == ["weight", "bias"] and sorted(fn.buffers) == ["running_mean", "running_var"]
    shifted = {**params, "running_mean": np.array([1.0, 2.0])}
    module.running_mean.copy_(torch.tensor([1.0, 2.0]))
    np.testing.assert_allclose(fn(shifted, x.numpy()), module(x).detach(), rtol=1e-12)


def test_inputs_in_a_dict_keep_their_names_in_any_order():
    torch.manual_seed(2)
    module = SiteStress().double()
    forcing = CASES["site_stress"].inputs(4, torch.float64)[0]
    fn, params = torch2jax(module, (forcing,), verify=False)
    expected = module(dict(forcing)).detach()
    reordered = {k: forcing[k].numpy() for k in sorted(forcing)}
    np.testing.assert_allclose(fn(params, reordered), expected, rtol=1e-12)
    np.testing.assert_allclose(jax.jit(fn)(params, reordered), expected, rtol=1e-12)


def test_free_axes():
    module, x = torch.nn.Conv1d(2, 3, 3, padding=1), torch.randn(2, 2, 5)
    fn, params = torch2jax(module, x, free_axes=(0, -1))
    longer = torch.randn(4, 2, 9)
    np.testing.assert_allclose(fn(params, longer.numpy()), module(longer).detach(), rtol=1e-4, atol=1e-6)
    linear = torch.nn.Linear(3, 2)
    fn, params = torch2jax(linear, torch.zeros(3), free_axes=None)
    np.testing.assert_allclose(fn(params, np.ones(3, np.float32)), linear(torch.ones(3)).detach(), rtol=1e-5)


def test_a_recurrent_layer_is_a_scan_whose_program_does_not_grow():
    module = torch.nn.GRU(2, 3, batch_first=True)
    sizes = []
    for length in (4, 40):
        fn, params = torch2jax(module, torch.zeros(2, length, 2), verify=False)
        sizes.append(len(str(jax.make_jaxpr(fn)(params, jnp.zeros((2, length, 2), jnp.float32)))))
    assert sizes[1] < 1.1 * sizes[0]


def test_a_converted_network_can_be_pickled(residual):
    module, fn, params = residual
    x = np.ones((2, 4))
    twin = pickle.loads(pickle.dumps(fn))
    np.testing.assert_array_equal(twin(params, x), fn(params, x))
    assert repr(twin).startswith("JaxNetwork(Residual, 8 parameters,")


@pytest.mark.parametrize("name", ["mlp", "attention", "gru", "convolution"])
def test_products_run_in_full_precision_on_every_device(name):
    module, case = network(name, torch.float32)
    inputs = case.inputs(2, torch.float32)
    fn, params = torch2jax(module, inputs, verify=False)
    precisions = re.findall(r"precision=(.*)", str(jax.make_jaxpr(fn)(params, *to_numpy(inputs))))
    assert precisions and all("HIGHEST" in precision for precision in precisions)


def test_half_precision():
    module, x = torch.nn.Linear(3, 2).bfloat16(), torch.randn(4, 3).bfloat16()
    fn, params = torch2jax(module, x)
    y = fn(params, jnp.asarray(x.float().numpy(), jnp.bfloat16))
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(y.astype(jnp.float32), module(x).float().detach(), rtol=2e-2, atol=1e-2)


def test_linear_algebra_whose_success_torch_asserts():
    """torch keeps the order of its assertions by tokens in the exported graph."""

    def solved(x):
        matrix = x[:, :, None] * x[:, None] + torch.eye(3, dtype=x.dtype)
        root = torch.linalg.cholesky(matrix)
        return torch.linalg.solve(matrix, x), root, torch.linalg.inv(matrix), torch.linalg.det(root)

    fn, params = torch2jax(Function(solved), torch.randn(2, 3, dtype=torch.float64))
    x = torch.randn(5, 3, dtype=torch.float64)
    for ours, theirs in zip(fn(params, x.numpy()), solved(x), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)
