"""How checkpoints reach the disk: whole, or not at all."""

from __future__ import annotations

import io
import os
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from canveg_jax.files import replacing

from .format import read_checkpoint


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it; reads numbers only (`read_checkpoint`), of any version.

    A process that is killed while it writes leaves the earlier checkpoint, and perhaps a file whose name begins with a dot.
    The content is on the disk before it gets its name, so a loss of power takes nothing either. Remote paths are left to
    Lightning's own functions, except that they, too, are read without running what they say.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write.

        Raises:
            OSError: it cannot be written; an earlier checkpoint of this name is as it was.
        """
        if "://" in str(path) or storage_options is not None:
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        content = io.BytesIO()
        torch.save(checkpoint, content)
        try:
            with replacing(path) as temporary, temporary.open("wb") as file:
                file.write(content.getbuffer())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            said = f"{error.strerror}: this checkpoint was not written, and the one before is whole"
            raise OSError(error.errno, said, os.fspath(path)) from error

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = None) -> dict[str, Any]:
        """Read; `weights_only` is true whatever is asked for.

        Raises:
            FileNotFoundError, ValueError: as of `read_checkpoint`.
        """
        if "://" in str(path):
            return super().load_checkpoint(path, map_location, weights_only=True)
        return read_checkpoint(path, map_location)
