"""A torch network inside the iteration of the canopy: values and derivatives, states, copies, refusals."""

import copy
import pickle

import numpy as np
import pytest
import torch

import canveg_jax as cv
from bridges import InLoop, NetworkError, TorchCanopy
from canveg_jax.solver.acceptance import CLOSURE, FACTOR
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


@pytest.fixture(scope="module")
def one_layer():
    return cv.Canopy(SITE.model_copy(update={"n_layers": 1}), options=TIGHT)


@pytest.fixture(scope="module")
def ready(one_layer):
    """One canopy with a network for all tests, which take copies of it: copies share the compiled programs."""
    torch.manual_seed(3)
    return TorchCanopy(one_layer, ("kball",), in_loop=Scaled().double())


@pytest.fixture(scope="module")
def forcing():
    weather = synthetic_weather(SITE, 60, 3)
    rows = np.sort(np.random.default_rng(0).permutation(weather.sizes["time"])[:ROWS])
    part = weather.isel(time=rows)
    return {name: torch.tensor(part[name].values, dtype=torch.float64) for name in cv.FORCING_TABLE if name in part}


@pytest.fixture(scope="module")
def features():
    return {"wetness": torch.linspace(-1.0, 1.0, ROWS, dtype=torch.float64)}


def total(out):
    return (out["LE"] / 100).sum() + (out["NEE"] / 10).sum() + (out["H"] / 100).sum()


def of_variables(columns):
    return {name: column.clone().requires_grad_() for name, column in columns.items()}


@pytest.mark.parametrize("n_layers", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in (3, 50))])
def test_derivatives_to_weights_parameters_forcing_and_features(ready, forcing, features, n_layers):
    op = copy.deepcopy(ready)
    if n_layers > 1:
        canopy = cv.Canopy(SITE.model_copy(update={"n_layers": n_layers}), options=TIGHT)
        op = TorchCanopy(canopy, ("kball",), in_loop=op.in_loop)
    inputs, extra = of_variables(forcing), of_variables(features)
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


def test_a_network_of_the_half_hour_alone_is_a_stress_outside_the_loop(one_layer, forcing):
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Linear(1, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1), torch.nn.Sigmoid())
    layers.double()
    factor = layers(forcing["soil_water_content"][:, None])[:, 0].detach()
    before = torch.linspace(0.3, 1.0, ROWS, dtype=torch.float64)
    both = TorchCanopy(one_layer, in_loop=InLoop(layers, ["soil_water_content"]))(forcing, stress=before)
    outside = TorchCanopy(one_layer)(forcing, stress=factor * before)
    assert both["converged"].all()
    torch.testing.assert_close(both["LE"], outside["LE"], rtol=0, atol=1e-8)
    torch.testing.assert_close(both["in_loop_factor"], factor, rtol=0, atol=1e-12)


def test_a_network_that_gives_the_humidity_is_the_ball_berry_equation(one_layer, forcing):
    replaced = TorchCanopy(one_layer, in_loop=Humidity())(forcing)
    plain = TorchCanopy(one_layer)(forcing)
    for name in ("LE", "H", "NEE"):
        torch.testing.assert_close(replaced[name], plain[name], rtol=0, atol=1e-8)
    medlyn = cv.Canopy(one_layer.site, options=TIGHT, conductance="medlyn")
    with pytest.raises(ValueError, match="stands in place of the relative humidity, which medlyn does not have"):
        TorchCanopy(medlyn, in_loop=Humidity())(forcing)


def test_weights_are_torch_parameters(ready, forcing, features):
    op = copy.deepcopy(ready)
    assert not op(of_variables(forcing), features=of_variables(features))["in_loop_factor"].requires_grad
    assert {"in_loop.layers.0.weight", "in_loop.layers.2.bias", "in_loop.mean"} <= set(op.state_dict())

    def latent_heat(op):
        out = op(of_variables(forcing), features=of_variables(features))
        return out["LE"].detach()

    before = latent_heat(op)
    program = op.solver.loop_bridges[torch.float64].fluxes.operation
    traces = program.traces.copy()
    with torch.no_grad():
        op.in_loop.layers[2].bias.add_(1.0)
        op.in_loop.sd.mul_(2.0)
    moved = latent_heat(op)
    assert (moved - before).abs().max() > 0.1, "weights and buffers are arguments of the program"
    torch.testing.assert_close(latent_heat(ready), before, rtol=0, atol=0)
    restored = copy.deepcopy(ready)
    restored.load_state_dict(op.state_dict())
    torch.testing.assert_close(latent_heat(restored), moved, rtol=0, atol=0)
    assert restored.solver.loop_bridges[torch.float64].fluxes.operation is program and program.traces == traces
    again = pickle.loads(pickle.dumps(op))
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), op.parameters(), strict=True))
    assert again.solver.loop.inputs == INPUTS


@pytest.mark.slow
def test_single_precision_agrees(ready, one_layer, forcing, features):
    op = TorchCanopy(cv.Canopy(one_layer.site), in_loop=ready.in_loop)
    double = op(forcing, features=features)
    single = op({n: c.float() for n, c in forcing.items()}, features={n: c.float() for n, c in features.items()})
    assert single["LE"].dtype == torch.float32 and single["converged"].all()
    torch.testing.assert_close(single["LE"].double(), double["LE"], rtol=1e-3, atol=0.1)


def test_a_missing_feature_is_flagged_and_has_no_influence(ready, forcing, features):
    out_of_use = [0, 7]

    def gradients(wetness):
        op, columns = copy.deepcopy(ready), of_variables(forcing)
        out = op(columns, features={"wetness": wetness.clone().requires_grad_()})
        used = torch.ones(ROWS, dtype=torch.bool)
        used[out_of_use] = False
        total({name: value[used] for name, value in out.items()}).backward()
        return out, [p.grad for p in (*op.parameters(), *columns.values()) if p.grad is not None]

    broken = features["wetness"].clone()
    broken[out_of_use] = torch.nan
    out, ours = gradients(broken)
    assert out["reason"][out_of_use].tolist() == [CLOSURE, CLOSURE] and int((~out["converged"]).sum()) == 2
    assert out["LE"][out_of_use].isnan().all() and "closure" in cv.REASONS[CLOSURE]
    for one, other in zip(ours, gradients(features["wetness"])[1], strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_it_compiles_into_one_graph_once_it_was_called(ready, forcing, features):
    op = copy.deepcopy(ready)
    with torch.no_grad():
        expected = op(forcing, features=features)
        out = torch.compile(op, fullgraph=True, backend="eager")(forcing, features=features)
    assert not any(value.requires_grad for value in (expected["in_loop_factor"], out["in_loop_factor"]))
    for name in ("LE", "in_loop_factor"):
        torch.testing.assert_close(out[name], expected[name], rtol=0, atol=1e-9)


def test_a_factor_that_is_not_positive_is_flagged(one_layer, forcing):
    """The solver would go through with it: stomata that close below nothing."""

    class Signed(torch.nn.Module):
        inputs = ("soil_water_content",)

        def forward(self, features):
            return features[..., 0] - 0.1

    wet = {**forcing, "soil_water_content": torch.full((ROWS,), 0.3, dtype=torch.float64)}
    wet["soil_water_content"][[2, 5]] = torch.tensor([0.05, 0.1], dtype=torch.float64)
    out = TorchCanopy(one_layer, in_loop=Signed())(wet)
    assert out["reason"][[2, 5]].tolist() == [FACTOR, FACTOR] and not out["converged"][[2, 5]].any()
    assert int(out["converged"].sum()) == ROWS - 2


def test_refusals_say_what_to_do(ready, one_layer, forcing, features):
    with pytest.raises(ValueError, match="does not say what it reads.*Wrap it: bridges.InLoop"):
        TorchCanopy(one_layer, in_loop=torch.nn.Linear(2, 1))
    with pytest.raises(ValueError, match=r"'wetness'.*features=\{'wetness': "):
        TorchCanopy(one_layer, in_loop=ready.in_loop)(forcing)
    with pytest.raises(ValueError, match="does not read dryness"):
        TorchCanopy(one_layer, in_loop=ready.in_loop)(forcing, features={**features, "dryness": features["wetness"]})
    with pytest.raises(ValueError, match="no network in the loop to read wetness"):
        TorchCanopy(one_layer)(forcing, features=features)
    with pytest.raises(TypeError, match=r"features\['wetness'\] has shape \(7,\)"):
        TorchCanopy(one_layer, in_loop=ready.in_loop)(forcing, features={"wetness": features["wetness"][:7]})
    with pytest.raises(NetworkError, match="one number per leaf"):
        TorchCanopy(one_layer, in_loop=InLoop(torch.nn.Linear(1, 2), ["leaf_vpd"]))(forcing)

    class Mixing(torch.nn.Module):
        inputs = ("leaf_vpd",)

        def forward(self, x):
            return torch.softmax(x[..., 0], 0)

    with pytest.raises(NetworkError, match="mixes leaves"):
        TorchCanopy(one_layer, in_loop=Mixing())(forcing)
