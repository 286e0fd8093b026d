"""What `canveg compare` and `canveg tradeoff` read: a base configuration, rows, splits, seeds, layers; and the runs they make."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pydantic
import yaml

from canveg_jax.io.tower_files import TowerFiles
from canveg_jax.records import Record
from canveg_jax.spelling import unknown

from ..data.datamodule import FluxTowerDataModule
from ..data.held_out import HeldOut
from ..models.hybrid_canopy import HybridCanopy
from .keys import run_key
from .rows import READ_INPUTS, ROW_KINDS, Row, read_inputs

FLUXES = ("LE", "NEE", "H", "Rnet", "G")
"""Fluxes of tables and verdicts, in their order."""

WITHOUT_NETWORKS: dict[str, Any] = {"stress": None, "closures": None, "stages": None, "freeze": []}
"""Settings of a model in which no network takes part."""

DEFAULT_PURGE_DAYS = 3.0
"""Gap between the parts of the splits by weather and by tower, unless a split says otherwise."""

DEFAULT_LE_WEIGHTS = tuple(i / 10 for i in range(11))


class NamedSplit(Record):
    """A split with a name: that of its kind, unless it says otherwise.

    Args:
        name: in tables and folders.
        held_out: see `data.held_out.HeldOut`.
        purge_days: gap between the parts; default: 3 days, and for `time` and `weeks` that of the base configuration.
    """

    name: str
    held_out: HeldOut
    purge_days: float | None = None

    @classmethod
    def read(cls, content: str | Mapping[str, Any]) -> list[NamedSplit]:
        """One split, or for `{kind: weeks, weeks: [1, 2, 4]}` one of each length."""
        content = {"kind": content} if isinstance(content, str) else dict(content)
        name, purge = content.pop("name", None), content.pop("purge_days", None)
        kind = content.get("kind")
        lengths = content.get("weeks")
        if kind == "weeks" and isinstance(lengths, Sequence) and not isinstance(lengths, str):
            return [
                cls(name=f"{name or 'weeks'}-{n:g}", held_out=HeldOut.read({**content, "weeks": n}), purge_days=purge)
                for n in lengths
            ]
        held_out = HeldOut.read(content)
        if purge is None and held_out.joins_records:
            purge = DEFAULT_PURGE_DAYS
        default = f"weeks-{held_out.weeks:g}" if held_out.kind == "weeks" else held_out.kind
        return [cls(name=name or default, held_out=held_out, purge_days=purge)]


class Claim(Record):
    """What the verdict is about: is a row better than others?

    Args:
        row: the row that is claimed to be better; default: the first hybrid, else the last row.
        than: rows that it is compared with; default: all others.
        fluxes: fluxes that it is said of.
    """

    row: str | None = None
    than: tuple[str, ...] | None = None
    fluxes: tuple[str, ...] = ("LE", "NEE")


class Bootstrap(Record):
    """Settings of the intervals: see `bootstrap.paired_difference`."""

    samples: int = pydantic.Field(2000, ge=100)
    block_days: int = pydantic.Field(7, ge=1)
    level: float = pydantic.Field(0.9, gt=0.0, lt=1.0)
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Run:
    """One fit of one row on one split with one seed.

    Args:
        row, split: names.
        seed: of initial weights and order of batches.
        layers: of the canopy; None for a row without one.
        le_weight: weight of LE in a trade-off; None in a comparison.
        config: everything that the run depends on, plain values.
        files: the data files it reads.
    """

    row: str
    split: str
    seed: int
    layers: int | None
    le_weight: float | None
    config: dict[str, Any]
    files: tuple[str, ...]

    @property
    def name(self) -> str:
        """Its folder, below that of all runs."""
        last = f"seed-{self.seed}"
        last += f"-layers-{self.layers}" if self.layers is not None else ""
        last += f"-le-{self.le_weight:g}" if self.le_weight is not None else ""
        return f"{self.row}/{self.split}/{last}"

    @property
    def label(self) -> str:
        """The row's name in tables: with the number of layers where there are several."""
        return self.config["label"]

    def key(self) -> str:
        """Changes with the configuration, the code, and the content of the data files."""
        return run_key(self.config, self.files)


class Plan(pydantic.BaseModel):
    """A configuration of `canveg compare` and `canveg tradeoff`. Unknown keys are errors.

    Args:
        base: configuration of `canveg fit`, a file name relative to that of the plan. Data, masks, loss weights, budget and
            selection of all rows are its own.
        folder: replaces the base configuration's `data.folder`.
        out: folder of the results.
        rows: by name, see `rows.Row`; or a list of kinds.
        splits: see `NamedSplit`; default `[time]`.
        seeds: rows that do not depend on the seed run with the first one alone.
        layers: numbers of layers of the canopy; default: that of the base configuration.
        inputs: of benchmarks and networks; default: the nine of the published network.
        wet_hours: half-hours with rain in the so many hours before count as wet.
        claim: see `Claim`.
        bootstrap: see `Bootstrap`.
        le_weights: of `canveg tradeoff`.
    """

    model_config = pydantic.ConfigDict(frozen=True, arbitrary_types_allowed=True)

    base: dict[str, Any]
    folder: str | None = None
    out: Path = Path("runs/compare")
    rows: dict[str, Row]
    splits: tuple[NamedSplit, ...]
    seeds: tuple[int, ...] = (0,)
    layers: tuple[int, ...] | None = None
    inputs: tuple[str, ...] = ("nine",)
    wet_hours: float = pydantic.Field(1.0, ge=0.0)
    claim: Claim = Claim()
    bootstrap: Bootstrap = pydantic.Field(default_factory=lambda: Bootstrap.model_validate({}))
    le_weights: tuple[float, ...] = DEFAULT_LE_WEIGHTS

    @classmethod
    def from_yaml(cls, path: str | Path, **changes: Any) -> Plan:
        """Read a configuration; `changes` (those that are not None) come on top.

        Raises:
            ValueError: a key or value that cannot be right; the message names it.
            OSError: the file, or the base configuration, cannot be read.
        """
        path = Path(path)
        content = _read_mapping(path, "`base: ...` and `rows: ...`")
        content |= {name: value for name, value in changes.items() if value is not None}
        for name in content:
            if name not in cls.model_fields:
                raise ValueError(f"{path}: {unknown('key', name, cls.model_fields)}")
        for name in ("base", "rows"):
            if not content.get(name):
                raise ValueError(f"{path}: `{name}` is missing. See examples/compare.yaml.")
        base_path = path.parent / str(content["base"])
        if not base_path.is_file():
            raise FileNotFoundError(f"{path}: base = {base_path} does not exist.")
        content["base"] = _read_mapping(base_path, "a configuration of `canveg fit`")
        rows = content["rows"]
        rows = dict.fromkeys(rows) if isinstance(rows, list) else rows
        content["rows"] = {str(name): Row.read(str(name), row) for name, row in rows.items()}
        asked = content.get("splits") or ["time"]
        content["splits"] = [split for entry in asked for split in NamedSplit.read(entry)]
        plan = cls(**content)
        plan.check(base_path)
        return plan

    def check(self, base: Path) -> None:
        """Raise ValueError for what cannot go together."""
        _check_base(self.base, base)
        if self.layers is not None:
            for tower in map(_tower_files, self.base["data"]["towers"]):
                if "n_layers" in tower.site_options:
                    raise ValueError(
                        f"layers: {base} gives the tower of {tower.forcings} {tower.site_options['n_layers']} layers of its own "
                        "(site_options.n_layers), which `layers` would not change. Leave one of them out."
                    )
        read_inputs(self.inputs)
        for what, values in (
            ("splits", [split.name for split in self.splits]), ("seeds", self.seeds), ("layers", self.layers or ()),
            ("le_weights", self.le_weights),
        ):  # fmt: skip
            if len(set(values)) != len(values):
                raise ValueError(f"{what}: expected different entries; got {', '.join(map(str, values))}.")
        if not self.seeds:
            raise ValueError("seeds: expected at least one.")
        for name in (*self.rows, *(split.name for split in self.splits)):
            if not name or set(name) & set('/\\:*?"<>|') or name.startswith("."):
                raise ValueError(f"the name {name!r} cannot be that of a folder.")
        labels = self.labels()
        for name in ((self.claim.row,) if self.claim.row else ()) + (self.claim.than or ()):
            if name not in labels and name not in self.rows:
                raise ValueError(f"claim: {unknown('row', name, labels)}")
        for flux in self.claim.fluxes:
            if flux not in FLUXES:
                raise ValueError(f"claim: {unknown('flux', flux, FLUXES)}")
        for weight in self.le_weights:
            if not 0.0 <= weight <= 1.0:
                raise ValueError(f"le_weights: expected numbers from 0 to 1; got {weight!r}.")

    def only(self, rows: Sequence[str] | None = None, splits: Sequence[str] | None = None) -> Plan:
        """The plan with these rows and splits alone (None: all); raises ValueError for one that it does not have."""
        names = [split.name for split in self.splits]
        for what, asked, known in (("row", rows, self.rows), ("split", splits, names)):
            for name in asked or ():
                if name not in known:
                    raise ValueError(unknown(what, name, known))
        chosen = {name: row for name, row in self.rows.items() if rows is None or name in rows}
        kept = tuple(split for split in self.splits if splits is None or split.name in splits)
        return self.model_copy(update={"rows": chosen, "splits": kept})

    def layers_of(self, row: str) -> tuple[int | None, ...]:
        """Numbers of layers with which a row is run."""
        if self.rows[row].what.family != "physics":
            return (None,)
        if self.layers is not None:
            return self.layers
        return ((self.base["data"].get("site_options") or {}).get("n_layers"),)

    def labels(self) -> dict[str, str]:
        """Rows of the tables -> rows of the plan: one for each number of layers, where there are several."""
        labels = {}
        for name in self.rows:
            layers = self.layers_of(name)
            labels |= {name if len(layers) == 1 else f"{name}, {n} layer{'s' if n != 1 else ''}": name for n in layers}
        return labels

    def runs(
        self, le_weights: Sequence[float | None] = (None,), splits: Sequence[NamedSplit] | None = None
    ) -> list[Run]:
        """All runs: quick rows first."""
        runs = []
        names = sorted(self.rows, key=lambda name: list(ROW_KINDS).index(self.rows[name].kind))
        for name in names:
            row = self.rows[name]
            weighted = row.what.family != "benchmark" and row.kind != "physics"
            for split in self.splits if splits is None else splits:
                for layers in self.layers_of(name):
                    for seed in self.seeds if row.what.random else self.seeds[:1]:
                        for weight in le_weights if weighted else (None,):
                            runs.append(self._run(name, split, seed, layers, weight))
        return runs

    def _run(self, name: str, split: NamedSplit, seed: int, layers: int | None, le_weight: float | None) -> Run:
        row, base = self.rows[name], copy.deepcopy(self.base)
        data = {**base["data"], **row.data}
        if self.folder is not None:
            data["folder"] = self.folder
        data["held_out"] = {
            "kind": split.held_out.kind, "share": split.held_out.share, "weeks": split.held_out.weeks,
            "towers": list(split.held_out.towers),
        }  # fmt: skip
        if split.purge_days is not None:
            data["purge_days"] = split.purge_days
        options = dict(data.get("site_options") or {})
        if layers is not None:
            options["n_layers"] = layers
        data["site_options"] = options
        towers = [_tower_files(tower).inside(data.get("folder")) for tower in data["towers"]]
        files = [getattr(t, f) for t in towers for f in ("forcings", "fluxes", "test_forcings", "test_fluxes")]
        files += [t.site for t in towers if isinstance(t.site, str) and Path(t.site).suffix in (".yaml", ".yml")]
        model = base.get("model") or {}
        weights = model.get("weights")
        if le_weight is not None:
            others = {k: v for k, v in (weights or {}).items() if k not in ("latent_heat", "nee")}
            weights = {"latent_heat": le_weight, "nee": 1.0 - le_weight, **others}
        loss = {"le_weight": model.get("le_weight", 0.5), "weights": weights, "loss": model.get("loss", "squared")}
        several = len(self.layers_of(name)) > 1
        config: dict[str, Any] = {
            "kind": row.kind, "seed": seed, "data": data, "settings": row.settings, "wet_hours": self.wet_hours,
            "label": f"{name}, {layers} layer{'s' if layers != 1 else ''}" if several else name,
        }  # fmt: skip
        if row.kind in READ_INPUTS:
            config["inputs"] = list(read_inputs(row.inputs or self.inputs))
        if row.what.family != "benchmark":
            config["trainer"] = {**(base.get("trainer") or {}), **row.trainer}
            config["early_stopping"] = {**(base.get("early_stopping") or {}), **row.early_stopping}
        if row.what.family == "network":
            config["loss"] = loss
        if row.what.family == "physics":
            model = {**model, **loss}
            if row.kind != "hybrid":
                model |= WITHOUT_NETWORKS
            if row.kind == "physics":
                model |= {"tunable": [], "observation": "none"}
            config["model"] = _merged(model, row.model)
            _check_names(config["model"], HybridCanopy, f"row {name}: model")
        return Run(name, split.name, seed, layers, le_weight, config, tuple(f for f in files if f is not None))


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`changes` on top of `base`; mappings of weights and closures are replaced whole, as `canveg fit` does not mix them."""
    return {**base, **changes}


def _tower_files(content: Any) -> TowerFiles:
    try:
        return pydantic.TypeAdapter(TowerFiles).validate_python(content)
    except pydantic.ValidationError as error:
        raise ValueError(f"data.towers: {error}") from error


def _read_mapping(path: Path, expected: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a mapping with {expected}, got {type(content).__name__}.")
    return content


def _check_base(base: Mapping[str, Any], path: Path) -> None:
    if not isinstance(base.get("data"), dict) or not base["data"].get("towers"):
        raise ValueError(f"{path}: expected a configuration of `canveg fit` with `data: {{towers: [...]}}`.")
    _check_names(base["data"], FluxTowerDataModule, f"{path}: data")
    if base["data"].get("held_out"):
        raise ValueError(f"{path}: data.held_out is what the splits of the comparison set. Leave it out there.")
    if not base["data"].get("val_every", 5):
        raise ValueError(
            f"{path}: data.val_every is 0, but every row is chosen by its validation part. Use 5, for example."
        )
    _check_names(base.get("model") or {}, HybridCanopy, f"{path}: model")


def _check_names(settings: Mapping[str, Any], target: type, where: str) -> None:
    known = [name for name in inspect.signature(target).parameters if name not in ("datasets", "sites", "physics")]
    for name in settings:
        if name not in known:
            raise ValueError(f"{where}: {unknown('key', name, known)}")
