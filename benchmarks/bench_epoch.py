"""Epochs of training of a hybrid canopy under Lightning, as `canveg fit` runs them.

    python -m benchmarks.bench_epoch
    python -m benchmarks.bench_epoch --site US-Bi1 --forcings forcings.csv --fluxes fluxes.csv

Two years of synthetic weather, or a tower's own files; all of the record is training. The first epoch compiles; the later
ones are timed, and must not trace anything. Without validation and logging, so that only the steps count.
"""

from __future__ import annotations

import argparse
import logging

import jax
import lightning as L

import canveg_jax as cv
from benchmarks.reporting import add_out, heading, markdown, publish
from benchmarks.training import EpochClock, invented_tower
from lightning_modules import FluxTowerDataModule, HybridCanopy, TowerFiles


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--site", default="US-Bi1", help="preset of the site constants")
    parser.add_argument("--forcings", help="CSV of the tower's forcing; default: synthetic weather")
    parser.add_argument("--fluxes", help="CSV of its fluxes")
    parser.add_argument("--days", type=int, default=731, help="of synthetic weather")
    parser.add_argument("--layers", type=int, default=50)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--dtype", default="float64", choices=["float64", "float32"])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--accelerator", default="cpu")
    add_out(parser)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    settings = {
        "site_options": {"n_layers": options.layers}, "batch_size": options.batch, "val_every": 0, "dtype": options.dtype,
    }  # fmt: skip
    if options.forcings:
        data = FluxTowerDataModule([TowerFiles(options.site, options.forcings, options.fluxes)], **settings)
    else:
        data = FluxTowerDataModule(datasets=[(cv.Site.named(options.site), invented_tower(options.days))], **settings)
    data.setup()
    model, clock = HybridCanopy(data.sites, stress="network", statistics=data.statistics), EpochClock()
    trainer = L.Trainer(
        max_epochs=options.epochs, accelerator=options.accelerator, devices=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0, gradient_clip_val=1.0, callbacks=[clock],
    )  # fmt: skip
    trainer.fit(model, data)
    n = len(data.parts["train"])
    source = "its own files" if options.forcings else "synthetic weather"
    what = (
        f"{options.site} ({source}): {n} half-hours, {options.layers} layers, {options.dtype}, batch {options.batch}.\n"
    )
    lines = [
        (k + 1, f"{seconds:.1f}", f"{seconds / n * 1e6:.0f}", f"{n / seconds:.0f}", f"{loss:.3f}")
        for k, (seconds, loss) in enumerate(zip(clock.seconds, clock.losses, strict=True))
    ]
    table = markdown(("epoch", "s", "us / half-hour", "half-hours / s", "training loss"), lines)
    publish("\n".join([heading("Epochs under Lightning") + what, table]), options.out)


if __name__ == "__main__":
    main()
