"""A model as a folder: the same bits come back, nothing in it is run, and what is damaged or foreign is refused in one line."""

import json
import pickle
import sys

import lightning as L
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from bridges import InLoop
from canveg_jax import Site
from canveg_jax.files import sha256
from lightning_modules import FluxNetwork, FluxTowerDataModule, HybridCanopy
from lightning_modules.sharing.stored_model import FORMAT_VERSION
from tests.lightning.towers import SITE, BoringCanopy, boring_tower

TINY = {"hidden": [3]}
KINDS = {
    "network": {"stress": {"module": "network", **TINY, "monotone": True}, "tunable": ["kball", "vcopt"]},
    "in the loop": {"stress": {"module": "in_loop", **TINY}, "tunable": []},
    "scheme": {"stress": {"module": "soil_moisture", "wilting_point": 0.07}, "tunable": ["kball"]},
    "closures": {
        "stress": None,
        "closures": {"capacity": TINY, "leaf_area": {**TINY, "inputs": ["lai"]}, "q10a": {**TINY, "range": 0.5, "lr": 1e-3}},
    },
    "memory": {"stress": "feddes", "closures": {"soil_respiration": {**TINY, "gru": {"days": 3, "hidden": 2}}}},
    "observation": {
        "stress": None, "tunable": ["kball"], "observation": {"factors": "two"},
        "weights": {"latent_heat": 0.5, "sensible_heat": 0.5}, "loss": {"latent_heat": "huber", "sensible_heat": "squared"},
    },
    "two sites": {
        "sites": [SITE, Site.named("US-Hn1", n_layers=1)], "per_site": True, "tunable": ["kball"],
        "random_error": {"latent_heat": [8.8, 0.13]}, "solver": {"max_passes": 77},
        "stages": [{"epochs": 1, "hold": ["stress"]}, {}],
    },
}  # fmt: skip


def moved(model: nn.Module) -> None:
    """Numbers that no constructor would choose."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(0.1 * torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype))


def assert_same(one: nn.Module, other: nn.Module) -> None:
    here, there = one.state_dict(), other.state_dict()
    assert here.keys() == there.keys()
    for name, tensor in here.items():
        assert tensor.dtype == there[name].dtype, name
        assert tensor.numpy().tobytes() == there[name].numpy().tobytes(), name


@pytest.fixture(scope="module")
def data():
    module = FluxTowerDataModule(datasets=[(SITE, boring_tower(8))], block_days=2, batch_size=128, seed=0)
    module.setup()
    return module


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_kind_comes_back_bit_for_bit(kind, data, tmp_path):
    options = {"sites": [SITE], **KINDS[kind]}
    model = HybridCanopy(**options)
    model.set_statistics(data.statistics)
    moved(model)
    model.save_pretrained(tmp_path / "model")
    again = HybridCanopy.from_pretrained(tmp_path / "model")
    assert again.hparams == model.hparams and again.sites == model.sites
    assert again.statistics == model.statistics and not again.training
    assert_same(model, again)
    assert {name: value.tobytes() for name, value in again.physics.fixed_constants().items()} == {
        name: value.tobytes() for name, value in model.physics.fixed_constants().items()
    }
    assert {path.suffix for path in (tmp_path / "model").iterdir()} == {".json", ".safetensors", ".md"}
    assert len({path.stat().st_mode for path in (tmp_path / "model").iterdir()}) == 1


def test_predictions_of_a_trained_model_are_the_same_bits(data, tmp_path):
    """From the folder and from the checkpoint, of training with single-precision networks."""
    trainer = L.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False, max_epochs=1,
        default_root_dir=tmp_path,
    )  # fmt: skip
    model = HybridCanopy([SITE], physics=BoringCanopy(), stress={"module": "network", **TINY})
    trainer.fit(model, datamodule=data)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    model.save_pretrained(tmp_path / "model")
    batch = next(iter(data.val_dataloader()))
    expected = model.eval().fluxes(batch)
    for path in (tmp_path / "model", tmp_path / "last.ckpt"):
        replaced = {"physics": BoringCanopy()}
        again = HybridCanopy.from_pretrained(path, **replaced)
        assert again.statistics == data.statistics
        for name, value in again.fluxes(batch).items():
            assert torch.equal(value, expected[name]), name


def test_a_network_without_physics_comes_back(data, tmp_path):
    network = FluxNetwork(["lai", "air_temperature"], [4], gru={"days": 2, "hidden": 2})
    network.set_statistics(data.statistics)
    network.save_pretrained(tmp_path / "model")
    again = FluxNetwork.from_pretrained(tmp_path / "model")
    assert again.hparams == network.hparams
    assert_same(network, again)
    with pytest.raises(ValueError, match="holds a FluxNetwork, not a HybridCanopy"):
        HybridCanopy.from_pretrained(tmp_path / "model")


def test_a_matrix_of_the_users_own_goes_along(tmp_path, data):
    rows = "".join(f"{2.0 / 3.0 + 0.1 * (50 - i)}\n" for i in range(51))
    (tmp_path / "mine.csv").write_text(rows)
    site = SITE.model_copy(update={"dispersion": tmp_path / "mine.csv", "name": "Mine"})
    model = HybridCanopy([site], stress=None)
    model.set_statistics(data.statistics)
    model.save_pretrained(tmp_path / "model")
    (tmp_path / "mine.csv").unlink()
    (tmp_path / "model").rename(tmp_path / "elsewhere")
    again = HybridCanopy.from_pretrained(tmp_path / "elsewhere")
    mine, its = (m.physics.canopy.site_arrays.dispersion for m in (model, again))
    assert mine.tobytes() == its.tobytes() and mine[0] != 0.0
    again.save_pretrained(tmp_path / "third")
    assert (tmp_path / "third/dispersion-0.csv").read_text() == (tmp_path / "elsewhere/dispersion-0.csv").read_text()


# --- modules of others


class Mine(nn.Module):
    """A user's network outside of the solver."""

    def __init__(self, width: int = 2):
        super().__init__()
        self.scale = nn.Parameter(torch.full((width,), 0.3))

    def forward(self, columns):
        return self.scale.sum() * columns["lai"]


def test_modules_of_the_user_are_given_or_allowed_never_imported(tmp_path, data, monkeypatch):
    model = HybridCanopy([SITE], stress=Mine(), closures={"q10a": {"network": Mine(3), "range": 0.4}})
    model.set_statistics(data.statistics)
    model.save_pretrained(tmp_path / "given")
    with pytest.raises(ValueError, match="test_stored_model.Mine"):
        HybridCanopy.from_pretrained(tmp_path / "given")
    again = HybridCanopy.from_pretrained(tmp_path / "given", stress=Mine(), closures={"q10a": Mine(3)})
    assert_same(model, again)
    assert again.closures.named()["q10a"].range == 0.4

    (tmp_path / "evil_module.py").write_text("raise SystemExit('code was run')\n")
    monkeypatch.syspath_prepend(tmp_path)
    model = HybridCanopy(
        [SITE], closures={"q10a": {"network": {"class_path": f"{__name__}.Mine", "init_args": {"width": 3}}}}
    )
    model.set_statistics(data.statistics)
    model.save_pretrained(tmp_path / "named")
    assert_same(model, HybridCanopy.from_pretrained(tmp_path / "named", allow=(f"{__name__}.Mine",)))
    described = tmp_path / "named/model.json"
    described.write_text(described.read_text().replace(f"{__name__}.Mine", "evil_module.Mine"))
    with pytest.raises(ValueError, match="evil_module.Mine, a class that is not part of this package"):
        HybridCanopy.from_pretrained(tmp_path / "named")
    assert "evil_module" not in sys.modules


def test_a_module_in_the_loop_of_the_user(tmp_path, data):
    def network():
        return InLoop(nn.Sequential(nn.Linear(1, 2), nn.Tanh(), nn.Linear(2, 1), nn.Sigmoid()), ["leaf_vpd"])

    model = HybridCanopy([SITE], stress=network(), tunable=[])
    model.set_statistics(data.statistics)
    model.save_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match="InLoop"):
        HybridCanopy.from_pretrained(tmp_path / "model")
    assert_same(model, HybridCanopy.from_pretrained(tmp_path / "model", stress=network()))


# --- folders that are no model


@pytest.fixture
def folder(tmp_path, data):
    model = HybridCanopy([SITE], physics=BoringCanopy(), stress={"module": "network", **TINY})
    model.set_statistics(data.statistics)
    return model.save_pretrained(tmp_path / "model")


def described(folder, **changes):
    content = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**content, **changes}))


def other_weights(folder, change):
    tensors = load_file(folder / "weights.safetensors")
    change(tensors)
    save_file(tensors, folder / "weights.safetensors")
    described(folder, sha256={"weights.safetensors": sha256(folder / "weights.safetensors")})


def truncated(folder):
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])


def twice(folder):
    text = (folder / "model.json").read_text()
    (folder / "model.json").write_text(text.replace('"kind":', '"kind": "FluxNetwork", "kind":', 1))


def another_matrix(folder):
    settings = json.loads((folder / "model.json").read_text())["settings"]
    settings["sites"][0]["dispersion"] = "/etc/hostname"
    described(folder, settings=settings)


def pickled(folder):
    (folder / "weights.safetensors").write_bytes(pickle.dumps({"a": 1}))
    described(folder, sha256={"weights.safetensors": sha256(folder / "weights.safetensors")})


DAMAGES = {
    "no model.json": (lambda f: (f / "model.json").unlink(), "has no model.json"),
    "no JSON": (lambda f: (f / "model.json").write_text("{"), "no JSON that can be read"),
    "another JSON": (lambda f: (f / "model.json").write_text('["a"]'), "does not describe a model"),
    "a key twice": (twice, "'kind' is there twice"),
    "a matrix of elsewhere": (another_matrix, "/etc/hostname, the dispersion matrix of a site, is none of its files"),
    "weights that are no numbers": (
        lambda f: other_weights(f, lambda t: t["stress.input_sd"].fill_(torch.nan)), "stress.input_sd holds numbers that are not"
    ),
    "format nought": (lambda f: described(f, format_version=0), "format version 0"),
    "a later format": (lambda f: described(f, format_version=FORMAT_VERSION + 1), "Install a later release"),
    "settings are a list": (lambda f: described(f, settings=[]), "settings is missing"),
    "unknown setting": (lambda f: described(f, settings={"sitess": []}), "sites"),
    "no weights": (lambda f: (f / "weights.safetensors").unlink(), "weights.safetensors is missing"),
    "half the weights": (truncated, "is not the file that was written"),
    "pickled weights": (pickled, "cannot be read"),
    "a tensor less": (lambda f: other_weights(f, lambda t: t.pop("target_sd")), "do not fit the settings"),
    "another shape": (
        lambda f: other_weights(f, lambda t: t.update({"stress.input_sd": torch.ones(9)})), "do not fit the settings"
    ),
    "a file outside": (lambda f: described(f, sha256={"weights.safetensors": "0", "../x": "0"}), "Copy the"),
}  # fmt: skip


@pytest.mark.parametrize("damage", list(DAMAGES))
def test_damaged_folders_are_refused_in_one_line(damage, folder):
    harm, message = DAMAGES[damage]
    harm(folder)
    with pytest.raises(ValueError, match=message) as error:
        HybridCanopy.from_pretrained(folder, physics=BoringCanopy())
    assert "\n" not in str(error.value)


def test_what_is_not_there_or_something_else_is_said(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist. Give a checkpoint"):
        HybridCanopy.from_pretrained(tmp_path / "absent")
    (tmp_path / "text.ckpt").write_text("text")
    with pytest.raises(ValueError, match="no checkpoint that can be read"):
        HybridCanopy.from_pretrained(tmp_path / "text.ckpt")
    torch.save({"state_dict": {}, "hyper_parameters": {"sites": []}, "canveg": {"format": 99}}, tmp_path / "later.ckpt")
    with pytest.raises(ValueError, match="checkpoint of format 99"):
        HybridCanopy.from_pretrained(tmp_path / "later.ckpt")
    model = HybridCanopy.from_pretrained(folder, physics=BoringCanopy())
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.tex").write_text("text")
    with pytest.raises(FileExistsError, match="holds something else"):
        model.save_pretrained(tmp_path / "full")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.tex"]
    model.save_pretrained(folder)
    HybridCanopy.from_pretrained(folder, physics=BoringCanopy())


def test_the_card_tells_ranges_parameters_and_what_is_not_known(folder):
    card = (folder / "README.md").read_text()
    assert "kball 8.17" in card and "Not recorded" in card and "Licence\n\nNot stated" in card
    row = next(line for line in card.splitlines() if line.startswith("| air_temperature |"))
    _, _, unit, mean, sd, low, high, _ = (cell.strip() for cell in row.split("|"))
    assert unit == "degC" and float(low) == pytest.approx(float(mean) - 4.0 * float(sd), rel=1e-2)
    assert float(high) > float(mean)
