"""`canveg fit` killed at random moments (SIGKILL) and gone on with by `--ckpt_path last`: the end is that of the whole run."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from canveg_jax.synthetic.canopy_towers import synthetic_sites, write_prepared_csv
from lightning_modules.checkpoints.format import read_checkpoint
from lightning_modules.checkpoints.search import last_checkpoint, version_folders
from tests.lightning.checkpoints.runs import same
from tests.lightning.towers import boring_tower

ROOT = Path(__file__).parents[3]


def invented_towers(folder):
    folder.mkdir(parents=True)
    for i, site in enumerate(synthetic_sites(n_layers=1)):
        write_prepared_csv(folder, site, boring_tower(days=6, seed=i, site=site, noise=True))


def arguments(towers, name, *more):
    return [
        "fit", "--config", str(ROOT / "examples/synthetic.yaml"), f"--data.folder={towers}",
        f"--trainer.logger.init_args.name={name}", "--trainer.max_epochs=16", "--data.max_train_rows=160", "--data.batch_size=32",
        "--data.block_days=1", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false",
        "--checkpoint.last_every_n_steps=1", "--output.after_fit=false", "--early_stopping.patience=50",
        "--ckpt_path=last", *more,
    ]  # fmt: skip


def command(arguments):
    """A process of the command."""
    line = [sys.executable, "-m", "lightning_modules.cli.main", *arguments]
    return subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def steps_saved(run):
    """Optimiser steps of the checkpoint that the run would go on from; 0: there is none."""
    if not version_folders(run):
        return 0
    found = last_checkpoint(folder / "checkpoints" for folder in version_folders(run))
    return 0 if found is None else found.steps


def kill_at_random_moments(run, start, kills, draw, say=print):
    """Kill processes of a run, each at a random moment after it has saved a step of its own, then let the run end.

    Returns: the optimiser steps that the checkpoint which came next was of, for each kill; how many files were left half written.
    """
    steps = []
    for _ in range(kills):
        before, begin = steps_saved(run), time.monotonic()
        process, moment = start(), None
        while moment is None or time.monotonic() < moment:
            assert process.poll() is None, (
                f"the run ended (code {process.returncode}) before it was killed {kills} times"
            )
            if moment is None and steps_saved(run) > before:
                moment = time.monotonic() + draw.uniform(0.0, 0.1)
            time.sleep(0.005)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        steps.append(steps_saved(run))
        say(f"killed after {time.monotonic() - begin:.1f} s; goes on from step {steps[-1]}")
    assert start().wait() == 0
    return steps, len(list(run.glob("version_*/checkpoints/.*.ckpt")))


def same_ends(run, whole):
    for name in ("best", "last"):
        ends = [read_checkpoint(version_folders(f)[0] / f"checkpoints/{name}.ckpt") for f in (whole, run)]
        same(*ends, name)


@pytest.mark.slow
def test_twenty_kills(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    invented_towers(tmp_path / "towers")
    assert command(arguments(tmp_path / "towers", "whole")).wait() == 0
    run = Path("runs/killed")
    steps, _ = kill_at_random_moments(
        run, lambda: command(arguments(tmp_path / "towers", "killed")), 20, random.Random(0)
    )
    assert (np.diff(steps) > 0).all() and len(version_folders(run)) == 21
    same_ends(run, Path("runs/whole"))
