"""Which errors are the user's to mend, and what to say about them. All others are defects and show where they were raised.

Nothing heavy is imported here: classes of packages that were never imported cannot have been raised.
"""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Iterator
from typing import Any

THEIRS = ("lightning", "pytorch_lightning", "jsonargparse", "torchmetrics")
"""Packages whose own refusals (any TypeError, RuntimeError or AttributeError raised inside them) are shown as one line."""

KNOWN = {
    "SaveConfigCallback expected (.*) to NOT exist": r"\1 is of an earlier run. Choose another folder (trainer.logger or "
    "trainer.default_root_dir), or remove it.",
    r"Error\(s\) in loading state_dict for": "the checkpoint belongs to another model. Use the config.yaml that lies beside its "
    "folder, or another checkpoint.",
    "PytorchStreamWriter failed|unexpected pos": "a checkpoint could not be written whole. Is the disk full?",
    "RESOURCE_EXHAUSTED|CUDA out of memory": "the memory does not suffice. Use a smaller data.batch_size.",
    "Connection closed by peer|Connection reset by peer|ncclRemoteError": "another process of this run has ended; what it said "
    "stands above.",
    "server socket has failed to listen|EADDRINUSE": "the port of the processes is in use. Set MASTER_PORT to a free one.",
    "Early stopping conditioned on metric `(.*)` which is not available": r"early_stopping.monitor: \1 is not logged by this "
    "run. Name a column of metrics.csv, such as train/loss.",
}
"""What messages of other packages mean to the user of this command."""

REMEDIES = {
    errno.ENOSPC: "The disk is full: free some space, or write elsewhere.",
    errno.EDQUOT: "Your quota of the disk is used up: free some space, or write elsewhere.",
    errno.EFBIG: "The file is larger than allowed (ulimit -f): raise the limit, or write elsewhere.",
    errno.EACCES: "It may not be written or read by you: choose another folder.",
    errno.EROFS: "It lies on a disk that cannot be written: choose another folder.",
}


def explained(error: BaseException) -> str | None:
    """The line to show for an error that the user can mend; None for a defect."""
    if isinstance(error, OSError) and error.errno in REMEDIES:
        return f"{error}. {REMEDIES[error.errno]}"
    if type(error).__module__.startswith("pydantic"):
        return _of_a_record(error)
    for pattern, meaning in KNOWN.items():
        if found := re.search(pattern, str(error)):
            return found.expand(meaning)
    if isinstance(error, expected_errors()) or (
        isinstance(error, TypeError | RuntimeError | AttributeError) and _raised_in(error) in THEIRS
    ):
        text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
        return " ".join(text.split("\n\n")[0].split()) if type(error).__module__.split(".")[0] in THEIRS else text
    return None


def _of_a_record(error: Any) -> str:
    """The fields of a record (`Site`, a YAML) that pydantic refuses, without the addresses of its pages."""
    refused = []
    for one in error.errors(include_url=False):
        given = "" if one["type"] == "missing" else f" (got {one['input']!r})"
        name = ".".join(map(str, one["loc"]))
        text = one["msg"].removeprefix("Value error, ")
        refused.append(f"{name}: {text}{given}" if name else text)
    return f"{error.title}: {'; '.join(refused)}"


def expected_errors() -> tuple[type[BaseException], ...]:
    """Errors that are always the user's to mend: wrong input, files, packages that are missing, and what the bridge, Lightning
    and pickle (of a file that is no checkpoint) refuse."""
    return (ValueError, KeyError, OSError, ImportError, *_imported())


def _imported() -> Iterator[type[BaseException]]:
    for module, name in (
        ("bridges.errors", "BridgeError"),
        ("lightning.fabric.utilities.exceptions", "MisconfigurationException"),
        ("pickle", "UnpicklingError"),
    ):
        if module in sys.modules:
            yield getattr(sys.modules[module], name)


def _raised_in(error: BaseException) -> str:
    """The package of the code that raised the error."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else trace.tb_frame.f_globals.get("__name__", "").split(".")[0]
