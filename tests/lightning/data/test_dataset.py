"""Half-hours as a dataset: masks, batches, precision, worker processes."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from canveg_jax import FORCING_TABLE, ForcingError
from lightning_modules import TowerDataset, collate, tower_loader
from tests.lightning.towers import boring_tower


@pytest.fixture(scope="module")
def gappy(tower):
    broken = tower.copy(deep=True)
    broken["air_temperature"][5] = np.nan
    broken["pressure"][9] = 1013.0
    return broken


def test_keeps_only_half_hours_with_complete_forcing_and_counts_the_others(gappy):
    data = TowerDataset([gappy])
    assert data.incomplete == [2]
    assert len(data) == gappy.sizes["time"] - 2
    assert not {5, 9} & set(data.row.tolist())
    np.testing.assert_array_equal(data.time, gappy["time"].values[data.row.numpy()])


def test_missing_targets_are_nan_and_not_measured(tower):
    data = TowerDataset([tower])
    for name in data.targets:
        expected = tower[f"{name}_measured"].values
        np.testing.assert_array_equal(data.measured[name].numpy(), expected)
        np.testing.assert_array_equal(torch.isnan(data.target[name]).numpy(), ~expected)
        assert data.measured_counts()[name] == expected.sum() < len(data)


def test_filled_targets_are_not_seen(tower):
    filled = tower.copy(deep=True)
    rows = np.flatnonzero(filled["nee_measured"].values)[:7]
    filled["nee_measured"][rows] = False
    assert torch.isnan(TowerDataset([filled]).target["nee"][rows]).all()


def test_item_has_0d_entries_and_batches_are_items_stacked(tower):
    data = TowerDataset([tower, tower.isel(time=slice(0, 50))])
    item = data[3]
    assert set(item) == {"forcing", "history", "site", "target", "measured", "sigma", "row", "counted"}
    assert set(item["forcing"]) == set(FORCING_TABLE)
    assert item["forcing"]["air_temperature"].shape == () and item["site"] == 0
    indices = [len(data) - 1, 3, 700]
    at_once, stacked = data.__getitems__(indices), collate([data[i] for i in indices])
    assert collate(at_once) is at_once
    assert at_once["site"].tolist() == [1, 0, 0]
    torch.testing.assert_close(at_once, stacked, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_dtype_of_forcing_and_targets(tower, dtype):
    batch = TowerDataset([tower], dtype=dtype).__getitems__([0, 1])
    assert {v.dtype for v in [*batch["forcing"].values(), *batch["target"].values()]} == {dtype}
    assert batch["row"].dtype == batch["site"].dtype == torch.int64
    assert batch["measured"]["nee"].dtype == torch.bool


def test_rows_choose_half_hours_and_optional_forcing_may_be_absent(tower):
    bare = tower.drop_vars(["longwave_in", "observed_canopy_height", "nee", "nee_measured"])
    data = TowerDataset([bare], rows=[np.array([40, 2])])
    assert data.row.tolist() == [40, 2]
    assert torch.isnan(data.forcing["longwave_in"]).all()
    assert data.measured_counts()["nee"] == 0


@pytest.mark.parametrize("workers", [0, 2])
def test_loader_visits_every_half_hour_once(workers):
    data = TowerDataset([boring_tower(days=3)], targets=["nee"])
    loader = tower_loader(data, 50, shuffle=True, num_workers=workers, seed=3)
    rows = torch.cat([batch["row"] for batch in loader])
    assert sorted(rows.tolist()) == data.row.tolist() != rows.tolist()
    again = torch.cat([batch["row"] for batch in tower_loader(data, 50, shuffle=True, seed=3)])
    assert again.tolist() == rows.tolist()


def test_plain_dataloader_with_collate(tower):
    batch = next(iter(DataLoader(TowerDataset([tower]), batch_size=4, collate_fn=collate)))
    assert batch["forcing"]["lai"].shape == (4,)


def test_refusals_say_what_to_do(tower):
    with pytest.raises(ValueError, match="Did you mean 'latent_heat'"):
        TowerDataset([tower], targets=["latent_heet"])
    with pytest.raises(ForcingError, match="lacks the forcing variables wind_speed"):
        TowerDataset([tower.drop_vars("wind_speed")])
    with pytest.raises(ValueError, match="no half-hour with complete forcing"):
        TowerDataset([tower.assign(co2=tower["co2"] * np.nan)])
    with pytest.raises(ValueError, match="at least one tower"):
        TowerDataset([])
    with pytest.raises(ValueError, match="1 towers but row indices of 2"):
        TowerDataset([tower], rows=[np.arange(2), np.arange(2)])
