"""`JaxProgram`: a JAX program that calls a torch network, trained by torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from .._jax2torch.function import jax2torch
from .._runtime.upstream import torch_tree
from .._torch2jax.network import torch2jax


class JaxProgram(torch.nn.Module):
    """A JAX program with a torch network inside, as a torch module.

    The network runs in the compiled program (in `lax.while_loop`, `lax.scan`, `vmap` ...), while its weights stay the
    torch parameters that an optimiser updates. It is converted at the first call, and again when its mode or dtype
    changes.

    Example:
        >>> def relax(network, x):                          # JAX; the fixed point x = network(x) / 2
        ...     return lax.fori_loop(0, 20, lambda _, x: 0.5 * network(x), x)
        >>> model = JaxProgram(relax, network, torch.zeros(2, 5))
        >>> model(x).sum().backward()                      # gradients in network.parameters()

    Args:
        program: `program(network, *args, **kwargs)`, a JAX function; `network(*inputs)` takes and gives JAX arrays, and
            `network(*inputs, rng=key)` draws random numbers (dropout in training). It must be importable if the module is
            to be pickled.
        network: the torch network.
        example_inputs, free_axes, verify: as for `torch2jax`.

    Raises (when called):
        UnsupportedOperatorError, NetworkError: as `torch2jax`, for active dropout without a key too.
    """

    def __init__(
        self,
        program: Callable,
        network: torch.nn.Module,
        example_inputs: Any,
        *,
        free_axes: int | Sequence[int] | None = 0,
        verify: bool = True,
    ):
        super().__init__()
        self.program = program
        self.network = network
        self.example_inputs = torch_tree.tree_map_only(torch.Tensor, lambda t: t.detach().clone(), example_inputs)
        self.free_axes = free_axes
        self.verify = verify
        self._converted: dict[tuple, tuple[Callable, tuple[str, ...]]] = {}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the program; tensors in, tensors out."""
        function, buffers = self._function()
        state = dict(self.network.named_parameters())
        state |= {name: tensor for name, tensor in self.network.named_buffers() if name in buffers}
        return function(state, args, kwargs)

    def _function(self) -> tuple[Callable, tuple[str, ...]]:
        mode = tuple(module.training for module in self.network.modules())
        if mode not in self._converted:
            fn, _ = torch2jax(self.network, self.example_inputs, free_axes=self.free_axes, verify=self.verify)
            program = self.program

            def run(state: dict, args: tuple, kwargs: dict) -> Any:
                return program(lambda *inputs, rng=None: fn(state, *inputs, rng=rng), *args, **kwargs)

            name = getattr(program, "__name__", "jax_program")
            self._converted[mode] = (jax2torch(run, name=name), tuple(fn.buffers))
        return self._converted[mode]

    def _apply(self, fn: Callable, recurse: bool = True) -> JaxProgram:
        """Moves and casts (`.to`, `.double`) take the example along and ask for a new conversion."""
        super()._apply(fn, recurse)
        self.example_inputs = torch_tree.tree_map_only(torch.Tensor, fn, self.example_inputs)
        self._converted = {}
        return self

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_converted": {}}
