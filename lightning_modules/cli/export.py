"""`canveg export`: what others read without this package, a trained model as a program or the daily values of a run."""

from __future__ import annotations

import argparse
from pathlib import Path

from .callmip import add_callmip


def add_export(commands: argparse._SubParsersAction) -> None:
    """Add the command."""
    export = commands.add_parser(
        "export", help="a trained model as a program (model), daily values for an intercomparison (callmip)"
    )
    kinds = export.add_subparsers(title="what to export", metavar="WHAT", required=True)
    model = kinds.add_parser("model", help="the trained hybrid: StableHLO, arrays, manifest and a loader")
    model.add_argument(
        "origin", type=Path, metavar="CHECKPOINT_OR_FOLDER", help="a checkpoint, or a folder of canveg share"
    )
    model.add_argument("folder", type=Path, metavar="DIR", help="made if it does not exist")
    model.add_argument("--dtype", choices=("float64", "float32"), default="float64", help="of columns and computation")
    model.add_argument("--platforms", default="cpu,cuda", help="cpu, cuda, rocm, tpu; default cpu,cuda")
    model.add_argument("--derivatives", action="store_true", help="with the reverse derivative, for jax.grad (minutes)")
    model.set_defaults(run=_export)
    add_callmip(kinds)


def _export(options: argparse.Namespace) -> int:
    from canveg_jax.runtime import prepare_jax

    prepare_jax()
    from ..models.hybrid_canopy import HybridCanopy
    from ..sharing.run_record import record_of_checkpoint
    from ..sharing.stored_model import open_stored
    from ..standalone.program import export_model

    stored = open_stored(options.origin)
    model = HybridCanopy.from_stored(stored, options.origin)
    run = record_of_checkpoint(options.origin) if options.origin.is_file() else stored.run
    folder = export_model(
        model, options.folder, dtype=options.dtype, platforms=[name.strip() for name in options.platforms.split(",")],
        derivatives=options.derivatives, run=run,
    )  # fmt: skip
    print(
        f"program: {folder}\n{folder / 'run.py'} runs it with jax and numpy alone; names and units: {folder / 'manifest.json'}"
    )
    return 0
