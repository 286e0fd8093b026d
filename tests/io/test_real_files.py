"""Every real tower file that is at hand goes through the commands `doctor` and `simulate`, and both agree."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import yaml

from canveg_jax.io.tower_files import TowerFiles
from lightning_modules.cli.main import main

CRT = {"metadata": "ameriflux-base/AMF_US-CRT_BASE-BADM_2-5.zip", "measurement_height": 3.0}
BASE, PLUMBER, SETS = "ameriflux-base", "plumber2", "fluxnet2015"
ARM = {"name": "US-ARM", "latitude": 36.6058, "longitude": -97.4888, "utc_offset": -6, "elevation": 314}
CHA = {"name": "CH-Cha", "latitude": 47.2102, "longitude": 8.4104, "utc_offset": 1, "elevation": 393}
HEIGHTS = {"canopy_height": 0.5, "measurement_height": 4.0}

FILES: list[tuple[str, str | None, Any, int, int]] = [
    ("US-Bi1/US-Bi1-forcings.csv", "US-Bi1/US-Bi1-fluxes.csv", {"preset": "US-Bi1"}, 0, 35088),
    ("US-Bi1/US-Bi1-forcings-test.csv", "US-Bi1/US-Bi1-fluxes-test.csv", {"preset": "US-Bi1"}, 0, 26304),
    ("US-Hn1/US-Hn1-forcings.csv", "US-Hn1/US-Hn1-fluxes.csv", {"preset": "US-Hn1"}, 0, 18960),
    ("US-Hn1/US-Hn1-forcings.csv", "US-Hn1/US-Hn1-fluxes-nonegle.csv", {"preset": "US-Hn1"}, 0, 18960),
    ("US-Hn1/US-Hn1-forcings-test.csv", "US-Hn1/US-Hn1-fluxes-nonegle-test.csv", {"preset": "US-Hn1"}, 1, 8784),
    (f"{BASE}/AMF_US-CRT_BASE_HH_2-5.csv", None, CRT, 1, 0),
    (f"{BASE}/AMF_US-CRT_BASE-BADM_2-5.zip", None, CRT, 1, 0),
    (f"{BASE}/US-ARM_BASE_multiple_sensors_head.csv", None, {**ARM, **HEIGHTS}, 2, 0),
    (f"{SETS}/FLX_CH-Cha_FLUXNET2015_FULLSET_HH_2005-2020_beta-3.csv", None, {**CHA, **HEIGHTS}, 2, 0),
    (f"{PLUMBER}/US-Wi7_2005-2005_FLUXNET2015_Met.nc", f"{PLUMBER}/US-Wi7_2005-2005_FLUXNET2015_Flux.nc",
     {"metadata": f"{PLUMBER}/US-Wi7_2005-2005_FLUXNET2015_Met.nc", **HEIGHTS}, 1, 0),
]  # fmt: skip
"""Weather, fluxes, site, exit code of doctor, usable half-hours (0: at least a day, or none where it is refused)."""


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(("forcings", "fluxes", "site", "code", "usable"), FILES, ids=[f"{f[0]}+{f[1]}" for f in FILES])
def test_doctor_and_simulate_agree(shared, tmp_path, monkeypatch, capsys, forcings, fluxes, site, code, usable):
    data = shared / "data"
    if not (data / forcings).is_file():
        pytest.skip("needs the tower files")
    monkeypatch.chdir(tmp_path)
    site = {**site, **({"metadata": str(data / site["metadata"])} if "metadata" in site else {}), "n_layers": 1}
    Path("site.yaml").write_text(yaml.safe_dump(site))
    names = [str(data / name) for name in (forcings, fluxes) if name]
    lai = [] if "US-Bi1" in forcings or "US-Hn1" in forcings else ["--lai", "2"]
    found = main(["doctor", *names, "--site", "site.yaml", "--out", "none", *lai])
    printed = capsys.readouterr().out
    line = next(line for line in printed.splitlines() if line.startswith("half-hours: "))
    count = int(line.split("usable ")[1].split()[0])
    print(f"| {forcings} | {found} | {line}")
    assert found == code, printed
    assert count == usable if usable else count >= 48 or code == 2, printed

    tower = {
        "site": site,
        "forcings": names[0],
        "fluxes": names[1] if fluxes else None,
        **({"lai": 2.0} if lai else {}),
    }
    config: dict[str, Any] = {"tower": tower, "site_options": {"n_layers": 1}}
    if count >= 48:
        first, last = _two_days(tower)
        config |= {"first": first, "last": last}
    Path("simulate.yaml").write_text(yaml.safe_dump(config))
    assert main(["simulate", "simulate.yaml", "--out", "out.nc"]) == (2 if code == 2 else 0)
    captured = capsys.readouterr()
    if code == 2:
        assert "not usable" in captured.err or "no column for" in captured.err, captured.err
        return
    with xr.open_dataset("out.nc") as result:
        assert result.sizes["time"] >= 1 and np.isfinite(result["LE"].where(result["converged"]).values).mean() > 0.9


def _two_days(tower: dict[str, Any]) -> tuple[str, str]:
    """Two days in the middle of the usable half-hours."""
    with warnings.catch_warnings(action="ignore"):
        files = TowerFiles(**{k: v for k, v in tower.items() if v is not None})
        record = files.read(files.build_site({}))[0]
    times = record["time"].values[record["forcing_complete"].values]
    middle = times[len(times) // 2]
    return str(middle)[:10], str(middle + np.timedelta64(1, "D"))[:10]
