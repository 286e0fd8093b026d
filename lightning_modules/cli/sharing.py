"""`canveg share`: a trained model as a folder for others."""

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


def _share(options: argparse.Namespace) -> int:
    from canveg_jax.runtime import prepare_jax

    prepare_jax()
    from ..models.flux_network import FluxNetwork
    from ..models.hybrid_canopy import HybridCanopy
    from ..models.residual import CHECKPOINT, RESIDUAL_FOLDER
    from ..sharing.run_record import record_of_checkpoint
    from ..sharing.stored_model import model_of_checkpoint

    doi = dict(_pair(text) for text in options.doi)
    model = HybridCanopy.from_stored(model_of_checkpoint(options.checkpoint), options.checkpoint)
    record = record_of_checkpoint(options.checkpoint, doi)
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
