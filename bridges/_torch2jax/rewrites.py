"""Functions of torch that look at values where sizes are enough, written so that a network with them can be exported."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class Rewritten(TorchFunctionMode):
    """While active, calls of the functions in `REWRITES` run these instead; values and derivatives are the same."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        function: Any = REWRITES.get(func, func)
        return function(*args, **(kwargs or {}))


def _take_along_dim(input: torch.Tensor, indices: torch.Tensor, dim: int | None = None) -> torch.Tensor:
    if dim is None:
        return input.reshape(-1).gather(0, indices.reshape(-1))
    if input.ndim != indices.ndim:
        raise ValueError(f"take_along_dim: input has {input.ndim} axes, indices {indices.ndim}; they must be as many.")
    dim = dim % input.ndim
    sizes = [m if n == 1 else n for n, m in zip(input.shape, indices.shape, strict=True)]
    of_axis = lambda n: [*sizes[:dim], n, *sizes[dim + 1 :]]  # noqa: E731
    return input.expand(of_axis(input.shape[dim])).gather(dim, indices.expand(of_axis(indices.shape[dim])))


def _cov(
    input: torch.Tensor,
    *,
    correction: int = 1,
    fweights: torch.Tensor | None = None,
    aweights: torch.Tensor | None = None,
) -> torch.Tensor:
    x = input.reshape(1, -1) if input.ndim < 2 else input
    x = x if x.is_floating_point() or x.is_complex() else x.to(torch.get_default_dtype())
    weights = None
    for given in (fweights, aweights):
        weights = given if weights is None else weights if given is None else weights * given
    if weights is None:
        centred = x - x.mean(1, keepdim=True)
        scaled, divisor = centred, x.shape[1] - correction
    else:
        total = weights.sum()
        centred = x - (x * weights).sum(1, keepdim=True) / total
        scaled = centred * weights
        lost = correction if aweights is None else correction * (weights * aweights).sum() / total
        divisor = (total - lost).clamp(min=0)
    return (scaled @ centred.mH / divisor).squeeze()


def _corrcoef(input: torch.Tensor) -> torch.Tensor:
    covariance = _cov(input)
    if covariance.ndim == 0:
        return covariance / covariance
    spread = covariance.diagonal().sqrt()
    result = covariance / spread[:, None] / spread[None]
    return (
        torch.complex(result.real.clip(-1, 1), result.imag.clip(-1, 1)) if result.is_complex() else result.clip(-1, 1)
    )


def _combinations(input: torch.Tensor, r: int = 2, with_replacement: bool = False) -> torch.Tensor:
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    chosen = list(choose(range(int(input.shape[0])), r))
    return input[torch.tensor(chosen, dtype=torch.int64).reshape(len(chosen), r)]


def _gaussian_nll_loss(
    input: torch.Tensor,
    target: torch.Tensor,
    var: torch.Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> torch.Tensor:
    """As torch's, which refuses negative variances: here the result is NaN."""
    var = var if isinstance(var, torch.Tensor) else torch.full_like(input, var)
    if var.ndim == input.ndim - 1:
        var = var.unsqueeze(-1)
    var = torch.where(var < 0, torch.nan, var)
    var = var + (var.clamp(min=eps) - var).detach()  # torch's derivative ignores the clamp
    loss = 0.5 * (torch.log(var) + (input - target) ** 2 / var)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return loss.mean() if reduction == "mean" else loss.sum() if reduction == "sum" else loss


REWRITES: dict[Any, Callable] = {
    torch.take_along_dim: _take_along_dim,
    torch.Tensor.take_along_dim: _take_along_dim,
    torch.cov: _cov,
    torch.Tensor.cov: _cov,
    torch.corrcoef: _corrcoef,
    torch.Tensor.corrcoef: _corrcoef,
    torch.combinations: _combinations,
    torch.nn.functional.gaussian_nll_loss: _gaussian_nll_loss,
}
