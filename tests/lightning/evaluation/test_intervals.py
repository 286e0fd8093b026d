"""Prediction intervals: coverage, what they are calibrated on, scores against other implementations, files and command."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scores.probability import crps_for_ensemble

from lightning_modules.cli.main import main
from lightning_modules.evaluation.ensemble import ensemble, with_member_crps, write_ensemble
from lightning_modules.evaluation.interval_table import interval_table
from lightning_modules.evaluation.intervals import (
    FEWEST,
    calibrated_errors,
    crps_of_errors,
    levels_of,
    with_intervals,
    without_intervals,
)
from lightning_modules.evaluation.predictions import read_predictions, write_predictions
from lightning_modules.evaluation.report import report_figure

N = 48 * 120


def predictions(seed=0, *, bias=0.0, error=lambda flux: 5.0 + 0.1 * np.abs(flux), sites=("A",), night=0.3):
    """Independent errors of a known size; the first 40 days of every site train, 40 validate, 40 test."""
    rng = np.random.default_rng(seed)
    n = N * len(sites)
    step = np.arange(n) % N
    time = np.datetime64("2020-03-01", "ns") + step * np.timedelta64(30, "m")
    sun = np.maximum(0.0, np.sin((step / 48.0 - 0.25) * 2.0 * np.pi))
    modelled = 300.0 * sun * rng.uniform(0.3, 1.0, n)
    size = error(modelled) * np.where(sun > 0.0, 1.0, night)
    attrs = {"units": "W m-2", "long_name": "latent heat flux"}
    variables = {
        "LE": ("row", modelled, attrs), "LE_observed": ("row", modelled + bias + size * rng.standard_normal(n), attrs),
        "LE_measured": ("row", rng.random(n) < 0.9), "converged": ("row", rng.random(n) < 0.98),
        "stress": ("row", np.ones(n)), "shortwave_in": ("row", 900.0 * sun),
        "soil_water_content": ("row", np.full(n, 0.2)), "split": ("row", (step * 3 // N).astype(np.int8)),
    }  # fmt: skip
    site = np.repeat(np.arange(len(sites)), N)
    return xr.Dataset(
        variables, {"time": ("row", time), "site_index": ("row", site), "site_name": ("site", list(sites))}
    )


def test_seasons_are_those_of_the_calendar():
    data = with_intervals(predictions())
    table = interval_table(data).xs(("A", "test", "LE"), level=("site", "part", "flux"))
    month = pd.DatetimeIndex(data["time"].values).month
    scored = (data["split"].values == 2) & np.isfinite(data["LE_pit"].values)
    for season, months in {
        "Dec-Feb": (12, 1, 2),
        "Mar-May": (3, 4, 5),
        "Jun-Aug": (6, 7, 8),
        "Sep-Nov": (9, 10, 11),
    }.items():
        assert table.loc[season, "n"] == (scored & month.isin(months)).sum()
    assert table.loc["Mar-May", "n"] > 300 and table.loc["Jun-Aug", "n"] > 300


def test_independent_errors_are_covered_by_day_and_night_with_the_width_of_their_size():
    table = interval_table(with_intervals(predictions(bias=20.0), [0.5, 0.9]))
    table = table.xs(("A", "test", "LE"), level=("site", "part", "flux"))
    for period in ("all", "day", "night"):
        row = table.loc[period]
        assert row["n"] > 700
        assert row["coverage_90"] == pytest.approx(0.9, abs=0.03) and row["coverage_50"] == pytest.approx(
            0.5, abs=0.045
        )
    data = predictions(bias=20.0)
    sunny = (data["shortwave_in"].values > 0.0) & (data["split"].values == 2)
    size = (5.0 + 0.1 * data["LE"].values)[sunny].mean()
    assert table.loc["day", "width_90"] == pytest.approx(2.0 * 1.645 * size, rel=0.06)
    assert table.loc["day", "width_90"] > 5.0 * table.loc["night", "width_90"]
    tenths = table.loc["all", [f"pit_{i}" for i in range(1, 11)]]
    assert tenths.sum() == pytest.approx(1.0) and np.allclose(tenths, 0.1, atol=0.03)


def test_width_follows_the_flux():
    result = with_intervals(predictions()).isel(row=slice(0, N))
    width = (result["LE_upper_90"] - result["LE_lower_90"]).values
    day = (result["shortwave_in"].values > 0.0) & np.isfinite(width)
    slope, offset = np.polyfit(result["LE"].values[day], width[day], 1)
    assert slope / offset == pytest.approx(0.1 / 5.0, rel=0.35)


@pytest.mark.parametrize("calibrate_on", [("val",), ("train", "val")])
def test_test_half_hours_have_no_influence(calibrate_on):
    data = predictions()
    changed = data.copy(deep=True)
    last = changed["split"].values == 2
    changed["LE_observed"].values[last] = 1e6
    changed["LE_measured"].values[last] = True
    first, second = (with_intervals(d, [0.9], calibrate_on) for d in (data, changed))
    for name in ("LE_lower_90", "LE_upper_90"):
        np.testing.assert_array_equal(first[name], second[name])
    row = np.flatnonzero((data["split"].values == 1) & data["LE_measured"].values & data["converged"].values)[0]
    changed["LE_observed"].values[row] += 1e5
    assert not np.array_equal(
        with_intervals(changed, [0.9], calibrate_on)["LE_upper_90"], first["LE_upper_90"], equal_nan=True
    )


def test_masked_and_unconverged_half_hours_have_no_influence_and_the_latter_no_interval():
    data = predictions()
    spoilt = data.copy(deep=True)
    out = ~(data["LE_measured"].values & data["converged"].values)
    spoilt["LE_observed"].values[out] = np.nan
    failed = ~data["converged"].values
    spoilt["LE"].values[failed] = np.nan
    first, second = with_intervals(data), with_intervals(spoilt)
    np.testing.assert_array_equal(first["LE_lower_90"], second["LE_lower_90"])
    assert (
        np.isnan(first["LE_lower_90"].values[failed]).all() and np.isfinite(first["LE_lower_90"].values[~failed]).all()
    )
    assert np.isnan(first["LE_pit"].values[out]).all()


def test_sites_have_their_own():
    both = predictions(sites=("A", "B"))
    b = both["site_index"].values == 1
    both["LE_observed"].values[b] += 2.0 * (both["LE_observed"] - both["LE"]).values[b]
    alone = with_intervals(both.isel(row=~b))
    together = with_intervals(both)
    np.testing.assert_array_equal(together["LE_upper_90"].values[~b], alone["LE_upper_90"].values)
    table = interval_table(together).xs(("test", "LE", "day"), level=("part", "flux", "period"))
    assert table.loc["B", "width_90"] > 2.5 * table.loc["A", "width_90"]
    assert table["coverage_90"].to_numpy() == pytest.approx(0.9, abs=0.03)


def test_a_group_with_too_few_half_hours_is_named():
    data = predictions()
    night = (data["shortwave_in"].values == 0.0) & (data["split"].values == 1)
    data["LE_measured"].values[np.flatnonzero(night)[FEWEST // 2 :]] = False
    result = with_intervals(data)
    assert (
        "A latent_heat by night" in result.attrs["intervals_left_out"]
        and "100 are needed" in result.attrs["intervals_left_out"]
    )
    dark = data["shortwave_in"].values == 0.0
    assert np.isnan(result["LE_lower_90"].values[dark]).all() and np.isfinite(result["LE_lower_90"].values[~dark]).any()
    assert interval_table(result).loc[("A", "test", "LE", "night"), "n"] == 0


def test_a_level_beyond_the_errors_is_without_bounds():
    """Of 2,000 errors none says what only one in ten thousand exceeds."""
    result = with_intervals(predictions(), [0.9999])
    seen = result["converged"].values
    assert np.isinf(result["LE_lower_99_99"].values[seen]).all()


def test_crps_is_that_of_the_errors_as_members():
    rng = np.random.default_rng(0)
    errors, z = np.sort(rng.standard_t(4, 150)), rng.standard_normal(40) * 2.0
    members = xr.DataArray(np.broadcast_to(errors, (40, 150)), dims=("row", "member"))
    expected = crps_for_ensemble(members, xr.DataArray(z, dims="row"), "member", preserve_dims="row")
    np.testing.assert_allclose(crps_of_errors(errors, z), expected.values, rtol=1e-10)


def test_interval_score_and_pit_by_hand():
    result = with_intervals(predictions(3))
    row = interval_table(result).loc[("A", "val", "LE", "day")]
    used = (result["split"].values == 1) & (result["shortwave_in"].values > 0.0)
    used &= result["LE_measured"].values & result["converged"].values
    low, high, seen, modelled = (result[f"LE{k}"].values[used] for k in ("_lower_90", "_upper_90", "_observed", ""))
    score = (
        np.where(seen < low, 20.0 * (low - seen), 0.0) + np.where(seen > high, 20.0 * (seen - high), 0.0) + high - low
    )
    assert row["score_90"] == pytest.approx(score.mean()) and row["n"] == used.sum()
    errors = calibrated_errors(modelled, seen)
    z = (seen - modelled) / errors.scale(modelled)
    rank = np.argsort(np.argsort(z))
    np.testing.assert_allclose(result["LE_pit"].values[used], (rank + 0.5) / (len(z) + 1), atol=1e-12)


@pytest.mark.parametrize(
    ("levels", "parts", "message"),
    [
        ([90], ["val"], "between 0 and 1"), ([0.9], ["test"], "cannot be calibrated on"), ([0.9], ["vla"], "val"),
        ([0.9], [], "name the"),
    ],
)  # fmt: skip
def test_what_cannot_be_right_is_refused(levels, parts, message):
    with pytest.raises(ValueError, match=message):
        with_intervals(predictions(), levels, parts)


def test_predictions_without_the_part_are_refused():
    data = predictions()
    with pytest.raises(ValueError, match="data.predict_part: all"):
        with_intervals(data.isel(row=data["split"].values == 2))
    with pytest.raises(ValueError, match="canveg intervals"):
        interval_table(data)


def test_file_attributes_and_removal(tmp_path):
    result = with_intervals(predictions(), [0.5, 0.9], ("train", "val"))
    back = read_predictions(write_predictions(tmp_path / "p.nc", result))
    assert levels_of(back) == [0.5, 0.9]
    bound = back["LE_upper_90"].attrs
    assert bound["units"] == "W m-2" and bound["coverage"] == 0.9 and bound["calibrated_on"] == "train val"
    assert "standard_name" not in bound and "90 % prediction interval" in bound["long_name"]
    assert back["LE"].attrs["ancillary_variables"].split() == [
        "LE_lower_50",
        "LE_upper_50",
        "LE_lower_90",
        "LE_upper_90",
    ]
    xr.testing.assert_identical(without_intervals(result), predictions())
    again = with_intervals(back, [0.9], ("train", "val"))
    assert "LE_upper_50" not in again
    np.testing.assert_array_equal(again["LE_upper_90"], result["LE_upper_90"])


def test_picture_has_the_panels():
    figure = report_figure(with_intervals(predictions()))
    titles = [axes.get_title(loc="left") for axes in figure.subfigs[0].axes]
    assert "LE, PIT" in titles and "LE, inside the 90 % interval" in titles
    plain = [axes.get_title(loc="left") for axes in report_figure(predictions()).subfigs[0].axes]
    assert not any("PIT" in title for title in plain)


def test_the_command(tmp_path, capsys):
    path = str(write_predictions(tmp_path / "p.nc", predictions()))
    assert (
        main(["intervals", path, "--out", str(tmp_path / "o"), "--calibrate-on", "train", "--calibrate-on", "val"]) == 0
    )
    assert "coverage_90" in capsys.readouterr().out
    assert {p.name for p in (tmp_path / "o").iterdir()} == {"predictions.nc", "intervals.csv", "report.png"}
    table = pd.read_csv(tmp_path / "o/intervals.csv", index_col=[0, 1, 2, 3])
    assert table.loc[("A", "test", "LE", "all"), "coverage_90"] == pytest.approx(0.9, abs=0.02)
    assert main(["intervals", path, "--out", str(tmp_path / "x"), "--calibrate-on", "test"]) == 2
    assert "judged by" in capsys.readouterr().err and not (tmp_path / "x").exists()


def test_an_ensemble_makes_its_own(tmp_path):
    rng = np.random.default_rng(5)
    members = []
    for _ in range(3):
        member = predictions()
        member["LE"] = member["LE"] + rng.standard_normal(N)
        members.append(member)
    paths = [write_predictions(tmp_path / f"{i}.nc", with_intervals(m, [0.8])) for i, m in enumerate(members)]
    write_ensemble(paths, tmp_path / "e")
    mean = read_predictions(tmp_path / "e/predictions.nc")
    expected = with_intervals(ensemble(members), [0.8])
    np.testing.assert_allclose(mean["LE_upper_80"], expected["LE_upper_80"])
    table = pd.read_csv(tmp_path / "e/intervals.csv", index_col=[0, 1, 2, 3])
    row = table.loc[("A", "test", "LE", "all")]
    assert row["CRPS"] < row["CRPS_members"]  # three members know nothing of the measurement's own error


def test_crps_of_members_by_hand():
    members = [predictions() for _ in range(2)]
    members[1]["LE"] = members[1]["LE"] + 4.0
    crps = with_member_crps(ensemble(members), members)["LE_crps_members"].values
    known = members[0]["LE_measured"].values & members[0]["converged"].values
    seen, a = members[0]["LE_observed"].values[known], members[0]["LE"].values[known]
    by_hand = 0.5 * (np.abs(seen - a) + np.abs(seen - a - 4.0)) - 0.5 * 4.0
    np.testing.assert_allclose(crps[known], by_hand, atol=1e-9)
    assert np.isnan(crps[~known]).all()
