"""The size of errors, learned with the model: a likelihood instead of a plain loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import pandas as pd
import torch
from torch import nn

from canveg_jax.fluxes import FLUX_TABLE

from ..data.targets import FLUX_OF_TARGET

Likelihood = Literal["gaussian", "laplace"]
LIKELIHOODS: tuple[Likelihood, ...] = ("gaussian", "laplace")

START = (0.3, 0.1)
"""Where offset (in standard deviations of the target) and slope start."""

SMALLEST = 1e-3
"""Of the offset, in standard deviations of the target: a scale never reaches zero."""


class ErrorScales(nn.Module):
    """`sigma_k = a_k + b_k |y_k|` of each target, `a_k` and `b_k` positive and learned.

    Random errors of eddy-covariance fluxes grow with the flux [Hollinger2005]; what is learned here is the error of the
    model as well. `sigma` follows the modelled flux, which has no influence on the gradient through it: else a model could
    make errors probable by larger fluxes.

    Args:
        targets: those of the loss.
        likelihood: of the errors: `gaussian` (sigma is the standard deviation), or `laplace` (the mean absolute error).

    Raises:
        ValueError: another likelihood.
    """

    def __init__(self, targets: Sequence[str], likelihood: Likelihood):
        super().__init__()
        if likelihood not in LIKELIHOODS:
            raise ValueError(f"likelihood must be 'gaussian', 'laplace' or null; got {likelihood!r}.")
        self.targets = tuple(targets)
        self.likelihood: Likelihood = likelihood
        start = [math.log(math.expm1(value)) for value in START]
        self.raw = nn.Parameter(torch.tensor([start] * len(self.targets), dtype=torch.float64))

    def lines(self) -> torch.Tensor:
        """Offset, in standard deviations of the target, and slope, `[target, 2]`."""
        floor = torch.tensor([SMALLEST, 0.0], dtype=self.raw.dtype, device=self.raw.device)
        return nn.functional.softplus(self.raw) + floor

    def forward(self, name: str, modelled: torch.Tensor, sd: torch.Tensor | float) -> torch.Tensor:
        """`sigma` `[time]` of a target, in its unit.

        Args:
            name: of the target.
            modelled: `[time]`, as the tower would see it, finite.
            sd: standard deviation of the target in the training part.
        """
        offset, slope = self.lines()[self.targets.index(name)]
        return (offset * sd + slope * modelled.detach().abs()).to(modelled.dtype)

    def table(self, sd: torch.Tensor) -> pd.DataFrame:
        """The learned lines in the form of `parameter_table`.

        Args:
            sd: standard deviations of the targets, `[target]`.
        """
        rows, lines = [], self.lines().detach().cpu()
        meaning = "standard deviation" if self.likelihood == "gaussian" else "mean absolute error"
        for i, name in enumerate(self.targets):
            flux, scale = FLUX_OF_TARGET[name], float(sd[i])
            offset, slope = (float(x) for x in lines[i])
            more: dict[str, Any] = {"near_bound": False, "upper": math.inf}
            rows += [
                {"parameter": f"sigma_of_{flux}", "start": START[0] * scale, "value": offset * scale, "lower": SMALLEST * scale,
                 "unit": FLUX_TABLE[flux].unit, "meaning": f"{meaning} of the error of a flux of 0", **more},
                {"parameter": f"sigma_slope_of_{flux}", "start": START[1], "value": slope, "lower": 0.0, "unit": "1",
                 "meaning": "its growth with the modelled flux", **more},
            ]  # fmt: skip
        return pd.DataFrame(rows).set_index("parameter")


def read_likelihood(
    likelihood: Likelihood | None, targets: Sequence[str], loss: Any, random_error: Any
) -> ErrorScales | None:
    """The scales that a setting means; None: a plain loss.

    Raises:
        ValueError: a likelihood beside another loss or random errors, which would weigh the same samples twice.
    """
    if likelihood is None:
        return None
    scales = ErrorScales(targets, likelihood)
    if loss != "squared":
        raise ValueError(f"likelihood: {likelihood} is the loss; leave model.loss out (it is {loss!r}).")
    if random_error not in (None, "none"):
        raise ValueError(
            "likelihood: it learns how well samples are known, so random_error has no place beside it. Leave one of them out."
        )
    return scales


def negative_log_density(error: torch.Tensor, sigma: torch.Tensor, likelihood: Likelihood) -> torch.Tensor:
    """`-log p(error)`, elementwise.

    `z**2 / 2 + log sigma + log(2 pi) / 2` (gaussian) or `|z| + log 2 sigma` (laplace), `z = error / sigma`.
    """
    z = error / sigma
    if likelihood == "gaussian":
        return 0.5 * z.square() + sigma.log() + 0.5 * math.log(2.0 * math.pi)
    return z.abs() + (2.0 * sigma).log()
