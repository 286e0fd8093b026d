# %% [markdown]
# # From a tower's file to the report
#
# What a flux-tower scientist does with a file: look at it, say in a YAML what is known of the site, train, read the
# report. The commands are those of a terminal; here they are called from Python (`canveg(["doctor", ...])` is
# `canveg doctor ...`) so that all can be run in one go. The tower is invented, so what the network should find is
# known.

# %%
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import yaml

from lightning_modules.cli.main import main as canveg

os.chdir(tempfile.mkdtemp(prefix="canveg-"))  # a folder of our own

# %% [markdown]
# ## The files
#
# `canveg synthetic data --days 60` writes four towers, humid to arid. We pretend that one of them is ours.

# %%
assert canveg(["synthetic", "data", "--days", "60"]) == 0
for path in sorted(Path("data").glob("SYN-Sem*")):
    print(f"\n{path.name}\n" + "\n".join(path.read_text().splitlines()[:4]))

# %% [markdown]
# ## Look at them first
#
# `canveg doctor` says which column was read for what, what is missing, whether the clock fits the sun and the fluxes
# the available energy. It ends with 0 (usable), 1 (usable, with warnings) or 2 (not usable).

# %%
verdict = canveg(["doctor", "data/SYN-Sem-forcings.csv", "data/SYN-Sem-fluxes.csv", "--site", "data/SYN-Sem.yaml"])
assert verdict < 2


# %%
def show(picture, width=9):
    """A picture file, as large as the page."""
    image = plt.imread(picture)
    figure = plt.figure(figsize=(width, width * image.shape[0] / image.shape[1]))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(image)
    axes.set_axis_off()
    plt.show()


show("doctor.png")

# %% [markdown]
# ## What is known of the site, and what is to be learned
#
# The site, the two files, one layer, a network on the stress of the stomata and one tuned parameter. Everything else
# has defaults: `canveg fit --config my_site.yaml --print_config` shows them.

# %%
config = {
    "data": {
        "folder": "data",
        "towers": [
            {
                "site": {
                    "name": "My-Site", "latitude": -34.2, "longitude": 146.2, "utc_offset": 10,
                    "canopy_height": 5.0, "measurement_height": 12.0, "stomata": "amphistomatous", "leaf_angle": "erectophile",
                },
                "forcings": "SYN-Sem-forcings.csv",
                "fluxes": "SYN-Sem-fluxes.csv",
            }
        ],
        "site_options": {"n_layers": 1},
        "block_days": 3,  # every fifth block of three days is validation
        "test_fraction": 0.2,  # the last fifth of the record
        "batch_size": 256,
    },
    "model": {
        "tunable": ["kball"],
        "stress": {"module": "network", "hidden": [8], "monotone": True},
        "weights": {"latent_heat": 0.5, "nee": 0.5},
        "network_lr": 0.03,
    },
    "trainer": {"max_epochs": 4, "enable_progress_bar": False, "enable_model_summary": False},
}  # fmt: skip
Path("my_site.yaml").write_text(yaml.safe_dump(config, sort_keys=False))

# %% [markdown]
# ## Train
#
# `canveg fit --config my_site.yaml`. The first step compiles, for a minute or so; the programs are kept for the next
# run.

# %%
assert canveg(["fit", "--config", "my_site.yaml"]) == 0
run = Path("runs/canveg/version_0")
print("\n".join(sorted(path.name for path in run.iterdir())))

# %% [markdown]
# ## Read the report
#
# `scores.csv` has the scores of each part, `report.png` the pictures. The test part was looked at once, at the end.

# %%
scores = pd.read_csv(run / "scores.csv")
print(scores[scores["part"] == "test"].to_string(index=False))

# %%
show(run / "report.png")

# %% [markdown]
# ## Again from the checkpoint
#
# `config.yaml` beside the checkpoint holds all that was set, so the predictions can be made again, or for other data.

# %%
checkpoint = run / "checkpoints" / "best.ckpt"
arguments = ["--config", str(run / "config.yaml"), "--ckpt_path", str(checkpoint)]
assert canveg(["predict", *arguments, "--output.predictions", "again.nc"]) == 0
assert Path("again.nc").exists()

# %% [markdown]
# ## Further
#
# * Your own file: [tower data, you downloaded this, type this](../../docs/tower-data.md).
# * What else may be learned: [closures](../../docs/closures.md). How training is set up:
#   [learning](../../docs/learning.md).
# * Is the hybrid better than straight lines? `canveg compare`: [experiments](../../docs/experiments.md).
