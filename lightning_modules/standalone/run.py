"""Runs the exported canopy of this folder; needs jax and numpy alone. `python run.py columns.npz fluxes.npz`, or in a program

from run import load
canopy = load("FOLDER")
fluxes = canopy({"air_temperature": [...], ...})   # names and units: manifest.json; arrays [half-hour]
"""

import hashlib
import json
import sys
from pathlib import Path

import jax
import numpy as np
from jax import export

jax.config.update("jax_enable_x64", True)


def load(folder=Path(__file__).parent):
    """The canopy as a function: columns by name in, arrays by name out. `converged` says which half-hours have a solution."""
    folder = Path(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    for name, digest in manifest["sha256"].items():
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
            raise ValueError(
                f"{folder / name} is not the file that was exported: it is damaged, or was changed. Export again."
            )
    program = export.deserialize(bytearray((folder / "program.stablehlo").read_bytes()))
    arrays = dict(np.load(folder / "arrays.npz", allow_pickle=False))
    call, inputs, most = jax.jit(program.call), manifest["inputs"], manifest["rows_at_once"]

    def canopy(columns):
        missing = [name for name, info in inputs.items() if name not in columns and not info.get("optional")]
        if missing or (odd := [name for name in columns if name not in inputs]):
            raise ValueError(
                f"columns: {missing} are missing, {[] if missing else odd} are none; expected {list(inputs)}"
            )
        rows = len(columns["air_temperature"])
        given = {
            name: np.asarray(columns.get(name, np.full(rows, np.nan)), info["dtype"]) for name, info in inputs.items()
        }
        for name, info in inputs.items():
            if given[name].shape != (rows, *info["shape"][1:]):
                raise ValueError(f"{name}: expected {[rows, *info['shape'][1:]]}, got {list(given[name].shape)}")
        parts = []
        for first in range(0, rows, most):
            here = np.arange(first, min(first + most, rows))
            # A power of two, so that few sizes are compiled: the last row again and again.
            padded = np.pad(here, (0, min(most, max(8, 1 << (len(here) - 1).bit_length())) - len(here)), mode="edge")
            out = call(arrays, {name: column[padded] for name, column in given.items()})
            parts.append({name: np.asarray(value)[: len(here)] for name, value in out.items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}

    return canopy


if __name__ == "__main__":
    source, target = sys.argv[1:]
    np.savez(target, allow_pickle=False, **load()(dict(np.load(source, allow_pickle=False))))
