"""The benchmark runs, and the bridge stays far cheaper than the naive one."""

from benchmarks import bench_bridge


def test_a_call_costs_a_third_of_the_naive_bridge_at_most():
    """Measured: a fifth to a ninth; the margin is for a busy machine. Least times of interleaved calls."""
    times = bench_bridge.least_times(
        bench_bridge.variants(bench_bridge.small, [16, 16, 16], "cpu"), rounds=40, repeats=3
    )
    for kind in ("forward", "forward + backward"):
        assert 3 * times[f"bridged {kind}"] < times[f"naive {kind}"], times


def test_steady_state_is_reported():
    report = bench_bridge.steady_state(200)
    assert report["new_traces"] == 0 and report["resident_growth_MB"] < 1
