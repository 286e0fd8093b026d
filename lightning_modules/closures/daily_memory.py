"""A memory of the days before a half-hour: daily weather in, a few numbers that sum it up out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from canveg_jax.io.antecedents import antecedent_name
from canveg_jax.io.daily_weather import DAILY, DAILY_DRIVERS
from canveg_jax.spelling import unknown

from ..data.inputs import standardised
from ..data.statistics import ScalingStatistics


class DailyMemory(nn.Module):
    """A gated recurrent unit [Cho2014] over the daily means of the last whole days, the oldest first: its last state.

    A day or driver without a number counts as an average one. The day of the half-hour itself is not among them.

    Args:
        days: how many.
        hidden: numbers that it remembers.

    Raises:
        ValueError: a number that cannot be right.
    """

    driver_mean: torch.Tensor
    driver_sd: torch.Tensor

    def __init__(self, days: int = 30, hidden: int = 8):
        super().__init__()
        for name, number in (("days", days), ("hidden", hidden)):
            if isinstance(number, bool) or not isinstance(number, int) or number < 1:
                raise ValueError(f"gru: {name} must be a positive whole number; got {number!r}.")
        self.days, self.hidden = days, hidden
        self.unit = nn.GRU(len(DAILY_DRIVERS), hidden, batch_first=True)
        self.register_buffer("driver_mean", torch.zeros(len(DAILY_DRIVERS), dtype=torch.float64))
        self.register_buffer("driver_sd", torch.ones(len(DAILY_DRIVERS), dtype=torch.float64))

    def set_statistics(self, statistics: ScalingStatistics) -> None:
        """Take mean and standard deviation of the daily means in the training part."""
        for i, driver in enumerate(DAILY_DRIVERS):
            if (scale := statistics.inputs.get(antecedent_name(driver, 1))) is not None:
                self.driver_mean[i], self.driver_sd[i] = scale.mean, scale.sd or 1.0

    def forward(self, columns: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """`[time, hidden]`, from the column `daily` `[time, day, driver]`.

        Raises:
            ValueError: there is no such column, or it has fewer days.
        """
        daily = columns.get(DAILY)
        if daily is None or daily.shape[1] < self.days:
            there = "there are none" if daily is None else f"there are {daily.shape[1]}"
            raise ValueError(
                f"gru: needs the daily weather of the last {self.days} days, but {there}. Give "
                f"TowerDataset(daily_days={self.days}), or use a FluxTowerDataModule and a Trainer, which see to it."
            )
        scaled = standardised(daily[:, -self.days :], self.driver_mean, self.driver_sd)
        scaled = torch.where(torch.isfinite(scaled), scaled, 0.0)
        return self.unit(scaled.to(next(self.unit.parameters()).dtype))[1][-1]


def read_memory(setting: Mapping[str, Any] | None) -> DailyMemory | None:
    """The memory that `{days: 30, hidden: 8}` means.

    Raises:
        ValueError: an unknown key, or a number that cannot be right.
    """
    if setting is None:
        return None
    if not isinstance(setting, Mapping):
        raise ValueError(f"gru: expected a mapping such as {{days: 30, hidden: 8}}; got {setting!r}.")
    for key in setting:
        if key not in ("days", "hidden"):
            raise ValueError(f"gru: {unknown('key', key, ('days', 'hidden'))}")
    return DailyMemory(**setting)
