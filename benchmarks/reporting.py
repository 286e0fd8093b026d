"""What all benchmarks print: the machine, the date and the commit; and the file it may be appended to."""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import jax
import torch


def add_out(parser: argparse.ArgumentParser) -> None:
    """The option `--out FILE.md`."""
    parser.add_argument("--out", type=Path, metavar="FILE.md", help="append the tables to this Markdown file")


def heading(subject: str) -> str:
    """Markdown heading with date, commit and machine."""
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"\n## {subject}, {datetime.date.today()}, commit {commit()}\n\n"
        f"{jax.devices()[0].device_kind}, {os.cpu_count()} cores, {platform.machine()}{load}; jax {jax.__version__}, "
        f"torch {torch.__version__}, Python {platform.python_version()}.\n"
    )


def markdown(heads: Sequence[str], rows: Iterable[Sequence]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    lines += ["| " + " | ".join(map(str, cells)) + " |" for cells in rows]
    return "\n".join(lines)


def publish(text: str, out: Path | None) -> None:
    """Print the report, and append it to the file if there is one."""
    print(text)
    if out:
        with out.open("a") as stream:
            stream.write(text + "\n")


def commit() -> str:
    """Abbreviated commit of the checkout, or `unknown`."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.strip() or "unknown"
