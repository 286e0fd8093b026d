"""Going on from a trained model: what is not freed keeps its bits, inputs keep their scale, the rest is that of the new tower."""

import dataclasses

import lightning as L
import pytest
import torch

import canveg_jax as cv
from lightning_modules import FluxTowerDataModule, HybridCanopy
from lightning_modules.sharing.stored_model import open_stored
from tests.lightning.towers import SITE, BoringCanopy, boring_tower

OTHER = SITE.model_copy(update={"name": "Other"})


def data_of(site, seed, aridity=0.8):
    tower = boring_tower(10, seed, aridity=aridity)
    return FluxTowerDataModule(datasets=[(site, tower)], block_days=2, batch_size=128, seed=0)


def fitted(model, data, epochs=1):
    L.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False, max_epochs=epochs,
        enable_checkpointing=False,
    ).fit(model, datamodule=data)  # fmt: skip
    return model


def new(site=OTHER, **options):
    return HybridCanopy([site], physics=BoringCanopy(), stress={"module": "network", "hidden": [4]}, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model trained at one tower, shared."""
    torch.manual_seed(3)
    model = fitted(new(SITE, parameter_lr=0.1), data_of(SITE, 0))
    return model.save_pretrained(tmp_path_factory.mktemp("shared") / "model")


def bits(model):
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("free", ["stress", "kball"])
def test_only_what_is_free_moves(folder, free):
    stored = open_stored(folder)
    model, data = new(), data_of(OTHER, 1, aridity=0.2)
    model.start_from(stored, folder)
    model.free_only([free])
    fitted(model, data)
    after = bits(model)
    trained = {name for name, value in after.items() if not torch.equal(value, stored.tensors[name])}
    expected = {"physics.raw.kball"} if free == "kball" else {n for n in after if n.startswith("stress.perceptron")}
    # The prior pulls to the trained value, and the loss is in units of the new fluxes.
    assert trained - {"start_kball", "target_sd"} == expected
    assert torch.equal(after["start_kball"], stored.tensors["physics.raw.kball"])
    assert after["target_sd"][0] == data.statistics.targets["latent_heat"].sd
    assert model.hparams["freeze"] == (["stress"] if free == "kball" else ["kball"])
    assert model.parameter_table().loc["kball", "start"] != pytest.approx(8.17)


def test_inputs_keep_the_scale_and_the_statistics_of_before(folder):
    stored = open_stored(folder)
    model, data = new(), data_of(OTHER, 1, aridity=0.2)
    model.start_from(stored, folder)
    model.free_only(["stress"])
    fitted(model, data)
    before = stored.statistics["inputs"]["soil_water_content"]["mean"]
    assert data.statistics.inputs["soil_water_content"].mean != pytest.approx(before, rel=1e-3)
    assert model.statistics is not None
    assert model.statistics.inputs["soil_water_content"].mean == before
    assert model.statistics.targets == data.statistics.targets


def test_without_kept_statistics_the_networks_tell_them(folder):
    """As of checkpoints that do not hold them."""
    stored = dataclasses.replace(open_stored(folder), statistics=None)
    model = new()
    model.start_from(stored, folder)
    fitted(model, data_of(OTHER, 1))
    for name in ("stress.input_mean", "stress.input_sd"):
        assert torch.equal(model.state_dict()[name], stored.tensors[name])


def test_sites_with_values_of_their_own(tmp_path):
    """A site that was there keeps its value; another starts at the mean of the unconstrained ones."""
    first, second, third = (SITE.model_copy(update={"name": name}) for name in ("A", "B", "C"))
    options = {"tunable": ["kball"], "stress": None, "per_site": True, "observation": "none"}
    model = HybridCanopy([first, second], **options)
    with torch.no_grad():
        model.physics.raw["kball"].copy_(torch.tensor([0.25, -0.5]))
    model.save_pretrained(tmp_path / "model")
    again = HybridCanopy([second, third], **options)
    again.start_from(open_stored(tmp_path / "model"), tmp_path / "model")
    assert again.physics.raw["kball"].tolist() == [-0.5, -0.125]


def test_what_does_not_fit_is_said(folder):
    with pytest.raises(ValueError, match="so its weights do not fit"):
        HybridCanopy([OTHER], physics=BoringCanopy(), stress={"module": "network", "monotone": True}).start_from(
            open_stored(folder), folder
        )
    with pytest.raises(ValueError, match=r"stress\.perceptron.* is \[4.*expected \[5"):
        HybridCanopy([OTHER], physics=BoringCanopy(), stress={"module": "network", "hidden": [5]}).start_from(
            open_stored(folder), folder
        )
    with pytest.raises(ValueError, match="Did you mean 'stress'"):
        new().free_only(["strss"])
    with pytest.raises(ValueError, match="name at least one of kball, stress"):
        new().free_only([])


def test_a_parameter_may_be_tuned_from_now_on(tmp_path):
    HybridCanopy([SITE], tunable=[], stress={"module": "network", "hidden": [2]}).save_pretrained(tmp_path / "model")
    model = HybridCanopy([OTHER], tunable=["vcopt"], stress={"module": "network", "hidden": [2]})
    model.start_from(open_stored(tmp_path / "model"), tmp_path / "model")
    model.free_only(["vcopt"])
    value = model.physics.parameter_values()["vcopt"].item()
    assert value == pytest.approx(cv.PARAMETER_TABLE["vcopt"].default) and model.hparams["freeze"] == ["stress"]
