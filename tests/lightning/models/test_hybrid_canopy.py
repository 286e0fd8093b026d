"""The Lightning module around an analytic canopy: training, checkpoints, failures, physics alone."""

import warnings

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

import canveg_jax as cv
from lightning_modules import (
    FluxNetwork,
    FluxTowerDataModule,
    HybridCanopy,
    NonFiniteGradientWarning,
    ScalingStatistics,
    StressNetwork,
)
from tests.lightning.towers import SITE, BoringCanopy, KnownStress, boring_tower


def datamodule(tower, **options):
    settings = {"block_days": 2, "test_fraction": 0.2, "batch_size": 128, "seed": 0, **options}
    return FluxTowerDataModule(datasets=[(SITE, tower)], **settings)


def trainer(**options):
    return L.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        **{"max_epochs": 1, "enable_checkpointing": False, **options},
    )  # fmt: skip


def boring(**options):
    return HybridCanopy(
        [SITE], **{"physics": BoringCanopy(), "stress": {"module": "network", "hidden": [8]}, **options}
    )


def test_twin_experiment_recovers_the_stress():
    """LE and NEE of a known stress; training starts from no stress, the test record is another year."""
    record, other = boring_tower(40, 3, aridity=0.3), boring_tower(15, 4, aridity=0.3, start="2020-06-01")
    data = FluxTowerDataModule(datasets=[(SITE, record, other)], block_days=2, batch_size=256, seed=0)
    network = StressNetwork(["soil_water_content", "vapour_pressure_deficit"], [12], monotone=True)
    model = boring(stress=network, physics=BoringCanopy(12.0, tunable=False), network_lr=0.1, schedule="cosine")
    trainer(max_epochs=30).fit(model, datamodule=data)
    scores = trainer().test(model, datamodule=data, verbose=False)[0]
    assert scores["test/NSE_LE"] > 0.99 and scores["test/NSE_NEE"] > 0.99
    predictions = trainer().predict(model, datamodule=data)
    rows = torch.cat([batch["row"] for batch in predictions]).numpy()
    stress = torch.cat([batch["stress"] for batch in predictions]).numpy()
    truth, light = other["stress_true"].values[rows], other["shortwave_in"].values[rows] > 50
    assert truth[light].std() > 0.05
    assert np.corrcoef(stress[light], truth[light])[0, 1] > 0.99
    assert np.sqrt(np.mean((stress - truth)[light] ** 2)) < 0.03


def test_parameter_is_recovered_alone(tower):
    data = datamodule(tower)
    model = boring(stress=KnownStress(), parameter_lr=0.1)
    trainer(max_epochs=15).fit(model, datamodule=data)
    table = model.parameter_table()
    assert table.loc["kball", "start"] == pytest.approx(8.17)
    assert table.loc["kball", "value"] == pytest.approx(12.0, rel=1e-3)
    assert not table.loc["kball", "near_bound"]


def test_entries_of_the_network_move_by_different_amounts(tower):
    model = boring(network_lr=0.01)
    before = {name: p.detach().clone() for name, p in model.stress.named_parameters()}
    trainer(max_steps=3).fit(model, datamodule=datamodule(tower))
    for name, p in model.stress.named_parameters():
        moved = (p.detach() - before[name]).flatten()
        assert (moved != 0).all(), name
        assert len(moved) == 1 or moved.std() > 1e-4, name


def test_checkpoint_is_self_contained(tower, tmp_path):
    data = datamodule(tower)
    model = boring(le_weight=0.3, weights={"latent_heat": 1.0, "sensible_heat": 1.0}, loss="huber")
    fit = trainer(enable_checkpointing=True, default_root_dir=tmp_path)
    fit.fit(model, datamodule=data)
    path = fit.checkpoint_callback.best_model_path
    again = HybridCanopy.load_from_checkpoint(path, physics=BoringCanopy())
    assert again.sites == model.sites and again.has_statistics
    assert again.hparams == model.hparams and again.loss.weights == model.loss.weights
    for (name, a), (_, b) in zip(model.state_dict().items(), again.state_dict().items(), strict=True):
        assert torch.equal(a, b), name
    batch = next(iter(data.val_dataloader()))
    for name, value in model(batch["forcing"], batch["site"]).items():
        torch.testing.assert_close(again(batch["forcing"], batch["site"])[name], value, rtol=0, atol=0)


def test_names_in_checkpoints_are_these():
    """A checkpoint is read by its names: another name here, and files that users have can no longer be loaded."""
    hybrid = boring(stress={"module": "network", "hidden": [4], "inputs": ["lai"]})
    perceptron = {f"perceptron.{layer}.{kind}" for layer in ("layers.0", "head") for kind in ("weight", "bias")}
    shared = {"target_sd", "has_statistics"}
    assert set(hybrid.state_dict()) == shared | {"start_kball", "physics.raw.kball"} | {
        f"stress.{name}" for name in perceptron | {"input_mean", "input_sd"}
    }
    assert set(hybrid.hparams) == {
        "sites", "tunable", "parameters", "stress", "le_weight", "weights", "loss", "network_lr", "parameter_lr",
        "weight_decay", "prior_weight", "schedule", "per_site", "solver", "warm_start", "closures", "observation", "stages",
        "freeze", "random_error", "conductance", "max_failed_share", "likelihood",
    }  # fmt: skip
    pure = FluxNetwork(["lai"], [4])
    assert set(pure.state_dict()) == shared | perceptron | {"input_mean", "input_sd", "target_mean"}
    assert set(pure.hparams) == {
        "inputs", "hidden", "activation", "le_weight", "weights", "loss", "lr", "weight_decay", "random_error", "gru",
        "likelihood",
    }  # fmt: skip
    closures = {"capacity": {"hidden": [4], "inputs": ["lai"]}}
    full = HybridCanopy(
        [SITE], tunable=["kball"], stress=None, closures=closures, weights={"latent_heat": 0.5, "sensible_heat": 0.5}
    )
    network = {name.replace("perceptron", "network") for name in perceptron}
    assert set(full.state_dict()) == shared | {"start_kball", "physics.raw.kball"} | {
        f"closures.capacity.{name}" for name in network | {"input_mean", "input_sd"}
    } | {f"observation.{name}" for name in ("raw", "slope", "corrected")}  # fmt: skip
    ramp = boring(stress={"module": "soil_moisture", "wilting_point": 0.06})
    assert set(ramp.state_dict()) == shared | {"start_kball", "physics.raw.kball", "stress.raw"}
    assert ramp.hparams["stress"] == {"module": "soil_moisture", "wilting_point": 0.06, "field_capacity": 0.2}


def test_stress_module_of_the_user_is_asked_for_when_a_checkpoint_is_loaded(tower, tmp_path):
    model = boring(stress=KnownStress())
    fit = trainer(enable_checkpointing=True, default_root_dir=tmp_path)
    fit.fit(model, datamodule=datamodule(tower))
    path = fit.checkpoint_callback.best_model_path
    with pytest.raises(ValueError, match="build it and pass it"):
        HybridCanopy.load_from_checkpoint(path, physics=BoringCanopy())
    again = HybridCanopy.load_from_checkpoint(path, physics=BoringCanopy(), stress=KnownStress())
    assert torch.equal(again.physics.raw["kball"], model.physics.raw["kball"])


class SeenRows(L.Callback):
    """The rows of every training batch, by epoch."""

    def __init__(self):
        self.epochs = {}

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.epochs.setdefault(trainer.current_epoch, []).append(batch["row"].tolist())


@pytest.mark.filterwarnings("ignore:The dirpath has changed")  # each run has a folder of its own
@pytest.mark.parametrize("seed", [3, None], ids=["seed", "global seed"])
@pytest.mark.parametrize("at_validation", [False, True], ids=["saved at the epoch's end", "saved after validation"])
def test_resumed_training_sees_the_batches_of_the_uninterrupted_and_ends_at_its_weights(
    tower, tmp_path, seed, at_validation
):
    def run(name, epochs, checkpoint=None):
        torch.manual_seed(1)
        model, seen = boring(), SeenRows()
        saver = ModelCheckpoint(tmp_path / name, save_last=True, save_on_train_epoch_end=not at_validation)
        fit = trainer(max_epochs=epochs, enable_checkpointing=True, callbacks=[seen, saver])
        fit.fit(model, datamodule=datamodule(tower, seed=seed, batch_size=150), ckpt_path=checkpoint)
        return model, seen.epochs

    whole, batches = run("whole", 4)
    _, first = run("first", 2)
    resumed, rest = run("rest", 4, tmp_path / "first/last.ckpt")
    assert {**first, **rest} == batches and set(rest) == {2, 3} and len(batches[0]) > 3
    assert len({str(epoch) for epoch in batches.values()}) == 4
    for (name, a), b in zip(whole.named_parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.filterwarnings("ignore:You passed .*AMP with fp16 is not supported on CPU")  # Lightning makes bf16 of it
@pytest.mark.parametrize("precision", ["16-mixed", "bf16-mixed", "16-true", "bf16-true"])
def test_half_precisions_are_refused_before_training(tower, precision):
    model = boring()
    with pytest.raises(ValueError, match=r"trainer.precision: (bf)?16-\w+ would round the physics. Set data.dtype"):
        trainer(precision=precision).fit(model, datamodule=datamodule(tower))
    with pytest.raises(ValueError, match="would round the physics"):
        trainer(precision=precision).predict(model, datamodule=datamodule(tower))


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")  # of callbacks that prediction does not need
def test_double_precision_reaches_network_and_checkpoint(tower, tmp_path):
    model = boring()
    fit = trainer(precision="64-true", enable_checkpointing=True, default_root_dir=tmp_path)
    fit.fit(model, datamodule=datamodule(tower))
    path = fit.checkpoint_callback.best_model_path
    again = HybridCanopy.load_from_checkpoint(path, physics=BoringCanopy())
    assert {p.dtype for p in again.parameters()} == {torch.float64}
    for (name, a), b in zip(model.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b), name
    with torch.no_grad():
        assert not torch.equal(
            again.stress.perceptron.head.weight.float().double(), again.stress.perceptron.head.weight
        )
    batches = [
        trainer(precision=p).predict(m, datamodule=datamodule(tower), ckpt_path=c)[0]["stress"]
        for m, c, p in ((model, None, "64-true"), (boring(), path, "64-true"), (again, None, "32-true"))
    ]
    assert torch.equal(batches[0], batches[1]) and torch.equal(batches[0], batches[2])
    with pytest.raises(ValueError, match="64-true contradicts data.dtype float32"):
        trainer(precision="64-true").fit(boring(), datamodule=datamodule(tower, dtype="float32"))


def test_double_as_the_default_of_torch(tower):
    torch.set_default_dtype(torch.float64)
    try:
        model, fit = boring(), trainer(max_epochs=2)
        fit.fit(model, datamodule=datamodule(tower))
    finally:
        torch.set_default_dtype(torch.float32)
    assert {p.dtype for p in model.parameters()} == {torch.float64}
    assert fit.callback_metrics["train/skipped_steps"] == 0 and torch.isfinite(fit.callback_metrics["val/loss"])


def test_half_hours_that_do_not_converge_are_counted_warned_about_and_without_influence(tower):
    data = datamodule(tower)
    data.setup()
    bright = {name: float((part.forcing["shortwave_in"] > 600).sum()) for name, part in data.parts.items()}
    assert min(bright.values()) > 0
    model = boring(physics=BoringCanopy(broken_above=600.0))
    fit = trainer(num_sanity_val_steps=0)
    with pytest.warns(cv.NotConvergedWarning, match="half-hours have no solution.*the solver did not converge"):
        fit.fit(model, datamodule=data)
    metrics = fit.callback_metrics
    assert metrics["train/not_converged"] == bright["train"] and metrics["val/not_converged"] == bright["val"]
    assert metrics["val/not_converged_share"] == pytest.approx(bright["val"] / len(data.parts["val"]))
    used = (data.parts["val"].measured["nee"] & (data.parts["val"].forcing["shortwave_in"] <= 600)).sum()
    assert metrics["val/n_NEE"] == used and torch.isfinite(metrics["val/loss"])
    assert metrics["train/skipped_steps"] == 0
    with pytest.warns(cv.NotConvergedWarning, match="prediction"):
        batches = trainer().predict(model, datamodule=data)
    flagged = sum(int((~batch["fluxes"]["converged"]).sum()) for batch in batches)
    assert flagged == bright["test"]


def test_step_with_a_gradient_that_is_not_finite_is_left_out_and_counted(tower):
    class Broken(StressNetwork):
        def forward(self, forcing):
            factor = super().forward(forcing)
            return factor + torch.sqrt((factor - factor.detach()) ** 2)

    model = boring(stress=Broken(hidden=[4]))
    before = [p.detach().clone() for p in model.parameters()]
    fit = trainer()
    with pytest.warns(NonFiniteGradientWarning, match="was left out"):
        fit.fit(model, datamodule=datamodule(tower))
    assert fit.callback_metrics["train/skipped_steps"] == fit.num_training_batches
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_scores_of_validation_are_those_of_the_whole_part_whatever_the_batches(tower):
    results = []
    for batch_size in (32, 4096):
        torch.manual_seed(2)
        data = datamodule(tower, batch_size=batch_size)
        results.append(trainer().validate(boring(), datamodule=data, verbose=False)[0])
    assert results[0] == pytest.approx(results[1], rel=1e-9)
    data = datamodule(tower)
    data.setup()
    torch.manual_seed(2)
    model, part = boring(statistics=data.statistics), data.parts["val"]
    with torch.no_grad():
        fluxes = model(part.forcing, part.site)
    expected = 0.0
    for name, flux in (("latent_heat", "LE"), ("nee", "NEE")):
        error = (fluxes[flux] - part.target[name])[part.measured[name]] / data.statistics.targets[name].sd
        expected += 0.5 * float(error.square().mean())
    assert results[0]["val/loss"] == pytest.approx(expected, rel=1e-6)


def test_physics_alone_is_scored_and_predicts_without_optimiser(tower):
    model = HybridCanopy([SITE], physics=BoringCanopy(tunable=False, kball=12.0), stress=KnownStress())
    scores = trainer().test(model, datamodule=datamodule(tower), verbose=False)[0]
    assert scores["test/RMSE_LE"] < 1e-6 and scores["test/NSE_NEE"] > 1 - 1e-9
    bare = HybridCanopy([SITE], physics=BoringCanopy(tunable=False), stress=None)
    batch = trainer().predict(bare, datamodule=datamodule(tower))[0]
    assert set(batch) == {"fluxes", "stress", "observed", "measured", "row", "site"}
    assert (batch["stress"] == 1).all() and bare.parameter_table().empty
    with pytest.raises(ValueError, match="nothing to train"):
        trainer().fit(bare, datamodule=datamodule(tower))


def test_prior_pulls_parameters_to_their_start(tower):
    values = []
    for weight in (0.0, 100.0):
        model = boring(stress=KnownStress(), prior_weight=weight, parameter_lr=0.05)
        trainer(max_epochs=5).fit(model, datamodule=datamodule(tower))
        values.append(model.parameter_table().loc["kball", "value"])
    assert abs(values[1] - 8.17) < 0.1 * abs(values[0] - 8.17)
    assert model.prior() > 0


def test_training_without_a_validation_part(tower):
    model = boring()
    fit = trainer(max_epochs=2)
    fit.fit(model, datamodule=datamodule(tower, val_every=0))
    assert "train/loss" in fit.callback_metrics and "val/loss" not in fit.callback_metrics


def test_physics_hears_of_the_largest_batch_and_must_be_complete(tower):
    model = boring()
    trainer().validate(model, datamodule=datamodule(tower, batch_size=48), verbose=False)
    assert model.physics.largest_batch == 48
    with pytest.raises(ValueError, match="physics: Linear lacks raw, state_size"):
        boring(physics=nn.Linear(1, 1))


def test_float32_data(tower):
    model = boring()
    fit = trainer()
    fit.fit(model, datamodule=datamodule(tower, dtype="float32"))
    batch = trainer().predict(model, datamodule=datamodule(tower, dtype="float32"))[0]
    assert batch["fluxes"]["LE"].dtype == batch["stress"].dtype == torch.float32
    assert np.isfinite(float(fit.callback_metrics["val/NSE_LE"]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stress": "netwrk"}, "Did you mean 'network'"),
        ({"stress": {"module": "network", "hiden": [4]}}, "unknown argument of network 'hiden'.*Did you mean 'hidden'"),
        ({"stress": {"module": "network", "hidden": 4}}, "network cannot be built with hidden: 4"),
        ({"physics": None, "solver": {"max_pass": 9}}, "solver: unknown key 'max_pass'.*Did you mean 'max_passes'"),
        ({"physics": None, "solver": {"max_passes": "many"}}, "solver: max_passes must be a number; got 'many'"),
        ({"network_lr": 0.0}, "network_lr must be positive"),
        ({"prior_weight": -1.0}, "prior_weight must not be negative"),
        ({"schedule": "step"}, "'constant' or 'cosine'"),
        ({"le_weight": 2.0}, "le_weight"),
    ],
)
def test_refusals(tower, options, message):
    with pytest.raises(ValueError, match=message):
        boring(**options)


def test_statistics_and_sites_are_checked(tower):
    with pytest.raises(ValueError, match="at least one site"):
        HybridCanopy([], physics=BoringCanopy())
    other = HybridCanopy(["US-Hn1"], physics=BoringCanopy(), stress=None)
    with pytest.raises(ValueError, match="sites=data.sites"):
        trainer().test(other, datamodule=datamodule(tower), verbose=False)
    data = datamodule(tower)
    data.setup()
    with pytest.raises(ValueError, match="no scaling statistics"):
        trainer().test(boring(), data.test_dataloader(), verbose=False)
    statistics = ScalingStatistics(data.statistics.inputs, {"nee": data.statistics.targets["nee"]})
    with pytest.raises(ValueError, match="no measured samples of it that vary"):
        boring(statistics=statistics)
    assert boring(statistics=statistics.to_dict(), le_weight=0.0).has_statistics


def test_no_warning_without_reason(tower):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer().fit(boring(), datamodule=datamodule(tower))
    ours = [w for w in caught if "lightning_modules" in w.filename or "bridges" in w.filename]
    assert not ours
