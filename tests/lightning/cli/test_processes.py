"""`canveg fit`, `validate`, `test` and `predict` in several processes on the CPU: the numbers and the files of one."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from canveg_jax.synthetic.canopy_towers import synthetic_sites, write_prepared_csv
from lightning_modules.evaluation.predictions import read_predictions
from tests.lightning.towers import boring_tower

ROOT = Path(__file__).parents[3]
FILES = {
    "config.yaml",
    "metrics.csv",
    "predictions.nc",
    "scores.csv",
    "report.png",
    "best.ckpt",
    "last.ckpt",
    "hparams.yaml",
}


def canveg(*arguments: str, folder: Path) -> subprocess.CompletedProcess:
    """The command in a process of its own, as a user runs it."""
    cache = {"CANVEG_CACHE": str(ROOT / ".cache" / "canveg"), "CANVEG_THREADS": "1"}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_COMPILATION")}
    return subprocess.run(
        [sys.executable, "-m", "lightning_modules.cli.main", *arguments], cwd=folder, capture_output=True, text=True,
        env={**environment, "PYTHONPATH": str(ROOT), **cache}, timeout=1200,
    )  # fmt: skip


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """A folder with two towers and a configuration: batches of eight half-hours, so that one size is compiled for all."""
    folder = tmp_path_factory.mktemp("work")
    sites = synthetic_sites(n_layers=1)[:2]
    towers = []
    for i, site in enumerate(sites):
        write_prepared_csv(folder, site, boring_tower(days=3, seed=i, site=site, noise=True))
        files = {"forcings": f"{site.name}-forcings.csv", "fluxes": f"{site.name}-fluxes.csv"}
        towers.append({"site": f"{site.name}.yaml", **files})
    config = {
        "trainer": {"max_epochs": 2, "precision": "64-true", "enable_progress_bar": False, "enable_model_summary": False},
        "data": {
            "folder": str(folder), "towers": towers, "batch_size": 8, "max_train_rows": 29, "block_days": 0.25,
            "test_fraction": 0.1,
        },
        "model": {
            "tunable": ["kball", "vcopt"], "stress": {"module": "network", "hidden": [4]},
            "solver": {"tolerance": 1e-9, "adjoint_tolerance": 1e-11},
        },
    }  # fmt: skip
    (folder / "c.yaml").write_text(yaml.safe_dump(config))
    return folder


def fit(work: Path, size: int) -> Path:
    """Folder of a run in so many processes."""
    out = work / f"of_{size}"
    done = canveg(
        "fit", "--config=c.yaml", f"--trainer.devices={size}", f"--trainer.logger.save_dir={out}", folder=work
    )
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr[-3000:]
    assert done.stdout.count("predictions: ") == done.stdout.count("best checkpoint: ") == 1
    return out / "canveg/version_0"


@pytest.fixture(scope="module")
def alone(work) -> Path:
    return fit(work, 1)


def compare(alone: Path, run: Path, first_rtol: float) -> None:
    """Files, numbers of half-hours, losses and scores, weights and predictions of two runs."""
    assert {path.name for path in run.parent.rglob("*") if path.is_file()} == FILES
    one, several = (pd.read_csv(folder / "metrics.csv") for folder in (alone, run))
    assert list(one) == list(several) and len(one) == len(several)
    for epoch, rtol in ((0, first_rtol), (1, 1e-6)):
        a, b = (table[table["epoch"] == epoch].max() for table in (one, several))
        np.testing.assert_allclose(b, a, rtol=rtol, atol=1e-12, err_msg=f"epoch {epoch}")
    a, b = (torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for folder in (alone, run))
    for name, value in a.items():
        torch.testing.assert_close(b[name], value, rtol=1e-6, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}")
    a, b = (read_predictions(folder / "predictions.nc") for folder in (alone, run))
    assert a.sizes == b.sizes and a.sizes["row"] > 90
    for name in ("time", "site_index", "split", "converged", "LE_observed", "LE_measured"):
        np.testing.assert_array_equal(b[name].values, a[name].values, err_msg=name)
    np.testing.assert_allclose(b["LE"].values, a["LE"].values, rtol=1e-5, atol=1e-4)


@pytest.mark.slow
def test_fit_in_two_processes(work, alone):
    compare(alone, fit(work, 2), 1e-8)


@pytest.mark.slow
def test_fit_in_four_processes(work, alone):
    compare(alone, fit(work, 4), 1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 4])
def test_predictions_of_the_same_weights_are_the_same_to_the_last_bit(work, alone, size):
    arguments = [
        "--ckpt_path",
        str(alone / "checkpoints/best.ckpt"),
        f"--trainer.devices={size}",
        "--trainer.logger=false",
    ]
    out = work / f"again_{size}/p.nc"
    config = ["--config", str(alone / "config.yaml")]
    done = canveg("predict", *config, *arguments, "--data.predict_part=all", f"--output.predictions={out}", folder=work)
    assert done.returncode == 0, done.stderr[-3000:]
    first, again = read_predictions(alone / "predictions.nc"), read_predictions(out)
    for name in first.variables:
        np.testing.assert_array_equal(again[name].values, first[name].values, err_msg=str(name))
    assert {path.name for path in out.parent.iterdir()} == {"p.nc", "scores.csv", "report.png"}


@pytest.mark.slow
@pytest.mark.parametrize(("command", "part"), [("validate", "val"), ("test", "test")])
def test_scores_of_the_same_weights_are_the_same(work, alone, command, part):
    found = []
    for size in (1, 2, 4):
        out = work / f"{command}_{size}"
        arguments = ["--ckpt_path", str(alone / "checkpoints/best.ckpt"), f"--trainer.devices={size}"]
        config = ["--config", str(alone / "config.yaml"), f"--trainer.logger.init_args.save_dir={out}"]
        done = canveg(command, *config, *arguments, folder=work)
        assert done.returncode == 0 and done.stdout.count(f"{part}/n_LE") == 1, done.stderr[-3000:]
        found.append(pd.read_csv(out / "canveg/version_0/metrics.csv").iloc[-1])
    for several in found[1:]:
        np.testing.assert_allclose(several, found[0], rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_a_mistake_in_several_processes_is_said_once(work):
    done = canveg("fit", "--config=c.yaml", "--trainer.devices=2", "--data.max_train_rows=2", "--data.targets=[nee]",
                  folder=work)  # fmt: skip
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr[-3000:]
    assert done.stderr.count("canveg fit: ") == 1
