"""The exported hybrid: a fresh process with jax and numpy alone computes what the hybrid computes."""

import json
import os
import subprocess
import sys
import textwrap

import jax
import numpy as np
import pytest
import torch

import canveg_jax as cv
from bridges.canopy_batch import with_stand_ins
from canveg_jax.forcing import STAND_IN
from lightning_modules import HybridCanopy
from lightning_modules.closures.closure import LEAF_AREA
from lightning_modules.standalone.networks import Networks, columns_of, networks_function
from lightning_modules.standalone.program import export_model
from lightning_modules.standalone.run import load
from tests.lightning.sharing.test_stored_model import moved
from tests.lightning.towers import SITE, BoringCanopy

CLOSURES = {
    "capacity": {"hidden": [3], "inputs": ["lai_7d", "air_temperature"]}, "leaf_area": {"hidden": [3], "inputs": ["lai"]},
    "q10a": {"hidden": [3], "gru": {"days": 2, "hidden": 2}},
}  # fmt: skip
OTHER = cv.Site.named("US-Hn1", n_layers=1)
MODELS = {
    "one site, all closures": {
        "sites": [SITE], "tunable": ["kball", "q10a"], "stress": {"module": "network", "hidden": [3], "monotone": True},
        "closures": CLOSURES, "weights": {"latent_heat": 0.5, "sensible_heat": 0.5}, "observation": "two",
    },
    "two sites, a scheme": {"sites": [SITE, OTHER], "per_site": True, "tunable": ["kball"], "stress": "soil_moisture"},
    "in the loop": {"sites": [SITE], "tunable": [], "stress": {"module": "in_loop", "hidden": [3]}},
}  # fmt: skip


def hybrid(kind: str) -> HybridCanopy:
    """In double precision, with weights that matter."""
    model = HybridCanopy(**MODELS[kind]).double().eval()
    moved(model)
    return model


def half_hours(model: HybridCanopy, n: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Mild days, the fifth half-hour with a CO2 that is refused."""
    random = np.random.default_rng(seed)
    columns = {name: random.uniform(-1.0, 1.0, (n, *shape)) for name, shape in columns_of(model).items()}
    columns |= {name: np.full(n, value) for name, value in STAND_IN.items()}
    columns["shortwave_in"], columns["hour"] = np.linspace(0.0, 900.0, n), random.uniform(9.0, 15.0, n)
    columns["air_temperature"], columns["lai"] = random.uniform(8.0, 30.0, n), random.uniform(0.5, 4.0, n)
    columns["soil_water_content"] = random.uniform(0.08, 0.3, n)
    columns["longwave_in"][::2] = np.nan
    if n > 4:
        columns["co2"][4] = 1e9
    return columns


@pytest.mark.parametrize("kind", list(MODELS))
def test_the_networks_in_jax_are_those_in_torch(kind):
    model = hybrid(kind)
    function, params = networks_function(model, torch.float64)
    columns = half_hours(model, 7)
    site = np.arange(7, dtype=np.int32) % len(model.sites)
    several = len(model.sites) > 1
    found = jax.jit(function)(params, columns, site if several else None)
    given = {name: torch.tensor(column) for name, column in columns.items()}
    with torch.no_grad():
        expected = Networks(model)(given, torch.tensor(site) if several else None)
        if model.stress is not None:
            expected["stress"] = {"factor": model.stress(expected["seen"] if several else with_stand_ins(given))}
    kinds = ("z", "factors", "shifts", "forcing", "stress", "features")
    assert any(expected[kind] for kind in kinds)
    for group in kinds:
        assert found[group].keys() == expected[group].keys()
        for name, values in expected[group].items():
            np.testing.assert_allclose(found[group][name], values.numpy(), rtol=1e-13, atol=1e-14, err_msg=name)
    if kind == "one site, all closures":
        assert LEAF_AREA in found["forcing"] and not np.array_equal(found["forcing"][LEAF_AREA], columns["lai"])


FRESH = """
    import sys, numpy as np
    sys.path.insert(0, {folder!r})
    from run import load
    canopy = load({folder!r})
    for name in ("many", "few"):
        np.savez({out!r} + "/" + name + "-out.npz", **canopy(dict(np.load({out!r} + "/" + name + ".npz"))))
    try:
        canopy({{"lai": [1.0]}})
    except ValueError as error:
        assert "air_temperature" in str(error)
    heavy = {{"torch", "canveg_jax", "bridges", "lightning_modules", "equinox", "xarray"}} & set(sys.modules)
    assert not heavy, heavy
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(MODELS))
def test_a_fresh_process_with_jax_alone_computes_the_same(kind, tmp_path):
    """Fluxes, flags, stress and shares, of two batch sizes; in double precision to the last digits."""
    model = hybrid(kind)
    folder = export_model(model, tmp_path / "program")
    several, expected = len(model.sites) > 1, {}
    for name, n in (("many", 11), ("few", 3)):
        columns = half_hours(model, n, seed=n)
        site = np.arange(n) % len(model.sites)
        np.savez(tmp_path / f"{name}.npz", **columns, **({"site": site} if several else {}))
        with torch.no_grad():
            given = {column: torch.tensor(values) for column, values in columns.items()}
            out = model(given, torch.tensor(site))
            seen = model.as_observed(dict(out), {"site": torch.tensor(site)})
        expected[name] = {column: values.numpy() for column, values in out.items()}
        if model.observation is not None:
            expected[name] |= {f"{flux}_observed_equivalent": seen[flux].numpy() for flux in ("LE", "H")}
    code = textwrap.dedent(FRESH).format(folder=str(folder), out=str(tmp_path))
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, check=True, env=environment)
    for name, columns in expected.items():
        found = dict(np.load(tmp_path / f"{name}-out.npz"))
        assert found.keys() == columns.keys()
        for column, values in columns.items():
            if column in ("converged", "reason", "passes"):
                np.testing.assert_array_equal(found[column], values, err_msg=column)
            else:
                np.testing.assert_allclose(found[column], values, rtol=1e-12, atol=1e-12, err_msg=f"{name} {column}")
    assert not found["converged"][4:5].any() and expected["many"]["converged"].sum() == 10
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["inputs"]["co2"]["unit"] == "umol mol-1" and manifest["outputs"]["LE"]["unit"] == "W m-2"
    assert manifest["inputs"]["longwave_in"]["optional"] and manifest["inputs"]["lai"]["shape"] == ["batch"]
    assert set(manifest["outputs"]) == set(found) and all("meaning" in entry for entry in manifest["outputs"].values())


DERIVATIVE = """
    import json, sys, numpy as np, jax, jax.numpy as jnp
    from jax import export
    jax.config.update("jax_enable_x64", True)
    folder, out = {folder!r}, {out!r}
    program = export.deserialize(bytearray(open(folder + "/program.stablehlo", "rb").read()))
    arrays, columns = dict(np.load(folder + "/arrays.npz")), dict(np.load(out + "/few.npz"))
    loss = lambda arrays: jnp.sum(program.call(arrays, columns)["LE"])
    np.savez(out + "/gradient.npz", **jax.grad(loss)(arrays))
"""


@pytest.mark.slow
def test_the_derivative_goes_along(tmp_path):
    """Of the fluxes to every number of the model, through the fixed point."""
    model = HybridCanopy([SITE], tunable=["kball"], stress={"module": "network", "hidden": [2]}).double().eval()
    moved(model)
    folder = export_model(model, tmp_path / "program", platforms=("cpu",), derivatives=True)
    columns = half_hours(model, 3)
    np.savez(tmp_path / "few.npz", **columns)
    code = textwrap.dedent(DERIVATIVE).format(folder=str(folder), out=str(tmp_path))
    subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, check=True)
    model({name: torch.tensor(column) for name, column in columns.items()})["LE"].sum().backward()
    found = dict(np.load(tmp_path / "gradient.npz"))
    expected = {"canopy/raw/kball": model.physics.raw["kball"].grad}
    expected |= {f"networks/stress.{name}": p.grad for name, p in model.stress.named_parameters()}
    for name, gradient in expected.items():
        assert gradient.abs().max() > 0
        np.testing.assert_allclose(found[name], gradient.numpy(), rtol=1e-6, err_msg=name)


def test_other_physics_and_full_folders_are_refused(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.tex").write_text("text")
    with pytest.raises(FileExistsError, match="holds something else"):
        export_model(hybrid("in the loop"), tmp_path / "full")
    with pytest.raises(ValueError, match="BoringCanopy; only bridges.TorchCanopy"):
        export_model(HybridCanopy([SITE], physics=BoringCanopy()), tmp_path / "program")
    assert not (tmp_path / "program").exists()


def test_the_loader_refuses_files_that_were_changed(tmp_path):
    (tmp_path / "program.stablehlo").write_bytes(b"other")
    (tmp_path / "manifest.json").write_text(json.dumps({"sha256": {"program.stablehlo": "0" * 64}}))
    with pytest.raises(ValueError, match=r"program.stablehlo is not the file that was exported.*Export again"):
        load(tmp_path)
