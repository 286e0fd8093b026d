"""Half-hours without a solution: counted by site and reason, of every process, and not too many of them."""

import numpy as np
import pytest
import torch

from canveg_jax import REASONS, NotConvergedWarning
from lightning_modules import FluxTowerDataModule, HybridCanopy
from lightning_modules.evaluation.report import _lost
from lightning_modules.models.failures import (
    FailureCount,
    TooManyFailures,
    failed_and_all,
    failures_by_reason,
    require_few,
    warn_of_failures,
)
from lightning_modules.names import REASON_NAMES
from tests.lightning.models.test_hybrid_canopy import boring, datamodule, trainer
from tests.lightning.towers import SITE, BoringCanopy, boring_tower


def a_count():
    count = FailureCount(2)
    converged = torch.tensor([True, False, False, True, False])
    batch = {"site": torch.tensor([0, 0, 1, 1, 1]), "row": torch.arange(10, 15)}
    reason = torch.tensor([0, 4, 1, 0, 4])
    count.update({"converged": converged, "reason": reason}, batch, torch.tensor([True, True, True, True, False]))
    return count


def test_every_reason_has_a_short_name():
    assert set(REASON_NAMES) == set(REASONS) and REASON_NAMES[0] == "solved" and REASON_NAMES[4] == "not_converged"


def test_counts_are_by_site_and_reason():
    counts, first = a_count().take()
    assert failures_by_reason(counts, ["A", "B"]) == {"A/not_converged": 1, "B/forcing": 1}
    assert failed_and_all(counts) == (2, 4)  # one half-hour only fills up the batch
    assert first == [(0, 11, 4), (1, 12, 1)]


def test_a_count_goes_on_from_another():
    count = a_count()
    count.go_on_from(a_count().counts)
    assert count.update_called and torch.equal(count.counts, a_count().counts)
    count.go_on_from(torch.zeros(2, len(REASONS), dtype=torch.int64))
    assert not count.update_called


def test_the_warning_says_why_and_what_helps():
    text = "test: 2 of 4 half-hours have no solution .*1: a forcing value.*; 1: the solver did not converge.*max_passes"
    with pytest.warns(
        NotConvergedWarning, match=text + ".*, and see what is wrong with the others .canveg doctor."
    ) as said:
        warn_of_failures("test", a_count().take()[0])
    assert len(said) == 1
    only_refused = np.array([[5, 3, 0, 0, 0, 0, 0, 0, 0]])
    with pytest.warns(
        NotConvergedWarning, match=r"test: 3 of 8 half-hours .* scores \(3: a forcing [^;]*\)\. Their .*; see what"
    ) as said:
        warn_of_failures("test", only_refused)
    assert "converge" not in str(said[0].message)
    warn_of_failures("test", np.array([[5, 0, 0, 0, 0, 0, 0, 0, 0]]))


def test_too_many_are_named_with_the_remedy():
    counts, _ = a_count().take()
    require_few("train, epoch 0", counts, ["A", "B"], [], "", 0.5)
    require_few("train, epoch 0", counts, ["A", "B"], [], "", None)
    with pytest.raises(TooManyFailures) as raised:
        require_few("train, epoch 3", counts, ["A", "B"], ["A 2019-06-01T12:00"], "kball 8.2", 0.4)
    text = str(raised.value)
    assert "train, epoch 3: 2 of 4 half-hours have no solution, more than max_failed_share (0.4)" in text
    assert all(part in text for part in ("A/not_converged 1, B/forcing 1", "A 2019-06-01T12:00", "kball 8.2", "doctor"))


def test_training_logs_and_ends_where_too_many_fail(tower):
    above = float(np.quantile(tower["shortwave_in"], 0.9))
    model = boring(physics=BoringCanopy(broken_above=above))
    fit = trainer()
    with pytest.warns(UserWarning, match="did not converge"):
        fit.fit(model, datamodule=datamodule(tower))
    failed = fit.callback_metrics["train/not_converged"]
    assert failed > 0 and fit.callback_metrics[f"train/failed/{SITE.name}/not_converged"] == failed
    strict = boring(physics=BoringCanopy(broken_above=above), max_failed_share=0.01)
    with (
        pytest.warns(UserWarning, match="did not converge"),
        pytest.raises(
            TooManyFailures, match=rf"val, epoch 0: .* The first: {SITE.name} 2019-06-\d\dT\d\d:\d\d .*kball 7"
        ),
    ):
        trainer().fit(strict, datamodule=datamodule(tower))
    with pytest.raises(ValueError, match="max_failed_share must be within 0 and 1"):
        boring(max_failed_share=2)


def test_sites_are_told_apart():
    other = SITE.model_copy(update={"name": "B"})
    towers = [(SITE, boring_tower(6)), (other, boring_tower(6, 1))]
    data = FluxTowerDataModule(datasets=towers, block_days=1, test_fraction=0.2, seed=0)
    model = HybridCanopy([SITE, other], physics=BoringCanopy(broken_above=1e-9), stress=None, max_failed_share=None)
    fit = trainer()
    with pytest.warns(UserWarning, match="did not converge"):
        fit.fit(model, datamodule=data)
    by_site = [fit.callback_metrics[f"train/failed/{name}/not_converged"] for name in (SITE.name, "B")]
    assert sum(by_site) == fit.callback_metrics["train/not_converged"] and all(n > 0 for n in by_site)


def test_the_report_says_why():
    import xarray as xr

    block = xr.Dataset({"converged": ("row", [True, False, False]), "reason": ("row", [0, 4, 1])})
    assert _lost(block) == ", 2 without a solution and left out (1 forcing, 1 not converged)"
    assert _lost(block.isel(row=[0])) == "" and "1 without" in _lost(block.drop_vars("reason").isel(row=[1]))
