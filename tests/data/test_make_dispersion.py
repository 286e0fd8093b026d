"""The tool that makes the shipped dispersion matrices."""

from importlib import resources

import numpy as np

from canveg_jax import Site
from canveg_jax.data import make_dispersion
from canveg_jax.physics.dispersion import cache_key, generate, grid_of


def test_shipped_are_the_matrices_of_presets_and_synthetic_sites_and_no_other():
    folder = resources.files("canveg_jax") / "data" / "dispersion"
    shipped = {file.name for file in folder.iterdir()}
    assert shipped == {f"{cache_key(grid_of(site), None, None)}.npz" for site in make_dispersion.shipped_sites()}


def test_a_matrix_is_made_and_written(tmp_path, capsys, monkeypatch):
    site = Site.named("US-Whs", n_layers=2, n_air_layers=3, measurement_height=2.0)
    monkeypatch.setattr(make_dispersion, "shipped_sites", lambda: [site])
    make_dispersion.main(["--presets", str(tmp_path), "--particles", "1600"])
    (path,) = tmp_path.iterdir()
    with np.load(path) as content:
        assert content["particles"] == 1600 and content["share_cut"] == 0
        assert np.array_equal(content["matrix"], generate(grid_of(site), 1600, 0)[0].astype(np.float32))
    assert capsys.readouterr().out.startswith("US-Whs 2: largest standard error")
