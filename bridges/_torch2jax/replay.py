"""torch run with random numbers that JAX drew, so that a network with dropout can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .._runtime.upstream import TorchDispatchMode
from .export import NetworkError

_IN_PLACE = ("bernoulli_", "uniform_", "normal_", "exponential_", "random_")
_NEW = (
    "bernoulli", "native_dropout", "rand", "randn", "rand_like", "randn_like", "randint", "randint_like", "randperm",
    "normal", "multinomial", "uniform", "exponential", "normal_functional", "rrelu_with_noise",
)  # fmt: skip


class Replay(TorchDispatchMode):
    """While active, every operator of torch that draws random numbers gives the next sample instead.

    Args:
        samples: in the order in which the network draws them.
    """

    def __init__(self, samples: Sequence[torch.Tensor]):
        super().__init__()
        self.samples = list(samples)

    def __torch_dispatch__(self, operator: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        name = operator.overloadpacket.__name__
        if name in _IN_PLACE:
            return args[0].copy_(self._next(name, args[0].shape))
        if name == "rrelu_with_noise" and args[4]:
            x, noise = args[:2]
            noise.copy_(torch.where(x > 0, torch.ones_like(x), self._next(name, x.shape)))
            return x * noise
        if name == "native_dropout" and args[2]:
            kept = self._next(name, args[0].shape)
            return args[0] * kept / (1 - args[1]), kept.bool()
        result = operator(*args, **(kwargs or {}))
        if name in _NEW and isinstance(result, torch.Tensor):
            return self._next(name, result.shape).to(result.dtype)
        return result

    def _next(self, name: str, shape: torch.Size) -> torch.Tensor:
        if not self.samples or self.samples[0].numel() != shape.numel():
            raise NetworkError(
                f"the check cannot give torch the random numbers that JAX drew: aten.{name} wants {list(shape)}, "
                f"{'none is left' if not self.samples else f'the next is {list(self.samples[0].shape)}'}. Convert with "
                "verify=False, and compare averages over many keys."
            )
        # torch may join axes where its exported form does not, such as the heads of attention with the batch.
        return self.samples.pop(0).reshape(shape)
