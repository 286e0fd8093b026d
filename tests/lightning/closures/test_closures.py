"""Closures outside of the solver: their start, limits, inputs, and how a configuration names them."""

import math

import numpy as np
import pytest
import torch

import canveg_jax as cv
from lightning_modules import HybridCanopy
from lightning_modules.closures.closure import CLOSURES, Closure, Closures
from lightning_modules.closures.leaf_area import moved_leaf_area
from lightning_modules.closures.registry import build_closures, closures_specification
from lightning_modules.data.datamodule import FluxTowerDataModule
from lightning_modules.data.inputs import INPUT_GROUPS, check_inputs, with_scaled_lai
from tests.lightning.towers import SITE, boring_tower


@pytest.fixture(scope="module")
def batch():
    data = FluxTowerDataModule(datasets=[(SITE, boring_tower(20).drop_vars("precipitation"))], block_days=2, seed=0)
    data.setup()
    chosen = data.parts["train"].__getitems__(range(0, 300, 5))
    return {**chosen["forcing"], **chosen["history"]}, data.statistics


@pytest.mark.parametrize("name", [*CLOSURES, "q10b", "par_reflect"])
def test_training_starts_from_the_physics(name, batch):
    columns, statistics = batch
    closure = Closure(name)
    closure.set_statistics(statistics)
    z = closure(columns)
    assert z.shape == columns["lai"].shape and not z.any()
    factors, shifts = Closures([closure]).actions({name: z})
    assert all((factor == 1.0).all() for factor in factors.values()) and not any(s.any() for s in shifts.values())
    assert sorted([*factors, *shifts]) == sorted(closure.acts_on)


@pytest.mark.parametrize(
    ("name", "largest"),
    [("stomatal_slope", math.e), ("capacity", math.exp(1.2)), ("stomatal_intercept", math.exp(1.5)),
     ("leaf_area", math.exp(0.8)), ("soil_respiration", math.exp(1.5))],
)  # fmt: skip
def test_factors_stay_within_their_range(name, largest):
    closures = Closures([Closure(name)])
    factors, _ = closures.actions({name: torch.tensor([-1e3, 0.0, 0.3, 1e3], dtype=torch.float64)})
    for factor in factors.values():
        middle = math.exp(math.log(largest) * math.tanh(0.3))
        np.testing.assert_allclose(factor, [1.0 / largest, 1.0, middle, largest], rtol=1e-12)


def test_the_moisture_of_the_surface_is_a_logistic_of_z():
    """`.02 + .98 sigmoid(z + logit)` whose start is the parameter's own value: the shift is z itself."""
    z = torch.tensor([-5.0, 0.0, 2.0])
    _, shifts = Closures([Closure("surface_moisture")]).actions({"surface_moisture": z})
    assert torch.equal(shifts["surface_moisture_ratio"], z)
    info = cv.PARAMETER_TABLE["surface_moisture_ratio"]
    assert (info.lower, info.upper) == (0.02, 1.0)


def test_a_half_hour_without_an_input_has_no_number_and_no_influence(batch):
    columns, statistics = batch
    broken = {name: column.clone() for name, column in columns.items()}
    broken["shortwave_in_7d"][3] = torch.nan
    gradients = []
    for given, left_out in ((columns, None), (broken, 3)):
        torch.manual_seed(0)
        closure = Closure("capacity", inputs=["slow"]).double()
        torch.nn.init.normal_(closure.network.head.weight)
        closure.set_statistics(statistics)
        z = closure(given)
        assert left_out is None or bool(torch.isnan(z[3]))
        used = torch.arange(len(z)) != 3
        torch.where(used, z, 0.0).square().sum().backward()
        gradients.append([p.grad.clone() for p in closure.parameters()])
    assert all(torch.equal(a, b) and a.isfinite().all() for a, b in zip(*gradients, strict=True))


def test_beyond_experience_a_closure_answers_as_at_its_edge(batch):
    columns, statistics = batch
    torch.manual_seed(1)
    closure = Closure("capacity", inputs=["soil_temperature"]).double()
    torch.nn.init.normal_(closure.network.head.weight)
    closure.set_statistics(statistics)
    scale = statistics.inputs["soil_temperature"]

    def at(deviations):
        return closure(
            {**columns, "soil_temperature": torch.full_like(columns["lai"], scale.mean + deviations * scale.sd)}
        )

    assert torch.equal(at(4.5), at(40.0)) and torch.equal(at(-4.5), at(-40.0)) and not torch.equal(at(3.0), at(2.0))


def test_groups_stand_for_their_members():
    assert check_inputs(["slow", "lai", "wind_speed"]) == (*INPUT_GROUPS["slow"], "wind_speed")
    with pytest.raises(ValueError, match="different inputs"):
        check_inputs(["lai", "lai"])
    with pytest.raises(ValueError, match="environment"):
        check_inputs(["enviroment"])


class Own(torch.nn.Module):
    """A closure of a user: reads what it likes."""

    def __init__(self, width: int = 3):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.full((width,), 0.1))

    def forward(self, columns):
        return self.weight.sum() * (columns["soil_temperature"] - 15.0) / 10.0


def test_your_own_network_is_a_closure(batch):
    columns, _ = batch
    closures = build_closures({"soil_respiration": Own(2)})
    z = closures(columns)["soil_respiration"]
    np.testing.assert_allclose(z.detach(), 0.2 * (columns["soil_temperature"] - 15.0) / 10.0, rtol=1e-6)
    path = f"{Own.__module__}.Own"
    built = build_closures(
        {"soil_respiration": {"network": {"class_path": path, "init_args": {"width": 2}}, "range": 0.5}}
    )
    assert torch.equal(built(columns)["soil_respiration"], z)
    again = build_closures(closures_specification(built))
    assert isinstance(again.named()["soil_respiration"].network, Own) and again.named()["soil_respiration"].range == 0.5
    with pytest.raises(ValueError, match="load_from_checkpoint"):
        build_closures(closures_specification(closures))


def test_a_number_of_your_network_that_is_none_has_no_influence(batch):
    columns, _ = batch
    gradients = []
    for value in (torch.nan, 1.0):
        closures = build_closures({"capacity": Broken(value)})
        z = closures(columns)
        assert bool(z["capacity"][0].isnan()) == math.isnan(value)
        factors, _ = closures.actions(z)
        torch.where(torch.arange(len(z["capacity"])) > 0, factors["vcopt"], 0.0).sum().backward()
        gradients.append(closures.named()["capacity"].network.weight.grad)
    assert torch.equal(*gradients) and gradients[0].isfinite().all() and gradients[0].any()


class Broken(Own):
    """Adds a number to the first half-hour."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, columns):
        first = torch.arange(len(columns["lai"])) == 0
        return super().forward(columns) + torch.where(first, self.value, 0.0)


def test_a_network_of_another_shape_is_refused(batch):
    columns, _ = batch
    with pytest.raises(ValueError, match=r"one number per half-hour, \[60\]; it returned \[60, 1\]"):
        Closure("capacity", network=Wide())(columns)


class Wide(torch.nn.Module):
    def forward(self, columns):
        return columns["lai"][:, None]


def test_closures_come_back_from_their_specification():
    spec = {"capacity": {"inputs": ["slow"], "hidden": [4], "range": 0.7, "penalty": 0.1, "lr": 0.01}, "kball": None}
    first = build_closures(spec)
    second = build_closures(closures_specification(first))
    for name, closure in first.named().items():
        assert second.named()[name].config == closure.config
        assert second.state_dict().keys() == first.state_dict().keys()
    assert first.named()["capacity"].lr == 0.01 and first.named()["kball"].range == 1.0


@pytest.mark.parametrize(
    ("closures", "text"),
    [
        ({"capacty": None}, "capacity"),
        ({"capacity": {"hiden": [3]}}, "hidden"),
        ({"capacity": {"range": -1.0}}, "range must be positive"),
        ({"capacity": {"penalty": -1.0}}, "penalty must not be negative"),
        ({"capacity": {"lr": 0.0}}, "lr must be positive"),
        ({"capacity": {}, "vcopt": {}}, "both act on vcopt"),
        ({"capacity": 3}, "expected a mapping"),
        ({"capacity": {"network": {"class_path": "nowhere.Net"}}}, "cannot be built"),
        ({"capacity": {"network": {"class_path": "collections.OrderedDict"}}}, r"no torch.nn.Module"),
        ({"capacity": {"network": {"class_path": "sys.exit", "init_args": {}}}}, r"sys.exit is no torch.nn.Module"),
        ({"capacity": {"inputs": ["precipitation_7d", "nonsense"]}}, "nonsense"),
    ],
)
def test_mistakes_are_named(closures, text):
    with pytest.raises(ValueError, match=text):
        build_closures(closures)


def test_leaf_area_is_multiplied_and_cut_at_the_largest_that_is_taken():
    """A half-hour that will not be solved keeps its number, whatever the factor."""
    forcing = {
        "lai": torch.tensor([2.0, 8.0, -9999.0, 3.0]), "air_temperature": torch.tensor([20.0, 20.0, 20.0, torch.nan]),
    }  # fmt: skip
    factor = torch.tensor([1.5, 2.0, 1.5, 1.5], requires_grad=True)
    moved_area = moved_leaf_area(forcing, factor)
    assert moved_area.tolist() == [3.0, 12.0, -9999.0, 3.0]
    moved_area.sum().backward()
    assert factor.grad.tolist() == [2.0, 0.0, 0.0, 0.0]


def test_pull_to_the_default():
    """`penalty mean(z^2)` over the half-hours that were solved and have a number."""
    model = HybridCanopy(
        [SITE], tunable=["kball"], stress=None, closures={"capacity": {"penalty": 0.3}, "leaf_area": {}}
    )
    z = {"z_capacity": torch.tensor([1.0, -3.0, 9.0, torch.nan]), "z_leaf_area": torch.full((4,), 5.0)}
    penalty = model.penalty({**z, "converged": torch.tensor([True, True, False, True])}, {})
    assert float(penalty) == pytest.approx(0.3 * (1.0 + 9.0) / 2, rel=1e-6)


def test_the_past_of_the_leaf_area_is_that_of_the_canopy():
    """`lai_scale` holds for the running means as well: one quantity at all sites."""
    sites = [SITE, SITE.model_copy(update={"lai_scale": 0.1})]
    columns = {name: torch.full((3,), 4.0) for name in ("lai", "lai_7d", "lai_slope", "air_temperature_7d")}
    scaled = with_scaled_lai(columns, torch.tensor([0, 1, 1]), sites)
    for name in ("lai", "lai_7d", "lai_slope"):
        np.testing.assert_allclose(scaled[name], [4.0, 0.4, 0.4], rtol=1e-6)
    assert scaled["air_temperature_7d"].tolist() == [4.0, 4.0, 4.0]


def test_rain_that_the_data_lack_is_refused(batch):
    columns, statistics = batch
    closure = Closure("surface_moisture", inputs=["rain"])
    with pytest.raises(ValueError, match="precipitation"):
        closure.set_statistics(statistics)
    with pytest.raises(ValueError, match="precipitation_1d"):
        closure(columns)
