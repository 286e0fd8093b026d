"""Daily export for CalLMIP: complete days, names, units, signs."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from canveg_jax.fluxes import FLUX_TABLE
from canveg_jax.io.callmip import Protocol, daily
from canveg_jax.io.netcdf import write_fluxes
from canveg_jax.io.tower_dataset import TowerFileError
from lightning_modules.cli.main import main

TIME = pd.date_range("2019-03-01 12:00", periods=48 * 4, freq="30min")


def fluxes(**changes):
    rng = np.random.default_rng(4)
    values = {
        "LE": 100.0 + rng.standard_normal(len(TIME)), "H": np.full(len(TIME), 50.0), "G": np.full(len(TIME), 5.0),
        "NEE": np.full(len(TIME), -4.0), "GPP": np.full(len(TIME), 10.0), "canopy_LE": np.full(len(TIME), 80.0),
        "soil_LE": np.full(len(TIME), 20.0), "canopy_temperature": np.full(len(TIME), 293.15),
        "soil_surface_temperature": np.full(len(TIME), 283.15), "longwave_out": np.full(len(TIME), 5.670367e-8 * 290.0**4),
        "converged": np.ones(len(TIME), dtype=bool),
    }  # fmt: skip
    return values | changes


def written(tmp_path, **changes):
    path = tmp_path / "fluxes.nc"
    place = {"site": "XX-Tst", "latitude": 38.1, "longitude": -121.5}
    return write_fluxes(path, fluxes(**changes), time=TIME, attributes=place)


def test_daily_values_of_complete_days(tmp_path, capsys):
    solved = np.ones(len(TIME), dtype=bool)
    solved[100] = False  # on 3 March
    path = written(tmp_path, converged=solved)
    assert (
        main(["export", "callmip", str(path), "--out", str(tmp_path), "--scenario", "2", "--stage", "Posterior"]) == 0
    )
    assert "XX-Tst: 2 of 5 days are complete" in (said := capsys.readouterr().out) and "left out: lai, mrso" in said
    with xr.open_dataset(tmp_path / "canveg.v1_Phase1b_Scen2_XX-Tst_Cal_Posterior.nc") as file:
        assert file["hfls"].dims == ("time", "lat", "lon") and file["hfls"].encoding["_FillValue"] == 1e38
        assert [str(t)[:10] for t in file["time"].values] == [f"2019-03-0{day}" for day in range(1, 6)]
        assert np.isfinite(file["hfls"].values.ravel()).tolist() == [False, True, False, True, False]
        day = file.isel(time=1, lat=0, lon=0)
        expected = {
            "nep": 4.0 * 12.011e-9, "gpp": 10.0 * 12.011e-9, "reco": 6.0 * 12.011e-9, "hfss": 50.0, "hfg": 5.0, "ts": 290.0,
            "tran": 80.0 / 2.453e6, "evspsblsoi": 20.0 / 2.477e6, "hfls": np.mean(fluxes()["LE"][24:72]),
        }  # fmt: skip
        for name, value in expected.items():
            np.testing.assert_allclose(day[name], value, rtol=2e-3, err_msg=name)
        assert (float(file["lat"][0]), float(file["lon"][0])) == (38.1, -121.5)
        attrs = (
            file.attrs[n] for n in ("Model", "CalLMIP_Phase", "Calibration_Scenario", "Calibration_stage", "Cal_Val")
        )
        assert list(attrs) == ["canveg.v1", "Phase1b", "Scen2", "Posterior", "Calibration"]
        assert file.attrs["Conventions"] == "COARDS" and file.attrs["complete_days"] == 2


def test_predictions_of_several_sites(tmp_path, capsys):
    values = fluxes()
    rows = {
        name: ("row", np.concatenate([v, 2 * v]), {"units": FLUX_TABLE[name].unit})
        for name, v in values.items()
        if v.dtype != bool
    }
    rows["lai"] = ("row", np.repeat([1.5, 3.0], len(TIME)))
    coords = {
        "time": ("row", np.concatenate([TIME, TIME])), "site_index": ("row", np.repeat([0, 1], len(TIME))),
        "site_name": ("site", np.array(["US-Bi1", "US-Hn1"])),
    }  # fmt: skip
    xr.Dataset(rows, coords).to_netcdf(tmp_path / "predictions.nc", engine="h5netcdf")
    command = ["export", "callmip", str(tmp_path / "predictions.nc"), "--out", str(tmp_path)]
    assert main([*command, "--site", "US-Hn1", "--phase", "1a"]) == 0
    with xr.open_dataset(tmp_path / "canveg.v1_Phase1a_US-Hn1_Cal_Prior.nc") as file:
        assert (
            float(file["hfss"][1, 0, 0]) == 100.0
            and float(file["lai"][1, 0, 0]) == 3.0
            and file.attrs["complete_days"] == 3
        )
    capsys.readouterr()
    assert main(command) == 2
    assert "the file has the sites US-Bi1, US-Hn1. Give one of them as --site" in capsys.readouterr().err


def test_a_site_of_the_file_is_where_the_file_says(tmp_path):
    rows = {name: ("row", v, {"units": FLUX_TABLE[name].unit}) for name, v in fluxes().items() if v.dtype != bool}
    coords = {
        "time": ("row", TIME), "site_index": ("row", np.ones(len(TIME), dtype=int)), "site_name": ("site", ["Here", "There"]),
        "latitude": ("site", [10.0, -34.2]), "longitude": ("site", [20.0, 146.2]),
    }  # fmt: skip
    xr.Dataset(rows, coords).to_netcdf(tmp_path / "predictions.nc", engine="h5netcdf")
    command = ["export", "callmip", str(tmp_path / "predictions.nc"), "--out", str(tmp_path), "--site", "There"]
    assert main(command) == 0
    with xr.open_dataset(tmp_path / "canveg.v1_Phase1b_Scen1_There_Cal_Prior.nc") as file:
        assert float(file["lat"][0]) == -34.2 and float(file["lon"][0]) == 146.2


def test_what_cannot_be_exported(tmp_path, capsys):
    with pytest.raises(TowerFileError, match="none of 5 days has all of its 48 half-hours solved. Simulate whole days"):
        daily(xr.open_dataset(written(tmp_path, converged=np.zeros(len(TIME), dtype=bool))), 0.0, 0.0, Protocol())
    with pytest.raises(TowerFileError, match="expected fluxes of the canopy"):
        daily(xr.Dataset(coords={"time": TIME}), 0.0, 0.0, Protocol())
    assert main(["export", "callmip", str(tmp_path / "fluxes.nc"), "--phase", "3", "--out", str(tmp_path)]) == 2
    assert "phase" in capsys.readouterr().err
    assert Protocol(phase="1a", period="Val").file_name("DK-Sor") == "canveg.v1_Phase1a_DK-Sor_Val_Prior.nc"
