"""Makes the small model beside this file: invents towers, trains on them, and shares the best checkpoint.

    python examples/pretrained/make.py WORK_FOLDER

takes some minutes. `stress-network` has learned the water stress of all four invented towers.
"""

import os
import sys
from pathlib import Path

from lightning_modules.cli.main import main

HERE = Path(__file__).resolve().parent
MODELS = ("stress-network",)


def make(work: Path, names=MODELS) -> None:
    """Train each model in `work`, and write its folder beside this file."""
    work.mkdir(parents=True, exist_ok=True)
    os.chdir(work)
    steps = [["synthetic", "data", "--days", "45", "--seed", "7"]]
    for name in names:
        steps.append(["fit", "--config", str(HERE / f"{name}.yaml")])
        steps.append(
            ["share", f"runs/{name}/version_0/checkpoints/best.ckpt", str(HERE / name), "--licence", "BSD-3-Clause"]
        )
    for step in steps:
        if code := main(step):
            raise SystemExit(code)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
