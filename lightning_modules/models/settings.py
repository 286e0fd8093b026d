"""Settings of the hybrid canopy that are numbers or words: what cannot be right is refused before anything is built."""

from __future__ import annotations


def check_settings(
    network_lr: float,
    parameter_lr: float,
    weight_decay: float,
    prior_weight: float,
    schedule: str,
    max_failed_share: float | None,
) -> None:
    """Raise ValueError for a rate, weight, schedule or share that cannot be right."""
    for name, value in (("network_lr", network_lr), ("parameter_lr", parameter_lr)):
        if not value > 0:
            raise ValueError(f"{name} must be positive; got {value!r}.")
    for name, value in (("weight_decay", weight_decay), ("prior_weight", prior_weight)):
        if not value >= 0:
            raise ValueError(f"{name} must not be negative; got {value!r}.")
    if schedule not in ("constant", "cosine"):
        raise ValueError(f"schedule must be 'constant' or 'cosine'; got {schedule!r}.")
    if max_failed_share is not None and not 0.0 <= max_failed_share <= 1.0:
        raise ValueError(f"max_failed_share must be within 0 and 1, or null; got {max_failed_share!r}.")
