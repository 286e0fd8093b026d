"""A small training that every part of its state has a say in, to be interrupted and gone on with."""

import random
import sys
import time
import warnings
from pathlib import Path

import jax
import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import EarlyStopping

from lightning_modules import FluxTowerDataModule, HybridCanopy, RunCheckpoint
from lightning_modules.checkpoints.search import last_checkpoint, version_folders
from tests.lightning.towers import SITE, BoringCanopy, boring_tower


class SlowCanopy(BoringCanopy):
    """Comes half the way from where it starts to its solution at each call, so that the start has a say in what is learned."""

    def __init__(self, **options):
        super().__init__(**options)
        self.state_size = 1

    def forward(self, forcing, stress=None, start=None):
        out = super().forward(forcing, stress)
        if start is None:
            return out
        before = torch.where(start[:, 0].isnan(), 0.9 * out["LE"].detach(), start[:, 0].to(out["LE"].dtype))
        out["LE"] = 0.5 * (out["LE"] + before)
        return {**out, "state": out["LE"].detach()[:, None]}


class NoisyStress(torch.nn.Module):
    """A factor with noise from each of the global generators."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([0.1, 1.0]))

    def forward(self, forcing):
        water = (forcing["soil_water_content"] - 0.15) / 0.05
        noise = 0.1 * (torch.rand(len(water)) + np.random.rand() + random.random()) if self.training else 0.0
        return torch.sigmoid(self.weight[0] * water + self.weight[1] + noise)


class Killed(Exception):
    """The process is gone."""


class KillAt(L.Callback):
    """Ends the process, as it were, or does something else, in a hook of a step (counted over all epochs)."""

    def __init__(self, step, hook, act=None):
        self.step, self.act = step, act
        setattr(self, hook, self._maybe)

    def _maybe(self, trainer, *_, **__):
        if trainer.global_step >= self.step:
            if self.act is None:
                raise Killed
            self.act()


class Linger(L.Callback):
    """Takes its time over every step, so that another process can kill this one."""

    def on_train_batch_start(self, *_, **__):
        time.sleep(0.05)


HOOKS = (
    "on_train_batch_start", "on_before_optimizer_step", "on_train_batch_end", "on_train_epoch_start",
    "on_validation_batch_start", "on_validation_end", "on_train_epoch_end",
)  # fmt: skip


def data(seed=None, workers=0, **options):
    return FluxTowerDataModule(
        datasets=[(SITE, boring_tower(10, noise=True))],
        **{"block_days": 2, "test_fraction": 0.2, "batch_size": 48, "seed": seed, "num_workers": workers, **options},
    )


def train(
    folder: Path, seed=3, kill=None, epochs=3, callbacks=(), checkpoint="last", datamodule=None, save=2, **options
):
    """One process of a run: goes on from its last checkpoint. Returns model and trainer; `Killed` may come out of it."""
    L.seed_everything(seed, verbose=False)
    versions = version_folders(folder)
    found = last_checkpoint(v / "checkpoints" for v in versions) if checkpoint == "last" else None
    own = folder / f"version_{len(versions)}"
    physics = SlowCanopy(broken_above=700.0)
    model = HybridCanopy([SITE], physics=physics, stress=NoisyStress(), schedule="cosine", parameter_lr=0.1)
    saver = RunCheckpoint(
        dirpath=own / "checkpoints", filename="best", monitor="val/loss", save_last=True, last_every_n_steps=save
    )
    watchers = [EarlyStopping("val/loss", patience=2), saver, *callbacks]
    trainer = L.Trainer(
        **{
            "accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False,
            "max_epochs": epochs, "num_sanity_val_steps": 0, "default_root_dir": own,
            "callbacks": watchers if kill is None else [KillAt(*kill), *watchers], **options,
        }
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*did not converge.*")  # some half-hours are broken on purpose
        trainer.fit(model, datamodule=data() if datamodule is None else datamodule, ckpt_path=found and found.path)
    return model, trainer


def same(a, b, where=""):
    """Assert that two trees are alike to the last bit; paths are compared by the file's name."""
    assert type(a) is type(b), (where, a, b)
    if isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype and torch.equal(a.nan_to_num(-9e9), b.nan_to_num(-9e9)), (where, a, b)
    elif isinstance(a, dict):
        a, b = ({Path(k).name if isinstance(k, str) else k: v for k, v in x.items()} for x in (a, b))
        assert a.keys() == b.keys(), (where, a.keys() ^ b.keys())
        for key in a:
            same(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            same(x, y, f"{where}/{i}")
    elif isinstance(a, str) and "/" in a:
        if not where.endswith("dirpath"):
            assert Path(a).name == Path(b).name, (where, a, b)
    else:
        assert a == b or (a != a and b != b), (where, a, b)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)  # as in the tests, with which its weather is compared to the last bit
    torch.set_num_threads(1)
    train(Path(sys.argv[1]), callbacks=[Linger()])
