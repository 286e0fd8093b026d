"""The random error of fluxes: recovered from pairs of days that were alike, and not from days that were not."""

import numpy as np
import pytest
import torch

from lightning_modules.data.dataset import TowerDataset
from lightning_modules.data.random_error import RandomError, random_error
from tests.lightning.towers import boring_tower

OFFSET, SLOPE = 8.0, 0.15


def noisy_tower(days=120, seed=0):
    """Days with the same weather and a known flux, whose samples err by `OFFSET + SLOPE |flux|` (double exponential)."""
    tower = boring_tower(days, seed, gaps=False)
    rng = np.random.default_rng(seed)
    for name in ("air_temperature", "wind_speed", "shortwave_in"):
        tower[name].values[:] = np.tile(tower[name].values[:48], days)
    true = np.tile(300.0 * np.sin(np.linspace(0.0, np.pi, 48)), days)
    sigma = OFFSET + SLOPE * true
    tower["latent_heat"].values[:] = true + sigma * rng.laplace(scale=2.0**-0.5, size=len(true))
    return tower


def test_recovers_offset_and_slope():
    error = random_error(TowerDataset([noisy_tower()]), "latent_heat")
    assert error is not None and error.pairs == 60 * 48  # of 120 days alike, each half-hour in one pair
    for flux in (50.0, 150.0, 300.0):
        assert error.offset + error.slope * flux == pytest.approx(OFFSET + SLOPE * flux, rel=0.08)
    assert error.from_file is None and error.share_from_file == 0.0


def test_days_that_differ_make_no_pairs():
    tower = noisy_tower()
    day = np.arange(tower.sizes["time"]) // 48
    tower["air_temperature"].values[:] += 3.5 * (day % 2)
    error = random_error(TowerDataset([tower]), "latent_heat")
    assert error.pairs == 0 and error.offset is None and error.slope is None


def test_filled_samples_have_no_say():
    tower = noisy_tower()
    filled = np.arange(tower.sizes["time"]) % 3 == 0
    tower["latent_heat"].values[filled] = 1e4 * np.sign(np.arange(filled.sum()) % 2 - 0.5)
    tower["latent_heat_measured"].values[filled] = False
    error = random_error(TowerDataset([tower]), "latent_heat")
    assert error.offset + error.slope * 150.0 == pytest.approx(OFFSET + SLOPE * 150.0, rel=0.1)


def test_sites_are_not_paired_with_each_other():
    """A second tower one day later whose fluxes are far away must not make pairs with the first."""
    first, second = noisy_tower(3), noisy_tower(3, seed=1)
    second["latent_heat"].values[:] += 1e5
    alone = random_error(TowerDataset([first]), "latent_heat").pairs
    both = random_error(TowerDataset([first, second]), "latent_heat")
    assert both.pairs <= 2 * 48 * 2 and both.pairs >= 2 * alone - 48
    if both.offset is not None:
        assert both.offset < 1e3


def test_sigma_of_the_file():
    tower = noisy_tower(5)
    sigma = np.where(np.arange(tower.sizes["time"]) % 2 == 0, 10.0, 20.0)
    sigma[:24] = np.nan
    tower["latent_heat_sigma"] = ("time", sigma)
    data = TowerDataset([tower])
    assert torch.equal(torch.isnan(data.sigma["latent_heat"][:24]), torch.ones(24, dtype=torch.bool))
    error = random_error(data, "latent_heat")
    assert error.from_file == pytest.approx(np.sqrt((1 / 100.0 + 1 / 400.0) / 2.0))
    assert error.share_from_file == pytest.approx(1.0 - 24 / tower.sizes["time"])


def test_plain_numbers_and_back():
    error = RandomError(8.0, 0.1, 500, (1.0, 2.0), 0.2, 0.5)
    assert RandomError.from_dict(vars(error) | {"magnitudes": [1.0, 2.0]}) == error


def test_nothing_measured():
    tower = noisy_tower(3)
    tower["latent_heat_measured"].values[:] = False
    assert random_error(TowerDataset([tower]), "latent_heat") is None
