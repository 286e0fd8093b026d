"""Files under the CF conventions, by the IOOS compliance checker: a program of its own, as its packages are many
(`pipx install compliance-checker`)."""

import json
import shutil
import subprocess

import numpy as np
import pytest

from canveg_jax.fluxes import FLUX_TABLE
from canveg_jax.io.callmip import Protocol, daily, write_callmip
from canveg_jax.io.netcdf import read_fluxes, write_fluxes
from tests.io.test_doctor import tower

PROGRAM = shutil.which("compliance-checker")


def said(path) -> list[str]:
    """Everything that the checker does not like."""
    out = path.with_suffix(".json")
    command = [str(PROGRAM), "--test=cf:1.11", "--format=json", f"--output={out}", str(path)]
    subprocess.run(command, check=False, capture_output=True, timeout=300)
    found = json.loads(out.read_text())["cf:1.11"]
    levels = ("high_priorities", "medium_priorities", "low_priorities")
    return [message for level in levels for one in found[level] for message in one["msgs"]]


@pytest.fixture
def fluxes(tmp_path):
    record = tower()
    rng = np.random.default_rng(0)
    values = {name: 50.0 * rng.random(record.sizes["time"]) for name in FLUX_TABLE}
    values |= {"passes": np.full(record.sizes["time"], 5), "converged": np.ones(record.sizes["time"], dtype=bool)}
    values["reason"] = np.zeros(record.sizes["time"], dtype=int)
    return write_fluxes(tmp_path / "fluxes.nc", values, tower=record)


@pytest.mark.slow
@pytest.mark.skipif(PROGRAM is None, reason="needs the program compliance-checker")
def test_what_is_written_conforms(fluxes):
    assert said(fluxes) == []


@pytest.mark.slow
@pytest.mark.skipif(PROGRAM is None, reason="needs the program compliance-checker")
def test_the_export_differs_where_its_protocol_asks_for_it(fluxes, tmp_path):
    export = daily(read_fluxes(fluxes), 38.1, -121.5, Protocol())
    path = write_callmip(tmp_path, export, "callmip.nc")
    others = [text for text in said(path) if "kgC" not in text and "Conventions" not in text]
    assert others == []
