"""Small perceptrons behind the networks: an unconstrained one, and one that is monotone by construction."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {"tanh": torch.tanh, "silu": nn.functional.silu}


class Perceptron(nn.Module):
    """`[time, n_inputs] -> [time, n_outputs]`; the last layer starts small, biased to `offset`."""

    def __init__(
        self, n_inputs: int, hidden: Sequence[int], n_outputs: int = 1, *, activation: str = "tanh", offset: float = 0.0
    ):
        super().__init__()
        self.activate = _activation(activation)
        widths = (n_inputs, *_widths(hidden))
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths[:-1], widths[1:], strict=True))
        self.head = nn.Linear(widths[-1], n_outputs)
        with torch.no_grad():
            self.head.weight.mul_(0.1)
            self.head.bias.fill_(offset)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = self.activate(layer(x))
        return self.head(x)


class MonotonePerceptron(nn.Module):
    """`[time, n_inputs] -> [time, 1]`, never falling in inputs of direction +1, never rising in those of -1.

    Whatever the weights: directed inputs, multiplied by their direction, enter through positive weights (softplus of
    the stored numbers), all later weights are positive, and tanh increases. The other inputs are free: they shift the
    first hidden layer through an unconstrained layer of their own.

    Args:
        direction: +1, -1 or 0 (free) per input; at least one is not 0.
        hidden: widths of the hidden layers.
        offset: output at the start, about.
    """

    sign: torch.Tensor

    def __init__(self, direction: Sequence[int], hidden: Sequence[int], offset: float = 0.0):
        super().__init__()
        widths = _widths(hidden)
        self.directed = [i for i, d in enumerate(direction) if d]
        self.free = [i for i, d in enumerate(direction) if not d]
        if not self.directed:
            raise ValueError(
                "monotone: none of the inputs has a known direction; leave monotone out or add such an input."
            )
        signs = torch.tensor([float(direction[i]) for i in self.directed])
        self.register_buffer("sign", signs, persistent=False)
        sizes = (len(self.directed), *widths, 1)
        self.weights = nn.ParameterList(
            nn.Parameter(_inverse_softplus(torch.empty(b, a).uniform_(0.5, 1.5) / a**0.5))
            for a, b in zip(sizes[:-1], sizes[1:], strict=True)
        )
        self.biases = nn.ParameterList(nn.Parameter(torch.empty(width).uniform_(-1.5, 1.5)) for width in widths)
        self.offset = nn.Parameter(torch.tensor([float(offset)]))
        self.embedding = Perceptron(len(self.free), (widths[0],), widths[0]) if self.free else None
        with torch.no_grad():
            self.weights[-1].copy_(_inverse_softplus(torch.empty(1, widths[-1]).uniform_(0.5, 1.5) * 0.5 / widths[-1]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shift = 0.0 if self.embedding is None else self.embedding(x[..., self.free])
        x = x[..., self.directed] * self.sign
        for i, bias in enumerate(self.biases):
            x = torch.tanh(
                nn.functional.linear(x, nn.functional.softplus(self.weights[i]), bias) + (shift if i == 0 else 0.0)
            )
        return nn.functional.linear(x, nn.functional.softplus(self.weights[-1]), self.offset)


def _widths(hidden: Sequence[int]) -> tuple[int, ...]:
    widths = tuple(int(width) for width in hidden)
    if not widths or min(widths) < 1:
        raise ValueError(f"hidden must name at least one layer, each of at least one unit; got {list(hidden)}.")
    return widths


def _activation(name: str) -> Callable[[torch.Tensor], torch.Tensor]:
    if name not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}; got {name!r}.")
    return ACTIVATIONS[name]


def _inverse_softplus(weight: torch.Tensor) -> torch.Tensor:
    return torch.log(torch.expm1(weight))
