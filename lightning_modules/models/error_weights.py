"""Weights of samples by their random error: an error of the model counts in units of what the measurement itself may err."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from canveg_jax.spelling import unknown

from ..data.random_error import RandomError

RandomErrorSetting = str | Mapping[str, Sequence[float]] | None


class ErrorWeights(nn.Module):
    """Factors `reference / sigma` on the errors of the loss.

    `reference` is such that the mean square of the factors over the training part is 1: a target keeps the weight in the loss
    that it was given, and its half-hours share it by how well they are known. With `fitted`, or numbers `[a, b]`, sigma is
    `a + b |flux|` of the *modelled* flux (which has no influence on the gradient through it): by the observed one, samples
    that happen to be too small would count more than those that happen to be too large.

    Args:
        setting: `file` (the file's own sigma, such as `LE_RANDUNC`), `fitted` (from pairs of days that were alike,
            `data.random_error`), or `{latent_heat: [8.8, 0.13]}` by target: a in the unit of the flux, b; targets that are
            left out have equal weights.
        targets: those of the loss.

    Raises:
        ValueError: another setting, an unknown target, or numbers that cannot be right.
    """

    lines: torch.Tensor
    reference: torch.Tensor

    def __init__(self, setting: str | Mapping[str, Sequence[float]], targets: Sequence[str]):
        super().__init__()
        self.targets = tuple(targets)
        self.given: dict[str, tuple[float, float]] = {}
        if isinstance(setting, str):
            if setting not in ("file", "fitted"):
                raise ValueError(
                    f"random_error must be 'file', 'fitted', null or numbers [a, b] by target; got {setting!r}."
                )
        else:
            self.given = {name: _numbers(name, line, self.targets) for name, line in setting.items()}
        self.source = setting if isinstance(setting, str) else "given"
        n = len(self.targets)
        self.register_buffer("lines", torch.zeros(n, 2, dtype=torch.float64))
        self.register_buffer("reference", torch.full((n,), torch.nan, dtype=torch.float64))

    def set_statistics(self, errors: Mapping[str, RandomError]) -> None:
        """Take what is known of the errors in the training part.

        Raises:
            ValueError: the file has no sigma, or too few days are alike, for a target of the loss.

        Warns:
            UserWarning: some measured samples have no sigma in the file; they keep the weight 1.
        """
        for i, name in enumerate(self.targets):
            error = errors.get(name)
            if error is None or (self.source == "given" and name not in self.given):
                continue
            if self.source == "file":
                if error.from_file is None:
                    raise ValueError(
                        f"random_error: the files give no standard deviation of the error of {name} ({name}_sigma of the "
                        "dataset). Set random_error: fitted, or give numbers [a, b]."
                    )
                if error.share_from_file < 1.0:
                    missing = 100.0 * (1.0 - error.share_from_file)
                    warnings.warn(
                        f"random_error: {missing:.1f} % of the measured samples of {name} have no standard deviation in the "
                        "file; they keep the weight 1.",
                        stacklevel=2,
                    )
                self.reference[i] = 1.0 / error.from_file
                continue
            offset, slope = self.given[name] if self.source == "given" else (error.offset, error.slope)
            if offset is None or slope is None:
                raise ValueError(
                    f"random_error: only {error.pairs} pairs of days were alike enough to learn the error of {name} from. Give "
                    f"numbers, random_error: {{{name}: [a, b]}}, or leave it out."
                )
            self.lines[i] = torch.tensor([offset, slope], dtype=torch.float64)
            sigma = offset + slope * torch.tensor(error.magnitudes, dtype=torch.float64)
            self.reference[i] = sigma.pow(-2).mean().rsqrt()

    def forward(self, name: str, modelled: torch.Tensor, batch: Mapping[str, Any]) -> torch.Tensor:
        """The factors of a target, `[time]`; 1 where nothing is known."""
        i = self.targets.index(name)
        if not torch.isfinite(self.reference[i]):
            return torch.ones_like(modelled)
        if self.source == "file":
            sigma = batch.get("sigma", {}).get(name)
            sigma = torch.full_like(modelled, torch.nan) if sigma is None else sigma
        else:
            sigma = self.lines[i, 0] + self.lines[i, 1] * modelled.detach().abs()
        known = torch.isfinite(sigma) & (sigma > 0.0)
        return torch.where(known, self.reference[i] / torch.where(known, sigma, 1.0), 1.0).to(modelled.dtype)


def read_error_weights(setting: RandomErrorSetting, targets: Sequence[str]) -> ErrorWeights | None:
    """The weights that a setting means; None: all samples count alike."""
    return None if setting is None or setting == "none" else ErrorWeights(setting, targets)


def _numbers(name: str, line: Sequence[float], targets: Sequence[str]) -> tuple[float, float]:
    if name not in targets:
        raise ValueError(f"random_error: {unknown('fitted target', name, targets)}")
    numbers = list(line) if isinstance(line, Sequence) else [line]
    if len(numbers) != 2 or not all(isinstance(x, int | float) for x in numbers) or not numbers[0] > 0 <= numbers[1]:
        raise ValueError(
            f"random_error: {name} needs two numbers [a, b], sigma = a + b |flux| with a > 0 and b >= 0; got {line!r}."
        )
    return float(numbers[0]), float(numbers[1])
