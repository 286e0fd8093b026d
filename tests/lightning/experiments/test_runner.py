"""Whole comparisons of invented towers: from files to the verdict, resumed, killed, in several processes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

pytest.importorskip("sklearn", reason="needs the extra `experiments`")

from lightning_modules.cli.main import main
from lightning_modules.experiments.plan import Plan
from lightning_modules.experiments.runner import execute_all
from tests.lightning.experiments.files import BENCHMARKS, write_plan, write_tower
from tests.lightning.experiments.test_page import Reader

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tower(tmp_path_factory.mktemp("towers")).parent


@pytest.fixture(scope="module")
def compared(folder):
    """The folder of a comparison of two benchmarks and a small network."""
    rows = {"climatology": None, "1lin": None, "network": {"settings": {"hidden": [8]}}}
    splits = ["time", {"kind": "weeks", "weeks": [1, 2]}]
    plan = write_plan(
        folder, rows=rows, splits=splits, seeds=[0, 1], claim={"row": "network"}, out=str(folder / "whole")
    )
    assert main(["compare", str(plan)]) == 0
    kept = yaml.safe_load(plan.read_text()) | {"base": str(folder / "base.yaml")}
    (folder / "whole/plan.yaml").write_text(yaml.safe_dump(kept, sort_keys=False))
    return folder / "whole"


def results(out: Path) -> dict[str, int]:
    """Time at which each result was written, by run."""
    return {
        str(path.parent.relative_to(out / "runs")): path.stat().st_mtime_ns
        for path in out.glob("runs/*/*/*/result.json")
    }


def test_a_comparison_ends_with_tables_picture_and_verdict(compared):
    table = pd.read_csv(compared / "table.csv").set_index(["split", "row"])
    rows = ("climatology", "1lin", "network")
    assert set(table.index) == {(split, row) for split in ("time", "weeks-1", "weeks-2") for row in rows}
    assert (table["seeds"] == [2 if row == "network" else 1 for _, row in table.index]).all()
    assert table.loc[("time", "1lin"), "NSE_Rnet"] > 0.9  # of the invented tower it is proportional to shortwave
    assert table.loc[("time", "network"), ["NSE_Rnet", "NSE_G"]].isna().all()  # not in its loss
    assert table.loc[("time", "network"), "epochs"] == 2 and table["wall_s"].gt(0).all()
    scores = pd.read_csv(compared / "scores.csv")
    assert set(scores["scale"]) == {"half-hour", "day", "week", "season", "anomaly"}
    assert set(scores["period"]) >= {"all", "day", "night"} and set(scores["flux"]) == {"LE", "NEE", "H", "Rnet", "G"}
    mean = scores.query("row == 'network' and split == 'time' and part == 'test' and flux == 'LE' and scale == 'half-hour' and "
                        "period == 'all'")["NSE"].mean()  # fmt: skip
    assert mean == pytest.approx(table.loc[("time", "network"), "NSE_LE"], abs=1e-5)
    differences = pd.read_csv(compared / "differences.csv")
    assert len(differences) == 3 * 2 * 2 and (differences["lower"] <= differences["upper"]).all()
    assert set(differences["answer"]) <= {"yes", "no", "open"}
    reader = Reader()
    reader.feed((compared / "report.html").read_text())
    assert reader.open == [] and all(link.startswith("data:") for link in reader.links)
    assert any("The claim that network is better" in text for text in reader.text)
    assert "What would change it" in (compared / "report.md").read_text()
    assert (compared / "comparison.png").stat().st_size > 10_000


def test_what_is_there_is_not_computed_again(compared, folder):
    before = results(compared)
    outcome = execute_all(Plan.from_yaml(compared / "plan.yaml").runs(), compared, say=lambda text: None)
    assert outcome.computed == () and outcome.failed == {} and results(compared) == before
    changed = Plan.from_yaml(write_plan(folder, rows={"climatology": None, "1lin": {"kind": "3lin"}}))
    outcome = execute_all(changed.runs(), compared, say=lambda text: None)
    assert outcome.computed == ("1lin/time/seed-0",)
    after = results(compared)
    assert {name for name in after if after[name] != before[name]} == {"1lin/time/seed-0"}


def test_a_run_that_fails_is_said_and_tried_again(folder, capsys):
    lstm = {"settings": {"hidden": [8], "days": 2, "memory": 4}}
    rows = {"1lin": None, "network": {"trainer": {"max_epoch": 3}}, "lstm": lstm}
    plan = write_plan(folder, rows=rows, out=str(folder / "failing"))
    assert main(["compare", str(plan)]) == 2
    message = capsys.readouterr()
    assert "1 runs failed" in message.err and "max_epoch" in message.err and "Traceback" not in message.err
    assert "1 of 3 runs failed" in (folder / "failing/report.md").read_text()
    assert "Traceback" in (folder / "failing/runs/network/time/seed-0/error.txt").read_text()
    assert main(["compare", str(plan), "--row", "1lin"]) == 0


def test_one_line_for_what_a_user_can_mend(folder, capsys):
    plan = write_plan(folder, out=str(folder / "never"))
    for arguments, message in {
        ("--row", "2lin"): "unknown row '2lin'", ("--split", "hot"): "unknown split 'hot'", ("--jobs", "0"): "--jobs must be",
        ("--folder", "/nowhere"): "does not exist",
    }.items():  # fmt: skip
        assert main(["compare", str(plan), *arguments]) == 2
        assert message in (text := capsys.readouterr().err) and len(text.splitlines()) == 2
    assert main(["compare", str(folder / "absent.yaml")]) == 2


def test_the_runs_are_listed(compared, folder, capsys):
    plan = write_plan(folder, rows=["climatology", "3lin"])
    assert main(["compare", str(plan), "--out", str(compared), "--list"]) == 0
    assert capsys.readouterr().out.splitlines() == ["there  climatology/time/seed-0", "to do  3lin/time/seed-0"]


def test_an_extra_that_is_missing_is_one_line(folder, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "moocore", None)
    plan = write_plan(folder, out=str(folder / "never"))
    assert main(["tradeoff", str(plan)]) == 2
    assert 'pip install "canveg-torch[experiments]"' in capsys.readouterr().err


def test_a_trade_off_of_networks(folder, capsys):
    rows = {"climatology": None, "network": {"settings": {"hidden": [8], "lr": 0.02}}}
    plan = write_plan(folder, rows=rows, le_weights=[0.2, 0.8], out=str(folder / "front"))
    assert main(["tradeoff", str(plan)]) == 0
    points = pd.read_csv(folder / "front/points.csv")
    assert len(points) == 2 * (1 + 2) and points["rho_LE"].between(0.0, 3.0).all()
    fronts = pd.read_csv(folder / "front/fronts.csv").set_index(["row", "seed"])
    assert (fronts["HV(1.5, 1.5)/2.25 test, chosen"] <= fronts["HV(1.5, 1.5)/2.25 test"] + 1e-12).all()
    assert fronts.loc[("network", 0), "knee"] in (0.2, 0.8) and fronts.loc[("climatology", 0), "weights"] == 1
    assert "The hypervolume of network" in (folder / "front/report.md").read_text()


def killed_once(plan: Path, out: Path, *arguments: str) -> dict[str, int]:
    """Start a comparison, kill -9 its first process at the first result, and say what is there then."""
    command = [sys.executable, "-m", "lightning_modules.cli.main", "compare", str(plan), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    begin = time.monotonic()
    while not results(out) and process.poll() is None and time.monotonic() - begin < 300:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return results(out)


def check_resumed(plan: Path, out: Path, before: dict[str, int]) -> None:
    runs = Plan.from_yaml(plan).runs()
    assert 0 < len(before) < len(runs)
    outcome = execute_all(runs, out, say=lambda text: None)
    after = results(out)
    assert set(after) == {run.name for run in runs} and outcome.failed == {}
    assert {name for name in before if after[name] != before[name]} == set()
    assert set(outcome.computed) == set(after) - set(before)
    assert all(json.loads((out / "runs" / name / "result.json").read_text())["key"] for name in after)


def test_killed_and_resumed_no_run_is_lost_or_repeated(folder):
    rows = {**BENCHMARKS, "more": {"kind": "trees", "settings": {"rounds": 60}}}
    plan = write_plan(folder, rows=rows, out=str(folder / "killed"))
    check_resumed(plan, folder / "killed", killed_once(plan, folder / "killed"))


@pytest.mark.slow
def test_killed_with_its_processes(folder):
    """The processes of an invocation that is killed end; the next one waits for them and makes what is missing."""
    rows = {**BENCHMARKS, "more": {"kind": "trees", "settings": {"rounds": 400}}}
    out = folder / "killed-processes"
    plan = write_plan(folder, rows=rows, seeds=[0, 1, 2], out=str(out))
    killed_once(plan, out, "--jobs", "2")
    lock = (out / ".lock").open("w")
    import fcntl

    begin = time.monotonic()
    while time.monotonic() - begin < 10:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            time.sleep(0.1)
    else:
        pytest.fail("a process of the killed invocation is still there")
    lock.close()
    check_resumed(plan, out, results(out))
    again = subprocess.run(
        [sys.executable, "-m", "lightning_modules.cli.main", "compare", str(plan), "--jobs", "2", "--list"],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "to do" not in again.stdout


@pytest.mark.slow
def test_physics_and_hybrid_beside_a_benchmark(folder):
    feddes = {"kind": "tuned", "model": {"stress": "feddes"}}
    medlyn = {"kind": "tuned", "model": {"conductance": "medlyn", "tunable": ["medlyn_slope"]}}
    rows = {"1lin": None, "physics": None, "tuned": None, "feddes": feddes, "medlyn": medlyn, "hybrid": None}
    base = yaml.safe_load((folder / "base.yaml").read_text())
    base["data"] |= {"max_train_rows": 128, "dtype": "float32"}
    (folder / "physics.yaml").write_text(yaml.safe_dump(base))
    plan = write_plan(folder, base="physics.yaml", rows=rows, out=str(folder / "physics"))
    assert main(["compare", str(plan), "--jobs", "2"]) == 0
    table = pd.read_csv(folder / "physics/table.csv").set_index("row")
    assert set(table.index) == set(rows) and table["NSE_LE"].notna().all()
    assert table.loc["physics", "epochs"] == 0 and table.loc["hybrid", "epochs"] == 2
    assert "scored as the tower sees them" in (folder / "physics/report.md").read_text()
