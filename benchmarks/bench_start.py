"""How long a process takes to its first result: the first process ever, and one that finds the programs on disk.

    python -m benchmarks.bench_start

starts two processes one after the other for the forward pass and two for the derivative, each pair with a fresh folder for
traced programs (`canveg_jax.keep_programs`) and compiled ones (JAX's compilation cache), as the command `canveg` sets them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PARTS = ("import", "trace", "lower", "compile or load", "first run")


def child(what: str, layers: int, batch: int, cache: Path) -> dict[str, float]:
    """Seconds of each part of the way to the first result, in this process."""
    clock = [time.perf_counter()]
    import jax

    import canveg_jax as cv

    clock.append(time.perf_counter())
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_compilation_cache_dir", str(cache / "jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
    cv.keep_programs(cache / "programs")
    from benchmarks.bench_canopy import Case, programs

    _, forward, gradient, arguments = programs(Case(layers, "float64", batch))
    jax.block_until_ready(arguments)
    start = time.perf_counter()
    traced = {"forward": forward, "derivative": gradient}[what].trace(*arguments)
    clock.append(clock[-1] + time.perf_counter() - start)
    start = time.perf_counter()
    lowered = traced.lower()
    clock.append(clock[-1] + time.perf_counter() - start)
    start = time.perf_counter()
    compiled = lowered.compile()
    clock.append(clock[-1] + time.perf_counter() - start)
    start = time.perf_counter()
    jax.block_until_ready(compiled(*arguments))
    clock.append(clock[-1] + time.perf_counter() - start)
    return dict(zip(PARTS, (b - a for a, b in zip(clock, clock[1:], strict=False)), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=50)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--out", type=Path, metavar="FILE.md", help="append the table to this Markdown file")
    parser.add_argument("--child", nargs=2, metavar=("WHAT", "CACHE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        what, cache = options.child
        print(json.dumps(child(what, options.layers, options.batch, Path(cache))))
        return
    # Here, and `--out` written out above: the children must not import more than they time.
    from benchmarks.reporting import heading, markdown, publish

    lines = []
    for what in ("forward", "derivative"):
        with tempfile.TemporaryDirectory() as cache:
            command = [sys.executable, "-m", "benchmarks.bench_start", "--child", what, cache]
            command += ["--layers", str(options.layers), "--batch", str(options.batch)]
            for process in ("first", "second"):
                result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                seconds = json.loads(result.stdout.splitlines()[-1])
                rest = sum(seconds[part] for part in PARTS[1:])
                lines.append([what, process, *(f"{seconds[part]:.1f}" for part in PARTS), f"{rest:.1f}"])
                print(lines[-1], flush=True)
    legend = f"Seconds; {options.layers} layers, batch {options.batch}, float64.\n"
    table = markdown(("what", "process", *PARTS, "all after import"), lines)
    publish("\n".join([heading("Start of a process") + legend, table]), options.out)


if __name__ == "__main__":
    main()
