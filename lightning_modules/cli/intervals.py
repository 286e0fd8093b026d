"""`canveg intervals`: prediction intervals for predictions that are there, of a run or of an ensemble."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .readiness import require_packages, require_place


def add_intervals(commands: Any) -> None:
    """Add the command to the parser of `canveg`."""
    parser = commands.add_parser("intervals", help="prediction intervals for a predictions file, and how good they are")
    parser.add_argument(
        "predictions", type=Path, metavar="PREDICTIONS.nc", help="of all parts (fit, or predict_part: all)"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="predictions, table and picture go here"
    )
    parser.add_argument(
        "--level", type=float, action="append", help="share of half-hours inside; repeat it for several; default 0.9"
    )
    parser.add_argument(
        "--calibrate-on", action="append", metavar="PART", help="val (default) or train; repeat it for both"
    )
    parser.set_defaults(run=_intervals)


def _intervals(options: argparse.Namespace) -> int:
    require_packages("h5py", "h5netcdf", "matplotlib", "crepes")
    from ..evaluation.interval_table import interval_table
    from ..evaluation.intervals import with_intervals
    from ..evaluation.predictions import read_predictions, write_predictions
    from ..evaluation.report import report_figure, save_figure
    from ..evaluation.score_table import write_table

    require_place(options.out / "predictions.nc")
    predictions = read_predictions(options.predictions)
    result = with_intervals(predictions, options.level or [0.9], options.calibrate_on or ["val"])
    table = interval_table(result)
    options.out.mkdir(parents=True, exist_ok=True)
    write_predictions(options.out / "predictions.nc", result)
    write_table(options.out / "intervals.csv", table)
    save_figure(report_figure(result), options.out / "report.png")
    parts = table.index.get_level_values("part")
    shown = table.loc[parts == "test"] if (parts == "test").any() else table
    shown = shown[[name for name in shown.columns if not name.startswith("pit_")]]
    print(shown.to_string(float_format=lambda x: f"{x:.3f}", na_rep=""))
    if left_out := result.attrs["intervals_left_out"]:
        print(f"without intervals: {left_out}")
    print(f"\nwritten to {options.out}")
    return 0
