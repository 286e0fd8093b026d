"""Splits that ask a question: what they hold out of invented records, by the forcing alone."""

import numpy as np
import pytest
import xarray as xr

from lightning_modules import FluxTowerDataModule
from lightning_modules.data.held_out import KINDS, HeldOut, joined
from tests.lightning.towers import SITE, boring_tower

HALF_HOUR = np.timedelta64(30, "m")


def record(days: int, start: str = "2019-01-01", **columns) -> xr.Dataset:
    """Half-hours of a mild, moist year; `columns` are values by day."""
    time = np.datetime64(start, "ns") + np.arange(days * 48) * HALF_HOUR
    hour = np.tile(np.arange(48) / 2, days)
    values = {
        "air_temperature": np.full(len(time), 15.0), "vapour_pressure": np.full(len(time), 1.0),
        "soil_water_content": np.full(len(time), 0.3), "shortwave_in": np.where((hour > 6) & (hour < 18), 500.0, 0.0),
    }  # fmt: skip
    values |= {name: np.repeat(np.asarray(column, float), 48) for name, column in columns.items()}
    return xr.Dataset({name: ("time", column) for name, column in values.items()}, {"time": time})


def days_of(tower: xr.Dataset, rows: np.ndarray) -> set[int]:
    """Days of the rows, counted from the first of the record; every one must be there whole."""
    days, counts = np.unique(rows // 48, return_counts=True)
    assert (counts == 48).all()
    return set(days.tolist())


def test_hot_is_the_hottest_fifth_of_the_weeks():
    temperature = np.full(140, 15.0)
    for week in (3, 8, 11, 19):
        temperature[7 * week : 7 * week + 7] = 20.0 + week
    temperature[7 * 5] = 60.0  # one hot day is no hot week: its mean is 21.4
    tower = record(140, air_temperature=temperature)
    split = HeldOut("hot").split(tower)
    assert days_of(tower, split.test) == {d for week in (3, 8, 11, 19) for d in range(7 * week, 7 * week + 7)}
    assert len(HeldOut("hot", share=0.05).split(tower).test) == 7 * 48


def test_dry_soil_is_the_driest_tenth_of_the_days():
    water = np.full(60, 0.3)
    water[[4, 5, 6, 30, 31, 32]] = 0.05
    water[50] = np.nan
    tower = record(60, soil_water_content=water)
    assert days_of(tower, HeldOut("dry_soil").split(tower).test) == {4, 5, 6, 30, 31, 32}


def test_dry_air_looks_at_daylight_alone():
    temperature = np.full(40, 15.0)
    temperature[[10, 20, 21, 39]] = 35.0
    tower = record(40, air_temperature=temperature)
    night = tower["shortwave_in"].values == 0
    hot_nights = np.where(night & np.isin(np.arange(len(night)) // 48, [1, 2, 3, 4]), 45.0, tower["air_temperature"])
    tower = tower.assign(air_temperature=("time", hot_nights))
    assert days_of(tower, HeldOut("dry_air").split(tower).test) == {10, 20, 21, 39}


def test_dry_holds_out_both():
    temperature, water = np.full(40, 15.0), np.full(40, 0.3)
    temperature[[10, 11, 12, 13]], water[[30, 31, 32, 33]] = 35.0, 0.1
    tower = record(40, air_temperature=temperature, soil_water_content=water)
    assert days_of(tower, HeldOut("dry").split(tower).test) == {10, 11, 12, 13, 30, 31, 32, 33}


def test_the_driest_year_is_of_twelve_months_from_the_first():
    days = 365 * 3 + 100
    water = np.full(days, 0.3)
    water[365 : 2 * 365 + 1] = 0.2  # July 2019 to June 2020, a leap year
    water[3 * 365 + 1 :] = 0.05  # the driest, but no year
    tower = record(days, start="2018-07-01", soil_water_content=water)
    test = tower["time"].values[HeldOut("dry_year").split(tower).test]
    assert test[0] == np.datetime64("2019-07-01") and test[-1] == np.datetime64("2020-06-30T23:30")
    with pytest.raises(ValueError, match="at least two years of 330 days.*there are 1"):
        HeldOut("dry_year").split(record(400))


def test_weeks_are_the_last_before_the_test_part():
    tower = record(100)
    split = HeldOut("weeks", weeks=4).split(tower, test_fraction=0.2)
    assert days_of(tower, split.test) == set(range(80, 100))
    kept = np.sort(np.concatenate([split.train, split.val]))
    np.testing.assert_array_equal(kept, np.arange(52 * 48, 80 * 48))
    assert len(split.val) == pytest.approx(len(kept) / 5, abs=1)  # a fifth, in blocks that fit
    whole = HeldOut("weeks", weeks=4).split(tower, has_test_record=True)
    assert not len(whole.test) and whole.train.max() == len(tower["time"]) - 1
    with pytest.raises(ValueError, match="52 weeks of training were asked for, but there are 11.4"):
        HeldOut("weeks", weeks=52).split(tower, test_fraction=0.2)


def test_weeks_with_a_gap_before_the_test_part():
    split = HeldOut("weeks", weeks=8).split(record(100), test_fraction=0.2, purge_days=2.0)
    last = max(split.train.max(), split.val.max())
    assert split.test.min() - last - 1 == 2 * 48


@pytest.mark.parametrize("kind", ["hot", "dry_air", "dry_soil", "dry"])
def test_gaps_between_the_parts(kind):
    rng = np.random.default_rng(1)
    tower = record(210, air_temperature=15 + 5 * rng.random(210), soil_water_content=0.3 + 0.1 * rng.random(210))
    share = 0.03
    split = HeldOut(kind, share=share).split(tower, purge_days=0.5)
    np.testing.assert_array_equal(np.sort(np.concatenate(split)), np.arange(210 * 48))
    held_out = np.sort(np.concatenate([split.val, split.test]))
    after = np.searchsorted(held_out, split.train)
    near = np.minimum(
        np.abs(held_out[np.clip(after, 0, len(held_out) - 1)] - split.train),
        np.abs(held_out[np.clip(after - 1, 0, len(held_out) - 1)] - split.train),
    )
    assert near.min() - 1 >= 24 and len(split.purged)


def test_fluxes_have_no_influence():
    tower = boring_tower(30)
    other = tower.assign({name: tower[name] * np.nan for name in ("latent_heat", "nee")})
    for kind in set(KINDS) - {"tower", "weeks", "dry_year"}:
        for a, b in zip(HeldOut(kind).split(tower), HeldOut(kind).split(other), strict=True):
            np.testing.assert_array_equal(a, b)


def test_what_cannot_be_asked():
    for asked, message in {
        "warm": "unknown split 'warm'",
        "weeks": "needs weeks > 0",
        "tower": "needs towers",
    }.items():
        with pytest.raises(ValueError, match=message):
            HeldOut.read(asked)
    with pytest.raises(ValueError, match="unknown key 'shares'.*Did you mean 'share'"):
        HeldOut.read({"kind": "hot", "shares": 0.1})
    with pytest.raises(ValueError, match="between 0 and 1"):
        HeldOut.read({"kind": "hot", "share": 2.0})


def test_record_and_test_record_are_one_for_a_split_by_weather():
    first, second = boring_tower(20), boring_tower(10, seed=1, start="2019-06-21")
    whole = joined(first, second)
    assert whole.sizes["time"] == 30 * 48 and whole["latent_heat_measured"].dtype == bool
    with pytest.raises(ValueError, match="half-hours in common"):
        joined(first, boring_tower(10, start="2019-06-05"))
    with pytest.raises(ValueError, match="differ in nee"):
        joined(first, second.drop_vars("nee"))
    data = FluxTowerDataModule(
        datasets=[(SITE, first, second)], block_days=2, held_out={"kind": "dry_soil", "share": 0.2}
    )
    data.setup()
    parts = {name: set(part.row.tolist()) for name, part in data.parts.items()}
    assert len(parts["test"]) == 6 * 48 and not parts["test"] & (parts["train"] | parts["val"])
    assert max(parts["train"]) > 20 * 48 > min(parts["train"])  # from both records


def test_a_tower_is_held_out_whole():
    other = SITE.model_copy(update={"name": "Other"})
    towers = [(SITE, boring_tower(15)), (other, boring_tower(12, seed=1))]
    data = FluxTowerDataModule(datasets=towers, block_days=2, held_out={"kind": "tower", "towers": ["Other"]})
    data.setup()
    assert set(data.parts["test"].site.tolist()) == {1} and len(data.parts["test"]) == 12 * 48
    assert set(data.parts["train"].site.tolist()) == set(data.parts["val"].site.tolist()) == {0}
    with pytest.raises(ValueError, match="there is no tower Third"):
        FluxTowerDataModule(datasets=towers, held_out={"kind": "tower", "towers": ["Third"]})
    with pytest.raises(ValueError, match="none is left to train on"):
        FluxTowerDataModule(datasets=towers[1:], held_out={"kind": "tower", "towers": ["Other"]})
