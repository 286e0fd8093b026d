"""Sites: presets, YAML, refusals."""

import numpy as np
import pydantic
import pytest

from canveg_jax import SITES, Site


@pytest.mark.parametrize("name", list(SITES))
def test_presets(name):
    site = Site.named(name)
    assert site.name == name and site.n_layers == 50 and site.measurement_height > site.canopy_height
    assert Site.named(name, n_layers=1).n_layers == 1


def test_presets_are_the_published_set_ups(arrays, tower):
    site = Site.named(tower)
    codes = ["erectophile", "spherical", "planophile", "plagiophile", "extremophile", "uniform"]
    assert site.leaf_angle == codes[int(arrays["setup__leafangle"])]
    assert site.stomata == ["hypostomatous", "amphistomatous"][int(arrays["setup__stomata"])]
    assert site.soil_respiration == ["alfalfa", "q10"][int(arrays["setup__soilresp"])]
    numbers = {
        "latitude": "setup__latitude", "longitude": "setup__longitude", "utc_offset": "setup__time_zone",
        "canopy_height": "para__veg_ht", "measurement_height": "para__meas_ht", "soil_depth": "para__soil_depth",
        "n_layers": "setup__n_can_layers", "n_air_layers": "setup__n_atmos_layers",
    }  # fmt: skip
    for ours, theirs in numbers.items():
        assert np.isclose(getattr(site, ours), float(arrays[theirs]), rtol=1e-12), ours


def test_leaf_area_of_hanford_is_divided_by_ten():
    assert Site.named("US-Hn1").lai_scale == 0.1 and Site.named("US-Hn1", lai_scale=1.0).lai_scale == 1.0
    assert Site.named("US-Bi1").lai_scale == 1.0


def test_yaml_with_and_without_preset(tmp_path):
    path = tmp_path / "site.yaml"
    path.write_text("preset: US-Bi1\nn_layers: 3\n")
    assert Site.from_yaml(path) == Site.named("US-Bi1", n_layers=3)
    assert Site.from_yaml(path, canopy_height=0.5).canopy_height == 0.5
    path.write_text(
        "name: meadow\nlatitude: 50\nlongitude: 8\nutc_offset: 1\ncanopy_height: 0.4\nmeasurement_height: 3\n"
    )
    assert Site.from_yaml(path).name == "meadow"
    path.write_text("- 1\n- 2\n")
    with pytest.raises(ValueError, match="expected a mapping of site constants, got list"):
        Site.from_yaml(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"measurement_height": 0.5}, "measurement_height must exceed canopy_height; got 0.5 m and 0.8 m"),
        ({"latitude": 95}, "latitude"),
        ({"leaf_angle": "round"}, "leaf_angle"),
        ({"n_layers": 0}, "n_layers"),
        ({"canopy_heigth": 2.0}, "canopy_heigth"),
        ({"stomata": "both"}, "stomata"),
    ],
)
def test_refusals_name_the_field(changes, words):
    with pytest.raises(pydantic.ValidationError, match=words):
        Site.named("US-Bi1", **changes)


def test_unknown_preset_suggests_one():
    with pytest.raises(ValueError, match="unknown site preset 'US-Bi'.*Did you mean 'US-Bi1'"):
        Site.named("US-Bi")


def test_sites_are_frozen():
    with pytest.raises(pydantic.ValidationError):
        Site.named("US-Bi1").n_layers = 3
