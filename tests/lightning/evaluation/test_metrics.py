"""Scores against their formulas in NumPy."""

import numpy as np
import pytest
import torch

from lightning_modules import Bias, FluxMetrics, KlingGuptaEfficiency
from lightning_modules.evaluation.metrics import LossSums
from lightning_modules.evaluation.moments import merged_over_processes, moments_of, scores_of


def formulas(s, o):
    r = np.corrcoef(s, o)[0, 1]
    return {
        "RMSE": np.sqrt(np.mean((s - o) ** 2)),
        "NSE": 1 - np.sum((s - o) ** 2) / np.sum((o - o.mean()) ** 2),
        "KGE": 1 - np.sqrt((r - 1) ** 2 + (s.std() / o.std() - 1) ** 2 + (s.mean() / o.mean() - 1) ** 2),
        "bias": np.mean(s) - np.mean(o),
        "r": r,
    }


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_masked_scores_over_batches(dtype):
    rng = np.random.default_rng(1)
    o = rng.normal(80.0, 40.0, 500).astype(np.float32).astype(float)
    s = (0.8 * o + rng.normal(5.0, 10.0, 500)).astype(np.float32).astype(float)
    measured, converged = rng.random(500) > 0.3, rng.random(500) > 0.1
    s[~converged] = np.nan
    metrics = FluxMetrics(["latent_heat", "nee"])
    for rows in np.array_split(np.arange(500), [1, 20, 21, 300]):
        metrics.update(
            {"LE": torch.tensor(s[rows], dtype=dtype)},
            {"latent_heat": torch.tensor(np.where(measured, o, np.nan)[rows], dtype=dtype)},
            {"latent_heat": torch.tensor(measured[rows])},
            torch.tensor(converged[rows]),
        )
    scores = metrics.compute()
    used = measured & converged
    for name, value in formulas(s[used], o[used]).items():
        assert scores[f"{name}_LE"].item() == pytest.approx(value, rel=1e-10), name
    assert scores["n_LE"] == used.sum() and scores["n_NEE"] == 0
    assert torch.isnan(scores["NSE_NEE"])


def test_small_variance_on_a_large_mean_keeps_its_digits():
    rng = np.random.default_rng(2)
    o = 400.0 + 0.1 * rng.normal(size=1000)
    s = o + 0.02 * rng.normal(size=1000)
    metrics = FluxMetrics(["net_radiation"])
    metrics.update(
        {"Rnet": torch.tensor(s)}, {"net_radiation": torch.tensor(o)}, {"net_radiation": torch.ones(1000) > 0}
    )
    for name, value in formulas(s, o).items():
        assert metrics.compute()[f"{name}_Rnet"].item() == pytest.approx(value, rel=1e-7), name


@pytest.mark.parametrize(("s", "o"), [([1.0], [2.0]), ([1.0, 2.0], [3.0, 3.0]), ([2.0, 2.0], [1.0, 3.0])])
def test_undefined_scores_are_nan_not_errors(s, o):
    metrics = FluxMetrics(["nee"])
    metrics.update({"NEE": torch.tensor(s)}, {"nee": torch.tensor(o)}, {"nee": torch.ones(len(s)) > 0})
    scores = metrics.compute()
    assert torch.isnan(scores["r_NEE"]) and torch.isnan(scores["KGE_NEE"])
    assert scores["bias_NEE"].item() == pytest.approx(np.mean(s) - np.mean(o))


def test_reset_forgets_and_keeps_double_precision():
    metrics = FluxMetrics(["nee"])
    pair = {"NEE": torch.rand(9)}, {"nee": torch.rand(9)}, {"nee": torch.ones(9) > 0}
    metrics.update(*pair)
    first = metrics.compute()
    metrics.reset()
    assert metrics.compute()["n_NEE"] == 0
    metrics.update(*pair)
    assert metrics.compute() == first
    assert first["RMSE_NEE"].dtype == torch.float64


def test_loss_of_an_epoch_is_not_a_mean_of_batch_means():
    sums = LossSums({"latent_heat": 0.25, "nee": 0.75})
    sums.update(torch.tensor([4.0, 0.0]), torch.tensor([4, 0]))
    sums.update(torch.tensor([8.0, 6.0]), torch.tensor([1, 2]))
    assert sums.compute().item() == pytest.approx(0.25 * 12 / 5 + 0.75 * 6 / 2)


def test_scores_of_several_processes_are_those_of_all_samples():
    """Of very different parts, one of them empty."""
    rng = np.random.default_rng(3)
    o = np.concatenate([rng.normal(300.0, 0.1, 200), rng.normal(-5.0, 40.0, 50)])
    s = o + rng.normal(1.0, 0.05, 250)
    parts = [slice(0, 200), slice(200, 200), slice(200, 249), slice(249, 250)]
    moments = [
        moments_of(torch.tensor(s[p]), torch.tensor(o[p]), torch.ones(len(o[p]), dtype=torch.bool)) for p in parts
    ]
    scores = scores_of(merged_over_processes(torch.stack(moments)))
    for name, value in formulas(s, o).items():
        assert scores[name].item() == pytest.approx(value, rel=1e-11), name


def test_single_scores_are_torchmetrics_of_their_own():
    s, o = torch.tensor([1.0, 2.0, 4.0, 8.0]), torch.tensor([2.0, 2.5, 3.0, 9.0])
    expected = formulas(s.numpy(), o.numpy())
    for metric, name in ((Bias(), "bias"), (KlingGuptaEfficiency(), "KGE")):
        metric.update(s[:1], o[:1])
        metric.update(s[1:], o[1:])
        assert metric.compute().item() == pytest.approx(expected[name], rel=1e-6)
