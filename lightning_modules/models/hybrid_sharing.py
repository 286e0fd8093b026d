"""What a hybrid canopy does with trained numbers: start from those of another, hold parts of them, be saved for others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bridges import TorchCanopies, TorchCanopy
from canveg_jax import Site
from canveg_jax.spelling import unknown

from ..closures.closure import Closures
from ..data.seen import scales_of
from ..data.statistics import ScalingStatistics
from ..protocols import Physics
from ..sharing.plain_sites import class_path, dispersion_csv, inside
from ..sharing.stored_model import StoredModel
from .pretrained import with_own_modules
from .stages import Stage, read_stages

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from .flux_task import FluxTask as Base
else:
    Base = object


class HybridSharing(Base):
    """The part of `HybridCanopy` that deals with numbers that were trained before."""

    sites: tuple[Site, ...]
    physics: Physics
    closures: Closures
    stress: nn.Module | None
    start_values: dict[str, np.ndarray]
    _stages: list[Stage]

    if TYPE_CHECKING:

        @property
        def stress_module(self) -> nn.Module | None: ...

        def _parts(self) -> dict[str, list[nn.Parameter]]: ...

        def _physical_values(self) -> dict[str, torch.Tensor]: ...

        def parameter_table(self) -> pd.DataFrame: ...

    # --- going on from what was trained before

    def start_from(self, stored: StoredModel, path: str | Path) -> None:
        """Start at the numbers of a trained model of the same networks and parameters, perhaps of other sites.

        Networks, their scaling and the tuned parameters are its; where every site has its own value, a site that it does not know
        starts at the mean of the unconstrained ones. The observed shares of the fluxes, their scaling and their random errors are
        those of the new data. The prior pulls to the trained values.

        Args:
            stored: of `sharing.stored_model.open_stored`.
            path: where it is from, for messages.

        Raises:
            ValueError: its numbers do not fit.
        """
        own, taken = self.state_dict(), {}
        known = [site["name"] for site in stored.settings["sites"]]
        for name, tensor in own.items():
            if name.split(".")[0] in ("target_sd", "has_statistics", "error_weights", "observation") or name.startswith(
                "start_"
            ):
                continue
            if name.startswith("physics.raw.") and name not in stored.tensors:
                continue  # a parameter that is tuned from now on
            if name not in stored.tensors:
                raise ValueError(f"{path}: it has no {name}, so its weights do not fit.")
            value = stored.tensors[name]
            if name.startswith("physics.raw.") and value.dim() == 1:
                rows = [value[known.index(s.name)] if s.name in known else value.mean() for s in self.sites]
                value = torch.stack(rows)
            if value.shape != tensor.shape:
                raise ValueError(f"{path}: {name} is {list(value.shape)}, expected {list(tensor.shape)}.")
            taken[name] = value
        self.take_precision(taken)
        self.load_state_dict({**own, **taken})
        for name, z in self.physics.raw.items():
            getattr(self, f"start_{name}").copy_(z.detach())
        self.start_values = {name: value.numpy().copy() for name, value in self._physical_values().items()}
        if stored.statistics is not None:
            self.inputs_seen = ScalingStatistics.from_dict(stored.statistics).inputs
        else:
            self.inputs_seen = scales_of([self.stress_module, *self.closures.values()])

    def free_only(self, names: Sequence[str]) -> None:
        """Hold every part but these (`stress`, `observation`, closures and parameters by name) in all stages.

        Raises:
            ValueError: a name that is none of the parts, or none is named.
        """
        parts = list(self._parts())
        if not names:
            raise ValueError(f"free: name at least one of {', '.join(parts)}.")
        for name in names:
            if name not in parts:
                raise ValueError(unknown("part of the model to free", name, parts))
        frozen = [name for name in parts if name not in names]
        self.hparams["freeze"] = frozen
        self._stages = read_stages(self.hparams["stages"], frozen)

    # --- sharing

    def settings_to_share(self) -> tuple[dict[str, Any], dict[str, str]]:
        """Arguments as plain data, and the dispersion matrices that a reader would have to generate, as CSV by name."""
        settings, files = dict(self.hparams), {}
        settings["sites"] = [dict(site) for site in settings["sites"]]
        if type(self.physics) is not TorchCanopy and type(self.physics) is not TorchCanopies:
            settings["physics"] = class_path(self.physics)
            return settings, files
        for i, site in enumerate(self.sites):
            if (text := dispersion_csv(site, self.physics.site_constants(i)["dispersion"])) is not None:
                settings["sites"][i]["dispersion"] = f"dispersion-{i}.csv"
                files[f"dispersion-{i}.csv"] = text
        return settings, files

    @classmethod
    def settings_from(cls, stored: Mapping[str, Any], path: Path, replacements: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments from the stored settings; what only its owner can build must be among the replacements."""
        settings = {**stored, **replacements}
        settings["closures"] = with_own_modules(stored.get("closures"), replacements.get("closures"))
        if isinstance(settings.get("physics"), str):
            raise ValueError(
                f"{path}: its physics is {settings['physics']}, a class that is not part of this package. Build it and pass it: "
                "from_pretrained(..., physics=MyPhysics())."
            )
        if not isinstance(stored.get("sites"), list | tuple) or not all(
            isinstance(s, Mapping) for s in stored["sites"]
        ):
            raise ValueError(f"{path}: its settings name no sites, so it is no hybrid canopy or damaged.")
        if "sites" not in replacements:
            settings["sites"] = [inside(site, path) for site in settings["sites"]]
        return settings

    def described(self) -> dict[str, Any]:
        """Physics, networks and tuned parameters."""
        hparams = self.hparams
        sites = {site.name: f"{site.n_layers} layer(s), {site.leaf_angle}, {site.stomata}" for site in self.sites}
        lines = [f"- {name}: {text}" for name, text in sites.items()]
        lines += [f"- conductance: `{hparams['conductance']}`", f"- stress: `{hparams['stress'] or 'none'}`"]
        lines += [f"- closure {name}: `{closure}`" for name, closure in hparams["closures"].items()]
        table = self.parameter_table().reset_index()
        rows = []
        for row in table.to_dict(orient="records"):
            name = " ".join(str(row[column]) for column in ("parameter", "site") if column in row)
            near = ", near a bound" if row["near_bound"] else ""
            bounds = f"bounds {row['lower']:.5g} to {row['upper']:.5g}{near}"
            rows.append(f"- {name} {row['value']:.5g} {row['unit']} (start {row['start']:.5g}, {bounds})")
        return {"Physics and networks": lines, "Tuned parameters": rows or ["None."]}
