"""Which half-hours fall to which process: each once, equal numbers of batches, the batches of one process."""

import pytest
import torch
from torch.utils.data import BatchSampler

from lightning_modules import FluxTowerDataModule, TowerDataset, tower_loader
from lightning_modules.data import datamodule, order
from lightning_modules.data.order import HalfHourOrder, Repeated
from lightning_modules.processes import Processes
from tests.lightning.towers import SITE, boring_tower


def batches(monkeypatch, n, batch_size, size, shuffle, epoch=0):
    """The batches of each process, as a `DataLoader` makes them."""
    found = []
    for rank in range(size):
        monkeypatch.setattr(order, "processes", lambda rank=rank: Processes(rank, size))
        sampler = HalfHourOrder(range(n), batch_size, shuffle=shuffle, seed=7)
        sampler.set_epoch(epoch)
        own = list(BatchSampler(sampler, sampler.own_batch_size, drop_last=False))
        assert sum(map(len, own)) == len(sampler)
        found.append(own)
    return found


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize(("n", "batch_size"), [(1, 8), (3, 8), (16, 8), (17, 8), (23, 8), (31, 5), (100, 7)])
@pytest.mark.parametrize("shuffle", [True, False])
def test_each_half_hour_counts_once_in_equal_numbers_of_batches(monkeypatch, n, batch_size, size, shuffle):
    (alone,) = batches(monkeypatch, n, batch_size, 1, shuffle)
    found = batches(monkeypatch, n, batch_size, size, shuffle)
    assert sorted(sum(alone, [])) == list(range(n))
    assert len({len(own) for own in found}) == 1
    counted = [[[i for i in batch if not isinstance(i, Repeated)] for batch in own] for own in found]
    if shuffle:  # a step of all processes is that of one
        assert [sorted(sum(step, [])) for step in zip(*counted, strict=True)] == [sorted(batch) for batch in alone]
        assert all(len({len(own[i]) for own in found}) == 1 for i in range(len(found[0])))
    else:  # whole batches
        dealt = [batch for step in zip(*counted, strict=True) for batch in step if batch]
        assert dealt == alone


def test_the_order_follows_from_seed_and_epoch(monkeypatch):
    first, second, again = (batches(monkeypatch, 50, 8, 1, True, epoch)[0] for epoch in (0, 1, 0))
    assert first == again != second
    sampler = HalfHourOrder(range(50), 50, shuffle=True, seed=7)
    assert list(sampler) == sum(first, []) and list(sampler) == sum(second, [])  # each iteration is the next epoch
    torch.manual_seed(7)
    torch.rand(3)  # what was drawn before has no influence
    assert list(HalfHourOrder(range(50), 50, shuffle=True)) == sum(first, [])
    assert list(HalfHourOrder(range(50), 50, shuffle=True, seed=8)) != sum(first, [])


def rows(loader):
    return [batch["row"].tolist() for batch in loader]


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_loader_goes_on_within_an_epoch(workers):
    data = TowerDataset([boring_tower(days=3)])
    first = tower_loader(data, 20, shuffle=True, seed=3, num_workers=workers)
    whole = [rows(first), rows(first)]
    first.sampler.set_epoch(1)
    batches = iter(first)
    begun = [next(batches)["row"].tolist() for _ in range(3)]
    again = tower_loader(data, 20, shuffle=True, seed=3, num_workers=workers)
    iter(again)  # nothing is prepared before the first batch is asked for
    again.load_state_dict(first.state_dict())
    again.sampler.set_epoch(1)  # Lightning says so at the beginning of every epoch
    assert begun == whole[1][:3] and rows(again) == whole[1][3:]
    again.load_state_dict(again.state_dict())  # of an epoch that is over
    assert rows(again) == rows(first) != whole[1]
    other = tower_loader(data, 10, shuffle=True, seed=3)
    with pytest.raises(ValueError, match="batch_size 20 there, 10 here; .*Use the same data, batch_size and seed"):
        other.load_state_dict(first.state_dict())


def test_loaders_draw_nothing_from_the_global_generator():
    data = TowerDataset([boring_tower(days=2)])
    before = torch.get_rng_state()
    rows(tower_loader(data, 20, shuffle=True, seed=3))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_loader_from_before_the_processes_is_refused(monkeypatch):
    loader = tower_loader(TowerDataset([boring_tower(days=2)]), 8)
    monkeypatch.setattr(order, "processes", lambda: Processes(0, 2))
    with pytest.raises(RuntimeError, match="before the processes knew of each other"):
        next(iter(loader))


def test_repeated_half_hours_are_measured_nowhere_and_not_counted():
    data = TowerDataset([boring_tower(days=2, gaps=False)])
    batch = data.__getitems__([4, Repeated(5)])
    assert batch["counted"].tolist() == [True, False] and batch["row"].tolist() == [4, 5]
    assert all(mask.tolist() == [True, False] for mask in batch["measured"].values())
    assert not data[Repeated(5)]["counted"] and data[5]["counted"]


def test_a_process_plans_for_its_share_of_a_training_batch(monkeypatch):
    data = FluxTowerDataModule(datasets=[(SITE, boring_tower(days=10))], block_days=1, batch_size=64)
    data.setup()
    assert (data.largest_training_batch(), data.largest_batch()) == (64, 64)
    for module in (order, datamodule):
        monkeypatch.setattr(module, "processes", lambda: Processes(1, 3))
    assert (data.largest_training_batch(), data.largest_batch()) == (22, 64)
