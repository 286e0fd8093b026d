"""A torch network inside the iteration of the canopy: values and derivatives, states, copies, refusals."""

import copy
import pickle

import numpy as np
import pytest
import torch

import canveg_jax as cv
from bridges import InLoop, NetworkError, TorchCanopy
from canveg_jax.solver.acceptance import CLOSURE
from canveg_jax.synthetic import SYNTHETIC_SITES, synthetic_weather

TIGHT = cv.SolverOptions(tolerance=1e-10, max_passes=200, adjoint_tolerance=1e-12, adjoint_max_passes=300)
SITE = SYNTHETIC_SITES["SYN-Ari"]
ROWS = 24
INPUTS = ("leaf_vpd", "leaf_temperature", "relative_depth", "soil_water_content", "wetness")


class Scaled(torch.nn.Module):
    """A small network with its own inputs and scaling, whose factor is between 0 and 1."""

    inputs = INPUTS

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor([1.0, 290.0, 0.5, 0.15, 0.0]))
        self.register_buffer("sd", torch.tensor([1.0, 10.0, 0.3, 0.1, 1.0]))
        self.layers = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))

    def forward(self, features):
        return torch.sigmoid(self.layers((features - self.mean) / self.sd).squeeze(-1))


class Humidity(torch.nn.Module):
    """The relative humidity of the leaf, as the Ball-Berry equation has it."""

    inputs = ("leaf_humidity",)
    replaces_humidity = True

    def forward(self, features):
        return features[..., 0]


@pytest.fixture(scope="module", params=[1, 3])
def canopy(request):
    return cv.Canopy(SITE.model_copy(update={"n_layers": request.param}), options=TIGHT)


@pytest.fixture(scope="module")
def one_layer():
    return cv.Canopy(SITE.model_copy(update={"n_layers": 1}), options=TIGHT)


@pytest.fixture(scope="module")
def forcing():
    weather = synthetic_weather(SITE, 60, 3)
    rows = np.sort(np.random.default_rng(0).permutation(weather.sizes["time"])[:ROWS])
    part = weather.isel(time=rows)
    return {name: torch.tensor(part[name].values, dtype=torch.float64) for name in cv.FORCING_TABLE if name in part}


@pytest.fixture(scope="module")
def features():
    return {"wetness": torch.linspace(-1.0, 1.0, ROWS, dtype=torch.float64)}


def network() -> Scaled:
    torch.manual_seed(3)
    return Scaled().double()


def total(out):
    return (out["LE"] / 100).sum() + (out["NEE"] / 10).sum() + (out["H"] / 100).sum()


def test_derivatives_to_weights_parameters_forcing_and_features(canopy, forcing, features):
    op = TorchCanopy(canopy, ("kball",), in_loop=network())
    inputs = {name: column.clone().requires_grad_() for name, column in forcing.items()}
    extra = {"wetness": features["wetness"].clone().requires_grad_()}
    total(op(inputs, features=extra)).backward()
    weights = dict(op.in_loop.named_parameters())
    assert all(w.grad is not None and w.grad.abs().max() > 0 for w in weights.values())

    def difference(tensor, direction):
        start = tensor.detach().clone()

        def at(h):
            with torch.no_grad():
                tensor.copy_(start + h * direction)
                return float(total(op(inputs, features=extra)))

        coarse, fine = ((at(h) - at(-h)) / (2 * h) for h in (2e-3, 1e-3))
        with torch.no_grad():
            tensor.copy_(start)
        return (4 * fine - coarse) / 3

    for name, weight in weights.items():
        direction = torch.sign(weight.grad) + (weight.grad == 0)
        np.testing.assert_allclose(
            float((weight.grad * direction).sum()), difference(weight, direction), rtol=1e-6, err_msg=name
        )
    np.testing.assert_allclose(float(op.raw["kball"].grad), difference(op.raw["kball"], 1.0), rtol=1e-6)
    for name in ("air_temperature", "vapour_pressure", "soil_water_content"):
        ones = torch.ones(ROWS, dtype=torch.float64)
        np.testing.assert_allclose(
            float(inputs[name].grad.sum()), difference(inputs[name], 0.01 * ones) / 0.01, rtol=1e-5, err_msg=name
        )
    np.testing.assert_allclose(
        float(extra["wetness"].grad.sum()), difference(extra["wetness"], torch.ones(ROWS)), rtol=1e-6
    )


def test_a_network_of_the_half_hour_alone_is_a_stress_outside_the_loop(canopy, forcing):
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Linear(1, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1), torch.nn.Sigmoid())
    layers.double()
    inside = TorchCanopy(canopy, in_loop=InLoop(layers, ["soil_water_content"]))(forcing)
    factor = layers(forcing["soil_water_content"][:, None])[:, 0].detach()
    outside = TorchCanopy(canopy)(forcing, stress=factor)
    assert inside["converged"].all()
    torch.testing.assert_close(inside["LE"], outside["LE"], rtol=0, atol=1e-8)
    both = TorchCanopy(canopy, in_loop=InLoop(layers, ["soil_water_content"]))(forcing, stress=factor)
    squared = TorchCanopy(canopy)(forcing, stress=factor**2)
    torch.testing.assert_close(both["LE"], squared["LE"], rtol=0, atol=1e-8)


def test_a_network_that_gives_the_humidity_is_the_ball_berry_equation(one_layer, forcing):
    replaced = TorchCanopy(one_layer, in_loop=Humidity())(forcing)
    plain = TorchCanopy(one_layer)(forcing)
    for name in ("LE", "H", "NEE"):
        torch.testing.assert_close(replaced[name], plain[name], rtol=0, atol=1e-8)
    medlyn = cv.Canopy(one_layer.site, options=TIGHT, conductance="medlyn")
    with pytest.raises(ValueError, match="stands in place of the relative humidity, which medlyn does not have"):
        TorchCanopy(medlyn, in_loop=Humidity())(forcing)


def test_weights_are_torch_parameters(one_layer, forcing, features):
    op = TorchCanopy(one_layer, in_loop=network())
    assert {"in_loop.layers.0.weight", "in_loop.layers.2.bias", "in_loop.mean"} <= set(op.state_dict())
    before = op(forcing, features=features)
    other = TorchCanopy(one_layer, in_loop=Scaled().double())
    other.load_state_dict(op.state_dict())
    torch.testing.assert_close(other(forcing, features=features)["LE"], before["LE"], rtol=0, atol=0)
    again = pickle.loads(pickle.dumps(op))
    torch.testing.assert_close(again(forcing, features=features)["LE"], before["LE"], rtol=0, atol=0)
    twin = copy.deepcopy(op)
    traces = dict(twin._loop_bridges) and next(iter(op._loop_bridges.values())).fluxes.operation.traces.copy()
    with torch.no_grad():
        twin.in_loop.layers[2].bias.add_(1.0)
        twin.in_loop.sd.mul_(2.0)
    moved = twin(forcing, features=features)
    assert (moved["LE"] - before["LE"]).abs().max() > 0.1, "the copy computes with its own weights and buffers"
    torch.testing.assert_close(op(forcing, features=features)["LE"], before["LE"], rtol=0, atol=0)
    assert next(iter(twin._loop_bridges.values())) is next(iter(op._loop_bridges.values())), "one program serves both"
    if traces:
        assert next(iter(op._loop_bridges.values())).fluxes.operation.traces == traces


def test_single_precision_agrees(one_layer, forcing, features):
    op = TorchCanopy(cv.Canopy(one_layer.site), in_loop=network())
    double = op(forcing, features=features)
    single = op({n: c.float() for n, c in forcing.items()}, features={n: c.float() for n, c in features.items()})
    assert single["LE"].dtype == torch.float32 and single["converged"].all()
    torch.testing.assert_close(single["LE"].double(), double["LE"], rtol=1e-3, atol=0.1)


def test_a_missing_feature_is_flagged_and_has_no_influence(one_layer, forcing, features):
    def gradients(wetness):
        op = TorchCanopy(one_layer, ("kball",), in_loop=network())
        out = op(forcing, features={"wetness": wetness})
        total({name: value[out["converged"]] for name, value in out.items()}).backward()
        return out, [p.grad for p in op.parameters()]

    broken = features["wetness"].clone()
    broken[[0, 7]] = torch.nan
    out, ours = gradients(broken)
    assert out["reason"][[0, 7]].tolist() == [CLOSURE, CLOSURE] and int((~out["converged"]).sum()) == 2
    assert out["LE"][[0, 7]].isnan().all() and "closure" in cv.REASONS[CLOSURE]
    kept = [i for i in range(ROWS) if i not in (0, 7)]
    op = TorchCanopy(one_layer, ("kball",), in_loop=network())
    total({n: v[kept] for n, v in op(forcing, features=features).items()}).backward()
    for one, other in zip(ours, op.parameters(), strict=True):
        torch.testing.assert_close(one, other.grad, rtol=0, atol=0)


def test_refusals_say_what_to_do(one_layer, forcing, features):
    with pytest.raises(ValueError, match="does not say what it reads.*Wrap it: bridges.InLoop"):
        TorchCanopy(one_layer, in_loop=torch.nn.Linear(2, 1))
    with pytest.raises(ValueError, match=r"'wetness'.*features=\{'wetness': "):
        TorchCanopy(one_layer, in_loop=network())(forcing)
    with pytest.raises(ValueError, match="does not read dryness"):
        TorchCanopy(one_layer, in_loop=network())(forcing, features={**features, "dryness": features["wetness"]})
    with pytest.raises(ValueError, match="no network in the loop to read wetness"):
        TorchCanopy(one_layer)(forcing, features=features)
    with pytest.raises(TypeError, match=r"features\['wetness'\] has shape \(7,\)"):
        TorchCanopy(one_layer, in_loop=network())(forcing, features={"wetness": features["wetness"][:7]})
    with pytest.raises(NetworkError, match="one number per leaf"):
        TorchCanopy(one_layer, in_loop=InLoop(torch.nn.Linear(1, 2), ["leaf_vpd"]))(forcing)

    class Mixing(torch.nn.Module):
        inputs = ("leaf_vpd",)

        def forward(self, x):
            return torch.softmax(x[..., 0], 0)

    with pytest.raises(NetworkError, match="mixes leaves"):
        TorchCanopy(one_layer, in_loop=Mixing())(forcing)
