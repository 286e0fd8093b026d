"""What the configurations that run a canopy have in common: changes of site, parameters and solver, dates, YAML."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Self, TypeAlias

import pydantic
import yaml

from .parameters import PARAMETER_TABLE
from .records import Record
from .solver.options import SolverOptions, solver_options
from .spelling import unknown

SiteConstants: TypeAlias = dict[str, str | int | float | None]
"""Fields of `Site`, or some of them."""

Date = Annotated[str, pydantic.BeforeValidator(lambda value: value if value is None else str(value))]
"""A date or a date-time as text, whether YAML has read it as one or not."""


class CanopyConfig(Record):
    """A YAML that says which canopy to run. Unknown keys are errors.

    Args:
        site_options: changes of site constants, such as `{n_layers: 1}`.
        parameters: process parameters that differ from the defaults of `canveg_jax.PARAMETER_TABLE`.
        solver: changes of `canveg_jax.SolverOptions`.
    """

    expects: ClassVar[str]
    """Keys that the YAML must have, for the message."""

    site_options: SiteConstants = pydantic.Field(default_factory=dict)
    parameters: dict[str, float] = pydantic.Field(default_factory=dict)
    solver: dict[str, int | float | None] = pydantic.Field(default_factory=dict)

    @pydantic.model_validator(mode="after")
    def _known_names(self) -> Self:
        require_known("parameters", self.parameters, PARAMETER_TABLE)
        solver_options(self.solver)
        return self

    @property
    def options(self) -> SolverOptions:
        """When the solver stops."""
        return solver_options(self.solver)

    @classmethod
    def from_yaml(cls, path: str | Path) -> Self:
        """Read a configuration.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: not a mapping, or values that cannot be right (pydantic's message names them).
        """
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError(f"{path}: expected a mapping with {cls.expects}, got {type(content).__name__}.")
        return cls(**content)


def require_known(where: str, given: Mapping[str, object], known: Collection[str]) -> None:
    """Raise ValueError for a key that does not exist; the message has the nearest one."""
    for name in given:
        if name not in known:
            raise ValueError(f"{where}: {unknown('key', name, known)}")
