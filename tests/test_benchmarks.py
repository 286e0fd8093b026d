"""The benchmarks run, and the report says what they measured."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_canopy_benchmark_and_its_report(tmp_path):
    """One layer, forward, batches of one: the smallest of the cases, by the commands of `make bench`."""
    results, table = tmp_path / "bench.json", tmp_path / "results.md"
    pytest_ = [sys.executable, "-m", "pytest", "benchmarks/bench_canopy.py", "-q", "-W", "ignore", "-p", "no:xdist"]
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}  # no worker of xdist
    subprocess.run(
        [*pytest_, "-k", "1-float64-1-forward", f"--benchmark-json={results}"], cwd=ROOT, env=alone, check=True
    )
    (measured,) = json.loads(results.read_text())["benchmarks"]
    subprocess.run([sys.executable, "-m", "benchmarks.canopy_table", results, "--out", table], cwd=ROOT, check=True)
    heads, _, cells = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in table.read_text().splitlines()
        if line.startswith("|")
    )
    row = dict(zip(heads, cells, strict=True))
    assert (row["what"], row["layers"], row["dtype"], row["batch"]) == ("forward", "1", "float64", "1")
    assert float(row["us / half-hour"]) == round(1e6 * measured["stats"]["min"], 1) > 0
    assert float(row["residual W m-2"]) <= 1e-3 and float(row["kflop"]) > 0 and 0 <= float(row["B/s"]) < 1
    for text in ("Copy bandwidth", "commit", "jax"):
        assert text in table.read_text()
