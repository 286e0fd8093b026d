"""A hybrid of sites with different layers: trained in one run with shared parameters, saved, shared, refused as it should be."""

import lightning as L
import numpy as np
import pytest
import torch

import canveg_jax as cv
from bridges import TorchCanopies, TorchCanopy
from canveg_jax.io.tower_files import TowerFiles
from lightning_modules import FluxTowerDataModule, HybridCanopy
from lightning_modules.sharing.stored_model import open_stored
from lightning_modules.standalone.program import HybridFunction
from tests.bridges.invented_canopy import invented
from tests.canopy.synthetic_sites import small_site
from tests.lightning.towers import boring_tower

LAYERS = (1, 2)
TUNED = ["kball", "q10a"]


@pytest.fixture(scope="module")
def sites(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sites")
    return [small_site(kind, n, folder) for kind, n in zip(("alfalfa", "shrub"), LAYERS, strict=True)]


@pytest.fixture(scope="module")
def data(sites):
    towers = [(site, boring_tower(2, i, site=site)) for i, site in enumerate(sites)]
    return FluxTowerDataModule(datasets=towers, block_days=0.5, val_every=0, batch_size=64, seed=0)


def trained(model, data):
    """After two epochs: the second starts each half-hour at its solution of the first."""
    trainer = L.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False, max_epochs=2,
        enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(model, datamodule=data)
    return model, trainer


@pytest.fixture(scope="module")
def fitted(data):
    """With an invented canopy."""
    model = HybridCanopy(data.sites, tunable=TUNED, stress=None, parameter_lr=0.1)
    invented(model.physics)
    return trained(model, data)


@pytest.mark.slow
def test_the_canopies_themselves_learn_together(data):
    """Every half-hour of both sites is solved, and both parameters move."""
    model, trainer = trained(HybridCanopy(data.sites, tunable=TUNED, stress="network", parameter_lr=0.1), data)
    assert trainer.callback_metrics["train/skipped_steps"] == 0
    moved = {n: not torch.equal(z, getattr(model, f"start_{n}")) for n, z in model.physics.raw.items()}
    assert moved == dict.fromkeys(TUNED, True)
    part = data.parts["train"]
    states = model._memory.recall(part.site, part.row)
    assert torch.isfinite(states[:, :6]).all(dim=1).double().mean() > 0.95


def test_a_run_trains_what_sites_of_different_layers_share(fitted, data):
    model, trainer = fitted
    assert isinstance(model.physics, TorchCanopies)
    for name, z in model.physics.raw.items():
        assert z.shape == () and z != getattr(model, f"start_{name}"), name
    assert trainer.callback_metrics["train/skipped_steps"] == 0
    for site, layers in enumerate(LAYERS):
        part = data.parts["train"]
        rows = part.row[part.site == site]
        states = model._memory.recall(torch.full_like(rows, site), rows)
        assert (states[:, : 5 * layers + 1] == layers + 1).all(), "solutions of the last epoch, from those of the first"
        assert states[:, 5 * layers + 1 :].isnan().all()
    again = HybridCanopy(data.sites, tunable=TUNED, stress=None)
    again.set_training_state(model.training_state())
    for site, known in model._memory.state().items():
        assert torch.equal(again._memory.state()[site]["row"], known["row"])


def test_checkpoint_and_shared_folder(fitted, tmp_path):
    model, trainer = fitted
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    one_form = HybridCanopy([model.sites[0]], tunable=TUNED, stress=None)
    assert list(model.state_dict()) == list(one_form.state_dict())
    for again in (
        HybridCanopy.load_from_checkpoint(tmp_path / "model.ckpt", map_location="cpu"),
        HybridCanopy.from_pretrained(model.save_pretrained(tmp_path / "folder")),
    ):
        assert isinstance(again.physics, TorchCanopies)
        assert all(
            torch.equal(a, b) for a, b in zip(again.physics.parameters(), model.physics.parameters(), strict=True)
        )
        assert again.parameter_table().equals(model.parameter_table())
        for site in range(2):
            ours, theirs = (m.physics.site_constants(site)["dispersion"] for m in (model, again))
            np.testing.assert_array_equal(ours, theirs)
    alone = HybridCanopy([model.sites[1]], tunable=TUNED, stress=None)  # as `canveg finetune` does
    alone.start_from(open_stored(tmp_path / "folder"), tmp_path / "folder")
    assert type(alone.physics) is TorchCanopy and torch.equal(alone.physics.raw["kball"], model.physics.raw["kball"])
    card = (tmp_path / "folder" / "README.md").read_text()
    assert "alfalfa: 1 layer(s)" in card and "shrub: 2 layer(s)" in card


def test_export_says_that_a_program_has_one_form(fitted):
    with pytest.raises(
        ValueError, match=r"export: a program has one form .*alfalfa: 1, 10, q10, storage.*canveg finetune"
    ):
        HybridFunction(fitted[0], torch.float64)


def test_each_site_has_its_own_parameters_where_that_is_wanted(sites):
    model = HybridCanopy(sites, tunable=TUNED, stress=None, per_site=True)
    assert model.physics.raw["kball"].shape == (2,)
    assert model.parameter_table().index.tolist() == [(p, s) for p in TUNED for s in ("alfalfa", "shrub")]


def test_sites_of_one_form_have_the_plain_canopy(sites):
    twin = sites[0].model_copy(update={"name": "twin", "lai_scale": 0.5})
    assert type(HybridCanopy([sites[0], twin], tunable=TUNED, stress=None).physics) is TorchCanopy


def test_towers_of_a_configuration_may_each_have_their_layers():
    """What a tower says of itself holds over what is said of all."""
    towers = [
        TowerFiles("US-Bi1", "a.csv"),
        TowerFiles("US-Me2", "b.csv", site_options={"n_layers": 50}),
        TowerFiles({"preset": "US-Whs", "soil_heat": "conduction"}, "c.csv"),
    ]
    data = FluxTowerDataModule(towers=towers, site_options={"n_layers": 1})
    assert [site.n_layers for site in data.sites] == [1, 50, 1]
    assert len({site.form for site in data.sites}) == 3
    assert data.sites[1].form == cv.Site.named("US-Me2").form
