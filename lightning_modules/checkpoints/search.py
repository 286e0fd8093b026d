"""Which checkpoint `last` is."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from lightning.pytorch.utilities import rank_zero_warn

from .format import read_checkpoint


class Found(NamedTuple):
    """A checkpoint that training can go on from: `path`, and the `epoch` (0 is the first) and optimiser steps that it is of."""

    path: Path
    epoch: int
    steps: int


def version_folders(folder: Path) -> list[Path]:
    """`version_0`, `version_1`, ... in a folder, the newest first."""
    numbers = {int(m[1]): path for path in folder.glob("version_*") if (m := re.fullmatch(r"version_(\d+)", path.name))}
    return [numbers[number] for number in sorted(numbers, reverse=True)]


def last_checkpoint(folders: Iterable[Path]) -> Found | None:
    """The checkpoint with most optimiser steps of the first folder that has one which can be read; None if no folder has any.

    Warns:
        UserWarning: of each checkpoint that cannot be read.

    Raises:
        ValueError: there are checkpoints, and none can be read.
    """
    damaged = []
    for folder in folders:
        found = []
        for path in sorted(folder.glob("*.ckpt")):
            if path.name.startswith("."):  # a process was killed while it wrote this one
                continue
            try:
                content = read_checkpoint(path)
            except (OSError, ValueError) as error:
                damaged.append(path)
                rank_zero_warn(f"{error} It is passed over.")
                continue
            if "optimizer_states" in content:
                found.append((content["global_step"], path.stat().st_mtime_ns, path, content["epoch"]))
        if found:
            steps, _, path, epoch = max(found)
            return Found(path, epoch, steps)
    if damaged:
        raise ValueError(
            f"ckpt_path: last: none of the checkpoints can be read ({', '.join(map(str, damaged))}). Leave --ckpt_path out to "
            "start anew."
        )
    return None
