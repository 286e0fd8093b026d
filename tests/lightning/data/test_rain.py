"""Half-hours with rain: which they are, what is left out of training, and scores apart."""

import lightning as L
import numpy as np
import pytest
import xarray as xr

from lightning_modules import FluxTowerDataModule, HybridCanopy
from lightning_modules.data.rain import with_wet
from lightning_modules.evaluation.predictions import predictions_dataset
from lightning_modules.evaluation.score_table import score_table
from tests.lightning.towers import SITE, BoringCanopy, boring_tower


def record(rain):
    time = np.datetime64("2020-06-01", "ns") + np.arange(len(rain)) * np.timedelta64(30, "m")
    return xr.Dataset({"precipitation": ("time", np.array(rain, float))}, {"time": time})


@pytest.mark.parametrize(
    ("hours", "expected"),
    [(0.0, [0, 1, 0, 0, 0, 0, 1, 1, 0]), (1.0, [0, 1, 1, 1, 0, 0, 1, 1, 1]), (24.0, [0, 1, 1, 1, 1, 1, 1, 1, 1])],
)
def test_which_half_hours_are_wet(hours, expected):
    wet = with_wet(record([0, 0.2, 0, np.nan, 0, 0, 1.0, 0.1, 0]), hours)["wet"]
    assert wet.values.tolist() == [bool(x) for x in expected]


def test_a_dry_record_is_dry():
    assert not with_wet(record([0, 0, np.nan]), 5.0)["wet"].any()


def test_gaps_of_the_record_count_as_time():
    rain = record([1.0, 0, 0, 0]).isel(time=[0, 3])
    assert with_wet(rain, 1.0)["wet"].values.tolist() == [True, False]


def test_rain_is_left_out_of_training_and_scored_apart():
    tower = boring_tower(20)
    rain = np.zeros(tower.sizes["time"])
    rain[::10] = 1.0
    tower["precipitation"] = ("time", rain)
    tower["latent_heat"].values[::10] += 500.0  # a wet sensor
    options = {"block_days": 2, "test_fraction": 0.2, "seed": 0}
    data = FluxTowerDataModule(datasets=[(SITE, tower)], mask_rain=0.0, **options)
    data.setup()
    plain = FluxTowerDataModule(datasets=[(SITE, tower)], **options)
    plain.setup()
    for part in ("train", "val"):
        kept, all_of_them = (m.parts[part].measured for m in (data, plain))
        rainy = data.parts[part].row.numpy() % 10 == 0
        for name in ("latent_heat", "sensible_heat", "nee"):
            assert not kept[name].numpy()[rainy].any()
            np.testing.assert_array_equal(kept[name].numpy()[~rainy], all_of_them[name].numpy()[~rainy])
        assert all((kept[name] == all_of_them[name]).all() for name in ("net_radiation", "ground_heat"))
    assert (data.parts["test"].measured["latent_heat"] == plain.parts["test"].measured["latent_heat"]).all()
    assert data.statistics.targets["latent_heat"].sd < plain.statistics.targets["latent_heat"].sd

    model = HybridCanopy([SITE], physics=BoringCanopy(tunable=False), stress=None, statistics=data.statistics)
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False)
    table = score_table(predictions_dataset(trainer.predict(model, datamodule=data), data))
    scores = {period: table.loc[(SITE.name, "test", "LE", period)] for period in ("all", "dry", "wet")}
    assert scores["wet"]["n"] + scores["dry"]["n"] == scores["all"]["n"] and scores["wet"]["n"] > 10
    assert scores["wet"]["bias"] == pytest.approx(scores["dry"]["bias"] - 500.0, abs=30.0)


def test_without_precipitation_it_is_refused():
    tower = boring_tower(10).drop_vars("precipitation")
    with pytest.raises(ValueError, match="no precipitation"):
        FluxTowerDataModule(datasets=[(SITE, tower)], block_days=1, mask_rain=1.0).setup()
    with pytest.raises(ValueError, match="hours"):
        FluxTowerDataModule(datasets=[(SITE, tower)], mask_rain=-1.0)
