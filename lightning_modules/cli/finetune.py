"""`canveg finetune`: go on from trained weights at other towers, and free only the parts that are named."""

from __future__ import annotations

import argparse
import inspect
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_info

from canveg_jax import PARAMETER_TABLE, TUNABLE
from canveg_jax.files import replacing

from ..closures.registry import build_closures, build_stress, closures_specification, stress_specification
from ..data.extrapolation import extrapolation_text, shares_beyond
from ..models.hybrid_canopy import HybridCanopy
from ..sharing.run_record import FINETUNED
from ..sharing.stored_model import StoredModel, open_stored, refuse_foreign_classes
from .training import TrainingCLI, run_training

ARCHITECTURE = ("tunable", "parameters", "stress", "conductance", "closures", "per_site")
"""Settings that are those of the trained model."""

GROUPS = ("parameters", "closures")
"""Names that stand for all tuned parameters, and for all closures."""

HELP = """\
usage: canveg finetune --from CHECKPOINT_OR_FOLDER --free PART[,PART...] --config FILE [settings of canveg fit]

Trains on from a checkpoint, or a folder of canveg share, at the towers of the configuration. Only the named parts move: `stress`,
names of closures, of tuned parameters (or of other parameters, which are tuned then), `observation`; `parameters` and `closures`
stand for all of them. Everything else stays as it is, bit for bit. What the networks are is taken from the trained model; data,
loss, rates and epochs are those of the configuration. Inputs are scaled as the trained model has learned them.
"""


def run_finetune(arguments: Sequence[str]) -> int:
    """Run `canveg finetune ...`. Returns the exit code.

    Raises:
        ValueError, FileNotFoundError: no trained model, or an unknown part.
        SystemExit: as `run_training`.
    """
    if {"-h", "--help"} & set(arguments[1:]):
        print(HELP + "\nSettings: canveg fit --help")
        return 0
    parser = argparse.ArgumentParser(
        "canveg finetune", add_help=False, allow_abbrev=False, usage=HELP.splitlines()[0][7:]
    )
    parser.add_argument("--from", dest="origin", required=True)
    parser.add_argument("--free", action="append", required=True)
    options, rest = parser.parse_known_args(list(arguments[1:]))
    free = [name.strip() for text in options.free for name in text.split(",") if name.strip()]
    origin = Path(options.origin)
    stored = open_stored(origin)
    if stored.kind != "HybridCanopy":
        raise ValueError(f"--from {origin}: it holds a {stored.kind}; only a hybrid canopy can be trained on.")
    refuse_foreign_classes(stored.settings, (), origin)
    return run_training(["fit", *rest], lambda given: FinetuneCLI(given, stored, origin, free))


class FinetuneCLI(TrainingCLI):
    """`canveg fit` of a model that was trained before."""

    def __init__(self, arguments: Sequence[str], stored: StoredModel, origin: Path, free: Sequence[str]):
        self.stored, self.origin, self.free = stored, origin, list(free)
        super().__init__(arguments)

    def before_instantiate_classes(self) -> None:
        """The architecture is that of the trained model; a configuration that asks for another one is refused."""
        model, theirs = self.settings.model, self.stored.settings
        if self.settings.trainer.devices not in (1, "1"):
            raise ValueError("finetune: works in one process (trainer.devices: 1).")
        defaults = inspect.signature(HybridCanopy.__init__).parameters
        for name in ARCHITECTURE:
            asked = _plain(model[name])
            if asked != defaults[name].default and _specified(name, asked) != theirs.get(name):
                raise ValueError(
                    f"model.{name}: finetune takes it from {self.origin}, where it is {theirs.get(name)!r}; the configuration "
                    f"says {asked!r}. Leave it out."
                )
            model[name] = theirs.get(name, defaults[name].default)
        closures = theirs.get("closures") or {}
        more = [n for n in self.free if n in PARAMETER_TABLE and n not in closures and n not in (model.tunable or ())]
        model.tunable = [*(model.tunable or ()), *more]
        super().before_instantiate_classes()

    def after_instantiate_classes(self) -> None:
        """Take the trained numbers, and hold what is not to move."""
        self.model.start_from(self.stored, self.origin)
        groups = {"parameters": list(self.model.physics.raw), "closures": list(self.model.closures.named())}
        names = [member for name in self.free for member in groups.get(name, [name])]
        self.model.free_only(names)
        self.settings.model.freeze = list(self.model.hparams["freeze"])
        super().after_instantiate_classes()

    def fit(self, **arguments: Any) -> None:
        """Say where the towers differ from those of before, then train."""
        self.datamodule.setup("fit")
        held = ", ".join(self.settings.model.freeze) or "nothing"
        rank_zero_info(f"finetune: from {self.origin}; free: {', '.join(self.free)}; held: {held}")
        statistics, names = self.model.statistics_for(self.datamodule.statistics), self.model.network_inputs
        parts, sites = self.datamodule.parts, self.datamodule.sites
        shares = {part: shares_beyond(rows, statistics, names, sites) for part, rows in parts.items()}
        if text := extrapolation_text(shares):
            rank_zero_info(f"compared with what {self.origin} was trained on: {text}")
        super().fit(**arguments)

    def _run(self, what: str, arguments: dict[str, Any]) -> Any:
        """The folder of the run keeps where the model comes from, however training ends (before, Lightning wants it empty)."""
        try:
            return super()._run(what, arguments)
        finally:
            if what == "fit" and self.trainer.is_global_zero and not self.settings.trainer.fast_dev_run:
                self._record(Path(self.trainer.log_dir or "."))

    def _record(self, folder: Path) -> None:
        record = {"from": str(self.origin), "free": self.free, "run": self.stored.run}
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / FINETUNED) as temporary:
            temporary.write_text(json.dumps(record, indent=1))


def _specified(name: str, asked: Any) -> Any:
    """A setting as a model keeps it, defaults filled in."""
    if name == "stress":
        return stress_specification(build_stress(asked))
    if name == "closures":
        return closures_specification(build_closures(asked))
    return list(TUNABLE) if name == "tunable" and asked is None else asked


def _plain(value: Any) -> Any:
    """Namespaces as mappings."""
    return value.as_dict() if hasattr(value, "as_dict") else value
