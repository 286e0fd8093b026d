"""The notebooks of `examples/notebooks/` are scripts in the percent format, without outputs, and run from first to last line."""

import ast
import re
import runpy
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "examples" / "notebooks").glob("*.py"))


def cells(path: Path) -> list[tuple[str, str]]:
    """Kind (`markdown` or `code`) and text of each cell."""
    pieces = re.split(r"^# %%(.*)\n", path.read_text(), flags=re.MULTILINE)
    assert pieces[0] == "", f"{path.name} begins with text before its first cell"
    return [
        ("markdown" if "[markdown]" in kind else "code", text)
        for kind, text in zip(pieces[1::2], pieces[2::2], strict=True)
    ]


def test_there_are_notebooks():
    assert {path.stem for path in NOTEBOOKS} >= {"tower_to_report", "network_in_the_canopy", "simulator_as_layer"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_each_has_a_title_prose_and_code(path):
    found = cells(path)
    kind, first = found[0]
    assert kind == "markdown" and re.match(r"# # \S", first)
    for kind, text in found:
        if kind == "markdown":
            assert all(line.startswith("#") for line in text.strip().splitlines())
        else:
            ast.parse(text)
    assert sum(kind == "code" for kind, _ in found) >= 5


def test_no_notebook_with_outputs_is_kept():
    assert not list(NOTEBOOKS[0].parent.rglob("*.ipynb"))


def run(path: Path) -> dict:
    """Run a notebook as a script; its names."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "FigureCanvasAgg is non-interactive")
        names = runpy.run_path(str(path), run_name="__main__")
    plt.close("all")
    return names


def test_the_simulator_as_a_layer():
    names = run(NOTEBOOKS[0].parent / "simulator_as_layer.py")
    assert names["losses"][-1] < 1.5**2 < names["losses"][0]  # the sensors err by 1 mm
    assert names["layer"].operation.traces["forward"] == 1


@pytest.mark.slow
def test_the_network_in_the_canopy():
    names = run(NOTEBOOKS[0].parent / "network_in_the_canopy.py")
    assert names["losses"][-1] < 0.25 * names["losses"][0]


@pytest.mark.slow
def test_from_a_tower_to_the_report(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # the notebook moves to a folder of its own; pytest moves back
    names = run(NOTEBOOKS[0].parent / "tower_to_report.py")
    scores = names["scores"]
    assert {"LE", "NEE"} <= set(scores["flux"]) and (names["run"] / "report.png").exists()
