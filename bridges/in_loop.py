"""A torch network that the canopy evaluates for every leaf inside its iteration."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from canveg_jax.forcing import FORCING_TABLE
from canveg_jax.spelling import unknown
from canveg_jax.stress import LEAF_INPUTS, LeafHumidityNetwork, LeafNetwork

from ._torch2jax.export import NetworkError
from ._torch2jax.network import JaxNetwork, torch2jax


class InLoop(torch.nn.Module):
    """Says of a torch network what it reads, so that `TorchCanopy(..., in_loop=...)` can evaluate it for every leaf.

    Modules that have the attributes `inputs` and, if need be, `replaces_humidity` of their own do without it.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Linear(2, 6), torch.nn.Tanh(), torch.nn.Linear(6, 1), torch.nn.Sigmoid())
        >>> op = TorchCanopy(canopy, in_loop=InLoop(network, ["leaf_vpd", "soil_water_content"]))

    Args:
        network: `[..., input] -> [..., 1]` or `[...]`, each row (a leaf) by itself: a positive factor on the humidity term of
            stomatal conductance.
        inputs: names, in order: of `canveg_jax.LEAF_INPUTS` (the state of the leaf), of the forcing, or of columns that are
            given as `features` when the canopy is called. In their units, not standardised.
        replaces_humidity: the network stands in place of the relative humidity of the Ball-Berry equation.
    """

    in_loop = True

    def __init__(self, network: torch.nn.Module, inputs: Sequence[str], *, replaces_humidity: bool = False):
        super().__init__()
        self.network = network
        self.inputs = tuple(inputs)
        self.replaces_humidity = replaces_humidity

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """The network's factor of each row of features."""
        return self.network(features)


class LoopProgram(NamedTuple):
    """What of a network in the loop is compiled in; its weights and columns are arguments of the program."""

    network: JaxNetwork
    inputs: tuple[str, ...]
    replaces_humidity: bool

    def closure(self, weights: Mapping[str, Any], columns: Mapping[str, Any]) -> LeafNetwork:
        """The stress scheme with these weights and numbers of the half-hours."""
        scheme = LeafHumidityNetwork if self.replaces_humidity else LeafNetwork
        return scheme(dict(weights), dict(columns), inputs=self.inputs, network=self.network)


class LoopNetwork:
    """A torch network prepared for the loop. Copies of a canopy share it, for they share its programs.

    The network is converted in evaluation mode: a fixed point has no use for dropout, and batch normalisation uses its running
    statistics.

    Args:
        module: the network, see `InLoop`.
        n_layers: of the canopy.

    Raises:
        ValueError: the module has no `inputs`, or one is unknown.
    """

    def __init__(self, module: torch.nn.Module, n_layers: int):
        inputs = getattr(module, "inputs", None)
        if not inputs or isinstance(inputs, str) or not all(isinstance(name, str) for name in inputs):
            raise ValueError(
                f"in_loop: {type(module).__name__} does not say what it reads: its attribute `inputs` must be a sequence of "
                f"names, got {inputs!r}. Wrap it: bridges.InLoop(network, ['leaf_vpd', 'soil_water_content'])."
            )
        self.inputs: tuple[str, ...] = tuple(inputs)
        self.replaces_humidity = bool(getattr(module, "replaces_humidity", False))
        self.n_layers = n_layers
        self._like = copy.deepcopy(module).eval()
        self._programs: dict[torch.dtype, LoopProgram] = {}
        self._buffers: tuple[str, ...] = ()

    def __deepcopy__(self, memo: dict) -> LoopNetwork:
        return self

    @property
    def column_inputs(self) -> tuple[str, ...]:
        """Inputs that are numbers of the half-hour."""
        return tuple(name for name in self.inputs if name not in LEAF_INPUTS)

    def columns(
        self, forcing: Mapping[str, torch.Tensor], features: Mapping[str, torch.Tensor] | None
    ) -> dict[str, torch.Tensor]:
        """Columns `[time]` of the inputs that the leaf does not know, from `features` or else the forcing.

        Raises:
            ValueError: a column is missing, or one of `features` is not read.
        """
        features = dict(features or {})
        if odd := sorted(set(features) - set(self.column_inputs)):
            raise ValueError(
                f"features: the network in the loop does not read {', '.join(odd)}; it reads {', '.join(self.inputs)}."
            )
        known = {**forcing, **features}
        for name in self.column_inputs:
            if name not in known:
                raise ValueError(
                    f"{unknown('input of the network in the loop', name, [*LEAF_INPUTS, *FORCING_TABLE])} Or give its column "
                    f"[time] in the call: canopy(forcing, features={{'{name}': ...}})."
                )
        return {name: known[name] for name in self.column_inputs}

    def program(self, dtype: torch.dtype) -> LoopProgram:
        """The network converted for a precision.

        Raises:
            NetworkError: its result has not one number per leaf, or a leaf feels the inputs of another.
            UnsupportedOperatorError: as `torch2jax`.
        """
        if dtype not in self._programs:
            module = copy.deepcopy(self._like).to("cpu", dtype)
            example = torch.rand(
                2, self.n_layers, len(self.inputs), dtype=dtype, generator=torch.Generator().manual_seed(0)
            )
            self._check(module, example)
            network, _ = torch2jax(module, example, free_axes=None)
            self._programs[dtype] = LoopProgram(network, self.inputs, self.replaces_humidity)
            self._buffers = tuple(network.buffers)
        return self._programs[dtype]

    def state(self, module: torch.nn.Module, dtype: torch.dtype) -> dict[str, torch.Tensor]:
        """Parameters and used buffers of the module, floating-point ones in this precision; after `program`."""
        tensors = dict(module.named_parameters())
        tensors |= {name: tensor for name, tensor in module.named_buffers() if name in self._buffers}
        return {name: t.to(dtype) if t.is_floating_point() else t for name, t in tensors.items()}

    def _check(self, module: torch.nn.Module, example: torch.Tensor) -> None:
        name = type(self._like).__name__
        with torch.no_grad():
            factor = module(example)
            shape = tuple(example.shape[:-1])
            if tuple(factor.shape) not in (shape, (*shape, 1)):
                raise NetworkError(
                    f"in_loop: {name} must give one number per leaf, {list(shape)} or {[*shape, 1]}, for features "
                    f"{list(example.shape)}; got {list(factor.shape)}."
                )
            moved = example.clone()
            moved[0, 0] += 0.5
            others = torch.ones(shape, dtype=torch.bool)
            others[0, 0] = False
            before, after = factor.reshape(shape)[others], module(moved).reshape(shape)[others]
            if not torch.allclose(before, after, rtol=0.0, atol=1e-5):
                raise NetworkError(
                    f"in_loop: {name} mixes leaves: its factor of one leaf changes with the inputs of another. Leaves do not "
                    "feel each other inside a pass; let the network work on the last axis only."
                )
