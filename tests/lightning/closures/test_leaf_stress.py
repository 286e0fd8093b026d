"""The stress network in the loop: presets, scaling, directions, and the published network at its published start."""

import copy

import numpy as np
import pytest
import torch

from canveg_jax.stress import LEAF_INPUTS
from lightning_modules.closures.leaf_stress import LeafStressNetwork
from lightning_modules.closures.registry import build_stress, evaluated_in_loop, stress_specification

W1 = [[-0.416013216, -0.322613616], [0.458574968, 0.036420161], [0.596816643, 0.103508171],
      [0.678792216, -0.502348487], [0.450559420, 0.338302069], [0.501998746, 0.158810051]]  # fmt: skip
B1 = [-0.016377464, 0.146806828, 0.603892502, -0.097553881, 0.141698417, -0.466132275]
W2 = [[0.198938508, -0.400537556, 0.067625140, -0.138500636, 0.389095985, -0.330215705],
      [-0.035698688, -0.259600581, -0.079039138, 0.157416064, 0.201306681, -0.354194225],
      [-0.083459637, -0.303004811, 0.150054292, -0.131672894, 0.214925519, -0.008791773],
      [0.266734775, 0.326920188, -0.352358619, -0.254140883, -0.177753323, -0.037105702],
      [-0.162428737, 0.177552224, 0.384045709, 0.029910862, -0.128473163, 0.130363733],
      [0.157543892, -0.315149156, -0.121243918, -0.002602019, -0.116179434, -0.016195300]]  # fmt: skip
B2 = [-0.353222940, -0.218106780, -0.190916364, 0.314887257, 0.138090996, -0.015199891]
W3 = [[-0.000109880, -0.317695278, -0.311311248, 0.278129983, 0.071253422, -0.330352463]]
B3 = [-0.290822114]
"""Initial weights of the published network [Jiang2025]: soil water standardised, saturation over vapour pressure."""


def test_the_published_network_at_its_published_start():
    """Computed with the published start by NumPy, for soil water one deviation below to above the mean; .42 to .54 everywhere."""
    network = LeafStressNetwork(preset="published").double()
    assert network.inputs == ("soil_water_content", "inverse_leaf_humidity") and network.replaces_humidity
    assert sum(p.numel() for p in network.parameters()) == 67
    with torch.no_grad():
        for p, values in zip(network.parameters(), (W1, B1, W2, B2, W3, B3), strict=True):
            p.copy_(torch.tensor(values, dtype=torch.float64))
    network.input_mean[0], network.input_sd[0] = 0.191318, 0.115410  # US-Bi1
    z, x = (g.ravel() for g in np.meshgrid([-1.5, 0.0, 1.5], [1.0, 2.0, 5.0], indexing="ij"))
    hidden = np.tanh(np.tanh(np.stack([z, x], 1) @ np.array(W1).T + B1) @ np.array(W2).T + B2)
    expected = 1.0 / (1.0 + np.exp(-(hidden @ np.array(W3).T + B3)[:, 0]))
    ours = network(torch.tensor(np.stack([0.191318 + 0.115410 * z, x], 1))).detach().numpy()
    np.testing.assert_allclose(ours, expected, rtol=1e-12)
    assert 0.415 < ours.min() and ours.max() < 0.545, "published: .42 to .54"


def test_the_factor_starts_near_its_initial_value_whatever_the_inputs():
    torch.manual_seed(0)
    network = LeafStressNetwork(tuple(LEAF_INPUTS), (8,), initial=0.9)
    typical = torch.tensor([[i.mean + k * i.sd for i in LEAF_INPUTS.values()] for k in (-2.0, 0.0, 2.0)])
    factor = network(typical)
    assert factor.shape == (3,) and (factor - 0.9).abs().max() < 0.05


def test_numbers_of_the_half_hour_are_scaled_by_the_training_part():
    torch.manual_seed(0)
    network = LeafStressNetwork(["leaf_vpd", "soil_water_content"], (4,)).double()
    raw = torch.tensor([[1.5, 0.30]], dtype=torch.float64)
    before = copy.deepcopy(network)
    network.input_mean[1], network.input_sd[1] = 0.2, 0.05
    scaled = torch.tensor([[1.5, 2.0]], dtype=torch.float64)
    torch.testing.assert_close(network(raw), before(scaled), rtol=1e-12, atol=0)
    assert network.column_inputs == ("soil_water_content",)


def test_directions_are_kept_whatever_the_weights():
    torch.manual_seed(1)
    network = LeafStressNetwork(
        ["leaf_vpd", "leaf_humidity", "soil_water_content", "relative_depth"], (6,), monotone=True
    )
    with torch.no_grad():
        for p in network.parameters():
            p.add_(torch.randn_like(p))
    features = torch.rand(200, 4) * torch.tensor([3.0, 1.0, 0.4, 1.0])
    features.requires_grad_()
    slope = torch.autograd.grad(network(features).sum(), features)[0]
    assert (slope[:, 0] <= 0).all() and (slope[:, 1:3] >= 0).all() and (slope[:, 3] != 0).any()


def test_a_checkpoint_can_build_it_again():
    for specification in (
        {"module": "in_loop", "preset": "published"},
        {"module": "in_loop", "inputs": ["leaf_vpd", "lai"], "hidden": [5], "monotone": True},
    ):
        module = build_stress(specification)
        assert evaluated_in_loop(module) and not evaluated_in_loop(build_stress("network"))
        again = build_stress(stress_specification(module))
        assert isinstance(again, LeafStressNetwork) and again.config == module.config
        again.load_state_dict(module.state_dict())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"inputs": ["leaf_vdp"]}, "leaf_vpd"),
        ({"inputs": ["leaf_vpd", "leaf_vpd"]}, "different inputs"),
        ({"preset": "publihed"}, "published"),
        ({"preset": "published", "hidden": [3]}, "fixes inputs"),
        ({"initial": 1.0}, "initial must be between"),
        ({"monotone": True, "activation": "silu"}, "increasing activation"),
        ({"inputs": ["leaf_temperature"], "monotone": True}, "none of the inputs has a known direction"),
    ],
)
def test_settings_that_cannot_be_right(settings, message):
    with pytest.raises(ValueError, match=message):
        LeafStressNetwork(**settings)
