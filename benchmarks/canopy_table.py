"""The table of `bench_canopy` from the JSON of pytest-benchmark.

python -m benchmarks.canopy_table bench.json --out benchmarks/RESULTS.md
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import torch

from benchmarks.reporting import add_out, heading, markdown, publish

COLUMNS = {
    "what": "what", "layers": "layers", "dtype": "dtype", "batch": "batch", "us": "us / half-hour", "rate": "half-hours / s",
    "compile": "compile s", "passes": "passes", "residual": "residual W m-2", "memory": "temp kB / half-hour",
    "kflop": "kflop", "transcendentals": "transcendentals", "kB": "kB", "flop_share": "flop/s", "byte_share": "B/s",
}  # fmt: skip
FORMATS = {
    "us": ".1f", "rate": ".0f", "compile": ".1f", "residual": ".1e", "memory": ".1f", "kflop": ".0f",
    "transcendentals": ".0f", "kB": ".0f", "flop_share": ".2f", "byte_share": ".2f",
}  # fmt: skip


def peak() -> dict[str, float]:
    """Measured copy bandwidth (B/s, read + write) and multiply-add rate (flop/s) of this machine in float64."""
    x = torch.ones(1 << 25, dtype=torch.float64)
    y = torch.empty_like(x).fill_(0)  # in memory that is there: a fresh result would measure page faults
    a = jnp.ones((2048, 2048))
    product = jax.jit(lambda a: a @ a)
    calls = {
        "bandwidth": (2 * x.nbytes, lambda: torch.mul(x, 1.000001, out=y)),
        "flops": (2 * 2048**3, lambda: product(a).block_until_ready()),
    }
    best = dict.fromkeys(calls, 0.0)
    for _ in range(10):
        for name, (amount, call) in calls.items():
            start = time.perf_counter()
            call()
            best[name] = max(best[name], amount / (time.perf_counter() - start))
    return best


def rows_of(benchmark: dict) -> list[dict]:
    """The lines of one benchmark: one, or those it made itself."""
    info = benchmark["extra_info"]
    return info.get("rows") or ([info | {"seconds": benchmark["stats"]["min"]}] if "what" in info else [])


def cells(row: dict, peak: dict[str, float]) -> list[str]:
    """One line of the table."""
    per_half_hour = row["seconds"] / row["batch"]
    row = row | {
        "us": per_half_hour * 1e6,
        "rate": 1 / per_half_hour,
        "passes": f"{row['most_passes']} ({row['mean_passes']:.1f})",
    }
    if "kflop" in row:
        row["flop_share"] = row["kflop"] * row["mean_passes"] / per_half_hour / peak["flops"]
        row["byte_share"] = row["kB"] * row["mean_passes"] / per_half_hour / peak["bandwidth"]
    row |= {name: row[name] / 1e3 for name in ("memory", "kflop", "kB") if name in row}
    return [format(row[name], FORMATS.get(name, "")) if name in row else "" for name in COLUMNS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("json", type=Path, help="written by pytest --benchmark-json")
    add_out(parser)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    benchmarks = json.loads(options.json.read_text())["benchmarks"]
    measured = peak()
    bandwidth, flops = (f"{measured[name] / 1e9:.1f}" for name in ("bandwidth", "flops"))
    speed = f"Copy bandwidth {bandwidth} GB/s, matrix product {flops} GFLOP/s (float64).\n"
    lines = [cells(row, measured) for benchmark in benchmarks for row in rows_of(benchmark)]
    notes = [b["extra_info"]["note"] + "\n" for b in benchmarks if "note" in b["extra_info"]]
    publish("\n".join([heading("Canopy") + speed, markdown(tuple(COLUMNS.values()), lines), "", *notes]), options.out)


if __name__ == "__main__":
    main()
