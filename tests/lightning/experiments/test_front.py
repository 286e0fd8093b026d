"""Front, hypervolume and knee of points made by hand."""

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("moocore", reason="needs the extra `experiments`")

from lightning_modules.experiments.front import figures_of_merit, front, hypervolume, knee, matched, normalised_error

POINTS = np.array([[0.4, 0.8], [0.5, 0.6], [0.8, 0.5], [0.6, 0.7], [0.3, np.nan]])


def test_hypervolume_by_hand():
    # (1, 1): .2 x .2 (0.8 to 1, 0.5 to 0.6: .02) + ...: strips in NEE
    area = (1 - 0.4) * (1 - 0.8) + (1 - 0.5) * (0.8 - 0.6) + (1 - 0.8) * (0.6 - 0.5)
    assert hypervolume(POINTS, (1.0, 1.0)) == pytest.approx(area)
    larger = (1.5 - 0.4) * (1.5 - 0.8) + (1.5 - 0.5) * (0.8 - 0.6) + (1.5 - 0.8) * (0.6 - 0.5)
    assert hypervolume(POINTS, (1.5, 1.5)) == pytest.approx(larger / 2.25)
    assert hypervolume(np.zeros((1, 2)), (1.0, 1.0)) == 1.0
    assert hypervolume(np.array([[0.2, 1.0], [1.4, 0.1]]), (1.0, 1.0)) == 0.0  # none is better in both
    assert hypervolume(np.array([[np.nan, 0.1]]), (1.0, 1.0)) == 0.0


def test_front_and_knee():
    assert front(POINTS).tolist() == [True, True, True, False, False]
    i, distance = knee(POINTS[:4])
    assert i == 1 and distance == pytest.approx(np.hypot(0.1, 0.1))
    with pytest.raises(ValueError, match="at least one point"):
        knee(POINTS[4:])
    assert normalised_error(0.75) == 0.5


def table(rows: list[tuple]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["row", "seed", "le_weight", "part", "rho_LE", "rho_NEE"])


def test_the_validation_part_chooses():
    rows = [("a", 0, w, part, *rho) for w, val, test in (
        (0.0, (0.9, 0.5), (0.7, 0.9)), (0.5, (0.6, 0.6), (0.6, 0.7)), (1.0, (0.7, 0.9), (0.3, 0.3)),
    ) for part, rho in (("val", val), ("test", test))]  # fmt: skip
    merit = figures_of_merit(table(rows)).iloc[0]
    assert merit["chosen"] == "0 0.5" and merit["knee"] == 0.5
    assert (merit["rho_LE"], merit["rho_NEE"]) == (0.6, 0.7)
    assert merit["HV(1, 1) test"] == pytest.approx(0.49)  # by the weight that validation would not have chosen
    assert merit["HV(1, 1) test, chosen"] == pytest.approx(0.4 * 0.3)


def test_matched_weights():
    a = [("a", 0, w, "test", le, nee) for w, le, nee in ((0.0, 0.5, 0.5), (0.5, 0.4, 0.9), (1.0, 0.9, 0.9))]
    b = [("b", 0, w, "test", 0.6, 0.6) for w in (0.0, 0.5, 1.0)] + [("b", 1, 0.0, "test", 0.1, 0.1)]
    assert matched(table(a + b), "a", "b") == {"both": 1, "LE only": 1, "NEE only": 0, "neither": 1}
