"""The benchmark runs, and the bridge stays far cheaper than the naive one."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "bench_bridge.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("bench_bridge", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_call_costs_a_third_of_the_naive_bridge_at_most(bench):
    """Measured: a fifth to a ninth; the margin is for a busy machine. Least times of interleaved calls."""
    times = bench.least_times(bench.variants(bench.small, [16, 16, 16], "cpu"), rounds=40, repeats=3)
    for kind in ("forward", "forward + backward"):
        assert 3 * times[f"bridged {kind}"] < times[f"naive {kind}"], times


def test_steady_state_is_reported(bench):
    report = bench.steady_state(200)
    assert report["new_traces"] == 0 and report["resident_growth_MB"] < 1
