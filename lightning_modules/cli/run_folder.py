"""The folder of a run: `version_N`, which belongs to it alone; and where the last checkpoint of earlier ones is."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import Namespace
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only

from ..checkpoints.search import last_checkpoint, version_folders

WITHOUT_LOGGER = Path("runs/canveg")
"""Where a run without a logger has its folder, unless `trainer.default_root_dir` is set."""


def next_folder(claim: bool) -> Path:
    """The next `version_N` of a run without a logger. With `claim` it is made: each of two runs that ask at once gets its own."""
    while True:
        newest = version_folders(WITHOUT_LOGGER)[:1]
        number = 1 + int(newest[0].name.removeprefix("version_")) if newest else 0
        folder = WITHOUT_LOGGER / f"version_{number}"
        if not claim or rank_zero_only.rank != 0 or _made(folder):
            return folder


def claim_folder(trainer: Trainer, asked: Namespace) -> None:
    """Make the folder of the run, or take the next version if another run has just made it.

    Args:
        asked: the settings `trainer`. A version that the user chose stays as it is.
    """
    logger = trainer.logger
    if not trainer.is_global_zero or not isinstance(logger, CSVLogger) or not isinstance(asked.logger, Namespace):
        return
    if asked.logger.get("init_args", Namespace()).get("version") is None:
        while not _made(Path(logger.log_dir)):
            logger._version = logger._get_next_version()  # the next one that is free, as when it was made


def _made(folder: Path) -> bool:
    """Whether the folder was made here: false if it exists."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    return True


def find_last(settings: Namespace) -> str | None:
    """Path of the checkpoint that `--ckpt_path last` means, which is said; None if there is no checkpoint yet, said as well.

    Raises:
        ValueError: there are checkpoints, and none can be read.
    """
    folders = _folders(settings)
    found = last_checkpoint(folders)
    if found is None:
        rank_zero_info("canveg: ckpt_path: last: there is no checkpoint yet, so this run starts at the beginning.")
        return None
    rank_zero_info(f"canveg: goes on from {found.path} (epoch {found.epoch}, {found.steps} steps)")
    return str(found.path)


def _folders(settings: Namespace) -> list[Path]:
    """Where the checkpoints of this run may lie, the newest first."""
    if settings.checkpoint.dirpath is not None:
        return [Path(settings.checkpoint.dirpath)]
    trainer = settings.trainer
    logger = trainer.logger[0] if isinstance(trainer.logger, list) and trainer.logger else trainer.logger
    if isinstance(logger, Namespace):
        options = logger.get("init_args", Namespace())
        root = Path(options.get("save_dir") or trainer.default_root_dir or ".") / (options.get("name") or "")
        if (version := options.get("version")) is not None:
            return [root / (version if isinstance(version, str) else f"version_{version}") / "checkpoints"]
    elif trainer.default_root_dir is not None:
        return [Path(trainer.default_root_dir) / "checkpoints"]
    else:
        root = WITHOUT_LOGGER
    return [folder / "checkpoints" for folder in version_folders(root)]
