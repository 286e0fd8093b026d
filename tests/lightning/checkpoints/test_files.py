"""Checkpoint files: whole or not there, of a known version, and never run."""

import errno
import os
import random
import resource
import sys
import warnings
from types import SimpleNamespace

import pytest
import torch
import yaml
from jsonargparse import Namespace
from lightning.pytorch.loggers import CSVLogger

from canveg_jax.simulation import SimulationConfig
from lightning_modules import HybridCanopy
from lightning_modules.checkpoints.files import WholeFiles
from lightning_modules.checkpoints.format import FORMAT, MIGRATIONS, migrate, read_checkpoint
from lightning_modules.checkpoints.search import last_checkpoint
from lightning_modules.cli.main import main
from lightning_modules.cli.mistakes import explained
from lightning_modules.cli.readiness import require_checkpoint
from lightning_modules.cli.run_folder import claim_folder, find_last, next_folder
from lightning_modules.models.residual import load_residual
from tests.lightning.towers import SITE, BoringCanopy


def checkpoint(path, steps=0, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"state_dict": {}, "global_step": steps, "epoch": 0, "optimizer_states": [], **more}
    WholeFiles().save_checkpoint(content, path)
    return path


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, flag):
        self.flag = flag

    def __reduce__(self):
        return os.mkdir, (str(self.flag),)


def test_no_checkpoint_is_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    flag = tmp_path / "it ran"
    path = checkpoint(tmp_path / "evil.ckpt", hyper_parameters=Evil(flag))
    for weights_only in (None, True, False):
        with pytest.raises(ValueError, match=r"asks to run code when it is loaded \(posix.mkdir\), and is not"):
            HybridCanopy.load_from_checkpoint(path, physics=BoringCanopy(), weights_only=weights_only)
        with pytest.raises(ValueError, match="asks to run code"):
            WholeFiles().load_checkpoint(path, weights_only=weights_only)
    with pytest.raises(ValueError, match="asks to run code"):
        load_residual(path)
    (tmp_path / "c.yaml").write_text("data: {}\n")
    assert main(["predict", "--config", "c.yaml", "--ckpt_path", str(path)]) == 2
    assert "ckpt_path: " in (said := capsys.readouterr().err) and "asks to run code" in said
    assert not flag.exists()
    torch.load(path, weights_only=False)
    assert flag.exists()  # the file does what it is meant to do, where it is let


def test_no_configuration_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    evil = tmp_path / "evil.yaml"
    evil.write_text(f"tower: !!python/object/apply:os.mkdir ['{tmp_path / 'it ran'}']\n")
    with pytest.raises((ValueError, yaml.YAMLError)):
        SimulationConfig.from_yaml(evil)
    with pytest.raises(SystemExit):
        main(["fit", "--config", str(evil)])
    assert not (tmp_path / "it ran").exists()


def test_a_file_that_was_damaged_anywhere_is_said_to_be_no_checkpoint(tmp_path):
    content = {
        "state_dict": {f"w{i}": torch.ones(2, 3) for i in range(4)},
        "hyper_parameters": {"sites": [{"name": "x"}]},
    }
    wholes = []
    for zipped in (True, False):
        torch.save(content, tmp_path / "whole.ckpt", _use_new_zipfile_serialization=zipped)
        wholes.append((tmp_path / "whole.ckpt").read_bytes())
    draw, refused, path = random.Random(0), 0, tmp_path / "damaged.ckpt"
    for i in range(400):
        damaged = bytearray(wholes[i % 2])
        if i % 5 == 0:
            damaged = damaged[: draw.randrange(len(damaged))]
        else:
            for _ in range(draw.choice((1, 3, 30))):
                damaged[draw.randrange(min(700, len(damaged)))] = draw.randrange(256)
        path.write_bytes(damaged)
        try:
            with warnings.catch_warnings(action="ignore"):
                read_checkpoint(path)
        except ValueError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            refused += 1
    assert refused > 200


def test_a_checkpoint_of_a_later_version_is_refused_with_the_remedy(tmp_path):
    path = checkpoint(tmp_path / "later.ckpt", canveg={"format": FORMAT + 1})
    with pytest.raises(ValueError, match=rf"of format {FORMAT + 1}, .* up to {FORMAT}. .*pip install --upgrade"):
        read_checkpoint(path)


def test_an_earlier_version_is_led_step_by_step_to_the_present_one(tmp_path):
    assert set(MIGRATIONS) == set(range(FORMAT))
    path = checkpoint(tmp_path / "early.ckpt", callbacks={"ModelCheckpoint{'mode': 'min'}": {"best_model_path": "b"}})
    content = read_checkpoint(path)
    assert content["canveg"] == {"format": FORMAT}
    assert content["callbacks"]["RunCheckpoint{'mode': 'min'}"] == {"best_model_path": "b"}
    assert migrate(content, path) is content


def full_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    path = checkpoint(tmp_path / "last.ckpt", steps=1)
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="this checkpoint was not written, and the one before is whole") as raised:
        checkpoint(path, steps=2)
    assert read_checkpoint(path)["global_step"] == 1 and os.listdir(tmp_path) == ["last.ckpt"]
    line = explained(raised.value)
    assert str(path) in line and line.endswith("The disk is full: free some space, or write elsewhere.")


def test_a_file_that_may_not_grow_leaves_the_checkpoint_before(tmp_path):
    path = checkpoint(tmp_path / "last.ckpt", steps=1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, before[1]))
    try:
        with pytest.raises(OSError, match="the one before is whole") as raised:
            checkpoint(path, steps=2, large=torch.zeros(5_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert read_checkpoint(path)["global_step"] == 1 and os.listdir(tmp_path) == ["last.ckpt"]
    assert "ulimit -f" in explained(raised.value)


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "no folder").write_text("")
    for path in (tmp_path / "no folder/last.ckpt", "/proc/none/last.ckpt"):
        with pytest.raises(OSError) as raised:
            WholeFiles().save_checkpoint({"state_dict": {}}, path)
        assert "\n" not in explained(raised.value)


def test_last_is_the_furthest_of_the_newest_run_that_has_one(tmp_path):
    folders = [tmp_path / f"version_{i}" for i in (2, 1, 0)]
    assert last_checkpoint(folders) is None
    checkpoint(folders[2] / "last.ckpt", steps=9)
    checkpoint(folders[1] / "best.ckpt", steps=4)
    furthest = checkpoint(folders[1] / "last.ckpt", steps=7)
    checkpoint(folders[1] / "weights.ckpt", steps=99)
    content = read_checkpoint(folders[1] / "weights.ckpt")
    del content["optimizer_states"]  # of weights alone: nothing to go on from
    torch.save(content, folders[1] / "weights.ckpt")
    folders[0].mkdir()
    (folders[0] / ".last-0a1b.ckpt").write_bytes(furthest.read_bytes()[:100])  # of a process that was killed meanwhile
    assert last_checkpoint(folders).path == furthest and last_checkpoint(folders).steps == 7
    (folders[0] / "last.ckpt").write_bytes(furthest.read_bytes()[:-40])
    with pytest.warns(UserWarning, match="version_2/last.ckpt is no checkpoint that can be read .* passed over"):
        assert last_checkpoint(folders).path == furthest
    with (
        pytest.warns(UserWarning, match="passed over"),
        pytest.raises(ValueError, match="none of the checkpoints can be read .* Leave --ckpt_path out"),
    ):
        last_checkpoint(folders[:1])


def settings(**trainer):
    logger = Namespace(class_path="CSVLogger", init_args=Namespace(save_dir="runs", name="a", version=None))
    trainer = Namespace(**{"logger": logger, "default_root_dir": None, **trainer})
    return Namespace(trainer=trainer, checkpoint=Namespace(dirpath=None))


def test_last_is_looked_for_where_the_run_writes(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    with caplog.at_level("INFO"):
        assert find_last(settings()) is None
    assert "starts at the beginning" in caplog.text
    for folder in ("runs/a/version_3", "runs/canveg/version_1", "mine", "runs/a/version_0"):
        checkpoint(tmp_path / folder / "checkpoints/last.ckpt")
    with caplog.at_level("INFO"):
        assert find_last(settings()) == "runs/a/version_3/checkpoints/last.ckpt"
    assert "goes on from runs/a/version_3/checkpoints/last.ckpt (epoch 0, 0 steps)" in caplog.text
    assert find_last(settings(logger=False)) == "runs/canveg/version_1/checkpoints/last.ckpt"
    assert find_last(settings(logger=False, default_root_dir="mine")) == "mine/checkpoints/last.ckpt"
    chosen = settings()
    chosen.trainer.logger.init_args.version = 0
    assert find_last(chosen) == "runs/a/version_0/checkpoints/last.ckpt"


def test_two_runs_that_begin_at_once_get_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loggers = [CSVLogger("runs", name="a") for _ in range(3)]
    assert {logger.log_dir for logger in loggers} == {"runs/a/version_0"}  # all have seen the same folders
    for logger in loggers:
        claim_folder(SimpleNamespace(logger=logger, is_global_zero=True), settings().trainer)
    assert [logger.log_dir for logger in loggers] == [f"runs/a/version_{i}" for i in range(3)]
    assert sorted(os.listdir("runs/a")) == ["version_0", "version_1", "version_2"]
    assert [next_folder(claim=True).name for _ in range(2)] == ["version_0", "version_1"]
    assert next_folder(claim=False).name == next_folder(claim=False).name == "version_2"


def test_the_site_of_a_checkpoint_is_text():
    assert all(
        type(value) in (str, int, float, bool, type(None), list) for value in SITE.model_dump(mode="json").values()
    )


def test_a_checkpoint_cannot_name_what_is_imported_or_called(tmp_path, monkeypatch, capsys):
    """Settings are texts, and one of them may be the path of a class: neither its module is imported, nor any function called."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "evil_of_a_checkpoint.py").write_text("raise SystemExit('code was run')\n")
    flag = tmp_path / "it ran"
    called = {"class_path": "os.mkdir", "init_args": {"path": str(flag)}}
    for network in ({"class_path": "evil_of_a_checkpoint.Net"}, called):
        for settings in ({"closures": {"capacity": {"network": network}}}, {"stress": network}):
            path = checkpoint(tmp_path / "evil.ckpt", hyper_parameters={"sites": [{"name": "US-Bi1"}], **settings})
            with pytest.raises(
                ValueError, match=r"a class that is not part of this package.*load_from_checkpoint.*allow="
            ):
                HybridCanopy.load_from_checkpoint(path, physics=BoringCanopy())
            (tmp_path / "c.yaml").write_text("data: {}\n")
            assert main(["predict", "--config", "c.yaml", "--ckpt_path", str(path)]) == 2
            said = capsys.readouterr().err
            assert network["class_path"] in said and "in the configuration as well" in said
    assert not flag.exists() and "evil_of_a_checkpoint" not in sys.modules


def test_a_network_of_ones_own_comes_back_where_it_is_allowed(tmp_path):
    path = "tests.lightning.sharing.test_stored_model.Mine"
    closures = {"q10a": {"network": {"class_path": path, "init_args": {"width": 3}}}}
    model = HybridCanopy([SITE], stress=None, closures=closures, tunable=[])
    content = {
        "state_dict": model.state_dict(),
        "hyper_parameters": {**model.hparams},
        "pytorch-lightning_version": "2.5",
    }
    saved = checkpoint(tmp_path / "own.ckpt", **content)
    with pytest.raises(ValueError, match=path):
        HybridCanopy.load_from_checkpoint(saved)
    again = HybridCanopy.load_from_checkpoint(saved, allow=(path,))
    assert again.closures.named()["q10a"].network.scale.shape == (3,)
    require_checkpoint(str(saved), {path})
    with pytest.raises(ValueError, match=path):
        require_checkpoint(str(saved))


@pytest.mark.parametrize("content", [b"text", b"", b"PK\x03\x04", b"\x80\x02."])
def test_whatever_else_a_file_holds_it_is_refused_and_passed_over(content, tmp_path):
    good = checkpoint(tmp_path / "good.ckpt", steps=3)
    (tmp_path / "last.ckpt").write_bytes(content)
    with pytest.raises(ValueError, match="no checkpoint that can be read"):
        read_checkpoint(tmp_path / "last.ckpt")
    with pytest.warns(UserWarning, match="It is passed over"):
        assert last_checkpoint([tmp_path]).path == good


@pytest.mark.parametrize("stamp", [{"format": "1"}, {"format": -1}, {"format": True}, 1])
def test_a_format_that_is_none_is_refused(stamp, tmp_path):
    with pytest.raises(ValueError, match="its format is"):
        read_checkpoint(checkpoint(tmp_path / "a.ckpt", canveg=stamp))
