"""A relation that the equations leave open, filled by a network: the columns of a half-hour in, what it acts on out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, cast

import torch
from torch import nn

from canveg_jax import PARAMETER_TABLE
from canveg_jax.spelling import unknown

from ..data.inputs import check_inputs, compute_inputs, standardised
from ..data.statistics import ScalingStatistics
from .daily_memory import read_memory
from .perceptrons import Perceptron

LEAF_AREA = "lai"
"""What the closure of the leaf area acts on: a column of the forcing, not a parameter."""


class ClosureKind(NamedTuple):
    """What a closure acts on, and how.

    Args:
        acts_on: names of parameters, or `lai`; all get the same.
        moves: `factor` multiplies by `exp(range tanh(z))`; `within_bounds` adds `range tanh(z)`, or `z` itself where there is no
            range, to the unconstrained number of a parameter, which so never leaves its bounds.
        range: the default of `range`; None: not limited.
        inputs: default inputs of the network.
        meaning: in words.
    """

    acts_on: tuple[str, ...]
    moves: Literal["factor", "within_bounds"]
    range: float | None
    inputs: tuple[str, ...]
    meaning: str


WEATHER = ("environment", "soil_temperature")
"""Default inputs: the weather of the half-hour. What knows the past remembers neighbouring weeks (docs/decisions.md, 35)."""

CLOSURES: dict[str, ClosureKind] = {
    "stomatal_slope": ClosureKind(("kball",), "factor", 1.0, WEATHER, "Ball-Berry slope"),
    "capacity": ClosureKind(("vcopt", "jmopt"), "factor", 1.2, WEATHER, "two capacities of photosynthesis"),
    "stomatal_intercept": ClosureKind(("bprime",), "factor", 1.5, WEATHER, "Ball-Berry intercept"),
    "surface_moisture": ClosureKind(
        ("surface_moisture_ratio",), "within_bounds", None, WEATHER, "moisture of the evaporating surface"
    ),
    "leaf_area": ClosureKind((LEAF_AREA,), "factor", 0.8, WEATHER, "leaf area index"),
    "soil_respiration": ClosureKind(("soil_respiration_factor",), "factor", 1.5, WEATHER, "soil respiration"),
}
"""Closures with names of their own. Any parameter of `PARAMETER_TABLE` is one as well: it moves within its bounds."""

RANGE_OF_A_PARAMETER = 1.0
"""Default range of a closure on a single parameter."""


def closure_kind(name: str) -> ClosureKind:
    """What a closure of this name acts on.

    Raises:
        ValueError: no closure, and no parameter, has the name.
    """
    if name in CLOSURES:
        return CLOSURES[name]
    if name in PARAMETER_TABLE:
        meaning = PARAMETER_TABLE[name].meaning
        return ClosureKind((name,), "within_bounds", RANGE_OF_A_PARAMETER, WEATHER, meaning)
    raise ValueError(f"{unknown('closure', name, [*CLOSURES, *PARAMETER_TABLE])}")


class Closure(nn.Module):
    """A closure of one name, outside of the solver: one number `z` for each half-hour, and what becomes of it.

    At the start `z` is 0 whatever the inputs, so that training begins with the physics as it is. Inputs are standardised by the
    training part and count as 4 standard deviations beyond it. A half-hour whose inputs are not all numbers gets no number, so
    the canopy refuses it, and it has no influence on the weights.

    Args:
        name: of `CLOSURES`, or a parameter of `canveg_jax.PARAMETER_TABLE`.
        inputs: names of `NETWORK_INPUTS` and `INPUT_GROUPS`; default: those of the closure's kind.
        hidden: widths of the hidden layers.
        activation: `tanh` or `silu`.
        range: how far it may go: the factor stays within `exp(-range)` and `exp(range)`.
        penalty: weight of the mean of `z**2` in the loss: a pull to the default.
        lr: learning rate; None: that of the networks.
        gru: `{days: 30, hidden: 8}`: a memory of the days before (`DailyMemory`), whose numbers the perceptron sees beside the
            inputs.
        network: a module of your own, `columns -> z [time]`, in place of the perceptron. It sees the forcing and its past by
            name, in physical units, LAI as the canopy uses it; `inputs`, `hidden`, `activation` and `gru` are not used then.

    Raises:
        ValueError: a name that does not exist, or a number that cannot be right.
    """

    input_mean: torch.Tensor
    input_sd: torch.Tensor

    def __init__(
        self,
        name: str,
        *,
        inputs: Sequence[str] | None = None,
        hidden: Sequence[int] = (16, 16),
        activation: Literal["tanh", "silu"] = "tanh",
        range: float | None = None,  # noqa: A002 - the word of the configuration
        penalty: float = 0.0,
        lr: float | None = None,
        gru: Mapping[str, Any] | None = None,
        network: nn.Module | None = None,
    ):
        super().__init__()
        self.name, self.kind = name, closure_kind(name)
        self.range = self.kind.range if range is None else range
        for what, number in (("range", self.range), ("lr", lr)):
            if number is not None and not 0.0 < number < math.inf:
                raise ValueError(f"closure {name}: {what} must be positive; got {number!r}.")
        if not 0.0 <= penalty < math.inf:
            raise ValueError(f"closure {name}: penalty must not be negative; got {penalty!r}.")
        self.penalty, self.lr = float(penalty), lr
        self.config: dict[str, Any] = {"range": self.range, "penalty": self.penalty, "lr": lr}
        self.inputs: tuple[str, ...] = ()
        self.memory = read_memory(gru) if network is None else None
        if network is None:
            self.inputs = check_inputs(self.kind.inputs if inputs is None else inputs)
            remembered = 0 if self.memory is None else self.memory.hidden
            network = Perceptron(len(self.inputs) + remembered, hidden, activation=activation)
            nn.init.zeros_(network.head.weight)
            self.config |= {"inputs": list(self.inputs), "hidden": list(hidden), "activation": activation}
            self.config |= {} if gru is None else {"gru": dict(gru)}
        self.network = network
        self.register_buffer("input_mean", torch.zeros(len(self.inputs), dtype=torch.float64))
        self.register_buffer("input_sd", torch.ones(len(self.inputs), dtype=torch.float64))

    @property
    def acts_on(self) -> tuple[str, ...]:
        """Names of the parameters it moves, or `lai`."""
        return self.kind.acts_on

    def set_statistics(self, statistics: ScalingStatistics) -> None:
        """Take mean and standard deviation of the inputs (a constant input is only centred)."""
        for i, name in enumerate(self.inputs):
            if name not in statistics.inputs:
                raise ValueError(
                    f"closure {self.name}: the data have no '{name}'. Columns of rain need a file with precipitation; leave "
                    "the input out."
                )
            self.input_mean[i] = statistics.inputs[name].mean
            self.input_sd[i] = statistics.inputs[name].sd or 1.0
        if self.memory is not None:
            self.memory.set_statistics(statistics)

    def forward(self, columns: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """`z [time]` of half-hours, of the columns' dtype; NaN where an input is not a number."""
        like = columns["air_temperature"]
        if not self.inputs:
            z = self.network(columns)
            if z.shape != like.shape:
                raise ValueError(
                    f"closure {self.name}: {type(self.network).__name__} must return one number per half-hour, "
                    f"{list(like.shape)}; it returned {list(z.shape)}."
                )
            return torch.where(torch.isfinite(z), z.to(like.dtype), torch.nan)  # a number that is none has no gradient
        features = standardised(compute_inputs(columns, self.inputs), self.input_mean, self.input_sd)
        known = torch.isfinite(features).all(dim=-1)
        features = torch.where(known[:, None], features, 0.0)
        weights = next(self.network.parameters())
        if self.memory is not None:
            features = torch.cat([features, self.memory(columns).to(features.dtype)], dim=-1)
        z = self.network(features.to(weights.dtype)).squeeze(-1).to(like.dtype)
        return torch.where(known, z, torch.nan)

    def limited(self, z: torch.Tensor) -> torch.Tensor:
        """`range tanh(z)`, or `z` where it is not limited: the logarithm of the factor."""
        return z if self.range is None else self.range * torch.tanh(z)


class Closures(nn.ModuleDict):
    """The closures of a canopy, by name, and what they make of a batch together.

    Args:
        closures: of different names, each acting on something of its own.

    Raises:
        ValueError: two act on the same.
    """

    def __init__(self, closures: Iterable[Closure] = ()):
        super().__init__({closure.name: closure for closure in closures})
        taken: dict[str, str] = {}
        for name, closure in self.named().items():
            for target in closure.acts_on:
                if target in taken:
                    raise ValueError(f"closures {taken[target]} and {name} both act on {target}; keep one of them.")
                taken[target] = name

    def named(self) -> dict[str, Closure]:
        """The closures by name."""
        return cast(dict[str, Closure], dict(self.items()))

    @property
    def days_of_memory(self) -> int:
        """How many days before a half-hour they look back over one by one."""
        return max((c.memory.days for c in self.named().values() if c.memory is not None), default=0)

    def forward(self, columns: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """`z [time]` of each, by name."""
        return {name: closure(columns) for name, closure in self.named().items()}

    def set_statistics(self, statistics: ScalingStatistics) -> None:
        """Give all of them their scales."""
        for closure in self.named().values():
            closure.set_statistics(statistics)

    def actions(self, z: Mapping[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """What the closures ask for, `[time]` by name of parameter (or `lai`): factors, and shifts of unconstrained numbers.

        Args:
            z: of the closures, as `forward` returns them.
        """
        factors: dict[str, torch.Tensor] = {}
        shifts: dict[str, torch.Tensor] = {}
        for name, closure in self.named().items():
            limited = closure.limited(z[name])
            for target in closure.acts_on:
                if closure.kind.moves == "factor":
                    factors[target] = torch.exp(limited)
                else:
                    shifts[target] = limited
        return factors, shifts

    def moves(self, z: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Factor or shift `[time]` of each closure, by its name; `z` as of `actions`."""
        limited = {name: closure.limited(z[name]) for name, closure in self.named().items()}
        return {
            name: torch.exp(limited[name]) if closure.kind.moves == "factor" else limited[name]
            for name, closure in self.named().items()
        }
