"""Two and four processes do what one does: gradients, weights, scores, counts and predictions."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from lightning_modules.evaluation.predictions import read_predictions

ROOT = Path(__file__).parents[2]


def run(folder: Path, size: int) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "tests.lightning.train_in_processes", str(folder), str(size)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    done = run(folder, 1)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.parametrize("size", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_several_processes_do_what_one_does(alone, tmp_path, size):
    done = run(tmp_path, size)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr[-3000:]
    warned = re.findall(r": val: \d+ of \d+ half-hours have no solution", done.stderr)
    assert len(warned) == 4 and len(set(warned)) == 1  # of the first process alone: three epochs, one validation
    expected, got = (torch.load(folder / "results.pt") for folder in (alone, tmp_path))
    for kind, rtol in (("gradients", 1e-10), ("weights", 1e-8)):
        assert expected[kind].keys() == got[kind].keys()
        for name, value in expected[kind].items():
            assert value.dtype == torch.float64 and value.abs().max() > 0
            torch.testing.assert_close(got[kind][name], value, rtol=rtol, atol=1e-14, msg=lambda m, n=name: f"{n}: {m}")
    for kind in ("logged", "validated", "tested"):
        assert got[kind].keys() == expected[kind].keys()
        for name, value in expected[kind].items():
            assert got[kind][name] == pytest.approx(value, rel=1e-7, nan_ok=True), name
    bright = got["bright"]
    assert min(bright["train"], bright["val"]) > 0
    assert (
        got["logged"]["train/not_converged"] == bright["train"]
        and got["validated"]["val/not_converged"] == bright["val"]
    )
    assert got["logged"]["train/skipped_steps"] == 0
    for kind, part in (("validated", "val"), ("tested", "test")):
        counts = {name: value for name, value in expected[kind].items() if "/n_" in name}
        assert counts.items() <= got[kind].items()
        assert 0 < counts[f"{part}/n_NEE"] <= got["measured"][part]["nee"]
    for name, same_weights in (("first.nc", True), ("last.nc", False)):
        one, several = (read_predictions(folder / name) for folder in (alone, tmp_path))
        assert one.sizes == several.sizes
        for variable in (
            "time",
            "site_index",
            "split",
            "converged",
            "LE",
            "NEE",
            "stress",
            "LE_observed",
            "NEE_measured",
        ):
            if same_weights or variable not in ("LE", "NEE", "stress"):
                np.testing.assert_array_equal(several[variable].values, one[variable].values, err_msg=variable)
            else:
                np.testing.assert_allclose(several[variable].values, one[variable].values, rtol=1e-7, atol=1e-9)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.nc", "last.nc", "results.pt"]
