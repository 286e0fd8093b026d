"""`canveg compare CONFIG` and `canveg tradeoff CONFIG`: their arguments, and what they print."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .readiness import require_packages, require_place


def add_commands(commands: Any) -> None:
    """Add both commands to the parser of `canveg`."""
    compare = commands.add_parser("compare", help="models side by side on the same data: table, picture, verdict")
    tradeoff = commands.add_parser("tradeoff", help="models by the weight of LE against NEE: front, hypervolume, knee")
    for parser, run in ((compare, _compare), (tradeoff, _tradeoff)):
        parser.add_argument("config", type=Path, metavar="CONFIG", help="YAML, see examples/compare.yaml")
        parser.add_argument("--out", type=Path, metavar="FOLDER", help="where results go (default: what the YAML says)")
        parser.add_argument("--folder", metavar="FOLDER", help="where relative file names of the data start")
        parser.add_argument(
            "--jobs", type=int, default=1, metavar="N", help="runs at a time, each in a process (default 1)"
        )
        parser.add_argument("--row", action="append", metavar="ROW", help="only these rows; repeat it for several")
        parser.add_argument("--split", action="append", metavar="SPLIT", help="only these splits")
        parser.add_argument(
            "--claim", metavar="ROW", help="the row that is claimed to be better (default: what the YAML says)"
        )
        parser.add_argument("--list", action="store_true", help="say which runs there are to make, and make none")
        parser.set_defaults(run=run)


def _compare(options: argparse.Namespace) -> int:
    plan, out = _plan(options)
    runs = plan.runs()
    if options.list:
        return _list(runs, out)
    from ..experiments.report import write_comparison
    from ..experiments.runner import execute_all
    from ..experiments.tables import cells

    _require_extra("scores")
    outcome = execute_all(runs, out, options.jobs, _say)
    short, files = write_comparison(plan, runs, outcome, out)
    for split in dict.fromkeys(short["split"]):
        print(f"\nsplit {split}, NSE of test half-hours\n{_as_text(*cells(short[short['split'] == split]))}")
    return _end(outcome, files)


def _tradeoff(options: argparse.Namespace) -> int:
    plan, out = _plan(options)
    runs = plan.runs(plan.le_weights, plan.splits[:1])
    if options.list:
        return _list(runs, out)
    from ..experiments.report import write_tradeoff
    from ..experiments.runner import execute_all

    _require_extra("scores", "moocore")
    outcome = execute_all(runs, out, options.jobs, _say)
    merit, files = write_tradeoff(plan, runs, outcome, out)
    print("\n" + merit.to_string(index=False, float_format=lambda x: f"{x:.3f}", na_rep=""))
    return _end(outcome, files)


def _plan(options: argparse.Namespace) -> tuple[Any, Path]:
    require_packages("h5py", "h5netcdf", "matplotlib")
    if options.jobs < 1:
        raise ValueError(f"--jobs must be at least 1; got {options.jobs}.")
    from canveg_jax.spelling import unknown

    from ..experiments.plan import Plan

    plan = Plan.from_yaml(options.config, out=options.out, folder=options.folder)
    plan = plan.only(options.row, options.split)
    if options.claim is not None:
        if options.claim not in plan.labels() and options.claim not in plan.rows:
            raise ValueError(unknown("row", options.claim, plan.labels()))
        plan = plan.model_copy(update={"claim": plan.claim.model_copy(update={"row": options.claim})})
    require_place(plan.out / "report.md")
    return plan, plan.out


def _require_extra(*modules: str) -> None:
    from ..experiments.benchmarks import require

    for module in modules:
        require(module)


def _say(text: str) -> None:
    print(text, flush=True)


def _list(runs: Any, out: Path) -> int:
    from ..experiments.runner import stored_result

    for run in runs:
        there = stored_result(out / "runs" / run.name, run.key()) is not None
        print(f"{'there' if there else 'to do'}  {run.name}")
    return 0


def _as_text(head: list[str], body: list[list[str]]) -> str:
    widths = [max(len(line[i]) for line in (head, *body)) for i in range(len(head))]
    lines = []
    for line in (head, *body):
        first, *rest = (
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        lines.append("  ".join([first, *rest]).rstrip())
    return "\n".join(lines)


def _end(outcome: Any, files: list[Path]) -> int:
    print("\n" + "\n".join(str(path) for path in files))
    if outcome.failed:
        name, text = next(iter(outcome.failed.items()))
        raise ValueError(
            f"{len(outcome.failed)} runs failed and are missing in the tables; the first is {name}: {text} (error.txt in its "
            "folder). The same command tries them again, and makes no other run again."
        )
    return 0
