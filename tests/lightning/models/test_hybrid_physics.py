"""The Lightning module around the real canopy (one layer): derivatives, twin experiment, constants, precision."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import lightning as L
import numpy as np
import pytest
import torch

import canveg_jax as cv
from bridges import TorchCanopy
from canveg_jax.synthetic import synthetic_tower
from lightning_modules import FluxTowerDataModule, HybridCanopy, StressNetwork
from lightning_modules.models.callbacks import ConstantsUnchanged
from tests.lightning.towers import SITE

ROOT = Path(__file__).parents[3]
BATCH = 64
TRUTH = {"kball": 11.0, "q10a": 7.0}
TIGHT = {"tolerance": 1e-9, "adjoint_tolerance": 1e-11}


def trainer(**options):
    return L.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        **{"max_epochs": 1, "enable_checkpointing": False, **options},
    )  # fmt: skip


def set_parameters(physics, values):
    """Put physical values into a TorchCanopy."""
    raw = cv.unconstrain({name: np.asarray(v) for name, v in values.items()}, physics.canopy.parameters.values)
    with torch.no_grad():
        for name, z in raw.items():
            physics.raw[name].copy_(torch.as_tensor(z))


@pytest.fixture(scope="module")
def physics():
    """One canopy for all tests, so that it is compiled once; tests set its parameters themselves."""
    canopy = cv.Canopy(SITE, options=cv.SolverOptions(**TIGHT))
    return TorchCanopy(canopy, tunable=("kball", "q10a"), pad_to=BATCH)


@pytest.fixture(scope="module")
def tower(physics):
    """Six days whose fluxes come from the canopy with the parameters of `TRUTH` and the known stress."""

    def model(weather, stress):
        set_parameters(physics, TRUTH)
        forcing = {name: torch.tensor(weather[name].values) for name in cv.FORCING_TABLE}
        parts = []
        with torch.no_grad():
            for rows in torch.arange(len(stress)).split(BATCH):
                part = {name: column[rows] for name, column in forcing.items()}
                parts.append(physics(part, stress=torch.tensor(stress)[rows]))
        return {name: torch.cat([p[name] for p in parts]).numpy() for name in parts[0]}

    return synthetic_tower(SITE, 6, 3, model, noise=False, aridity=0.3, start="2019-06-10")


@pytest.fixture
def data(tower):
    return FluxTowerDataModule(datasets=[(SITE, tower)], block_days=0.5, batch_size=BATCH, test_fraction=0.2, seed=0)


def hybrid(physics, **options):
    set_parameters(physics, {"kball": 11.0, "q10a": 5.0})
    network = StressNetwork(["soil_water_content", "vapour_pressure_deficit"], [6], monotone=True)
    return HybridCanopy([SITE], **{"physics": physics, "stress": network, **options})


def agree_with_central_differences(loss, entries):
    """Gradients that are there against differences of the loss. Args: entries: name, parameter, index into it."""
    for name, p, index in entries:
        step, values = 1e-4, []
        with torch.no_grad():
            start = p[index].item()
            for sign in (1.0, -1.0):
                p[index] = start + sign * step
                values.append(loss().item())
            p[index] = start
        numeric = (values[0] - values[1]) / (2 * step)
        assert abs(numeric) > 1e-6, name
        assert p.grad[index].item() == pytest.approx(numeric, rel=1e-5, abs=1e-10), name


def test_gradient_of_the_loss_agrees_with_central_differences(physics, data):
    data.setup()
    model = hybrid(physics, statistics=data.statistics).double()
    batch = data.parts["train"].__getitems__(range(BATCH))

    def loss():
        return model.batch_loss(batch, model(batch["forcing"], batch["site"])).loss

    loss().backward()
    entries = [(f"raw {name}", p, ()) for name, p in physics.raw.items()]
    for name, p in model.stress.named_parameters():
        steepest = p.grad.abs().flatten().argsort(descending=True)[:3].tolist()
        entries += [(name, p, tuple(int(i) for i in np.unravel_index(entry, p.shape))) for entry in steepest]
    assert len(entries) == 2 + 3 + 3 + 3 + 1
    agree_with_central_differences(loss, entries)
    model.zero_grad()


def test_gradient_of_closures_and_observed_share_agrees_with_central_differences(physics, data):
    """Through the solved canopy, with tuned parameters, leaf area, bounds and the loss of what the tower sees."""
    data.setup()
    model = hybrid(
        physics,
        statistics=data.statistics,
        closures={
            "capacity": {"inputs": ["slow"], "hidden": [3], "penalty": 0.1},
            "stomatal_slope": {"inputs": ["vapour_pressure_deficit"], "hidden": [3]},
            "leaf_area": {"inputs": ["lai"], "hidden": [3]},
            "soil_respiration": {"inputs": ["soil_temperature"], "hidden": [3]},
            "surface_moisture": {"inputs": ["soil_water_content"], "hidden": [3]},
            "q10a": {"inputs": ["shortwave_in_1d"], "hidden": [3]},
        },
        weights={"latent_heat": 0.5, "nee": 0.5, "sensible_heat": 0.3},
    ).double()
    torch.manual_seed(2)
    for closure in model.closures.values():
        torch.nn.init.normal_(closure.network.head.weight, std=0.3)
    batch = data.parts["train"].__getitems__(range(BATCH))

    def loss():
        fluxes = model.fluxes(batch)
        assert fluxes["converged"].all()
        return model.batch_loss(batch, fluxes).loss + model.penalty(fluxes, batch)

    model.zero_grad()
    loss().backward()
    entries = [(f"raw {name}", p, ()) for name, p in physics.raw.items()]
    entries.append(("share", model.observation.raw, (0, 0)))
    for name, closure in model.closures.items():
        for part, p in closure.named_parameters():
            if part.endswith(("layers.0.weight", "head.weight", "head.bias")):
                steepest = int(p.grad.abs().flatten().argmax())
                entries.append((f"{name} {part}", p, tuple(int(i) for i in np.unravel_index(steepest, p.shape))))
    assert len(entries) == 2 + 1 + 6 * 3
    agree_with_central_differences(loss, entries)
    model.zero_grad()


@pytest.mark.slow
def test_twin_experiment_recovers_parameter_and_stress(physics, data, tower):
    model = hybrid(physics, network_lr=0.1, parameter_lr=0.1, schedule="cosine", tunable=["kball", "q10a"])
    held = physics.raw["kball"].register_hook(torch.zeros_like)  # it acts through its product with the stress only
    fit = trainer(max_epochs=60)
    fit.fit(model, datamodule=data)
    held.remove()
    assert fit.callback_metrics["train/not_converged"] == 0
    table = model.parameter_table()
    assert table.loc["q10a", "start"] == pytest.approx(5.0)
    assert table.loc["q10a", "value"] == pytest.approx(7.0, rel=0.01)
    assert table.loc["kball", "value"] == pytest.approx(11.0, rel=1e-12)
    assert fit.callback_metrics["val/NSE_LE"] > 0.995 and fit.callback_metrics["val/NSE_NEE"] > 0.995
    part = data.parts["val"]
    with torch.no_grad():
        stress = model.stress(part.forcing).numpy()
    truth, light = tower["stress_true"].values[part.row.numpy()], part.forcing["shortwave_in"].numpy() > 50
    assert np.sqrt(np.mean((stress - truth)[light] ** 2)) < 0.05


def test_the_second_epoch_starts_at_the_solutions_of_the_first(physics, data):
    """Fewer passes to the same solution and the same gradient; half-hours that nothing is known of start as usual."""
    data.setup()
    model = hybrid(physics, statistics=data.statistics).double()
    batch = data.parts["train"].__getitems__(range(BATCH))
    cold = model(batch["forcing"], batch["site"])
    first = model.trainable_fluxes(batch)
    known = model._memory.recall(batch["site"], batch["row"])
    known[::2] = torch.nan
    half = model(batch["forcing"], batch["site"], known)
    with torch.no_grad():
        for p in model.stress.parameters():
            p.mul_(0.98)
    moved = model(batch["forcing"], batch["site"])
    second = model.trainable_fluxes(batch)
    assert "state" not in first and "state" not in second and not half["state"].requires_grad
    for name in ("LE", "NEE", "passes"):
        assert torch.equal(first[name], cold[name]) and torch.equal(half[name][::2], cold[name][::2])
    assert (half["passes"][1::2] < cold["passes"][1::2]).all()
    assert second["passes"].double().mean() < 0.8 * moved["passes"].double().mean()
    assert second["converged"].all()
    for name in ("LE", "NEE"):
        assert (moved[name] - cold[name]).abs().max() > 1e-3  # the network did move
        torch.testing.assert_close(second[name], moved[name], rtol=0, atol=1e-7)
    gradients = [
        torch.autograd.grad(model.batch_loss(batch, fluxes).loss, list(model.stress.parameters()))
        for fluxes in (moved, second)
    ]
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9)


def test_a_ragged_batch_starts_at_the_states_of_its_own_rows(physics, tower):
    """Padded inside: the states that come back are those of the rows given, and start only these."""
    forcing = {name: torch.tensor(tower[name].values[:40]) for name in cv.FORCING_TABLE}
    stress = torch.full((40,), 0.7, dtype=torch.float64)
    with torch.no_grad():
        cold = physics(forcing, stress=stress, start=torch.full((40, physics.state_size), torch.nan))
        warm = physics(forcing, stress=stress, start=cold["state"])
    assert cold["state"].shape == (40, 5 * SITE.n_layers + 1)
    assert (warm["passes"] == 1).all() and (cold["passes"] > 3).all()
    assert torch.equal(warm["state"], cold["state"]) and torch.equal(warm["LE"], cold["LE"])


def test_constants_are_bit_identical_and_a_change_is_noticed(physics, data):
    before = {name: np.array(value) for name, value in physics.canopy.parameters.values.items()}
    model = hybrid(physics)
    trainer(max_steps=2).fit(model, datamodule=data)
    for name, value in physics.canopy.parameters.values.items():
        assert np.array(value).tobytes() == before[name].tobytes(), name
    assert physics.raw["kball"].item() != model.start_kball.item()
    check, fit = ConstantsUnchanged(physics), trainer()
    check.on_fit_start(fit, model)
    kept = physics.canopy.parameters
    physics.canopy.parameters = kept.replace({"hkin": 99_999.0})
    with pytest.raises(RuntimeError, match="hkin"):
        check.on_fit_end(fit, model)
    physics.canopy.parameters = kept


def test_checkpoint_needs_neither_data_nor_arguments(data, tmp_path):
    model = HybridCanopy(
        [SITE],
        tunable=["kball", "par_reflect", "par_trans"],
        parameters={"vcopt": 90.0, "kball": 9.0},
        stress="soil_moisture",
        solver=TIGHT,
    )
    data.setup()
    model.set_statistics(data.statistics)
    with torch.no_grad():
        model.physics.raw["kball"] += 0.3
    fit = trainer()
    fit.strategy.connect(model)
    fit.save_checkpoint(tmp_path / "model.ckpt")
    again = HybridCanopy.load_from_checkpoint(tmp_path / "model.ckpt")
    assert again.sites == (SITE,) and again.physics.canopy.parameters.vcopt == 90.0
    assert again.physics.canopy.options == cv.SolverOptions(**TIGHT)
    for (name, a), (_, b) in zip(model.state_dict().items(), again.state_dict().items(), strict=True):
        assert torch.equal(a, b), name
    table = again.parameter_table()
    assert table.equals(model.parameter_table())
    assert table.loc["kball", "start"] == pytest.approx(9.0) and table.loc["kball", "value"] > 9.5
    assert table.loc["par_trans", "upper"] == pytest.approx(0.999 - table.loc["par_reflect", "value"])
    assert again.physics.parameter_values()["par_reflect"].item() == pytest.approx(0.05)


PROBE = """
import sys
import jax, numpy as np, torch
from canveg_jax import FORCING_TABLE
from canveg_jax.synthetic import synthetic_weather
from lightning_modules import HybridCanopy

site = {"preset": "US-Bi1", "n_layers": 1}
model = HybridCanopy([site], tunable=["kball"], stress="soil_moisture")
weather = synthetic_weather(model.sites[0], days=1, seed=1, aridity=0.6, start="2019-06-01")
forcing = {name: torch.tensor(weather[name].values[16:32]) for name in FORCING_TABLE}
forcing["soil_water_content"] = torch.linspace(0.06, 0.09, 16, dtype=torch.float64)  # on the ramp
fluxes = model(forcing)
fluxes["LE"].sum().backward()
gradients = {name: p.grad.numpy() for name, p in model.named_parameters()}
values = {"LE": fluxes["LE"].detach().numpy(), "table": model.parameter_table()[["start", "value"]].to_numpy(), **gradients}
np.savez(sys.argv[1], x64=jax.config.jax_enable_x64, **values)
"""


@pytest.mark.slow
def test_double_precision_whatever_the_setting_of_jax(tmp_path):
    """A process that never touches JAX's settings gets the numbers of one in double precision, and keeps its setting."""
    results = []
    for setting in ("0", "1"):
        environment = {
            **os.environ,
            "JAX_ENABLE_X64": setting,
            "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".cache" / "jax"),
        }
        command = [sys.executable, "-c", PROBE, str(tmp_path / f"{setting}.npz")]
        subprocess.run(command, cwd=ROOT, env=environment, check=True)
        results.append(np.load(tmp_path / f"{setting}.npz"))
    without, with_x64 = results
    assert (bool(without["x64"]), bool(with_x64["x64"])) == (False, True)
    assert {"physics.raw.kball", "stress.raw"} <= set(without.files)
    for name in set(without.files) - {"x64"}:
        assert without[name].dtype == np.float64 and np.abs(without[name]).min() > 0, name
        np.testing.assert_array_equal(without[name], with_x64[name], err_msg=name)


def test_the_program_of_another_site_is_the_same():
    """So it is found in the compilation cache: site constants are arguments of it."""

    def program(**constants):
        physics = TorchCanopy(cv.Canopy(SITE.model_copy(update=constants)), tunable=("kball",))
        site = {name: getattr(physics.solver, f"site_{name}").numpy() for name in vars(physics.canopy.site_arrays)}
        forcing = {name: np.ones(8) for name in cv.FORCING_TABLE}
        arguments = {"kball": np.zeros(())}, forcing, np.ones(8), None, site, None, {}
        own = type(physics.solver.bridged)(physics.canopy, False)  # canopies of equal programs share this object
        return jax.jit(own._fluxes).lower(*arguments).as_text()

    assert program() == program(latitude=10.0, lai_scale=0.3, name="elsewhere")


def test_parameters_close_to_a_bound_are_named():
    model = HybridCanopy([SITE], tunable=["kball", "ep"], parameters={"kball": 19.95, "ep": 0.96}, stress=None)
    assert model.parameter_table()["near_bound"].to_dict() == {"kball": True, "ep": False}


def test_unknown_parameters_are_refused():
    with pytest.raises(cv.UnknownParameterError, match="Did you mean 'kball'"):
        HybridCanopy([SITE], tunable=["kbal"])
    with pytest.raises(ValueError, match="outside its training range"):
        HybridCanopy([SITE], tunable=["kball"], parameters={"kball": 30.0})


def test_training_in_float32(tower):
    data = FluxTowerDataModule(
        datasets=[(SITE, tower)], block_days=0.5, batch_size=BATCH, test_fraction=0.2, dtype="float32", val_every=0
    )
    model = HybridCanopy([SITE], tunable=["kball"], stress={"module": "network", "hidden": [4]})
    before = [p.detach().clone() for p in model.parameters()]
    fit = trainer(max_steps=2)
    fit.fit(model, datamodule=data)
    assert np.isfinite(float(fit.callback_metrics["train/loss"])) and fit.callback_metrics["train/skipped_steps"] == 0
    assert all(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_a_network_in_the_loop_is_trained_and_comes_back_from_its_checkpoint(tower, tmp_path):
    data = FluxTowerDataModule(
        datasets=[(SITE, tower)], block_days=0.5, batch_size=BATCH, test_fraction=0.2, dtype="float64", val_every=0
    )
    stress = {"module": "in_loop", "inputs": ["leaf_vpd", "soil_water_content"], "hidden": [3]}
    model = HybridCanopy([SITE], tunable=["kball"], stress=stress)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    assert set(before) >= {"physics.raw.kball", "physics.in_loop.perceptron.head.weight"}
    fit = trainer(max_steps=2)
    fit.fit(model, datamodule=data)
    assert fit.callback_metrics["train/skipped_steps"] == fit.callback_metrics["train/not_converged"] == 0
    assert all(not torch.equal(before[name], p) for name, p in model.named_parameters())
    assert model.in_loop.input_sd[1] == pytest.approx(data.statistics.inputs["soil_water_content"].sd)
    rates = {id(p): group["lr"] for group in fit.optimizers[0].param_groups for p in group["params"]}
    assert len(rates) == len(before), "every weight is in one group, once"
    fit.save_checkpoint(tmp_path / "model.ckpt")
    again = HybridCanopy.load_from_checkpoint(tmp_path / "model.ckpt")
    batch = data.parts["train"].__getitems__(range(BATCH))
    with torch.no_grad():
        ours, theirs = (m(batch["forcing"], batch["site"]) for m in (model, again))
    assert torch.equal(ours["LE"], theirs["LE"]) and ((ours["stress"] > 0) & (ours["stress"] <= 1)).all()
    with pytest.raises(ValueError, match="part of the physics"):
        HybridCanopy([SITE], stress="in_loop", physics=model.physics)


def test_sites_with_parameters_of_their_own(physics, tower):
    """A batch that mixes two sites gives each the fluxes it has with its own constants and its own parameter."""
    sites = [SITE, cv.Site.named("US-Hn1", n_layers=1, lai_scale=1.0)]
    rows = slice(20, 28)
    forcing = {name: torch.tensor(tower[name].values[rows]) for name in cv.FORCING_TABLE}
    mixed = HybridCanopy(sites, tunable=["kball"], stress=None, per_site=True, solver=TIGHT)
    set_parameters(mixed.physics, {"kball": [6.0, 12.0]})
    index = torch.tensor([0, 1] * 4)
    with torch.no_grad():
        together = mixed(forcing, index)["LE"]
        apart = [mixed(forcing, torch.full((8,), i))["LE"] for i in range(2)]
        set_parameters(physics, {"kball": 6.0, "q10a": 5.0})
        alone = physics(forcing)["LE"]
    assert (apart[0] - apart[1]).abs().min() > 0.1
    torch.testing.assert_close(apart[0], alone, rtol=1e-8, atol=1e-7)
    for i in range(2):
        torch.testing.assert_close(together[index == i], apart[i][index == i], rtol=1e-8, atol=1e-7)
    table = mixed.parameter_table()
    assert table.loc[("kball", "US-Hn1"), "value"] == pytest.approx(12.0)


def test_a_half_hour_without_solution_does_not_spoil_the_gradient_of_the_others(physics, data):
    data.setup()
    # Without warm starts: they would let the second solution start elsewhere and end, within the tolerance, elsewhere.
    model = hybrid(physics, statistics=data.statistics, warm_start=False)
    gradients = []
    for poison in (None, 5):
        batch = data.parts["train"].__getitems__(range(BATCH))
        batch["measured"] = {name: mask & (torch.arange(BATCH) != 5) for name, mask in batch["measured"].items()}
        if poison is not None:
            batch["forcing"]["pressure"][poison] = torch.nan
            batch["forcing"]["soil_water_content"][poison] = torch.inf  # an input of the network
        fluxes = model.trainable_fluxes(batch)
        assert bool(fluxes["converged"][5]) == (poison is None)
        model.zero_grad()
        model.batch_loss(batch, fluxes).loss.backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    for clean, poisoned in zip(*gradients, strict=True):
        assert torch.equal(poisoned, clean)
