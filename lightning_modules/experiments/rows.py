"""The kinds of rows that a comparison may have, and the settings of one row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import pydantic

from canveg_jax.records import Record
from canveg_jax.spelling import unknown

from ..data.inputs import check_inputs
from ..models.baselines import NINE_INPUTS

Family = Literal["benchmark", "network", "physics"]


class RowKind(NamedTuple):
    """What a kind of row is.

    Args:
        family: how it is fitted: `benchmark` in one go, `network` by gradient descent, `physics` through the solved canopy.
        random: whether its result depends on the seed.
        meaning: in words.
        settings: names of its own settings.
    """

    family: Family
    random: bool
    meaning: str
    settings: tuple[str, ...] = ()


ROW_KINDS: dict[str, RowKind] = {
    "climatology": RowKind("benchmark", False, "mean of the training part by month and time of day"),
    "1lin": RowKind("benchmark", False, "linear regression on shortwave"),
    "3lin": RowKind("benchmark", False, "linear regression on shortwave, air temperature and vapour pressure deficit"),
    "linear": RowKind("benchmark", False, "linear regression on all inputs"),
    "3km27": RowKind(
        "benchmark", True, "27 clusters of shortwave, air temperature and vapour pressure deficit, a regression in each",
        ("clusters",),
    ),
    "trees": RowKind(
        "benchmark", False, "boosted trees on all inputs, their number chosen on the validation part",
        ("rounds", "learning_rate", "leaves"),
    ),
    "network": RowKind(
        "network", True, "network without physics", ("hidden", "activation", "lr", "weight_decay")
    ),
    "lstm": RowKind(
        "network", True, "network without physics that reads daily means of the days before by an LSTM",
        ("hidden", "activation", "lr", "weight_decay", "days", "memory"),
    ),
    "physics": RowKind("physics", False, "physics with its default parameters"),
    "tuned": RowKind("physics", True, "physics with tuned parameters and no network"),
    "hybrid": RowKind("physics", True, "the base configuration, with the changes of the row"),
}  # fmt: skip
"""All kinds of rows, by the name that a configuration uses."""

READ_INPUTS = ("linear", "trees", "network", "lstm")
"""Kinds that read what `inputs` names; the other benchmarks have inputs of their own."""

INPUT_WORDS = {"nine": NINE_INPUTS}
"""Words that stand for inputs, beside the groups of `data.inputs.INPUT_GROUPS`."""

ROW_DATA = ("batch_size", "dtype", "num_workers")
"""What a row may change of the data: how fast it is computed, not what is learned from or scored on."""


class Row(Record):
    """One row of a comparison.

    Args:
        kind: of `ROW_KINDS`; default: the row's name.
        inputs: of benchmarks and networks: names and groups of `NETWORK_INPUTS`, `nine`; default: those of the comparison.
        settings: what the kind has of its own, such as `{hidden: [32, 32]}`.
        model: of rows with physics, changes of the base configuration's `model`.
        data: changes of `batch_size`, `dtype` or `num_workers`.
        trainer: changes of the base configuration's `trainer`, such as `{max_epochs: 40}`.
        early_stopping: changes of the base configuration's `early_stopping`.
    """

    kind: str
    inputs: tuple[str, ...] | None = None
    settings: dict[str, Any] = pydantic.Field(default_factory=dict)
    model: dict[str, Any] = pydantic.Field(default_factory=dict)
    data: dict[str, Any] = pydantic.Field(default_factory=dict)
    trainer: dict[str, Any] = pydantic.Field(default_factory=dict)
    early_stopping: dict[str, Any] = pydantic.Field(default_factory=dict)

    @property
    def what(self) -> RowKind:
        """The kind."""
        return ROW_KINDS[self.kind]

    @classmethod
    def read(cls, name: str, content: Mapping[str, Any] | None) -> Row:
        """A row as a configuration has it; `name` is its kind where it says none.

        Raises:
            ValueError: an unknown kind or key, or a setting that the kind does not have; the message names the row.
        """
        content = dict(content or {})
        content.setdefault("kind", name)
        for key in content:
            if key not in cls.model_fields:
                raise ValueError(f"row {name}: {unknown('key', key, cls.model_fields)}")
        if content["kind"] not in ROW_KINDS:
            raise ValueError(f"row {name}: {unknown('kind', str(content['kind']), ROW_KINDS)}")
        row = cls(**{key: value for key, value in content.items() if value is not None})
        for key in row.settings:
            if key not in row.what.settings:
                raise ValueError(f"row {name}: {unknown('setting', key, row.what.settings or ['none'])}")
        if row.model and row.what.family != "physics":
            raise ValueError(
                f"row {name}: `model` changes physics, and a row of kind {row.kind} has none. Use `settings`."
            )
        if row.inputs is not None and row.kind not in READ_INPUTS:
            raise ValueError(
                f"row {name}: `inputs` are of {', '.join(READ_INPUTS)}; those of closures stand in `model`, and other benchmarks "
                "have their own."
            )
        if row.what.family == "benchmark" and (row.trainer or row.early_stopping):
            raise ValueError(
                f"row {name}: a row of kind {row.kind} is not trained, so it has no trainer or early_stopping."
            )
        for key in row.data:
            if key not in ROW_DATA:
                raise ValueError(
                    f"row {name}: data.{key} would make the data of this row differ from those of the others; a row may change "
                    f"{', '.join(ROW_DATA)}. Change the base configuration."
                )
        if row.inputs is not None:
            read_inputs(row.inputs)
        return row


def read_inputs(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names of inputs, with the members of groups in place of the group; raises ValueError for one that does not exist."""
    return check_inputs(dict.fromkeys(member for name in names for member in INPUT_WORDS.get(name, (name,))))
