"""Files of an invented tower, a base configuration and a plan of a comparison."""

from pathlib import Path

import yaml

from canveg_jax.synthetic.canopy_towers import write_prepared_csv
from tests.lightning.towers import SITE, boring_tower

BENCHMARKS = {
    "climatology": None,
    "1lin": None,
    "3km27": {"settings": {"clusters": 3}},
    "trees": {"settings": {"rounds": 20}},
}


def write_tower(folder: Path, days: int = 24) -> Path:
    """CSVs of a tower, and `base.yaml`, a configuration of `canveg fit` for it."""
    folder.mkdir(parents=True, exist_ok=True)
    tower = boring_tower(days=days, noise=True)
    tower["sensible_heat"].values[:] *= 0.8  # within what a tower may see
    write_prepared_csv(folder, SITE, tower)
    base = {
        "data": {
            "folder": str(folder),
            "towers": [{"site": "US-Bi1", "forcings": "US-Bi1-forcings.csv", "fluxes": "US-Bi1-fluxes.csv"}],
            "site_options": {"n_layers": 1}, "block_days": 1, "test_fraction": 0.25, "batch_size": 128,
        },
        "model": {
            "tunable": ["kball"], "closures": {"capacity": {"inputs": ["slow"]}}, "observation": "one", "stress": None,
            "weights": {"latent_heat": 0.5, "nee": 0.5, "sensible_heat": 0.05},
        },
        "trainer": {"max_epochs": 2, "accelerator": "cpu"},
    }  # fmt: skip
    (folder / "base.yaml").write_text(yaml.safe_dump(base))
    return folder / "base.yaml"


def write_plan(folder: Path, **content) -> Path:
    """A plan beside the base configuration, with the benchmarks and the split by time unless it says otherwise."""
    path = folder / "plan.yaml"
    plan = {
        "base": "base.yaml",
        "out": str(folder / "out"),
        "rows": BENCHMARKS,
        "bootstrap": {"samples": 200},
        **content,
    }
    path.write_text(yaml.safe_dump(plan, sort_keys=False))
    return path
