"""Saving a model as a folder that others can load, and making one from such a folder or from a checkpoint."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from torch import nn

from ..data.statistics import ScalingStatistics
from ..sharing.model_card import model_card
from ..sharing.stored_model import StoredModel, open_stored, refuse_foreign_classes, write_folder

if TYPE_CHECKING:
    from lightning import LightningModule as Base
else:
    Base = object


class Pretrained(Base):
    """`save_pretrained` and `from_pretrained` of a model under Lightning whose `hparams` are its arguments."""

    statistics: ScalingStatistics | None

    def save_pretrained(
        self, folder: str | Path, *, run: Mapping[str, Any] | None = None, licence: str | None = None
    ) -> Path:
        """Write the model as a folder of JSON and safetensors, with a model card (`sharing.stored_model`).

        Args:
            folder: made if it does not exist; a model that was there is replaced.
            run: what is known of its training, for the card (`sharing.run_record.run_record`).
            licence: under which others may use it, for the card.

        Raises:
            FileExistsError: the folder holds something else.
            ValueError: a setting that is no plain data.
        """
        settings, more = self.settings_to_share()
        statistics = None if self.statistics is None else self.statistics.to_dict()
        stored = StoredModel(
            type(self).__name__, settings, dict(self.state_dict()), statistics, dict(run or {}) or None
        )
        return write_folder(folder, stored, model_card(stored, self.described(), licence), more)

    @classmethod
    def from_pretrained(cls, path: str | Path, *, allow: tuple[str, ...] = (), **replacements: Any) -> Self:
        """The model of a folder (`save_pretrained`) or of a checkpoint, ready to predict. No code from the file is run.

        Args:
            path: of the folder or the checkpoint.
            allow: class paths (`mine.Network`) that the settings may import: code that you trust.
            replacements: arguments of the class instead of the stored ones; modules of your own must be given so
                (`stress=MyModule()`, `closures={"capacity": MyModule()}`, `physics=...`). Weights go into them.

        Raises:
            FileNotFoundError: there is nothing.
            ValueError: no model, a damaged one, one of another class or release, or a class of others that is neither given
                nor allowed. One line, with the remedy.
        """
        return cls.from_stored(open_stored(path), path, allow, **replacements)

    @classmethod
    def from_stored(
        cls, stored: StoredModel, path: str | Path, allow: tuple[str, ...] = (), **replacements: Any
    ) -> Self:
        """The model of what was read of `path`, with replaced arguments. See `from_pretrained`."""
        if stored.kind != cls.__name__:
            raise ValueError(
                f"{path} holds a {stored.kind}, not a {cls.__name__}; load it with {stored.kind}.from_pretrained."
            )
        settings = cls.settings_from(stored.settings, Path(path), replacements)
        refuse_foreign_classes(settings, allow, path)
        known = inspect.signature(cls.__init__).parameters.values()
        if not any(p.kind == p.VAR_KEYWORD for p in known):
            odd = sorted(set(settings) - {p.name for p in known})
            if odd:
                raise ValueError(f"{path}: {cls.__name__} has no argument {', '.join(odd)}. It is of another release.")
        try:
            model = cls(**settings)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{path}: no {cls.__name__} can be made of its settings ({error}).") from error
        model.take_stored(stored, path)
        return model.eval()

    def take_stored(self, stored: StoredModel, path: str | Path) -> None:
        """Take weights and statistics.

        Raises:
            ValueError: they do not fit.
        """
        content = {"state_dict": stored.tensors, "statistics": stored.statistics}
        try:
            self.on_load_checkpoint(content)
            self.load_state_dict(stored.tensors)
        except (RuntimeError, KeyError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{path}: the weights do not fit the settings ({reason}).") from error

    # --- what a model adds

    @classmethod
    def settings_from(cls, stored: Mapping[str, Any], path: Path, replacements: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments of the class from the stored settings."""
        del path
        return {**stored, **replacements}

    def settings_to_share(self) -> tuple[dict[str, Any], dict[str, str]]:
        """Arguments of the class as plain data, and further text files by name that they mention."""
        return dict(self.hparams), {}

    def described(self) -> dict[str, Any]:
        """What the card says of the model itself, by heading: lines of Markdown."""
        return {}


def with_own_modules(stored: Mapping[str, Any] | None, given: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Stored settings of closures, with modules of one's own in place of the networks that are only named."""
    if given is None:
        return None if stored is None else dict(stored)
    merged = dict(stored or {})
    for name, entry in given.items():
        old = merged.get(name)
        mine = isinstance(entry, nn.Module) and not hasattr(entry, "acts_on") and isinstance(old, Mapping)
        merged[name] = {**old, "network": entry} if mine else entry  # pyright: ignore[reportGeneralTypeIssues]
    return merged
