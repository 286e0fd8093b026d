"""What the benchmarks of training share: a tower with made-up fluxes, and a clock for Lightning's epochs."""

from __future__ import annotations

import time

import lightning as L
import numpy as np
import xarray as xr

from canveg_jax.synthetic import SYNTHETIC_SITES, synthetic_weather


def invented_tower(days: int) -> xr.Dataset:
    """Synthetic weather with made-up fluxes: what is learned does not matter here."""
    weather = synthetic_weather(SYNTHETIC_SITES["SYN-Hum"], days, seed=0)
    n = weather.sizes["time"]
    noise = np.random.default_rng(0).normal(size=(2, n))
    measured = {f"{t}_measured": ("time", np.ones(n, bool)) for t in ("latent_heat", "nee")}
    return weather.assign(latent_heat=("time", 100 + 80 * noise[0]), nee=("time", 8 * noise[1]), **measured)


class EpochClock(L.Callback):
    """Seconds and mean loss of each training epoch: all steps, without setting up the trainer."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.losses: list[float] = []

    def on_train_epoch_start(self, trainer, pl_module) -> None:
        self._start, self._of_batches = time.perf_counter(), []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self._of_batches.append(float(outputs["loss"]))

    def on_train_epoch_end(self, trainer, pl_module) -> None:
        self.seconds.append(time.perf_counter() - self._start)
        self.losses.append(float(np.mean(self._of_batches)))
