"""What a model card knows of its run is what the run wrote."""

import json

import lightning as L
import pytest
import yaml

from lightning_modules import FluxTowerDataModule, HybridCanopy
from lightning_modules.evaluation.predictions import predictions_dataset, write_predictions
from lightning_modules.evaluation.score_table import score_table
from lightning_modules.sharing.run_record import FINETUNED, record_of_checkpoint
from tests.lightning.towers import SITE, BoringCanopy, boring_tower


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Folder of a run and its predictions."""
    folder = tmp_path_factory.mktemp("run")
    data = FluxTowerDataModule(
        datasets=[(SITE, boring_tower(10, noise=True))], block_days=2, test_fraction=0.2, predict_part="all"
    )
    model = HybridCanopy([SITE], physics=BoringCanopy(), stress={"module": "network", "hidden": [3]})
    trainer = L.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False, max_epochs=1,
        enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(model, datamodule=data)
    predictions = predictions_dataset(trainer.predict(model, datamodule=data), data)
    write_predictions(folder / "predictions.nc", predictions)
    (folder / "config.yaml").write_text(yaml.safe_dump({"data": {"test_fraction": 0.2, "block_days": 2, "towers": []}}))
    return folder, predictions, model


def test_the_record_has_towers_periods_doi_split_and_scores(run):
    folder, predictions, _ = run
    record = record_of_checkpoint(folder / "checkpoints/best.ckpt", {"US-Bi1": "10.1/mine"})
    (tower,) = record["towers"]
    assert tower["name"] == "US-Bi1" and tower["doi"] == "10.1/mine" and not tower["invented"]
    assert tower["first"].startswith("2019-06-01") and sum(tower["half_hours"].values()) == predictions.sizes["row"]
    assert record["split"] == {"test_fraction": 0.2, "block_days": 2}
    table = score_table(predictions)
    (row,) = [row for row in record["scores"] if row["part"] == "test" and row["flux"] == "LE"]
    expected = table.loc[("US-Bi1", "test", "LE", "all")]
    assert {name: row[name] for name in table.columns} == pytest.approx(expected.to_dict())
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record_of_checkpoint(folder / "elsewhere/checkpoints/best.ckpt") is None


def test_the_card_says_it(run, tmp_path):
    folder, _, model = run
    (folder / FINETUNED).write_text(
        json.dumps({"from": "x", "free": ["stress"], "run": {"towers": [{"name": "AA-Bcd"}]}})
    )
    record = record_of_checkpoint(folder / "best.ckpt")
    model.save_pretrained(tmp_path / "model", run=record)
    card = (tmp_path / "model/README.md").read_text()
    assert "doi:10.17190/AMF/1871134" in card and "`test_fraction: 0.2`" in card
    assert "before, it was trained on AA-Bcd; then these parts were free: stress" in card
    (row,) = [row for row in record["scores"] if row["part"] == "test" and row["flux"] == "NEE"]
    line = next(line for line in card.splitlines() if line.startswith("| US-Bi1 | NEE |"))
    cells = [float(cell) for cell in line.split("|")[3:8]]
    assert cells == pytest.approx([row[name] for name in ("n", "NSE", "RMSE", "bias", "r")], rel=1e-3)
