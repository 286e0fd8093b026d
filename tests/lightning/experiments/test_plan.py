"""What a plan makes of its YAML: runs, configurations, keys; and what it refuses."""

import dataclasses
from pathlib import Path

import pytest
import yaml

from lightning_modules.experiments.keys import run_key
from lightning_modules.experiments.plan import Plan
from tests.lightning.experiments.files import write_plan, write_tower

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tower(tmp_path_factory.mktemp("plan"), days=6).parent


def read(folder, **content) -> Plan:
    return Plan.from_yaml(write_plan(folder, **content))


def test_runs_are_rows_by_splits_by_seeds_by_layers(folder):
    rows = {"hybrid": None, "network": None, "physics": None, "1lin": None}
    plan = read(folder, rows=rows, splits=["time", {"kind": "weeks", "weeks": [1, 2]}], seeds=[3, 4], layers=[1, 50])
    names = [run.name for run in plan.runs()]
    assert len(names) == len(set(names)) == 3 * (1 + 2 + 2 + 4)
    assert names[0] == "1lin/time/seed-3"  # what is quick first, and once: it does not depend on the seed
    assert {"physics/weeks-2/seed-3-layers-50", "hybrid/time/seed-4-layers-1", "network/weeks-1/seed-4"} <= set(names)
    assert "physics/time/seed-4-layers-1" not in names
    assert list(plan.labels()) == [
        "hybrid, 1 layer",
        "hybrid, 50 layers",
        "network",
        "physics, 1 layer",
        "physics, 50 layers",
        "1lin",
    ]


def test_every_row_has_the_data_and_the_loss_of_the_base(folder):
    rows = {"hybrid": None, "tuned": None, "physics": None, "network": None, "1lin": None}
    plan = read(folder, rows=rows, splits=[{"kind": "hot", "share": 0.3}])
    configs = {run.row: run.config for run in plan.runs()}
    assert len({yaml.safe_dump(config["data"]) for config in configs.values()}) == 1
    data = configs["1lin"]["data"]
    assert data["held_out"] == {"kind": "hot", "share": 0.3, "weeks": None, "towers": []} and data["purge_days"] == 3.0
    weights = {"latent_heat": 0.5, "nee": 0.5, "sensible_heat": 0.05}
    assert configs["network"]["loss"]["weights"] == configs["hybrid"]["model"]["weights"] == weights
    assert configs["hybrid"]["model"]["closures"] and configs["tuned"]["model"]["closures"] is None
    assert configs["tuned"]["model"]["tunable"] == ["kball"] and configs["physics"]["model"]["tunable"] == []
    assert configs["tuned"]["model"]["observation"] == "one" and configs["physics"]["model"]["observation"] == "none"


def test_a_row_changes_model_and_budget(folder):
    rows = {"medlyn": {"kind": "tuned", "model": {"conductance": "medlyn"}, "trainer": {"max_epochs": 7}}}
    (run,) = read(folder, rows=rows).runs()
    assert run.config["model"]["conductance"] == "medlyn" and run.config["model"]["tunable"] == ["kball"]
    assert run.config["trainer"] == {"max_epochs": 7, "accelerator": "cpu"}
    assert run.config["data"].get("purge_days") is None  # the split by time is that of the base


def test_a_trade_off_weighs_le_against_nee(folder):
    plan = read(folder, rows={"hybrid": None, "1lin": None, "network": None}, le_weights=[0.0, 0.25])
    runs = plan.runs(plan.le_weights)
    assert [run.le_weight for run in runs] == [None, 0.0, 0.25, 0.0, 0.25]
    assert runs[-1].config["model"]["weights"] == {"latent_heat": 0.25, "nee": 0.75, "sensible_heat": 0.05}
    assert runs[2].config["loss"]["weights"]["nee"] == 0.75 and runs[2].name == "network/time/seed-0-le-0.25"


def test_the_key_changes_with_configuration_code_and_data(folder, tmp_path):
    (run, *_) = read(folder, rows={"linear": None}).runs()
    key = run.key()
    assert key == run.key() == run_key(run.config, run.files)
    assert read(folder, rows={"linear": {"inputs": ["nine", "season_sine"]}}).runs()[0].key() != key
    assert read(folder, rows={"linear": None}, splits=["hot"]).runs()[0].key() != key
    assert run_key(run.config, run.files, code="other") != run_key(run.config, run.files, code="this")
    moved = write_tower(tmp_path / "moved", days=6).parent
    elsewhere = read(moved, rows={"linear": None}).runs()[0]
    assert elsewhere.files != run.files and elsewhere.key() == key  # the same data in another folder
    file = moved / "US-Bi1-fluxes.csv"
    text = file.read_text()
    file.write_text(text[:-2] + ("7" if text[-2] != "7" else "8") + text[-1:])
    assert elsewhere.key() != key
    assert dataclasses.replace(run, config={**run.config, "label": "another name"}).key() == key
    file.unlink()
    with pytest.raises(FileNotFoundError, match="US-Bi1-fluxes.csv does not exist"):
        elsewhere.key()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"row": ["1lin"]}, "unknown key 'row'.*Did you mean 'rows'"),
        ({"rows": ["2lin"]}, "row 2lin: unknown kind '2lin'.*Did you mean"),
        ({"rows": {"trees": {"settings": {"round": 3}}}}, "row trees: unknown setting 'round'.*'rounds'"),
        ({"rows": {"network": {"model": {"tunable": []}}}}, "row network: `model` changes physics"),
        ({"rows": {"hybrid": {"inputs": ["nine"]}}}, "row hybrid: `inputs` are of linear"),
        ({"rows": {"1lin": {"trainer": {"max_epochs": 3}}}}, "row 1lin: a row of kind 1lin is not trained"),
        ({"rows": {"hybrid": {"data": {"val_every": 3}}}}, "row hybrid: data.val_every would make the data"),
        ({"rows": {"network": {"inputs": ["niine"]}}}, "unknown network input 'niine'"),
        ({"splits": ["warm"]}, "unknown split 'warm'"),
        ({"splits": ["hot", "hot"]}, "splits: expected different entries"),
        ({"seeds": []}, "seeds: expected at least one"),
        ({"claim": {"row": "hybrid"}}, "claim: unknown row 'hybrid'"),
        ({"claim": {"fluxes": ["ET"]}}, "claim: unknown flux 'ET'"),
        ({"le_weights": [2.0]}, "le_weights: expected numbers from 0 to 1"),
        ({"rows": {"a/b": {"kind": "1lin"}}}, "cannot be that of a folder"),
        ({"base": "absent.yaml"}, "absent.yaml does not exist"),
        ({"rows": []}, "`rows` is missing"),
    ],
)
def test_what_cannot_be_right_is_refused(folder, content, message):
    with pytest.raises((ValueError, OSError), match=message):
        read(folder, **content)


def test_a_row_whose_model_has_an_unknown_key_is_refused(folder):
    plan = read(folder, rows={"hybrid": {"model": {"closure": {}}}})
    with pytest.raises(ValueError, match="row hybrid: model: unknown key 'closure'.*'closures'"):
        plan.runs()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda base: base["data"].update(val_every=0), "data.val_every is 0"),
        (lambda base: base["data"].update(held_out="hot"), "data.held_out is what the splits"),
        (lambda base: base["data"].update(blok_days=1), "unknown key 'blok_days'"),
        (lambda base: base["model"].update(tunables=[]), "unknown key 'tunables'"),
        (lambda base: base.pop("data"), "expected a configuration of `canveg fit`"),
    ],
)
def test_a_base_that_cannot_be_compared_on_is_refused(tmp_path, change, message):
    base_path = write_tower(tmp_path, days=2)
    base = yaml.safe_load(base_path.read_text())
    change(base)
    base_path.write_text(yaml.safe_dump(base))
    with pytest.raises(ValueError, match=message):
        read(tmp_path)


@pytest.mark.parametrize("name", ["compare", "compare_us_hn1", "compare_synthetic"])
def test_the_shipped_plans_can_be_read(name):
    plan = Plan.from_yaml(EXAMPLES / f"{name}.yaml", folder="elsewhere")
    runs = plan.runs()
    assert len({run.name for run in runs}) == len(runs) >= len(plan.rows) * len(plan.splits)
    assert all(file.startswith("elsewhere") for run in runs for file in run.files)
    hybrid = next(run for run in runs if run.row == "hybrid")
    assert hybrid.config["model"].get("closures") == plan.base["model"].get("closures")


def test_layers_of_a_comparison_exclude_layers_of_a_tower(folder):
    """They would be run under a wrong name."""
    base = yaml.safe_load((folder / "base.yaml").read_text())
    base["data"]["towers"][0]["site_options"] = {"n_layers": 2}
    (folder / "own.yaml").write_text(yaml.safe_dump(base))
    with pytest.raises(
        ValueError, match=r"layers: .*own.yaml gives the tower of US-Bi1-forcings.csv 2 layers of its own"
    ):
        read(folder, base="own.yaml", layers=[1, 50])
    rows = read(folder, base="own.yaml", rows={"physics": None}).runs()
    assert rows[0].config["data"]["towers"][0]["site_options"] == {"n_layers": 2}
