"""A run that is killed and gone on with ends as the one that was left alone, to the last bit."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch

from lightning_modules import FluxTowerDataModule
from lightning_modules.checkpoints.format import read_checkpoint
from lightning_modules.checkpoints.resume_state import RESUME
from lightning_modules.checkpoints.search import last_checkpoint, version_folders
from tests.lightning.checkpoints.runs import HOOKS, Killed, same, train
from tests.lightning.towers import SITE, boring_tower

ROOT = Path(__file__).parents[3]


def ends_of(folder, **options):
    train(folder, **options)
    return {name: read_checkpoint(folder / f"version_0/checkpoints/{name}.ckpt") for name in ("last", "best")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Checkpoints of the run that nothing interrupts."""
    return ends_of(tmp_path_factory.mktemp("whole"))


def finish(folder, kills, **options):
    """Kill the run at these moments (steps count on), then let it end. How often it was killed."""
    killed = 0
    for kill in [*kills, None]:
        try:
            train(folder, kill=kill, **options)
        except (Killed, SystemExit):
            killed += 1
    return killed


def same_end(folder, whole):
    newest = version_folders(folder)[0] / "checkpoints"
    for name in whole:
        same(whole[name], read_checkpoint(newest / f"{name}.ckpt"), name)


KILLS = [
    [
        (3, "on_train_epoch_start"),
        (7, "on_train_batch_start"),
        (9, "on_before_optimizer_step"),
        (14, "on_train_batch_end"),
    ],
    [(3, "on_validation_batch_start"), (5, "on_validation_end"), (17, "on_train_epoch_end")],
]


@pytest.mark.parametrize("kills", KILLS, ids=["in training", "about validation"])
def test_a_run_that_dies_again_and_again_ends_as_the_whole_one(kills, whole, tmp_path):
    assert finish(tmp_path, kills) == len(kills)
    same_end(tmp_path, whole)


@pytest.fixture
def listens():
    """A process in the background ignores Ctrl-C: this one does not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("listens")
def test_an_interrupted_run_saves_at_once_and_ends_as_the_whole_one(whole, tmp_path):
    kill = (9, "on_train_batch_start", lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(SystemExit):
        train(tmp_path, kill=kill, save=None)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    found = last_checkpoint([tmp_path / "version_0/checkpoints"])
    assert found.steps == 10 and found.path.name == "last.ckpt"  # of the step in which it came
    train(tmp_path)
    same_end(tmp_path, whole)


def test_a_process_that_is_killed_can_be_gone_on_with(whole, tmp_path):
    command = [sys.executable, "-W", "ignore", "-m", "tests.lightning.checkpoints.runs", str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (tmp_path / "version_0/checkpoints/last.ckpt").exists():
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(0.2)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert last_checkpoint([tmp_path / "version_0/checkpoints"]).steps < 18
    train(tmp_path)
    same_end(tmp_path, whole)


OTHERS = {
    "validation twice an epoch": {"val_check_interval": 0.5}, "validation every other epoch": {"check_val_every_n_epoch": 2},
    "three batches an epoch": {"limit_train_batches": 3}, "steps that gather gradients": {"accumulate_grad_batches": 2},
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("options", OTHERS.values(), ids=OTHERS)
def test_other_ways_to_divide_a_training(options, tmp_path):
    whole = ends_of(tmp_path / "whole", **options)
    for i, hook in enumerate(HOOKS):
        kills = [(random.Random(i).randrange(1, whole["last"]["global_step"]), hook)]
        finish(tmp_path / hook, kills, **options)
        same_end(tmp_path / hook, whole)


def other_data(change):
    tower = boring_tower(10, noise=True)
    change(tower)
    return FluxTowerDataModule(datasets=[(SITE, tower)], block_days=2, test_fraction=0.2, batch_size=48)


def one_sample(tower):
    tower["latent_heat"].values[np.flatnonzero(tower["latent_heat_measured"].values)[3]] += 0.01


def rounded_otherwise(tower):
    tower["air_temperature"] = tower["air_temperature"] * (1.0 + 1e-15)


@pytest.mark.parametrize("where", ["within", "end"])
def test_a_run_is_not_gone_on_with_on_other_data_unseen(where, tmp_path):
    kill = (9, "on_before_optimizer_step") if where == "within" else (6, "on_train_epoch_start")
    with pytest.raises(Killed):
        train(tmp_path, kill=kill)
    if where == "within":
        with pytest.raises(ValueError, match=r"within an epoch of other data or batches: other values of latent_heat;"):
            train(tmp_path, datamodule=other_data(one_sample))
    else:
        with pytest.warns(
            UserWarning, match=r"resumed had other data or batches: other values of latent_heat\. It goes on"
        ):
            train(tmp_path, datamodule=other_data(one_sample))


def test_the_same_data_of_another_machine_are_the_same(whole, tmp_path):
    with pytest.raises(Killed):
        train(tmp_path, kill=(9, "on_before_optimizer_step"))
    _, trainer = train(tmp_path, datamodule=other_data(rounded_otherwise))
    assert trainer.global_step == whole["last"]["global_step"]


def test_another_number_of_processes_is_said(tmp_path):
    with pytest.raises(Killed):
        train(tmp_path, kill=(6, "on_train_epoch_start"))
    path = tmp_path / "version_0/checkpoints/last.ckpt"
    content = read_checkpoint(path)
    for name in ("random", "model"):
        content[RESUME][name] = content[RESUME][name] * 2
    torch.save(content, path)
    with pytest.warns(UserWarning, match=r"written by 2 process\(es\), and this run has 1"):
        train(tmp_path)


class StopAfterFirstEpoch(L.Callback):
    def on_train_epoch_end(self, trainer, _):
        trainer.should_stop = True


def test_a_training_that_had_ended_early_is_not_gone_on_with(tmp_path):
    _, ended = train(tmp_path, callbacks=[StopAfterFirstEpoch()])
    _, resumed = train(tmp_path)
    assert ended.current_epoch == 1 and resumed.global_step == ended.global_step
    _, whole = train(tmp_path / "whole")
    assert whole.global_step > ended.global_step
