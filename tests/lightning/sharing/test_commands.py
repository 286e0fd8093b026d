"""`canveg share`, `finetune` and `export model`: what they write, and what they refuse in one line."""

from pathlib import Path

import lightning as L
import pytest
import torch
import yaml

from lightning_modules import FluxTowerDataModule, HybridCanopy
from lightning_modules.cli.main import main
from tests.lightning.towers import SITE, boring_tower

CONFIG = {
    "trainer": {"logger": False, "enable_progress_bar": False},
    "data": {"towers": [{"site": "US-Bi1", "forcings": "absent.csv"}], "site_options": {"n_layers": 1}},
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """Of a hybrid that was set up on a tower, and not trained: nothing is compiled."""
    data = FluxTowerDataModule(datasets=[(SITE, boring_tower(6))], block_days=2)
    model = HybridCanopy(
        [SITE], tunable=["kball"], stress={"module": "network", "hidden": [3]}, closures={"q10a": {"hidden": [2]}}
    )
    folder = tmp_path_factory.mktemp("run")
    trainer = L.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False, max_epochs=0,
        enable_checkpointing=False, default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(model, datamodule=data)
    trainer.save_checkpoint(folder / "best.ckpt")
    return folder / "best.ckpt"


@pytest.fixture(autouse=True)
def in_scratch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(yaml.safe_dump(CONFIG))


def refused(arguments, message, capsys):
    assert main(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert message in lines[-2] and "CANVEG_TRACEBACK" in lines[-1]


def test_share_makes_a_folder_with_the_numbers_of_the_checkpoint(checkpoint, capsys):
    assert main(["share", str(checkpoint), "shared", "--licence", "CC-BY-4.0"]) == 0
    printed = capsys.readouterr().out
    assert "shared/README.md" in printed and "neither towers nor scores" in printed
    again, model = HybridCanopy.from_pretrained("shared"), HybridCanopy.from_pretrained(checkpoint)
    assert again.hparams == model.hparams and again.statistics == model.statistics is not None
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
    assert "CC-BY-4.0" in Path("shared/README.md").read_text()


def test_share_and_export_refuse_in_one_line(checkpoint, capsys):
    Path("full").mkdir()
    Path("full/thesis.tex").touch()
    for arguments, message in (
        (["share", "absent.ckpt", "x"], "absent.ckpt does not exist"),
        (["share", str(checkpoint), "full"], "holds something else"),
        (["share", str(checkpoint), "x", "--doi", "10.1/x"], "expected SITE=DOI"),
        (["export", "model", "absent", "x"], "absent does not exist"),
        (["export", "model", str(checkpoint), "x", "--platforms", "cpu,abacus"], "unknown platform 'abacus'"),
        (["export", "model", str(checkpoint), "full"], "holds something else"),
    ):
        refused(arguments, message, capsys)
        assert not Path("x").exists()


def test_finetune_refuses_in_one_line(checkpoint, capsys):
    begin = ["finetune", "--config", "mine.yaml", "--from", str(checkpoint), "--free"]
    for arguments, message in (
        ([*begin, "strss"], "Did you mean 'stress'?"),
        ([*begin, "stress", "--model.stress=feddes"], "model.stress: finetune takes it from"),
        ([*begin, "stress", "--model.closures={q10a: {hidden: [3]}}"], "model.closures: finetune takes it from"),
        ([*begin, "stress", "--trainer.devices=2"], "works in one process"),
        (["finetune", "--config", "mine.yaml", "--from", "absent", "--free", "stress"], "absent does not exist"),
    ):
        refused(arguments, message, capsys)
    # The same networks in the configuration are no contradiction: it goes on, and finds that there are no data.
    same = ["--model.closures={q10a: {hidden: [2]}}", "--model.tunable=[kball]"]
    refused([*begin, "closures,vcopt", *same], "absent.csv does not exist", capsys)
    assert main(["finetune", "--help"]) == 0
    assert "--free PART" in capsys.readouterr().out
