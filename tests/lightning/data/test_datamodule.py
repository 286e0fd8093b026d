"""The data module: parts, statistics of the training part only, options, refusals."""

import jsonargparse
import numpy as np
import pandas as pd
import pytest
import torch
import yaml

import canveg_jax as cv
from canveg_jax.io.antecedents import ANTECEDENTS
from lightning_modules import FluxTowerDataModule, ScalingStatistics, TowerFiles
from tests.lightning.towers import SITE, boring_tower

BLOCKS = {"block_days": 2, "val_every": 5, "batch_size": 100}


def ready(*datasets, **options):
    data = FluxTowerDataModule(datasets=list(datasets), **{**BLOCKS, **options})
    data.setup()
    return data


def test_parts_are_blocks_of_time(tower):
    data = ready((SITE, tower), test_fraction=0.25)
    rows = {name: set(part.row.tolist()) for name, part in data.parts.items()}
    assert set(rows) == {"train", "val", "test"}
    assert sum(map(len, rows.values())) == len(set.union(*rows.values())) == tower.sizes["time"]
    assert min(rows["test"]) == 15 * 48 and rows["val"] == set(range(4 * 48, 6 * 48)) | set(range(14 * 48, 15 * 48))


def test_statistics_come_from_measured_samples_of_the_training_part_only(tower):
    data = ready((SITE, tower))
    rows = data.parts["train"].row.numpy()
    latent = tower["latent_heat"].values[rows][tower["latent_heat_measured"].values[rows]]
    entry = data.statistics.targets["latent_heat"]
    assert entry == pytest.approx((latent.mean(), latent.std(), len(latent)))
    water = tower["soil_water_content"].values[rows]
    assert data.statistics.inputs["soil_water_content"] == pytest.approx((water.mean(), water.std(), len(water)))

    altered = tower.copy(deep=True)
    outside = np.setdiff1d(np.arange(tower.sizes["time"]), rows)
    for name in ("latent_heat", "air_temperature", "soil_water_content"):
        altered[name][outside] = altered[name][outside] * 0.5
    altered["latent_heat_measured"][outside] = True
    altered["latent_heat"] = altered["latent_heat"].where(altered["latent_heat_measured"], -9e9)
    other = ready((SITE, altered)).statistics
    assert other.targets == data.statistics.targets and other.energy_closure == data.statistics.energy_closure
    own = [
        name for name in other.inputs if name not in ANTECEDENTS
    ]  # the past reaches into other parts: forcing, no flux
    assert len(own) > 10 and all(other.inputs[name] == data.statistics.inputs[name] for name in own)


def test_statistics_survive_files_and_dictionaries(tower, tmp_path):
    statistics = ready((SITE, tower)).statistics
    statistics.save(tmp_path / "statistics.json")
    assert ScalingStatistics.load(tmp_path / "statistics.json") == statistics
    assert [p.name for p in tmp_path.iterdir()] == ["statistics.json"]


def test_several_towers_with_and_without_a_test_record(tower):
    other = cv.Site.named("US-Hn1", n_layers=1)
    data = ready(
        (SITE, tower, boring_tower(3, 5, start="2020-06-01")), (other, boring_tower(12, 2)), test_fraction=0.25
    )
    assert [s.name for s in data.sites] == ["US-Bi1", "US-Hn1"]
    test = data.parts["test"]
    assert (test.site == 0).sum() == 3 * 48 and (test.site == 1).sum() == 3 * 48
    assert data.records["test"][0].sizes["time"] == 3 * 48
    assert set(data.parts["train"].site.tolist()) == {0, 1}
    batch = next(iter(data.train_dataloader()))
    assert batch["site"].shape == (100,)


def test_loaders(tower):
    data = ready((SITE, tower), test_fraction=0.25, dtype="float32", seed=1, predict_part="all")
    shuffled = [b["row"] for b in data.train_dataloader()]
    assert not torch.equal(torch.cat(shuffled), data.parts["train"].row)
    assert next(iter(data.val_dataloader()))["forcing"]["lai"].dtype == torch.float32
    assert torch.equal(torch.cat([b["row"] for b in data.test_dataloader()]), data.parts["test"].row)
    predicted = torch.cat([b["row"] for loader in data.predict_dataloader() for b in loader])
    assert sorted(predicted.tolist()) == list(range(tower.sizes["time"]))
    assert data.predict_parts == ["train", "val", "test"]


def test_thinning(tower):
    whole = ready((SITE, tower))
    assert torch.equal(ready((SITE, tower), train_stride=3).parts["train"].row, whole.parts["train"].row[::3])
    few = ready((SITE, tower), max_train_rows=50)
    assert len(few.parts["train"]) == 50 and len(few.parts["val"]) == len(whole.parts["val"])
    assert set(few.parts["train"].row.tolist()) <= set(whole.parts["train"].row.tolist())


def test_without_validation(tower):
    data = ready((SITE, tower), val_every=0)
    assert data.val_dataloader() == [] and len(data.parts["train"]) == tower.sizes["time"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either `towers`"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"train_stride": 0}, "train_stride must be at least 1"),
        ({"max_train_rows": 1}, "max_train_rows must be at least 2"),
        ({"dtype": "float16"}, "'float64' or 'float32'"),
        ({"predict_part": "tests"}, "predict_part must be one of"),
        ({"targets": ["LE"]}, "unknown observed flux"),
        ({"site_options": {"layers": 3}}, "layers"),
    ],
)
def test_refusals(tower, options, message):
    datasets = [] if not options else [(SITE, tower)]
    with pytest.raises(ValueError, match=message):
        FluxTowerDataModule(datasets=datasets, **options)


def test_more_refusals(tower):
    with pytest.raises(ValueError, match="test_fraction > 0"):
        ready((SITE, tower)).test_dataloader()
    with pytest.raises(ValueError, match="different names"):
        ready((SITE, tower), (SITE, tower))
    unmeasured = tower.assign({f"{n}_measured": tower["nee_measured"] & False for n in ("latent_heat", "nee")})
    with pytest.raises(ValueError, match="no measured sample"):
        ready((SITE, unmeasured), targets=["latent_heat", "nee"])


@pytest.fixture
def csv_files(tower, tmp_path):
    """The tower as a prepared pair of CSVs."""
    end = pd.to_datetime(tower["time_end"].values)
    forcing = {
        "TIMESTAMP_END": end, "TA": tower["air_temperature"], "SW_IN": tower["shortwave_in"],
        "eair": tower["vapour_pressure"],
        "WS": tower["wind_speed"], "CO2": tower["co2"], "PA": tower["pressure"], "USTAR": tower["friction_velocity"],
        "TS": tower["soil_temperature"], "SWC": tower["soil_water_content"], "LAI": tower["lai"],
    }  # fmt: skip
    fluxes = {"TIMESTAMP_END": end, "LE": tower["latent_heat"], "H": tower["sensible_heat"], "FC": tower["nee"]}
    for name, columns in (("forcings.csv", forcing), ("fluxes.csv", fluxes)):
        pd.DataFrame({k: np.asarray(v) for k, v in columns.items()}).to_csv(tmp_path / name, index=False)
    return tmp_path


def test_files_by_a_yaml_that_jsonargparse_understands(csv_files, tower):
    text = f"""
towers:
  - site: US-Bi1
    forcings: {csv_files}/forcings.csv
    fluxes: {csv_files}/fluxes.csv
    site_options: {{lai_scale: 0.5}}
site_options: {{n_layers: 1}}
block_days: 2
test_fraction: 0.2
batch_size: 64
targets: [latent_heat, nee]
"""
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(FluxTowerDataModule, "data")
    config = parser.parse_object({"data": yaml.safe_load(text)})
    data = parser.instantiate(config).data
    data.setup()
    assert data.sites == [cv.Site.named("US-Bi1", n_layers=1, lai_scale=0.5)]
    assert len(data.parts["train"]) + len(data.parts["val"]) + len(data.parts["test"]) == tower.sizes["time"]
    np.testing.assert_allclose(
        data.parts["train"].forcing["co2"], tower["co2"].values[data.parts["train"].row.numpy()], rtol=1e-12
    )
    counted = sum(p.measured_counts()["latent_heat"] for p in data.parts.values())
    assert counted <= tower["latent_heat_measured"].values.sum()
    with pytest.raises(jsonargparse.ArgumentError, match="block_day"):
        parser.parse_object({"data": {"block_day": 3}})


def test_missing_files_are_named():
    with pytest.raises(FileNotFoundError, match="test_forcings = nowhere.csv does not exist"):
        TowerFiles("US-Bi1", __file__, test_forcings="nowhere.csv").read(SITE)
    with pytest.raises(ValueError, match="test_fluxes is given without test_forcings"):
        TowerFiles("US-Bi1", __file__, test_fluxes=__file__).read(SITE)


def test_sites_from_names_mappings_and_files(tmp_path):
    (tmp_path / "site.yaml").write_text("preset: US-Me2\nn_layers: 3\n")
    named = TowerFiles(str(tmp_path / "site.yaml"), "x.csv", site_options={"canopy_height": 17.0}).build_site(
        {"n_layers": 2}
    )
    assert (named.name, named.n_layers, named.canopy_height) == ("US-Me2", 2, 17.0)
    assert TowerFiles({"preset": "US-Whs", "n_layers": 4}, "x.csv").build_site({}).n_layers == 4
    with pytest.raises(ValueError, match="Did you mean 'US-Bi1'"):
        TowerFiles("US-Bi", "x.csv").build_site({})
