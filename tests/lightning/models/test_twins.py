"""Twin experiments through the real canopy: what made the fluxes is found again from noisy LE and NEE with gaps.

One layer, 150 days, errors and gaps of eddy covariance. Errors are stated over the visited range of what the closure reads:
medians in ten classes of it, by day.
"""

import lightning as L
import numpy as np
import pytest
import torch

import canveg_jax as cv
from bridges import InLoop, TorchCanopy
from canveg_jax.synthetic import SYNTHETIC_SITES, synthetic_tower
from lightning_modules import FluxTowerDataModule, HybridCanopy

SITE = SYNTHETIC_SITES["SYN-Sem"].model_copy(update={"n_layers": 1})
DAYS = 150
BATCH = 512
SHARE = 0.8

pytestmark = pytest.mark.slow


class Truth(torch.nn.Module):
    """Stomata close with dry soil, and with the deficit at the leaf."""

    inputs = ("leaf_vpd", "soil_water_content")

    def forward(self, leaf):
        deficit, water = leaf.unbind(-1)
        return (0.1 + 0.85 * torch.sigmoid((water - 0.12) / 0.03)) / (1.0 + 0.15 * deficit)


def true_capacity(forcing):
    """Factor on both capacities: it follows the warmth of the soil."""
    return torch.exp(0.5 * torch.tanh((forcing["soil_temperature"] - 16.0) / 6.0))


def columns(weather):
    return {name: torch.tensor(weather[name].values) for name in cv.FORCING_TABLE if name in weather}


def tower(kind, seed):
    """A tower of noisy fluxes of the canopy with a known closure, and the closure's number by half-hour."""
    op = TorchCanopy(cv.Canopy(SITE), in_loop=InLoop(Truth(), Truth.inputs) if kind == "in_loop" else None)
    known = []

    def model(weather, stress):
        forcing, parts = columns(weather), []
        for rows in torch.arange(len(stress)).split(BATCH):
            part = {name: column[rows] for name, column in forcing.items()}
            moved = {}
            if kind == "capacity":
                factor = true_capacity(part)
                moved = op.moved_parameters(factors={"vcopt": factor, "jmopt": factor})
                known.append(factor)
            with torch.no_grad():
                parts.append(op(part, parameters=moved))
                if kind == "in_loop":
                    known.append(parts[-1]["in_loop_factor"])
        fluxes = {name: torch.cat([part[name] for part in parts]).numpy() for name in ("LE", "H", "G", "Rnet", "NEE")}
        return fluxes | ({name: SHARE * fluxes[name] for name in ("LE", "H")} if kind == "capacity" else {})

    made = synthetic_tower(SITE, DAYS, seed, model, True, True, start="2019-04-15", aridity=0.6)
    return made, torch.cat(known).numpy()


def trained(kind, made, seed):
    L.seed_everything(seed, verbose=False)
    data = FluxTowerDataModule(datasets=[(SITE, made)], block_days=3, batch_size=BATCH, seed=seed, predict_part="all")
    settings = {"tunable": [], "network_lr": 0.03 if kind == "in_loop" else 0.02, "schedule": "cosine"}
    if kind == "in_loop":
        settings["stress"] = {"module": "in_loop", "inputs": list(Truth.inputs), "hidden": [8]}
    else:
        settings["stress"] = None
        settings["closures"] = {"capacity": {"inputs": ["soil_temperature"], "hidden": [8]}}
        settings["weights"] = {"latent_heat": 0.5, "nee": 0.5, "sensible_heat": 0.05}
        settings["observation"] = {"factors": "one", "weight": 0.0}  # found from the fluxes alone
        settings["parameter_lr"] = 0.02
    model = HybridCanopy([SITE], **settings)
    trainer = L.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False, gradient_clip_val=1.0,
        max_epochs=60 if kind == "in_loop" else 20, enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(model, datamodule=data)
    outputs = trainer.predict(model, datamodule=data)
    batches = [batch for part in outputs for batch in part]
    rows = torch.cat([batch["row"] for batch in batches]).numpy()
    found = torch.cat(
        [b["stress"] if kind == "in_loop" else b["closures"]["closure_capacity"] for b in batches]
    ).numpy()
    return model, rows, found


@pytest.fixture(scope="module", params=["in_loop", "capacity"])
def twin(request):
    return request.param, *tower(request.param, 0)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.filterwarnings("ignore:.*half-hours have no solution")
def test_what_made_the_fluxes_is_found(twin, seed):
    """Capacity and share within 5 %. The stress in the loop is up to 9 % too high in the driest tenth, where LE is small."""
    kind, made, known = twin
    model, rows, found = trained(kind, made, seed)
    reads = made["soil_water_content" if kind == "in_loop" else "soil_temperature"].values[rows]
    day = made["shortwave_in"].values[rows] > 100
    classes = np.array_split(np.argsort(reads[day], kind="stable"), 10)
    errors = [np.median(found[day][c]) / np.median(known[rows][day][c]) - 1.0 for c in classes]
    print(f"{kind}, seed {seed}: errors in ten classes {np.round(errors, 3).tolist()}", end=" ")
    assert np.abs(errors).max() < (0.1 if kind == "in_loop" else 0.05)
    assert np.median(np.abs(errors)) < 0.05
    spread = np.ptp([np.median(known[rows][day][c]) for c in classes])
    assert spread > 0.15  # there is something to find
    if kind == "capacity":
        share = model.observation.shares()[0, 0].item()
        print(f"share {share:.3f} of {SHARE}")
        assert share == pytest.approx(SHARE, rel=0.05)
