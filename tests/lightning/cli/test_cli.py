"""The command line: every shipped configuration from CSV files to the picture, and its refusals."""

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
import yaml
from PIL import Image

import canveg_jax as cv
from bridges import DeviceError
from canveg_jax.io import read_fluxes, read_tower
from canveg_jax.io.antecedents import ANTECEDENTS, with_antecedents
from canveg_jax.synthetic.canopy_towers import synthetic_sites, write_prepared_csv
from lightning_modules import HybridCanopy
from lightning_modules.cli import training
from lightning_modules.cli.main import main, use_threads
from lightning_modules.evaluation.predictions import read_predictions
from tests.lightning.towers import boring_tower

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"
QUICK = [
    "--trainer.max_epochs=2", "--trainer.limit_train_batches=2", "--data.max_train_rows=64", "--data.batch_size=32",
    "--data.block_days=1", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false",
]  # fmt: skip


@pytest.fixture(autouse=True)
def in_scratch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def csvs(tmp_path_factory) -> Path:
    """Small files under the names that the shipped configurations use."""
    folder = tmp_path_factory.mktemp("towers")
    for i, site in enumerate(synthetic_sites(n_layers=1)):
        write_prepared_csv(folder, site, boring_tower(days=6, seed=i, site=site, noise=True))
    for name, suffix in (("US-Bi1", ""), ("US-Hn1", "-nonegle")):
        (folder / name).mkdir()
        site = cv.Site.named(name, n_layers=1)
        for part, days, start in (("", 6, "2019-06-01"), ("-test", 2, "2019-07-01")):
            tower = boring_tower(days=days, seed=3 * len(part), start=start, site=site, noise=True)
            forcings, fluxes, _ = write_prepared_csv(folder, site, tower)
            forcings.rename(folder / name / f"{name}-forcings{part}.csv")
            fluxes.rename(folder / name / f"{name}-fluxes{suffix}{part}.csv")
    return folder


@pytest.fixture(scope="module")
def trained(csvs, tmp_path_factory) -> Path:
    """Run folder of `canveg fit` with examples/us_bi1.yaml, in one layer: its fifty compile for two minutes."""
    work = tmp_path_factory.mktemp("bi1")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(work)
        config, layers = str(EXAMPLES / "us_bi1.yaml"), "--data.site_options.n_layers=1"
        code = main(["fit", "--config", config, f"--data.folder={csvs}", layers, *QUICK])
    assert code == 0
    return work / "runs/us_bi1/version_0"


def picture_has_ink(path: Path) -> bool:
    pixels = np.asarray(Image.open(path).convert("L"))
    return min(pixels.shape) > 300 and 0.005 < (pixels < 200).mean() < 0.5


def test_fit_leaves_checkpoints_predictions_scores_and_picture(trained):
    assert (trained / "checkpoints/best.ckpt").is_file() and (trained / "checkpoints/last.ckpt").is_file()
    log = np.genfromtxt(trained / "metrics.csv", delimiter=",", names=True)
    assert "valloss" in log.dtype.names and np.isfinite(log["valloss"]).any()
    predictions = read_predictions(trained / "predictions.nc")
    assert set(np.unique(predictions["split"])) == {0, 1, 2}
    assert (np.diff(predictions["time"].values) > np.timedelta64(0, "ns")).all()
    assert predictions["NEE"].attrs["units"] == "umol m-2 s-1"
    assert predictions["converged"].dtype == bool and predictions["converged"].all()
    assert ((predictions["stress"] > 0) & (predictions["stress"] <= 1)).all()
    scores = (trained / "scores.csv").read_text()
    assert scores.splitlines()[0] == "site,part,flux,period,n,RMSE,NSE,KGE,bias,r"
    assert picture_has_ink(trained / "report.png")
    assert (trained / "intervals.csv").read_text().startswith("site,part,flux,period,n,coverage_90,width_90")
    # So short a record has too few half-hours to calibrate on: no bounds, and it is said.
    assert np.isnan(predictions["LE_lower_90"].values).all()
    assert "latent_heat by night" in predictions.attrs["intervals_left_out"]


def test_predictions_are_the_model_and_the_file(trained, csvs):
    predictions = read_predictions(trained / "predictions.nc")
    model = HybridCanopy.load_from_checkpoint(trained / "checkpoints/best.ckpt").eval()
    test = predictions.isel(row=predictions["split"].values == 2)
    files = [[csvs / f"US-Bi1/US-Bi1-{kind}{part}.csv" for kind in ("forcings", "fluxes")] for part in ("", "-test")]
    _, record = with_antecedents([read_tower(*pair, site=model.sites[0]) for pair in files])
    rows = np.searchsorted(record["time"].values, test["time"].values)[:8]
    names = [n for n in (*cv.FORCING_TABLE, *ANTECEDENTS) if n in record]
    forcing = {n: torch.tensor(record[n].values[rows], dtype=torch.float32) for n in names}
    with torch.no_grad():
        fluxes = model(forcing, torch.zeros(8, dtype=torch.int64))
    np.testing.assert_allclose(test["LE"].values[:8], fluxes["LE"].numpy(), atol=0.01)
    np.testing.assert_allclose(test["stress"].values[:8], fluxes["stress"].numpy(), rtol=1e-6)
    measured = record["latent_heat_measured"].values[rows]
    np.testing.assert_array_equal(test["LE_measured"].values[:8], measured)
    observed = record["latent_heat"].values[rows].astype(np.float32)
    np.testing.assert_array_equal(test["LE_observed"].values[:8][measured], observed[measured])


def test_test_and_predict_repeat_the_run_from_its_own_config_and_checkpoint(trained, csvs, capsys):
    config, checkpoint = str(trained / "config.yaml"), str(trained / "checkpoints/best.ckpt")
    assert main(["test", "--config", config, "--ckpt_path", checkpoint, "--trainer.logger=false"]) == 0
    assert "test/NSE_LE" in capsys.readouterr().out
    again = ["predict", "--config", config, "--ckpt_path", checkpoint, "--output.predictions=again/p.nc"]
    assert main([*again, "--trainer.logger=false"]) == 0
    assert "intervals: none, as the train and val part" in capsys.readouterr().out
    first, second = read_predictions(trained / "predictions.nc"), read_predictions("again/p.nc")
    first = first.isel(row=first["split"].values == 2)
    np.testing.assert_allclose(second["LE"], first["LE"], atol=1e-6)
    assert picture_has_ink(Path("again/report.png"))


@pytest.mark.slow
def test_finetune_moves_the_named_parts_alone_and_can_be_shared(trained, csvs, caplog):
    checkpoint = trained / "checkpoints/best.ckpt"
    assert main(["share", str(checkpoint), "shared"]) == 0
    mine = yaml.safe_load((EXAMPLES / "synthetic.yaml").read_text())
    del mine["model"]
    Path("mine.yaml").write_text(yaml.safe_dump(mine))
    config = ["--config", "mine.yaml", f"--data.folder={csvs}", *QUICK]
    with caplog.at_level("INFO", logger="lightning.pytorch"):
        assert main(["finetune", "--from", "shared", "--free", "kball", *config]) == 0
    assert "free: kball" in caplog.text
    run = Path("runs/synthetic/version_0")
    before, after = (HybridCanopy.from_pretrained(path) for path in (checkpoint, run / "checkpoints/best.ckpt"))
    here, there = before.state_dict(), after.state_dict()
    moved = {name for name in there if name in here and not torch.equal(here[name], there[name])}
    assert "physics.raw.kball" in moved
    assert moved <= {"physics.raw.kball", "target_sd", *(name for name in there if name.startswith("start_"))}
    assert after.statistics.inputs == before.statistics.inputs
    config = ["--config", str(run / "config.yaml"), "--ckpt_path", str(run / "checkpoints/best.ckpt")]
    assert main(["test", *config, "--trainer.logger=false"]) == 0
    assert main(["share", str(run / "checkpoints/best.ckpt"), "again"]) == 0
    assert "before, it was trained on US-Bi1; then these parts were free: kball" in Path("again/README.md").read_text()


def test_report_draws_again_and_prints_the_table(trained, capsys):
    predictions = str(trained / "predictions.nc")
    assert (
        main(["report", predictions, "--out", "all.png", "--table", "t.csv", "--part", "train", "--part", "test"]) == 0
    )
    assert picture_has_ink(Path("all.png")) and Path("t.csv").read_text() == (trained / "scores.csv").read_text()
    assert "NSE" in capsys.readouterr().out
    assert main(["report", predictions, "--out", "x.png", "--site", "US-Xx1"]) == 2
    assert "no site US-Xx1" in capsys.readouterr().err and not Path("x.png").exists()


@pytest.mark.parametrize(
    ("name", "more"), [("us_hn1", ("--members=2", "--residual.inputs=[environment]")), ("synthetic", ())]
)
def test_other_shipped_configurations_run(name, more, csvs):
    code = main(["fit", "--config", str(EXAMPLES / f"{name}.yaml"), f"--data.folder={csvs}", *QUICK, *more])
    assert code == 0
    run = Path("runs") / name / "version_0"
    predictions = read_predictions(run / "predictions.nc")
    towers = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())["data"]["towers"]
    assert predictions.sizes["site"] == len(towers)
    assert (np.diff(predictions["site_index"].values) >= 0).all()
    assert (run / "checkpoints/best.ckpt").is_file() and picture_has_ink(run / "report.png")
    if more:
        seen_again(run, predictions)


def seen_again(run, predictions):
    """The members differ, their average is beside the first, and `predict` finds the network on the residuals again."""
    other = read_predictions(run.with_name("version_1") / "predictions.nc")
    assert not np.array_equal(predictions["LE"], other["LE"])
    together = read_predictions(run / "ensemble/predictions.nc")
    np.testing.assert_allclose(together["LE"], (predictions["LE"] + other["LE"]) / 2.0, rtol=1e-6)
    assert "not physics" in together["LE_with_residual"].attrs["long_name"]
    config, checkpoint = str(run / "config.yaml"), str(run / "checkpoints/best.ckpt")
    assert main(["predict", "--config", config, "--ckpt_path", checkpoint, "--output.predictions=p.nc"]) == 0
    test, again = predictions.isel(row=predictions["split"].values == 2), read_predictions("p.nc")
    np.testing.assert_allclose(again["LE_with_residual"], test["LE_with_residual"], atol=1e-6)


def test_simulate_writes_what_the_canopy_computes(csvs, capsys):
    config = yaml.safe_load((EXAMPLES / "simulate.yaml").read_text()) | {"last": "2019-06-02"}
    Path("short.yaml").write_text(yaml.safe_dump(config))
    Path("f.nc").write_text("an older file")
    assert main(["simulate", "short.yaml", "--folder", str(csvs), "--out", "f.nc"]) == 0
    assert "96 half-hours" in capsys.readouterr().out
    fluxes = read_fluxes("f.nc")
    site = cv.Site.named("US-Bi1", n_layers=1)
    tower = read_tower(csvs / "US-Bi1/US-Bi1-forcings.csv", site=site).isel(time=slice(0, 96))
    canopy = cv.Canopy(site, cv.Parameters(kball=9.0), "soil_moisture")
    expected = canopy(cv.Forcing.from_dataset(tower))
    np.testing.assert_allclose(fluxes["LE"], expected.LE, rtol=1e-12)
    assert fluxes["LE"].attrs["standard_name"] == "surface_upward_latent_heat_flux"
    assert fluxes["converged"].all() and "kball: 9.0" in fluxes.attrs["configuration"]
    assert fluxes.attrs["site"] == "US-Bi1"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strees": None}, "strees"),
        ({"parameters": {"kbal": 9.0}}, "kbal"),
        ({"tower": {"site": "US-Bi1", "forcing": "x.csv"}}, "unknown key 'forcing'"),
        ({"tower": {"site": "US-Bi2", "forcings": "x.csv"}}, "Did you mean 'US-Bi1'?"),
        ({"tower": {"site": "US-Bi1", "forcings": "x.csv"}}, "does not exist"),
        ({"first": "2031-01-01"}, "no half-hour with complete forcing between 2031-01-01"),
        ({"solver": {"max_pass": 3}}, "unknown key 'max_pass'"),
    ],
)
def test_simulate_refuses_with_a_message(change, message, csvs, capsys):
    config = yaml.safe_load((EXAMPLES / "simulate.yaml").read_text()) | {"last": None} | change
    Path("c.yaml").write_text(yaml.safe_dump(config))
    assert main(["simulate", "c.yaml", "--folder", str(csvs), "--out", "f.nc"]) == 2
    assert message in capsys.readouterr().err and not Path("f.nc").exists()


def test_simulate_needs_the_folder_of_its_output(capsys):
    assert main(["simulate", str(EXAMPLES / "simulate.yaml"), "--out", "no/such/f.nc"]) == 2
    assert "no/such" in capsys.readouterr().err


def test_print_config_shows_all_settings(csvs, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", str(EXAMPLES / "us_bi1.yaml"), "--print_config"])
    assert stop.value.code in (0, None)
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["model"]["le_weight"] == 0.5 and shown["checkpoint"]["monitor"] == "val/loss"
    assert shown["early_stopping"]["patience"] == 14 and shown["output"]["after_fit"] is True


def test_towers_lists_every_preset(capsys):
    assert main(["towers"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in cv.SITES) and "121.49933" in shown


def test_without_a_command_the_help_is_shown(capsys):
    assert main([]) == 2
    shown = capsys.readouterr().err
    assert "canveg doctor FILE" in shown and "CANVEG_CACHE" in shown


def test_help_needs_no_heavy_import():
    probe = "import sys; from lightning_modules.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    probe += "print(sorted({'torch', 'jax', 'lightning', 'xarray'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"
    assert all(word in run.stdout for word in ("fit", "simulate", "CANVEG_CACHE"))


def test_threads_that_have_nothing_to_do_sleep(monkeypatch):
    """Before PyTorch is imported, unless the user has decided."""
    for chosen, expected in ((None, "PASSIVE"), ("ACTIVE", "ACTIVE")):
        monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
        if chosen:
            monkeypatch.setenv("OMP_WAIT_POLICY", chosen)
        use_threads()
        assert os.environ["OMP_WAIT_POLICY"] == expected
    code = (
        "import os, sys; from lightning_modules.cli.main import main; main(['towers']); print('torch' in sys.modules)"
    )
    lines = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines[-1] == "False"  # the module of the command line itself must not import it


def test_threads_must_be_a_number(monkeypatch):
    monkeypatch.setenv("CANVEG_THREADS", "many")
    with pytest.raises(SystemExit, match="CANVEG_THREADS"):
        main(["towers"])


def test_what_the_bridge_refuses_is_one_line(monkeypatch, capsys):
    def refuse(arguments):
        raise DeviceError("JAX has no backend for cuda:0.")

    monkeypatch.setattr(training, "run_training", refuse)
    assert main(["fit"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "canveg fit: JAX has no backend for cuda:0." and len(lines) == 2
    monkeypatch.setenv("CANVEG_TRACEBACK", "1")
    with pytest.raises(DeviceError):
        main(["fit"])


def test_report_refuses_other_files(trained, tmp_path, capsys):
    xr.Dataset({"LE": ("time", [1.0])}).to_netcdf("other.nc", engine="h5netcdf")
    assert main(["report", "other.nc", "--out", "x.png"]) == 2
    assert "no predictions file" in capsys.readouterr().err
    shutil.copy(EXAMPLES / "us_bi1.yaml", "text.nc")
    assert main(["report", "text.nc", "--out", "x.png"]) == 2
    assert main(["report", "absent.nc", "--out", "x.png"]) == 2


SLOW_EXAMPLES = [
    pytest.param("network_in_the_loop", 6, marks=pytest.mark.slow), pytest.param("recurrent_closures", 1, marks=pytest.mark.slow)
]  # fmt: skip


@pytest.mark.parametrize(("example", "steps_or_epochs"), [("embed_in_torch", 6), *SLOW_EXAMPLES])
def test_the_plain_torch_examples_learn(example, steps_or_epochs, monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    losses = importlib.import_module(example).main(steps_or_epochs)
    assert all(np.isfinite(losses)) and losses[-1] < losses[0]
