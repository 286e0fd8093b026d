"""How the parts of a hybrid are optimised: which learning rate and weight decay each has, AdamW, and its schedule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn


def parameter_groups(
    network_rates: Mapping[nn.Module, float], weight_decay: float, others: Iterable[nn.Parameter], rate: float
) -> list[dict[str, Any]]:
    """Groups of an optimiser, of what is free to move: one for each network, and one for all the rest, without decay.

    Args:
        network_rates: learning rate of each network; weights that several have are those of the first.
        weight_decay: of the networks.
        others: parameters with a physical meaning; those of the networks may be among them.
        rate: learning rate of the others.
    """
    groups: list[dict[str, Any]] = []
    taken: set[int] = set()

    def free(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
        return [p for p in parameters if p.requires_grad and id(p) not in taken]

    for network, own_rate in network_rates.items():
        if weights := free(network.parameters()):
            groups.append({"params": weights, "lr": own_rate, "weight_decay": weight_decay})
        taken |= {id(p) for p in network.parameters()}
    if rest := free(others):
        groups.append({"params": rest, "lr": rate, "weight_decay": 0.0})
    return groups


def adamw(groups: list[dict[str, Any]], steps: int | None) -> Any:
    """The optimiser as Lightning takes it: at constant rates (`steps` None), or on a cosine to zero over so many steps."""
    optimizer = torch.optim.AdamW(groups)
    if steps is None:
        return optimizer
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=max(1, steps))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
