"""A trained hybrid as a folder that runs without this package: a program (StableHLO), arrays, manifest, loader.

The program is a function of the model's numbers and of columns of half-hours with a free batch size. Its numbers are
arguments: a parameter can be changed in `arrays.npz` without exporting again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax import export

from bridges import TorchCanopies, TorchCanopy
from bridges.canopy_function import canopy_function
from canveg_jax import FORCING_TABLE, REASONS
from canveg_jax.files import replacing, sha256
from canveg_jax.fluxes import FLUX_TABLE
from canveg_jax.io.antecedents import ANTECEDENTS
from canveg_jax.io.daily_weather import DAILY, DAILY_DRIVERS
from canveg_jax.solver.anderson import SMALLEST_BATCH
from canveg_jax.solver.batches import FORWARD_LAYERS
from canveg_jax.solver.stored_programs import traced_afresh
from canveg_jax.spelling import unknown

from ..models.hybrid_canopy import HybridCanopy
from ..models.observation import OBSERVED_FLUXES
from ..names import EQUIVALENT
from ..sharing.stored_model import versions
from .networks import columns_of, networks_function

FORMAT, FORMAT_VERSION = "canveg-program", 1
PROGRAM, ARRAYS, MANIFEST, LOADER = "program.stablehlo", "arrays.npz", "manifest.json", "run.py"

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")

Precision = Literal["float64", "float32"]


class HybridFunction:
    """A hybrid as `function(arrays, inputs) -> outputs`, pure JAX; `arrays` by name, `inputs` and `outputs` `[time]` by name.

    Args:
        model: trained, with the physics of `bridges.TorchCanopy`.
        dtype: of the computation.

    Raises:
        ValueError: another physics.
        NetworkError, UnsupportedOperatorError: a network that cannot be converted to JAX.
    """

    def __init__(self, model: HybridCanopy, dtype: torch.dtype):
        if isinstance(model.physics, TorchCanopies):
            forms = ", ".join(f"{site.name}: {site.form}" for site in model.sites)
            raise ValueError(
                "export: a program has one form of canopy, and these sites differ in n_layers, n_air_layers, soil_respiration or "
                f"soil_heat ({forms}). Train on from this model at the sites of one form (canveg finetune --from), and export "
                "that."
            )
        if not isinstance(model.physics, TorchCanopy):
            raise ValueError(
                f"export: the physics is {type(model.physics).__name__}; only bridges.TorchCanopy can be exported."
            )
        self.several = len(model.sites) > 1
        self.columns = columns_of(model)
        # Rows that are solved together are those of the batch: how a batch is cut into parts depends on its size.
        self._canopy, canopy_arrays = canopy_function(model.physics, dtype, rows_at_once=10**9)
        self._networks, network_arrays = networks_function(model, dtype)
        arrays: dict[str, Any] = {"canopy": canopy_arrays, "networks": network_arrays}
        self._observed = model.observation is not None
        if model.observation is not None:
            arrays["observed_share"] = jnp.asarray(model.observation.shares().detach().cpu().numpy())
        leaves = jax.tree_util.tree_leaves_with_path(arrays)
        self._structure = jax.tree.structure(arrays)
        self.arrays = {"/".join(str(key.key) for key in path): np.asarray(leaf) for path, leaf in leaves}

    def __call__(self, arrays: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Fluxes, flags, stress, numbers of the closures, and what the towers would see."""
        nested = jax.tree.unflatten(self._structure, [arrays[name] for name in self.arrays])
        site = inputs["site"] if self.several else None
        columns = {name: inputs[name] for name in self.columns}
        done = self._networks(nested["networks"], columns, site)
        forcing = {name: columns[name] for name in FORCING_TABLE} | done["forcing"]
        stress = done["stress"].get("factor")
        out = self._canopy(nested["canopy"], forcing, stress, site, done["features"], done["factors"], done["shifts"])
        used = out.pop("in_loop_factor", None) if stress is None else stress
        out["stress"] = jnp.ones_like(forcing["air_temperature"]) if used is None else used
        out |= {f"z_{name}": z for name, z in done["z"].items()}
        if self._observed:
            shares = nested["observed_share"][jnp.zeros_like(out["passes"]) if site is None else site]
            out |= {
                f"{name}{EQUIVALENT}": shares[:, i].astype(out[name].dtype) * out[name]
                for i, name in enumerate(OBSERVED_FLUXES)
            }
        return out


def export_model(
    model: HybridCanopy,
    folder: str | Path,
    *,
    dtype: Precision = "float64",
    platforms: Sequence[str] = ("cpu", "cuda"),
    derivatives: bool = False,
    run: Mapping[str, Any] | None = None,
) -> Path:
    """Write the program of a model, its arrays, a manifest and a loader (`run.py`) that needs jax and numpy alone.

    Args:
        model: trained; in evaluation mode after this.
        folder: made if it does not exist; files of an earlier export are replaced.
        dtype: of the columns, and so of the computation.
        platforms: that the program is for: `cpu`, `cuda`, `rocm`, `tpu`.
        derivatives: the program has its reverse derivative with it, so that `jax.grad` goes through it. Three times the size,
            and some minutes of tracing.
        run: what is known of the training, for the manifest.

    Raises:
        FileExistsError: the folder holds something else.
        ValueError: an unknown platform, or as `HybridFunction`.
        BridgeError: as `HybridFunction`.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / MANIFEST).is_file())):
        raise FileExistsError(f"{folder} holds something else than an exported model; name another folder.")
    for name in platforms:
        if name not in PLATFORMS:
            raise ValueError(unknown("platform", name, PLATFORMS))
    with jax.enable_x64(True), traced_afresh():
        function = HybridFunction(model.eval().cpu(), getattr(torch, dtype))
        (batch,) = export.symbolic_shape("batch", constraints=["batch >= 1", f"batch <= {SMALLEST_BATCH - 1}"])
        real = jnp.dtype(dtype)
        inputs = {name: jax.ShapeDtypeStruct((batch, *shape), real) for name, shape in function.columns.items()}
        if function.several:
            inputs["site"] = jax.ShapeDtypeStruct((batch,), jnp.int32)
        arrays = {name: jax.ShapeDtypeStruct(a.shape, a.dtype) for name, a in function.arrays.items()}
        exported = export.export(jax.jit(function.__call__), platforms=list(platforms))(arrays, inputs)
        program = exported.serialize(vjp_order=1 if derivatives else 0)
        outputs = jax.tree.unflatten(exported.out_tree, list(exported.out_avals))
    with replacing(folder / PROGRAM) as temporary:
        temporary.write_bytes(program)
    with replacing(folder / ARRAYS) as temporary:
        np.savez(temporary, allow_pickle=False, **function.arrays)
    with replacing(folder / LOADER) as temporary:
        temporary.write_text(
            (resources.files("lightning_modules.standalone") / "run.py").read_text(encoding="utf-8"), encoding="utf-8"
        )
    manifest = {
        "format": FORMAT, "format_version": FORMAT_VERSION, "sha256": {name: sha256(folder / name) for name in (PROGRAM, ARRAYS)},
        "sites": [site.name for site in model.sites], "platforms": list(platforms), "derivatives": derivatives,
        "calling_convention_version": exported.calling_convention_version,
        "rows_at_once": min(SMALLEST_BATCH - 1, max(8, FORWARD_LAYERS // model.sites[0].n_layers)),
        "inputs": {name: _input(name, shape, model) for name, shape in inputs.items()},
        "outputs": {name: _output(name, aval, model) for name, aval in outputs.items()},
        "reasons": {str(code): text for code, text in REASONS.items()},
        "arrays": {name: {"shape": list(a.shape), "dtype": str(a.dtype)} for name, a in function.arrays.items()},
        "run": dict(run) if run else None, "versions": versions(),
    }  # fmt: skip
    with replacing(folder / MANIFEST) as temporary:
        temporary.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    return folder


def _input(name: str, spec: jax.ShapeDtypeStruct, model: HybridCanopy) -> dict[str, Any]:
    described: dict[str, Any] = {
        "shape": [str(n) if i == 0 else n for i, n in enumerate(spec.shape)],
        "dtype": str(spec.dtype),
    }
    if name in FORCING_TABLE:
        info = FORCING_TABLE[name]
        described |= {"unit": info.unit, "meaning": info.meaning, "lower": info.lower, "upper": info.upper}
        described["optional"] = info.optional
    elif name == DAILY:
        meaning = f"means of the whole days before, the oldest first, of {', '.join(DAILY_DRIVERS)}"
        described |= {"unit": "as of the drivers", "meaning": meaning}
    elif name in ANTECEDENTS:
        described |= {
            "unit": ANTECEDENTS[name],
            "meaning": "running mean over the days before, or the deviation from it",
        }
    else:
        described |= {"unit": "1", "meaning": f"index of the site: {', '.join(site.name for site in model.sites)}"}
    if model.statistics is not None and name in model.statistics.inputs:
        scale = model.statistics.inputs[name]
        described["training"] = {"mean": scale.mean, "standard_deviation": scale.sd}
    return described


def _output(name: str, aval: Any, model: HybridCanopy) -> dict[str, Any]:
    described: dict[str, Any] = {"shape": ["batch"], "dtype": str(aval.dtype)}
    base = name.removesuffix(EQUIVALENT)
    if base in FLUX_TABLE:
        info = FLUX_TABLE[base]
        seen = ", the share of it that the tower observes" if base != name else ""
        return described | {"unit": info.unit, "meaning": info.long_name + seen, "sign": info.sign}
    if name == "stress":
        return described | {"unit": "1", "meaning": "stomatal stress factor, 1 = none"}
    kind = model.closures.named()[name.removeprefix("z_")].kind
    return described | {"unit": "1", "meaning": f"number of the closure on the {kind.meaning}, before its range"}
