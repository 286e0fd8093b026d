"""What a user can mend is said in one line; defects show where they were raised."""

import errno
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException

import canveg_jax as cv
from canveg_jax.synthetic.canopy_towers import write_prepared_csv
from lightning_modules import HybridCanopy
from lightning_modules.cli import main as front
from lightning_modules.cli import training
from lightning_modules.cli.accelerator import Sight, choose_accelerator
from lightning_modules.cli.main import main
from lightning_modules.cli.mistakes import explained
from lightning_modules.cli.readiness import require_place
from lightning_modules.evaluation.predictions import read_predictions
from tests.lightning.towers import boring_tower

EXAMPLES = Path(__file__).parents[3] / "examples"
QUICK = [
    "--trainer.max_epochs=3", "--data.max_train_rows=64", "--data.batch_size=32", "--data.block_days=1",
    "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false",
]  # fmt: skip


@pytest.fixture(autouse=True)
def in_scratch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def fit(tmp_path_factory) -> list[str]:
    """Arguments of a small training at a tower with one layer."""
    folder = tmp_path_factory.mktemp("towers")
    site = cv.Site.named("US-Hn1", n_layers=1)
    (folder / "US-Hn1").mkdir()
    for part, days, start in (("", 6, "2019-06-01"), ("-test", 1, "2019-07-01")):
        paths = write_prepared_csv(folder, site, boring_tower(days=days, start=start, site=site, noise=True))
        for path, name in zip(paths, (f"forcings{part}", f"fluxes-nonegle{part}"), strict=False):
            path.rename(folder / "US-Hn1" / f"US-Hn1-{name}.csv")
    return ["fit", "--config", str(EXAMPLES / "us_hn1.yaml"), f"--data.folder={folder}", *QUICK]


def lines_of(capsys, arguments) -> list[str]:
    """What a refused command says; its code is 2 and there is no traceback."""
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = stop.code
    text = capsys.readouterr().err
    assert code == 2 and "Traceback" not in text, text
    return text.splitlines()


def test_output_that_nobody_reads_ends_the_command_in_silence():
    command = [sys.executable, "-c", "from lightning_modules.cli.main import main; raise SystemExit(main())", "towers"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        running.stdout.close()
        assert (running.stderr.read(), running.wait()) == ("", 141)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--trainer.accelerator=gpu"], "neither PyTorch nor JAX sees a GPU"),
        (["--trainer.accelerator=tpu"], "tpu is not supported; use auto, cpu or gpu"),
        (["--trainer.strategy=ddp_spawn"], "ddp_spawn is not supported. Use ddp"),
        (["--trainer.strategy=fsdp"], "fsdp is not supported. Use ddp"),
        (["--trainer.devices=2"], "call canveg from the command line"),
        (["--trainer.devices=-1"], "devices"),
        (["--trainer.barebones=true"], "barebones"),
        (["--trainer.val_check_interval=7", "--trainer.limit_val_batches=0.5"], "val_check_interval"),
        (["--trainer.precision=bf16-true"], "bf16-true would round the physics"),
        (["--trainer.precision=64-true", "--data.dtype=float32"], "contradicts data.dtype float32"),
        (["--trainer.logger.init_args.save_dir=/proc/none"], "cannot write /proc/none/us_hn1/version_0/predictions.nc"),
        (["--output.scores=/proc/none/scores.csv"], "cannot write /proc/none/scores.csv"),
        (["--ckpt_path=nowhere.ckpt"], "ckpt_path: nowhere.ckpt does not exist"),
        (["--ckpt_path=" + str(EXAMPLES / "us_hn1.yaml")], "is no checkpoint that can be read"),
        (["--data.block_days=3"], "validation part is empty: 6 days of data, block_days=3"),
        (["--early_stopping.monitor=val/los"], "val/los is not logged by this run"),
        (["--model.stress={module: network, hiden: [4]}"], "Did you mean 'hidden'?"),
        (["--model.solver={max_pass: 4}"], "Did you mean 'max_passes'?"),
        (["--model.tunable=[kbal]"], "Did you mean 'kball'"),
        (["--model.stress={module: in_loop, inputs: [leaf_vdp]}"], "Did you mean 'leaf_vpd'?"),
        (["--data.folder=nowhere"], "does not exist"),
        (["--model.netwrk_lr=1"], "Did you mean 'model.network_lr'?"),
        (["--trainer.max_epohcs=1"], "Did you mean 'trainer.max_epochs'?"),
        (["--config=nowhere.yaml"], "File does not exist"),
        (["--data.towers=[]"], "data.towers names no tower"),
        (["--model.network_lr=fast"], 'Parser key "model.network_lr"'),
        (["--output.intervals=[90]"], "a level is a share between 0 and 1, such as 0.9; got 90"),
        (["--output.calibrate_on=[test]"], "so they cannot be calibrated on it"),
        (["--data.val_every=0"], "there is nothing to calibrate on"),
        (["--model.likelihood=gaussian", "--model.loss=huber"], "leave model.loss out"),
    ],
)
def test_a_mistake_is_said_in_one_line(fit, arguments, message, capsys, monkeypatch):
    if "early_stopping" in arguments[0]:  # found out after an epoch, which need not be computed
        monkeypatch.setattr(HybridCanopy, "training_step", lambda self, batch, i: self.prior())
        monkeypatch.setattr(HybridCanopy, "validation_step", lambda self, batch, i: None)
        for hook in ("on_validation_epoch_end", "on_train_epoch_end"):
            monkeypatch.setattr(HybridCanopy, hook, lambda self: None)
    lines = lines_of(capsys, [*fit, *arguments])
    said = [line for line in lines if message in line]
    assert len(said) == 1, lines
    assert len([line for line in lines if line.startswith("canveg fit: ")]) <= 1


def test_results_of_an_earlier_run_are_not_replaced(fit, capsys):
    Path("mine").mkdir()
    Path("mine/config.yaml").write_text("mine")
    lines = lines_of(capsys, [*fit, "--trainer.logger=false", "--trainer.default_root_dir=mine"])
    assert any("mine/config.yaml is of an earlier run. Choose another folder" in line for line in lines)
    assert Path("mine/config.yaml").read_text() == "mine"


@pytest.mark.slow
def test_without_logger_and_checkpoints_a_run_still_has_its_folder(fit, capsys):
    assert main([*fit, "--trainer.logger=false", "--trainer.enable_checkpointing=false", "--trainer.max_epochs=1"]) == 0
    shown = capsys.readouterr().out
    assert "no checkpoint: what follows is of the last epoch's weights" in shown
    found = {str(path) for path in Path(".").rglob("*") if path.is_file()}
    names = ("config.yaml", "predictions.nc", "report.png", "scores.csv")
    assert found == {f"runs/canveg/version_0/{name}" for name in names}
    assert np.isfinite(read_predictions("runs/canveg/version_0/predictions.nc")["LE"]).all()

    Path("r.png").write_text("mine")  # and now the disk is full, to this process
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, before[1]))
    try:
        lines = lines_of(capsys, ["report", "runs/canveg/version_0/predictions.nc", "--out", "r.png"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "File too large" in lines[0] and lines[0].endswith("raise the limit, or write elsewhere."), lines
    assert Path("r.png").read_text() == "mine" and [path.name for path in Path(".").glob("*")].count("r.png") == 1


def test_an_interrupted_training_says_how_to_go_on_and_does(fit, capsys, monkeypatch):
    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:

        def interrupt(self, batch, batch_idx):
            if self.current_epoch == 1 and batch_idx == 1:
                signal.raise_signal(signal.SIGINT)

        patch.setattr(HybridCanopy, "on_train_batch_start", interrupt)
        assert main([*fit, "--output.after_fit=false"]) == 130
    signal.signal(signal.SIGINT, before)
    said = capsys.readouterr().err.splitlines()[-1]
    checkpoint = "runs/us_hn1/version_0/checkpoints/last.ckpt"
    assert said.startswith("canveg fit: interrupted; fit with --ckpt_path ") and checkpoint in said
    assert torch.load(checkpoint, weights_only=True)["epoch"] == 1  # whose last step is the one of the interrupt
    again = [*fit, "--ckpt_path", "last", "--output.after_fit=false"]
    assert main(again) == 0
    last = torch.load("runs/us_hn1/version_1/checkpoints/last.ckpt", weights_only=True)
    assert last["epoch"] == 2 and last["global_step"] == 6


def test_what_is_needed_at_the_end_is_asked_for_at_the_start(fit, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5netcdf", None)
    for arguments in (fit, ["simulate", "absent.yaml", "--out", "f.nc"], ["report", "absent.nc", "--out", "r.png"]):
        lines = lines_of(capsys, arguments)
        assert lines[0].endswith("Install it: pip install h5netcdf"), lines


@pytest.mark.parametrize("error", [TypeError("operand"), RuntimeError("shapes"), AttributeError("x"), AssertionError()])
def test_a_defect_shows_where_it_was_raised(error, monkeypatch, capsys):
    def fail(arguments):
        raise error

    monkeypatch.setattr(training, "run_training", fail)
    with pytest.raises(type(error)):
        main(["fit"])


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MisconfigurationException("no such\n backend"), "no such backend"),
        (RuntimeError("[enforce fail] PytorchStreamWriter failed writing file data/0"), "Is the disk full?"),
        (RuntimeError("Error(s) in loading state_dict for HybridCanopy:\n Missing"), "belongs to another model"),
        (OSError(errno.ENOSPC, "No space left on device", "a.nc"), "The disk is full: free some space"),
        (PermissionError(errno.EACCES, "Permission denied", "a.nc"), "choose another folder"),
        (ModuleNotFoundError("No module named 'tensorboard'"), "tensorboard"),
    ],
)
def test_errors_of_other_packages_are_explained(error, line, monkeypatch, capsys):
    assert line in explained(error)

    def fail(arguments):
        raise error

    monkeypatch.setattr(training, "run_training", fail)
    assert len(lines_of(capsys, ["fit"])) == 2
    monkeypatch.setenv("LOCAL_RANK", "1")  # another process of a distributed run: silent, if the first ends, too
    for ends, said in ((True, 0), (False, 2)):
        monkeypatch.setattr(front, "_ends", lambda parent, ends=ends: ends)
        assert len(lines_of(capsys, ["fit"])) == said


def test_fields_of_a_record_are_named_without_the_pages_of_pydantic():
    with pytest.raises(ValueError) as caught:
        cv.Site.model_validate(
            {"name": "X", "latitude": "far", "longitude": 0.0, "utc_offset": 0.0, "canopy_height": 1.0}
        )
    said = explained(caught.value)
    assert said is not None and "\n" not in said and "errors.pydantic.dev" not in said
    assert said.startswith("Site: ") and "latitude: " in said and "(got 'far')" in said
    assert "measurement_height: Field required" in said


def test_a_place_that_takes_no_files(tmp_path):
    require_place(tmp_path / "new/folder/a.nc")
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="file is no folder"):
        require_place(tmp_path / "file/a.nc")


@pytest.mark.parametrize(
    ("asked", "sight", "chosen", "notice"),
    [
        ("auto", Sight("A", "A"), "gpu", None),
        ("auto", Sight(None, None), "cpu", None),
        ("auto", Sight("A", None), "cpu", "PyTorch sees a GPU (A), JAX sees none: pip install"),
        ("auto", Sight(None, "B"), "cpu", "JAX sees a GPU (B), PyTorch sees none: a CUDA build"),
        ("cpu", Sight("A", None), "cpu", None),
        ("gpu", Sight("A", "A"), "gpu", None),
    ],
)
def test_the_accelerator_is_one_that_both_see(asked, sight, chosen, notice):
    accelerator, said = choose_accelerator(asked, sight)
    assert accelerator == chosen
    assert (said is None) if notice is None else notice in said


def test_an_accelerator_that_one_does_not_see_is_refused():
    with pytest.raises(ValueError, match="PyTorch sees a GPU .A., JAX sees none: pip install .*; or use cpu or auto"):
        choose_accelerator("gpu", Sight("A", None))
    with pytest.raises(ValueError, match="JAX sees a GPU"):
        choose_accelerator("cuda", Sight(None, "B"))


def test_the_command_says_that_it_trains_on_the_cpu(fit, capsys, monkeypatch, caplog):
    monkeypatch.setattr(training, "look", lambda: Sight("A100", None))
    with caplog.at_level("INFO", logger="lightning.pytorch"):
        main([*fit, "--trainer.fast_dev_run=true", "--output.after_fit=false"])
    assert "PyTorch sees a GPU (A100), JAX sees none" in caplog.text + capsys.readouterr().err
    assert not Path("runs").exists()


def test_a_short_demo_is_refused_before_anything_is_computed(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import demo

    monkeypatch.setattr(sys, "argv", ["demo.py", "--days", "10", "--out", str(tmp_path)])
    monkeypatch.setattr(demo, "synthetic_towers", lambda *_, **__: pytest.fail("it began to compute"))
    with pytest.raises(SystemExit, match=r"demo.py: --days 10 is too short: .*begins after 10 days"):
        demo.main()
