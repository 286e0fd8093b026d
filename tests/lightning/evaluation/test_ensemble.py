"""Ensembles of runs: mean, spread, scores, and what is refused."""

import numpy as np
import pytest
import xarray as xr

from lightning_modules.cli.main import main
from lightning_modules.evaluation.ensemble import ensemble, member_scores
from lightning_modules.evaluation.predictions import read_predictions, write_predictions

N = 48 * 4


def member(seed, *, error=10.0, broken=()):
    rng = np.random.default_rng(seed)
    time = np.datetime64("2020-05-01", "ns") + np.arange(N) * np.timedelta64(30, "m")
    truth = 100.0 + 80.0 * np.sin(np.arange(N) / 48.0 * 2.0 * np.pi)
    converged = np.ones(N, dtype=bool)
    converged[list(broken)] = False
    attrs = {"units": "W m-2", "long_name": "latent heat flux"}
    variables = {
        "LE": ("row", truth + error * rng.standard_normal(N), attrs), "LE_observed": ("row", truth, attrs),
        "LE_measured": ("row", np.ones(N, dtype=bool)), "converged": ("row", converged), "stress": ("row", rng.random(N)),
        "passes": ("row", np.full(N, float(seed))), "canopy_LE": ("row", truth * seed),
        "closure_capacity": ("row", rng.random(N) + 0.5, {"units": "1", "long_name": "factor"}),
        "shortwave_in": ("row", np.maximum(truth, 0.0)), "soil_water_content": ("row", np.full(N, 0.2)),
        "split": ("row", np.full(N, 2, dtype=np.int8)),
    }  # fmt: skip
    coords = {"time": ("row", time), "site_index": ("row", np.zeros(N, int)), "site_name": ("site", ["A"])}
    return xr.Dataset(variables, coords)


def test_mean_and_spread():
    members = [member(0), member(1, broken=[3]), member(2, broken=[5])]
    mean = ensemble(members)
    for name in ("LE", "stress", "closure_capacity"):
        values = np.stack([m[name].values for m in members])
        np.testing.assert_allclose(mean[name], values.mean(axis=0), rtol=1e-14)
        np.testing.assert_allclose(mean[f"{name}_spread"], values.std(axis=0, ddof=1), rtol=1e-12)
    np.testing.assert_allclose(mean["canopy_LE"], members[1]["canopy_LE"])  # 0, 1, 2 times the same
    assert "canopy_LE_spread" not in mean
    np.testing.assert_array_equal(np.flatnonzero(~mean["converged"].values), [3, 5])
    assert (mean["passes"] == 2.0).all() and mean.attrs["members"] == 3
    np.testing.assert_array_equal(mean["LE_observed"], members[0]["LE_observed"])


def test_independent_errors_average_out():
    """The mean of 16 members with independent errors has a 16th of their mean square error."""
    members = [member(seed) for seed in range(16)]
    mean = ensemble(members)
    scores = member_scores(members, mean)["LE"].xs(("A", "test"))
    lost = 1.0 - scores
    assert lost["ensemble"] == pytest.approx(lost["mean of members"] / 16.0, rel=0.25)
    assert scores["mean of members"] == pytest.approx(np.mean([scores[f"member {i}"] for i in range(16)]))
    assert mean["LE_spread"].values.mean() == pytest.approx(10.0, rel=0.1)


def test_other_half_hours_are_refused():
    later = member(1)
    later = later.assign_coords(time=later["time"] + np.timedelta64(1, "D"))
    with pytest.raises(ValueError, match="member 1 has other half-hours"):
        ensemble([member(0), later])
    with pytest.raises(ValueError, match="only one has closure_capacity"):
        ensemble([member(0), member(1).drop_vars("closure_capacity")])
    with pytest.raises(ValueError, match="at least two runs; got 1"):
        ensemble([member(0)])


def test_the_command(tmp_path, capsys):
    paths = [str(write_predictions(tmp_path / f"{i}.nc", member(i))) for i in range(3)]
    assert main(["ensemble", *paths, "--out", str(tmp_path / "together")]) == 0
    out = capsys.readouterr().out
    assert "ensemble" in out and "mean of members" in out
    back = read_predictions(tmp_path / "together/predictions.nc")
    assert back["converged"].dtype == bool and "LE_spread" in back and back.attrs["members"] == 3
    assert {p.name for p in (tmp_path / "together").iterdir()} == {
        "predictions.nc", "scores.csv", "members.csv", "intervals.csv", "report.png"
    }  # fmt: skip
    assert main(["ensemble", paths[0], "--out", str(tmp_path / "alone")]) == 2
    assert "at least two runs" in capsys.readouterr().err
