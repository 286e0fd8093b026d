"""Interpolation to another size, and sampling on a grid.

Sizes are interpolated axis by axis: each new position is a weighted sum of old ones, whose places and weights follow from the
sizes alone. Derivatives are those of the sums; where a grid leaves the image, those of torch (0 outside a border).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from .table import UnsupportedOperatorError, aten
from .windows import Windows, reduced


def _cubic(distance, a: float):
    """Weight of a point at a distance, of the cubic convolution with parameter `a`."""
    d = np.abs(distance)
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * (d**3 - 5 * d**2 + 8 * d - 4)
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def _linear(distance):
    return np.maximum(1 - np.abs(distance), 0.0)


def _scale(size: int, count: int, factor: float | None, align_corners: bool) -> float:
    if align_corners:
        return (size - 1) / (count - 1) if count > 1 else 0.0
    return 1 / factor if factor is not None and factor > 0 else size / count


def _nearest(size: int, count: int, scale: float, exact: bool, precision: type) -> tuple[Windows, None]:
    """The position below, or the one whose middle is nearest (`exact`), computed in torch's own precision."""
    points = (np.arange(count).astype(precision) + precision(0.5 if exact else 0)) * precision(scale)
    positions = np.minimum(np.floor(points).astype(int), size - 1)[:, None]
    return Windows(positions, np.ones(positions.shape, bool)), None


def _between(size: int, count: int, scale: float, align_corners: bool, cubic: bool) -> tuple[Windows, np.ndarray]:
    """The 2 (linear) or 4 (cubic) positions around each new one, and their weights."""
    points = np.arange(count) * scale if align_corners else (np.arange(count) + 0.5) * scale - 0.5
    points = points if cubic else np.maximum(points, 0.0)
    below = np.floor(points).astype(int)[:, None]
    positions = below + (np.arange(-1, 3) if cubic else np.arange(2))
    distance = points[:, None] - positions
    weights = _cubic(distance, -0.75) if cubic else _linear(distance)
    return Windows(np.clip(positions, 0, size - 1), np.ones(positions.shape, bool)), weights


def _smooth(size: int, count: int, scale: float, cubic: bool) -> tuple[Windows, np.ndarray]:
    """As `_between`, of a filter that is widened where the new size is smaller (`antialias=True`)."""
    wide = max(scale, 1.0)
    reach = (2.0 if cubic else 1.0) * wide
    centre = (scale * (np.arange(count) + 0.5))[:, None]
    first = np.maximum((centre - reach + 0.5).astype(int), 0)
    last = np.minimum((centre + reach + 0.5).astype(int), size)
    positions = first + np.arange(max(int((last - first).max(initial=1)), 1))
    distance = (positions - centre + 0.5) / wide
    weights = np.where(positions < last, _cubic(distance, -0.5) if cubic else _linear(distance), 0.0)
    return Windows(positions, positions < last), weights / weights.sum(1, keepdims=True)


def _interpolate(x, n: int, sizes, factors, rule: Callable):
    """Interpolate the last `n` axes; `rule(size, count, factor, precision)` gives windows and weights."""
    precision = np.float64 if x.dtype == jnp.float64 else np.float32
    for i in range(n):
        size, factor = x.shape[i - n], None if factors is None else factors[i]
        count = int(sizes[i]) if sizes is not None else math.floor(size * (1.0 if factor is None else factor))
        x = reduced(x, i - n, *rule(size, count, factor, precision))
    return x


def _enter(name: str, n: int, rule: Callable, aligned: bool) -> None:
    """Enter an operator in its two forms: sizes or factors in a list (`vec`), or sizes and a factor for each axis."""

    def listed(x, sizes, *options):
        factors = options[-1] if len(options) > (1 if aligned else 0) else None
        align_corners = options[0] if aligned else False
        return _interpolate(x, n, sizes, factors, lambda s, c, f, p: rule(s, c, f, p, align_corners))

    def separate(x, sizes, *options):
        align_corners, factors = (options[0], options[1:]) if aligned else (False, options)
        factors = [*factors, *[None] * (n - len(factors))]
        return _interpolate(x, n, sizes, factors, lambda s, c, f, p: rule(s, c, f, p, align_corners))

    aten(f"{name}.vec")(listed)
    aten(f"{name}.default")(separate)


for _n in (1, 2, 3):
    for _name, _exact in (("upsample_nearest", False), ("_upsample_nearest_exact", True)):
        _enter(
            f"{_name}{_n}d", _n,
            lambda s, c, f, p, a, exact=_exact: _nearest(s, c, _scale(s, c, f, a), exact, p), False,
        )  # fmt: skip
for _n, _name in ((1, "upsample_linear1d"), (2, "upsample_bilinear2d"), (3, "upsample_trilinear3d")):
    _enter(_name, _n, lambda s, c, f, p, a: _between(s, c, _scale(s, c, f, a), a, False), True)
_enter("upsample_bicubic2d", 2, lambda s, c, f, p, a: _between(s, c, _scale(s, c, f, a), a, True), True)
_enter("_upsample_bilinear2d_aa", 2, lambda s, c, f, p, a: _smooth(s, c, _scale(s, c, f, a), False), True)
_enter("_upsample_bicubic2d_aa", 2, lambda s, c, f, p, a: _smooth(s, c, _scale(s, c, f, a), True), True)


def _reflected(point, twice_low: int, twice_high: int):
    """A coordinate folded back into a range as often as needed."""
    if twice_low == twice_high:
        return jnp.zeros_like(point)
    low, span = twice_low / 2, (twice_high - twice_low) / 2
    distance = point - low
    distance = jnp.where(distance < 0, -distance, distance)
    times = jnp.floor(distance / span)
    rest = distance - times * span
    return jnp.where(times % 2 == 0, rest, span - rest) + low


def _padded(point, size: int, padding: int, align_corners: bool):
    """A coordinate inside the image: as it is (0, zeros), at the border (1), reflected (2)."""
    if padding == 2:
        point = _reflected(point, 0, 2 * (size - 1)) if align_corners else _reflected(point, -1, 2 * size - 1)
    if padding:
        point = jnp.where(point <= 0, 0, jnp.where(point >= size - 1, size - 1, point)).astype(point.dtype)
    return point


def _cubic_weights(t):
    """Weights of the positions -1, 0, 1, 2 for a point at `t` in [0, 1)."""
    a = -0.75
    near = lambda d: ((a + 2) * d - (a + 3)) * d * d + 1  # noqa: E731
    far = lambda d: ((a * d - 5 * a) * d + 8 * a) * d - 4 * a  # noqa: E731
    return [far(t + 1), near(t), near(1 - t), far(2 - t)]


def _grid_sample(x, grid, interpolation: int, padding: int, align_corners: bool):
    """`[batch, channel, *grid]`: values of `x [batch, channel, *size]` at `grid [batch, *grid, axis]`.

    The last axis of the grid runs from the last axis of the image to its first, and from -1 to 1 over it.
    """
    sizes = x.shape[2:]
    n = len(sizes)
    if interpolation == 2 and n == 3:
        raise UnsupportedOperatorError("grid_sample in 3 dimensions has no bicubic form. Use mode='bilinear'.")
    points = []
    for axis, size in enumerate(sizes):
        g = grid[..., n - 1 - axis]
        points.append((g + 1) / 2 * (size - 1) if align_corners else ((g + 1) * size - 1) / 2)
    if interpolation != 2:
        points = [_padded(p, s, padding, align_corners) for p, s in zip(points, sizes, strict=True)]
    choices: list[list[tuple]] = []
    for point in points:
        if interpolation == 1:
            choices.append([(jnp.round(point), None)])
            continue
        below = jnp.floor(point)
        t = point - below
        weights = [1 - t, t] if interpolation == 0 else _cubic_weights(t)
        first = 0 if interpolation == 0 else -1
        choices.append([(below + first + i, w) for i, w in enumerate(weights)])
    total = jnp.zeros((*x.shape[:2], *grid.shape[1:-1]), x.dtype)
    for corner in itertools.product(*choices):
        places = [place for place, _ in corner]
        if interpolation == 2:
            places = [_padded(p, s, padding, align_corners) for p, s in zip(places, sizes, strict=True)]
        value = _at(x, places)
        for _, weight in corner:
            value = value if weight is None else value * weight[:, None]
        total = total + value
    return total


def _at(x, places: list):
    """Entries of `x [batch, channel, *size]` at whole-numbered places `[batch, *grid]`; 0 outside."""
    flat, inside = jnp.zeros(places[0].shape, int), jnp.ones(places[0].shape, bool)
    for place, size in zip(places, x.shape[2:], strict=True):
        inside &= (place >= 0) & (place < size)
        flat = flat * size + jnp.clip(jnp.nan_to_num(place), 0, size - 1).astype(int)
    rows = x.reshape(*x.shape[:2], -1)
    held = jnp.take_along_axis(rows, flat.reshape(flat.shape[0], 1, -1), axis=2)
    return jnp.where(inside[:, None], held.reshape(*x.shape[:2], *flat.shape[1:]), 0)


aten("grid_sampler_2d.default", "grid_sampler_3d.default")(_grid_sample)
