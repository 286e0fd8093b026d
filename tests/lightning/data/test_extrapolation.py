"""The share of half-hours beyond the experience of the training part."""

import pytest

from lightning_modules import FluxTowerDataModule
from lightning_modules.data.extrapolation import extrapolation_text, shares_beyond
from tests.lightning.towers import SITE, boring_tower


@pytest.fixture(scope="module")
def data():
    tower = boring_tower(20)
    tower["wind_speed"].values[-96:-48] = 60.0
    tower["lai"].values[:] = 2.0
    module = FluxTowerDataModule(datasets=[(SITE, tower)], block_days=2, test_fraction=0.2, seed=0)
    module.setup()
    return module


def test_shares_by_hand(data):
    shares = shares_beyond(data.parts["test"], data.statistics, ["wind_speed", "air_temperature", "lai"], data.sites)
    assert shares == {"wind_speed": 48 / len(data.parts["test"]), "air_temperature": 0.0, "lai": 0.0}
    wind = data.parts["train"].forcing["wind_speed"].numpy()
    assert abs(60.0 - wind.mean()) > 4.0 * wind.std()
    assert shares_beyond(data.parts["train"], data.statistics, ["wind_speed"], data.sites)["wind_speed"] < 0.01


def test_words():
    shares = {"val": {"lai": 0.0, "co2": 0.004}, "test": {"lai": 0.01, "co2": 0.25, "pressure": 0.0}}
    text = extrapolation_text(shares)
    assert text.endswith("test: co2 25.0 %, lai 1.0 %") and "val" not in text and "4 standard deviations" in text
    assert extrapolation_text({"val": shares["val"]}) == ""
