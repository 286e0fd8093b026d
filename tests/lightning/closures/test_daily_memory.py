"""The memory of the days before: what it sees, that it does not see ahead, and training with it."""

import lightning as L
import numpy as np
import pytest
import torch

from canveg_jax.io.antecedents import with_antecedents
from canveg_jax.io.daily_weather import DAILY, DAILY_DRIVERS, daily_means, index_of_day
from lightning_modules import FluxNetwork, FluxTowerDataModule, HybridCanopy
from lightning_modules.closures.closure import Closure
from lightning_modules.closures.daily_memory import DailyMemory
from lightning_modules.closures.registry import build_closures, closures_specification
from lightning_modules.data.dataset import TowerDataset
from lightning_modules.data.inputs import with_scaled_lai
from tests.lightning.towers import SITE, BoringCanopy, boring_tower

LAI = DAILY_DRIVERS.index("lai")


@pytest.fixture(scope="module")
def record():
    return with_antecedents([boring_tower(20)])[0]


def test_means_of_whole_days(record):
    assert record[DAILY].dims == ("day", "driver") and record.sizes["day"] == 20
    shortwave = record["shortwave_in"].values.clip(min=0.0).reshape(20, 48).mean(axis=1)
    np.testing.assert_allclose(record[DAILY].sel(driver="shortwave_in"), shortwave, rtol=1e-12)
    np.testing.assert_array_equal(index_of_day(record), np.repeat(np.arange(20), 48))


def test_days_without_samples_are_missing(record):
    gap = record.isel(time=np.r_[0 : 48 * 5, 48 * 8 : 48 * 20])
    drivers = gap[["air_temperature"]].to_dataframe()[["air_temperature"]]
    means = daily_means(drivers)
    assert means.shape == (20, len(DAILY_DRIVERS))
    assert np.isnan(means.sel(driver="air_temperature")[5:8]).all() and np.isnan(means.sel(driver="lai")).all()
    assert index_of_day(gap.drop_vars(DAILY).drop_dims(["day", "driver"]).assign({DAILY: means}))[48 * 5] == 8


def test_a_half_hour_sees_the_whole_days_before_it(record):
    data = TowerDataset([record, record.isel(time=slice(96, None))], daily_days=4)
    day = data.time.astype("datetime64[D]")
    first = day.min()
    for i in (0, 47, 48, 300, 960, len(data) - 1):  # 960: the first of the second tower
        seen = data[i][DAILY].numpy()
        today = int((day[i] - first).astype(int))
        for k in range(4):
            at = today - 4 + k
            expected = record[DAILY].values[at] if at >= 0 else np.full(len(DAILY_DRIVERS), np.nan)
            np.testing.assert_array_equal(seen[k], expected)
    batch = data.__getitems__([5, 500, 900])
    torch.testing.assert_close(batch[DAILY][1], data[500][DAILY], rtol=0, atol=0, equal_nan=True)
    assert DAILY not in TowerDataset([record])[0]


def test_the_same_day_and_the_future_have_no_influence(record):
    changed = boring_tower(20)
    changed["air_temperature"].values[48 * 10 :] += 3.0
    changed = with_antecedents([changed])[0]
    before, after = (TowerDataset([tower], daily_days=5) for tower in (record, changed))
    same = before.time < np.datetime64("2019-06-12")  # the eleventh day still sees ten whole days as they were
    rows = np.flatnonzero(same).tolist()
    a, b = (data.__getitems__(rows)[DAILY] for data in (before, after))
    assert torch.equal(a.nan_to_num(), b.nan_to_num())
    assert not torch.equal(before[len(before) - 1][DAILY], after[len(after) - 1][DAILY])


def test_a_test_record_knows_the_days_before_it():
    tower = boring_tower(20)
    first, second = with_antecedents([tower.isel(time=slice(0, 480)), tower.isel(time=slice(480, None))])
    alone = with_antecedents([tower])[0]
    whole, part = TowerDataset([alone], daily_days=5), TowerDataset([second], daily_days=5)
    row = {time: i for i, time in enumerate(whole.time)}
    for i in (0, 100):
        torch.testing.assert_close(part[i][DAILY], whole[row[part.time[i]]][DAILY], rtol=1e-12, atol=0)
    assert first[DAILY].equals(second[DAILY])


def test_unknown_days_count_as_average():
    memory = DailyMemory(days=3, hidden=4)
    known = torch.randn(2, 5, len(DAILY_DRIVERS))
    known[0, -2, 1] = torch.nan
    state = memory({DAILY: known})
    assert torch.isfinite(state).all()
    average = known.clone()
    average[0, -2, 1] = 0.0
    torch.testing.assert_close(state, memory({DAILY: average}))
    torch.testing.assert_close(state, memory({DAILY: torch.cat([torch.randn(2, 2, 6), known[:, -3:]], dim=1)}))


def test_leaf_area_of_the_days_is_that_of_the_canopy(record):
    batch = TowerDataset([record], daily_days=2).__getitems__([200, 300])
    sites = [SITE.model_copy(update={"lai_scale": 0.5})]
    columns = {**batch["forcing"], DAILY: batch[DAILY]}
    scaled = with_scaled_lai(columns, None, sites)[DAILY]
    torch.testing.assert_close(scaled[..., LAI], 0.5 * batch[DAILY][..., LAI])
    torch.testing.assert_close(scaled[..., :LAI], batch[DAILY][..., :LAI])
    several = with_scaled_lai(columns, torch.tensor([0, 1]), [*sites, SITE])[DAILY][..., LAI]
    torch.testing.assert_close(several, batch[DAILY][..., LAI] * torch.tensor([[0.5], [1.0]]))


def test_closure_starts_at_the_physics_and_comes_back_from_its_specification():
    closures = build_closures({"capacity": {"gru": {"days": 7, "hidden": 3}}, "soil_respiration": None})
    closure = closures.named()["capacity"]
    assert closure.inputs == Closure("capacity").inputs and "soil_temperature" in closure.inputs
    slow = Closure("capacity", inputs=["slow"], gru={"days": 7})
    assert "air_temperature_7d" in slow.inputs  # asked for
    assert closures.days_of_memory == 7
    again = build_closures(closures_specification(closures))
    again.load_state_dict(closures.state_dict())
    columns = {name: torch.rand(5) for name in (*closure.inputs, "vapour_pressure")} | {DAILY: torch.rand(5, 7, 6)}
    assert not closure(columns).any()
    with torch.no_grad():
        again.named()["capacity"].network.head.weight.fill_(0.3)
    z = again.named()["capacity"](columns)
    other = again.named()["capacity"]({**columns, DAILY: torch.rand(5, 7, 6)})
    assert z.abs().min() > 0 and not torch.equal(z, other)


@pytest.mark.parametrize(
    ("gru", "message"),
    [({"days": 0}, "days must be a positive whole number"), ({"day": 3}, "days"), (30, "expected a mapping")],
)
def test_mistakes_are_named(gru, message):
    with pytest.raises(ValueError, match=message):
        Closure("capacity", gru=gru)


def test_batches_without_days_are_refused():
    with pytest.raises(ValueError, match=r"TowerDataset\(daily_days=30\)"):
        DailyMemory()({})
    with pytest.raises(ValueError, match="there are 4"):
        DailyMemory(days=5)({DAILY: torch.zeros(1, 4, 6)})


class Moving(BoringCanopy):
    """The invented canopy, whose parameter may differ between half-hours."""

    def moved_parameters(self, *, factors=None, shifts=None, site=None):
        return {"kball": self.parameter_values()["kball"] * (factors or {})["kball"]}

    def forward(self, forcing, stress=None, parameters=None):
        assert DAILY not in forcing and not any(name.endswith("_7d") for name in forcing)
        out = super().forward(forcing, stress)
        latent = out["LE"] * (parameters or {}).get("kball", self.fixed) / self.parameter_values()["kball"]
        return {**out, "LE": latent, "H": out["H"] + out["LE"] - latent}


def test_a_trainer_sees_to_the_days():
    """A slope that follows the warmth of the last days is learned; without memory it cannot be."""
    tower = with_antecedents([boring_tower(60, noise=False)])[0]
    days = TowerDataset([tower], daily_days=4)
    warmth = torch.nan_to_num(days.__getitems__(list(range(len(days))))[DAILY][:, :, 0].mean(dim=1), nan=20.0).numpy()
    factor = np.exp(0.5 * np.tanh((warmth - warmth.mean()) / warmth.std()))
    assert len(factor) == tower.sizes["time"]
    tower["latent_heat"].values[:] = 0.08 * 8.17 * factor * 0.8 * tower["shortwave_in"].values

    def loss(closure):
        torch.manual_seed(1)
        data = FluxTowerDataModule(datasets=[(SITE, tower)], block_days=5, test_fraction=0.2, seed=0)
        closures = {"stomatal_slope": closure}
        model = HybridCanopy(
            [SITE], physics=Moving(), stress=None, closures=closures, le_weight=1.0, network_lr=0.02, warm_start=False
        )
        trainer = L.Trainer(
            max_epochs=15, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
            enable_checkpointing=False, num_sanity_val_steps=0,
        )  # fmt: skip
        trainer.fit(model, datamodule=data)
        return trainer.callback_metrics["val/loss"].item()

    here = {"inputs": ["wind_speed"]}
    assert loss({**here, "gru": {"days": 4, "hidden": 4}}) < 0.3 * loss(here)


def test_pure_network_with_a_memory():
    data = FluxTowerDataModule(datasets=[(SITE, boring_tower(30))], block_days=3, test_fraction=0.2, seed=0)
    model = FluxNetwork(inputs=["shortwave_in", "air_temperature"], gru={"days": 3, "hidden": 2})
    trainer = L.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(model, datamodule=data)
    assert model.memory.driver_sd[0] != 1.0 and torch.isfinite(trainer.callback_metrics["val/loss"])
