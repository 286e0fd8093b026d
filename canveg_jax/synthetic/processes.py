"""Random and physical processes that invented weather is made of."""

from __future__ import annotations

import numpy as np

from ..io.arrays import Mask, Series


def autoregressive(rng: np.random.Generator, size: int, memory: float) -> Series:
    """A stationary Gaussian series of zero mean and unit variance whose correlation falls by 1/e in `memory` steps."""
    weight = float(np.exp(-1.0 / memory))
    shocks = rng.standard_normal(size)
    shocks[1:] *= np.sqrt(1.0 - weight**2)
    value, series = 0.0, np.empty(size)
    for i, shock in enumerate(shocks.tolist()):
        value = weight * value + shock
        series[i] = value
    return series


def relax(target: Series, memory: float, start: float | None = None) -> Series:
    """A series that follows `target` with the time constant `memory` (steps), from `start` (default: the mean)."""
    weight = float(np.exp(-1.0 / memory))
    value = float(np.mean(target)) if start is None else start
    series = np.empty(len(target))
    for i, goal in enumerate(np.asarray(target, dtype=float).tolist()):
        value = goal + weight * (value - goal)
        series[i] = value
    return series


def damped_wave(surface: Series, step: float, depth: float, diffusivity: float = 4e-7) -> Series:
    """Temperature at a depth in soil under a surface temperature that repeats itself.

    Every frequency `w` of the surface is damped and delayed by `exp(-(1 + i) z sqrt(w / (2 kappa)))`, the solution of
    heat conduction in a uniform half-space.

    Args:
        surface: `[time]`, degC.
        step: s.
        depth: m.
        diffusivity: m2 s-1.

    Returns:
        `[time]`, degC.
    """
    frequency = 2.0 * np.pi * np.fft.rfftfreq(len(surface), step)
    transfer = np.exp(-(1.0 + 1.0j) * depth * np.sqrt(frequency / (2.0 * diffusivity)))
    return np.fft.irfft(np.fft.rfft(surface) * transfer, len(surface))


def rain_events(
    rng: np.random.Generator, disturbed: Mask, steps_per_day: int, events_per_day: float, depth: float
) -> Series:
    """Rain, mm per step: events at random within disturbed weather, of exponential depth, lasting hours.

    Args:
        disturbed: `[time]`, where events may start.
        steps_per_day: intervals in a day.
        events_per_day: mean over the whole series.
        depth: mean of one event, mm.

    Returns:
        `[time]`, mm per step.
    """
    size = len(disturbed)
    share = max(float(np.mean(disturbed)), 1e-9)
    starts = np.flatnonzero(disturbed & (rng.random(size) < events_per_day / steps_per_day / share))
    rain = np.zeros(size)
    for start in starts:
        length = 1 + int(rng.geometric(1.0 / (0.15 * steps_per_day)))
        rain[start : start + length] += rng.exponential(depth) / length
    return rain
