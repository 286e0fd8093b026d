"""Why half-hours cannot be run, as a table, wherever none is left."""

import numpy as np
import pytest

from canveg_jax.io import TowerDataWarning, read_tower
from canveg_jax.io.completeness import Cost, costs_of_forcing, table_of_costs
from canveg_jax.simulation import SimulationConfig, simulate
from lightning_modules import TowerDataset
from tests.io import lookalikes
from tests.io.lookalikes import NO_STAND_INS, weather


@pytest.fixture
def tower(tmp_path):
    data = weather(2)
    rows = np.arange(len(data))
    changes = {
        "USTAR": np.where(rows < 40, np.nan, data["USTAR"]), "TA_F": np.where((rows >= 30) & (rows < 50), np.nan, data["TA"]),
        "PA_F": np.where(rows == 60, 150.0, data["PA"]), "LW_IN_F": np.where(rows == 70, 900.0, data["LW"]), "TA_F_MDS": np.nan,
    }  # fmt: skip
    path = tmp_path / "tower.csv"
    path.write_text(lookalikes.fluxnet(data, **changes))
    return path


def test_what_each_variable_costs_and_what_it_alone_costs(tower):
    record = read_tower(tower, lai=2.0)
    costs = costs_of_forcing(record)
    assert costs == {
        "friction_velocity": Cost(40, 0, 30), "air_temperature": Cost(20, 0, 0), "pressure": Cost(0, 1, 1),
        "longwave_in": Cost(0, 1, 1),
        "vapour_pressure": Cost(20, 0, 0),
    }  # fmt: skip
    assert list(costs)[0] == "friction_velocity"
    complete = int(record["forcing_complete"].sum())
    assert complete == 96 - 50 - 2
    lines = table_of_costs(record).splitlines()
    assert lines[0].startswith("of 96 half-hours") and lines[1].split()[:2] == ["variable", "missing"]
    assert lines[2].split() == ["friction_velocity", "40", "0", "30", "USTAR"]
    assert table_of_costs(record.isel(time=slice(75, 90))) == "every one of the 15 half-hours has complete forcing"


def test_a_variable_that_is_not_there_costs_everything(tower):
    record = read_tower(tower, lai=2.0).drop_vars("wind_speed")
    assert costs_of_forcing(record)["wind_speed"] == Cost(96, 0, 44)
    assert table_of_costs(record).splitlines()[2].split() == ["wind_speed", "96", "0", "44", "none"]


def test_every_refusal_has_the_table(tmp_path):
    path = tmp_path / "tower.csv"
    path.write_text(lookalikes.fluxnet(weather(2), SWC_F_MDS_1=np.nan))
    with pytest.warns(
        TowerDataWarning,
        match=r"(?s)no half-hour has complete forcing; of 96.*soil_water_content +96 +0 +96  SWC_F_MDS_1",
    ):
        record = read_tower(path, lai=2.0, stand_ins=NO_STAND_INS)
    with pytest.raises(
        ValueError,
        match=r"(?s)no half-hour with complete forcing is left \(96 were.*soil_water_content +96 +0 +96  SWC",
    ):
        TowerDataset([record])
    tower = {"site": "US-Bi1", "forcings": str(path), "lai": 2.0, "stand_ins": NO_STAND_INS}
    config = SimulationConfig(tower=tower, site_options={"n_layers": 1})
    with (
        pytest.warns(TowerDataWarning),
        pytest.raises(
            ValueError,
            match=r"(?s)no half-hour with complete forcing between.*soil_water_content +96 +0 +96  SWC_F_MDS_1",
        ),
    ):
        simulate(config)
