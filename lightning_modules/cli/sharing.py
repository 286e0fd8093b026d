"""`canveg share` and `canveg export`: a trained model as a folder for others, or as a program that needs jax alone."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_share(commands: argparse._SubParsersAction) -> None:
    """Add the command."""
    share = commands.add_parser("share", help="make a folder of a trained model for others, with a model card")
    share.add_argument(
        "checkpoint", type=Path, metavar="CHECKPOINT", help="of a run (runs/NAME/version_0/checkpoints/best.ckpt)"
    )
    share.add_argument("folder", type=Path, metavar="FOLDER", help="made if it does not exist")
    share.add_argument(
        "--doi", action="append", default=[], metavar="SITE=DOI", help="of the data of a tower, for the card"
    )
    share.add_argument("--licence", help="under which others may use the model, for the card")
    share.set_defaults(run=_share)


def add_export(commands: argparse._SubParsersAction) -> None:
    """Add the command."""
    export = commands.add_parser("export", help="make a program of a trained model that needs jax alone")
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


def _share(options: argparse.Namespace) -> int:
    from canveg_jax.runtime import prepare_jax

    prepare_jax()
    from ..models.flux_network import FluxNetwork
    from ..models.hybrid_canopy import HybridCanopy
    from ..models.residual import CHECKPOINT, RESIDUAL_FOLDER
    from ..sharing.run_record import record_of_checkpoint
    from ..sharing.stored_model import read_checkpoint

    doi = dict(_pair(text) for text in options.doi)
    if not options.checkpoint.is_file():
        raise FileNotFoundError(f"{options.checkpoint} does not exist, or is no file. Name a checkpoint of a run.")
    record = record_of_checkpoint(options.checkpoint, doi)
    model = HybridCanopy.from_stored(read_checkpoint(options.checkpoint), options.checkpoint)
    folder = model.save_pretrained(options.folder, run=record, licence=options.licence)
    print(f"model: {folder}")
    residual = options.checkpoint.with_name(CHECKPOINT)
    if residual.is_file():
        FluxNetwork.from_pretrained(residual).save_pretrained(
            folder / RESIDUAL_FOLDER, run=record, licence=options.licence
        )
        print(f"network on its residuals: {folder / RESIDUAL_FOLDER}")
    if record is None:
        print("no predictions.nc beside the checkpoint: the model card has neither towers nor scores")
    print(f"model card: {folder / 'README.md'}; read it before you give it away")
    return 0


def _pair(text: str) -> tuple[str, str]:
    """Site and DOI of `SITE=DOI`.

    Raises:
        ValueError: another form.
    """
    site, equals, doi = text.partition("=")
    if not equals or not site or not doi:
        raise ValueError(f"--doi {text!r}: expected SITE=DOI, such as US-Bi1=10.17190/AMF/1480317.")
    return site, doi
