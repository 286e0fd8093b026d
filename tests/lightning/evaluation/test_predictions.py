"""Predictions file, table of scores and picture, around an analytic canopy."""

import lightning as L
import numpy as np
import pytest
import torch
import xarray as xr

import canveg_jax as cv
from lightning_modules import FluxTowerDataModule, HybridCanopy
from lightning_modules.evaluation.predictions import predictions_dataset, read_predictions, write_predictions
from lightning_modules.evaluation.report import report_figure, save_figure
from lightning_modules.evaluation.score_table import score_table, table_text, write_table
from tests.lightning.towers import SITE, BoringCanopy, boring_tower

OTHER = cv.Site(**{**SITE.model_dump(), "name": "Other"})


@pytest.fixture(scope="module")
def data():
    records = [boring_tower(days=30, seed=1, noise=True), boring_tower(days=12, seed=2, site=OTHER, start="2018-06-01")]
    return FluxTowerDataModule(
        datasets=list(zip([SITE, OTHER], records, strict=True)), predict_part="all", test_fraction=0.25, block_days=2,
        batch_size=100,
    )  # fmt: skip


@pytest.fixture(scope="module")
def predictions(data):
    torch.manual_seed(0)
    model = HybridCanopy([SITE, OTHER], physics=BoringCanopy(broken_above=700.0))
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False)
    with pytest.warns(cv.NotConvergedWarning):
        outputs = trainer.predict(model, datamodule=data)
    return predictions_dataset(outputs, data)


def test_rows_are_in_time_order_site_by_site_and_belong_to_their_half_hours(predictions, data):
    site, time = predictions["site_index"].values, predictions["time"].values
    assert list(predictions["site_name"].values) == ["US-Bi1", "Other"]
    assert (np.diff(site) >= 0).all()
    for i, record in enumerate(data.records["train"]):
        here = site == i
        assert (np.diff(time[here]) > np.timedelta64(0, "ns")).all() and here.sum() == record.sizes["time"]
        there = record.sel(time=time[here])
        np.testing.assert_array_equal(predictions["shortwave_in"].values[here], there["shortwave_in"].values)
        np.testing.assert_array_equal(predictions["stress_true"].values[here], there["stress_true"].values)
        np.testing.assert_array_equal(predictions["NEE_measured"].values[here], there["nee_measured"].values)
        expected = np.where(there["nee_measured"], there["nee"], np.nan)
        np.testing.assert_array_equal(predictions["NEE_observed"].values[here], expected)


def test_modelled_fluxes_and_flags_belong_to_their_rows(predictions):
    shortwave, converged = predictions["shortwave_in"].values, predictions["converged"].values
    np.testing.assert_array_equal(converged, shortwave <= 700.0)
    latent = 0.08 * 8.17 * predictions["stress"].values * 0.8 * shortwave
    np.testing.assert_allclose(predictions["LE"].values[converged], latent[converged], rtol=1e-12, atol=1e-12)
    for i, part in enumerate(("train", "val", "test")):
        assert (predictions["split"].values == i).any(), part


def test_file_comes_back_as_it_was(predictions, tmp_path):
    path = write_predictions(tmp_path / "p.nc", predictions, {"experiment": "x"})
    again = read_predictions(path)
    xr.testing.assert_equal(again, predictions)
    assert again["converged"].dtype == bool and again.attrs["experiment"] == "x"
    assert again["LE_observed"].attrs["units"] == "W m-2" and again.attrs["featureType"] == "timeSeries"


def test_scores_are_the_formulas_over_measured_converged_half_hours(predictions):
    table = score_table(predictions)
    chosen = (predictions["site_index"].values == 0) & (predictions["split"].values == 2)
    used = chosen & predictions["LE_measured"].values & predictions["converged"].values
    used &= predictions["shortwave_in"].values > 0
    observed, modelled = predictions["LE_observed"].values[used], predictions["LE"].values[used]
    row = table.loc[("US-Bi1", "test", "LE", "day")]
    mse = np.mean((modelled - observed) ** 2)
    assert row["n"] == used.sum() > 50
    np.testing.assert_allclose(row["RMSE"], mse**0.5, rtol=1e-9)
    np.testing.assert_allclose(row["NSE"], 1 - mse / observed.var(), rtol=1e-6)
    np.testing.assert_allclose(row["bias"], np.mean(modelled - observed), rtol=1e-9)
    np.testing.assert_allclose(row["r"], np.corrcoef(modelled, observed)[0, 1], rtol=1e-6)
    both = table.xs(("US-Bi1", "test", "LE"), level=("site", "part", "flux"))["n"]
    assert both["all"] == both["day"] + both["night"]


def test_kge_is_left_out_where_means_are_near_zero(predictions):
    table = score_table(predictions)
    assert table.xs("NEE", level="flux")["KGE"].isna().all() and table.xs("LE", level="flux")["KGE"].notna().any()
    assert "nan" not in table_text(table).lower()


def test_tables_and_pictures_are_written_whole(predictions, tmp_path):
    write_table(tmp_path / "t.csv", score_table(predictions))
    figure = report_figure(predictions, parts=("train", "val", "test"))
    for name in ("r.png", "r.pdf"):
        assert save_figure(figure, tmp_path / name, dpi=40).stat().st_size > 10_000
    (tmp_path / "r.xyz").write_text("mine")
    with pytest.raises(ValueError, match="xyz"):
        save_figure(figure, tmp_path / "r.xyz")
    assert (tmp_path / "r.xyz").read_text() == "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.pdf", "r.png", "r.xyz", "t.csv"]


def test_picture_shows_what_is_asked(predictions):
    def titles(figure):
        return [axes.get_title(loc="left") for sub in figure.subfigs for axes in sub.axes]

    long = titles(report_figure(predictions, parts=("train", "val"), sites=["US-Bi1"]))
    short = titles(report_figure(predictions, sites=["Other"]))
    assert "LE, daily means" in long and "LE, daily means" not in short
    assert short.count("stomatal stress by day") == 1
    figure = report_figure(predictions, sites=["Other"])
    stress = next(a for a in figure.subfigs[0].axes if a.get_title(loc="left") == "stomatal stress by day")
    assert {text.get_text() for text in stress.get_legend().get_texts()} == {"learned", "known"}
    with pytest.raises(ValueError, match="no part tets"):
        report_figure(predictions, parts=("tets",))


def test_outputs_of_the_wrong_parts_are_refused(data):
    with pytest.raises(ValueError, match="Run predict again"):
        predictions_dataset([], data)
