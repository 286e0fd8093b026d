"""What a call of the canopy has in rows, one for each half-hour: to check, pad and divide together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch

import canveg_jax as cv
from canveg_jax.forcing import STAND_IN, rows_within_range
from canveg_jax.transforms import check_names

from ._jax2torch.rows import Rows


class CanopyBatch(NamedTuple):
    """Tensors `[time, ...]` of one call: `forcing` without the site, `columns` that a network in the loop reads, `parameters` of
    each half-hour, by name; the others may be None."""

    forcing: dict[str, torch.Tensor]
    stress: torch.Tensor | None
    site: torch.Tensor | None
    start: torch.Tensor | None
    columns: dict[str, torch.Tensor]
    parameters: dict[str, torch.Tensor]

    def named(self) -> dict[str, torch.Tensor]:
        """All tensors by the names that a user gave them."""
        others = {"stress": self.stress, "site": self.site, "start": self.start}
        named = {f"forcing['{name}']": column for name, column in self.forcing.items()}
        named |= {name: value for name, value in others.items() if value is not None}
        named |= {f"features['{name}']": column for name, column in self.columns.items()}
        return named | {f"parameters['{name}']": value for name, value in self.parameters.items()}

    def number_of_rows(self, name: str) -> int:
        """The common number of rows.

        Args:
            name: of the module, for errors.

        Raises:
            ConversionError: tensors with different numbers of rows.
        """
        if torch.compiler.is_compiling() or not len(self.forcing["air_temperature"]):
            return self.forcing["air_temperature"].shape[0]
        named = self.named()
        return Rows(name).number(list(named.values()), list(named).__getitem__)

    def each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> CanopyBatch:
        """The batch with `change` of each tensor in its place."""

        def of(field: Any) -> Any:
            if isinstance(field, dict):
                return {name: change(column) for name, column in field.items()}
            return None if field is None else change(field)

        return CanopyBatch(*(of(field) for field in self))

    def padded(self, n_rows: int, smallest: int) -> CanopyBatch:
        """The batch with the last row repeated to one of a few sizes, of which `smallest` is the first."""
        if torch.compiler.is_compiling() or not n_rows:
            return self
        extra = Rows("", smallest).size(n_rows) - n_rows
        return self.each(lambda t: torch.cat((t, t[-1:].expand(extra, *t.shape[1:])))) if extra else self


def with_stand_ins(forcing: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The forcing with a calm night in place of the rows that will not be solved.

    A network that computes a stress from the forcing must see these instead: zero times a derivative that is not a number
    is not zero, so that one such row would make NaN of the gradient of all its weights.
    """
    usable = rows_within_range(forcing)
    return {
        name: torch.where(usable, column, STAND_IN[name]) if name in STAND_IN else column
        for name, column in forcing.items()
    }


def checked_parameters(parameters: Mapping[str, torch.Tensor] | None) -> dict[str, torch.Tensor]:
    """Values of the half-hours by name.

    Raises:
        UnknownParameterError: a name does not exist.
        ValueError: something is no tensor `[time]`.
    """
    values = {name: (parameters or {})[name] for name in check_names(parameters or ())}
    for name, value in values.items():
        if not isinstance(value, torch.Tensor) or value.dim() != 1:
            got = f"shape {list(value.shape)}" if isinstance(value, torch.Tensor) else f"a {type(value).__name__}"
            raise ValueError(f"parameter '{name}' must be a tensor with one number per half-hour, [time]; got {got}.")
    return values


def check_shapes(forcing: Mapping[str, Any]) -> None:
    """Raise `ForcingError` for a column that is no tensor `[time]`."""
    for name, column in forcing.items():
        if not isinstance(column, torch.Tensor) or column.dim() != 1:
            got = f"shape {list(column.shape)}" if isinstance(column, torch.Tensor) else f"a {type(column).__name__}"
            raise cv.ForcingError(
                f"forcing '{name}' must be a tensor with one number per half-hour, [time]; got {got}."
            )
