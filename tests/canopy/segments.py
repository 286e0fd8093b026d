"""Line segments through forcing and parameter space, and a search for jumps of the outputs along them."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import canveg_jax as cv

Conditions = dict[str, np.ndarray]
"""Forcing and parameters by name, arrays of one shape; `site` and `day_of_year` do not change along a segment."""

KINDS = ("anywhere", "dawn", "neutral", "free convection", "light saturation", "freezing")
TUNED = ("leaf_clumping_factor", "par_reflect", "par_trans", "par_soil_refl", "nir_soil_refl", "ep", "epsoil", "vcopt",
         "jmopt", "toptvc", "toptjm", "kball", "bprime", "qalpha", "lleaf", "q10a", "q10b", "q10c", "betfac",
         "wind_extinction", "porosity", "soil_roughness", "stability_unstable")  # fmt: skip
N_SITES = 3

UNITS = {
    "LE": 1.0, "H": 1.0, "G": 1.0, "Rnet": 1.0, "NEE": 0.1, "GPP": 0.1, "soil_respiration": 0.1, "canopy_LE": 1.0,
    "soil_LE": 1.0, "soil_H": 1.0, "soil_surface_temperature": 0.1, "canopy_temperature": 0.1, "shortwave_out": 1.0,
    "canopy_conductance": 0.01, "longwave_in": 1.0, "zeta": 0.1,
}  # fmt: skip
"""Outputs that are followed, each with a size of the same weight: W m-2, umol m-2 s-1, K, mol m-2 s-1."""


def saturation(celsius):
    """Saturation vapour pressure, kPa (Magnus): humidity is drawn relative to it, so that no point is far above."""
    return 0.6108 * np.exp(17.27 * celsius / (celsius + 237.3))


def _draw(rng: np.random.Generator) -> dict[str, float]:
    """One random end point: any weather by day or night, any parameters within their bounds."""
    temperature, wind = rng.uniform(-20, 42), rng.lognormal(0.7, 0.8)
    point = {
        "hour": rng.uniform(0.5, 23.5),
        "air_temperature": temperature,
        "shortwave_in": max(0.0, rng.uniform(-300, 1050)),
        "relative_humidity": rng.uniform(0.1, 1.02),
        "wind_speed": wind,
        "co2": rng.uniform(340, 480),
        "pressure": rng.uniform(78, 103),
        "friction_velocity": 0.1 * wind * rng.lognormal(0, 0.4),
        "soil_temperature": temperature + rng.normal(0, 6),
        "soil_water_content": rng.uniform(0.01, 0.5),
        "lai": rng.uniform(0.0, 6.0),
        "stress": rng.uniform(0.05, 1.0),
        "nir_reflect": rng.uniform(0.3, 0.6),
        "nir_trans": rng.uniform(0.1, 0.35),
    }
    for name in TUNED:
        info = cv.PARAMETER_TABLE[name]
        point[name] = rng.uniform(info.lower, info.upper) if rng.random() < 0.5 else info.default
    return point


def _ends(kind: str, rng: np.random.Generator) -> tuple[dict[str, float], dict[str, float], float]:
    """End points of one segment and its day of year."""
    a, b = _draw(rng), _draw(rng)
    day = float(rng.integers(1, 366))
    if kind == "anywhere":
        return a, b, day
    b = a | {name: b[name] for name in rng.choice(list(b), 4, replace=False)}

    def between(name, low, high):
        a[name], b[name] = low, high

    if kind == "dawn":
        day = float(rng.integers(60, 300))
        between("hour", rng.uniform(2.0, 4.0), rng.uniform(7.5, 10.0))
        between("shortwave_in", 0.0, rng.uniform(20, 700))
    elif kind == "neutral":
        between("hour", *rng.uniform(8, 17, 2))
        between("shortwave_in", rng.uniform(0, 40), rng.uniform(200, 600))
        between("friction_velocity", *rng.uniform(0.15, 0.8, 2))
    elif kind == "free convection":
        between("hour", 12.0, 13.0)
        between("shortwave_in", rng.uniform(500, 1000), rng.uniform(500, 1000))
        between("wind_speed", rng.uniform(0.0, 0.9), rng.uniform(3, 8))
        between("wind_floor", 0.1, 0.1)
        between("lleaf", rng.uniform(0.05, 0.1), rng.uniform(0.05, 0.1))
    elif kind == "light saturation":
        between("hour", 12.0, 12.5)
        between("shortwave_in", 0.0, 1100.0)
        between("air_temperature", rng.uniform(12, 32), rng.uniform(12, 32))
    elif kind == "freezing":
        between("air_temperature", rng.uniform(-12, -3), rng.uniform(3, 12))
        between("soil_temperature", rng.uniform(-8, -1), rng.uniform(1, 8))
        between("relative_humidity", *rng.uniform(0.4, 1.0, 2))
    return a, b, day


class Segments(NamedTuple):
    """End points `[segment]` by name, and the kind of each."""

    start: Conditions
    end: Conditions
    kinds: list[str]

    def at(self, segment: np.ndarray, t: np.ndarray) -> Conditions:
        """Conditions at `t` in 0..1 along the segments of the given numbers."""
        a, b = self.start, self.end
        point = {name: a[name][segment] + t * (b[name] - a[name])[segment] for name in a}
        if "relative_humidity" in point:
            point["vapour_pressure"] = point.pop("relative_humidity") * saturation(point["air_temperature"])
        return point


def random_segments(n: int, seed: int) -> Segments:
    """`n` segments; the kinds take turns, so do the sites."""
    rng = np.random.default_rng(seed)
    kinds = [KINDS[i % len(KINDS)] for i in range(n)]
    starts, ends = [], []
    for kind in kinds:
        a, b, day = _ends(kind, rng)
        fixed = {"day_of_year": day, "site": float(rng.integers(N_SITES))}
        default_floor = cv.PARAMETER_TABLE["wind_floor"].default
        starts.append({"wind_floor": default_floor} | a | fixed)
        ends.append({"wind_floor": default_floor} | b | fixed)
    names = list(starts[0])
    return Segments(
        {name: np.array([s[name] for s in starts]) for name in names},
        {name: np.array([s[name] for s in ends]) for name in names},
        kinds,
    )


class Jump(NamedTuple):
    """An output whose difference across an interval does not go to zero with the interval."""

    segment: int
    kind: str
    output: str
    t: float
    width: float
    difference: float
    first_difference: float


Solve = Callable[[Conditions], tuple[dict[str, np.ndarray], np.ndarray]]
"""Conditions `[point]` -> outputs `[point]` by name, and which points converged."""


def suspicious(values: np.ndarray, unit: float, floor: float = 1e-4, window: int = 6) -> np.ndarray:
    """Score of each interval `[segment, points - 1]`: its difference against the median of its neighbours'.

    A jump sticks out, however small it is beside the slope, because the differences of a smooth output change by
    `f'' h^2` only. Zero where the excess is below `floor` units.
    """
    d = np.diff(values, axis=1) / unit
    around = np.pad(d, ((0, 0), (window, window)), mode="reflect")
    shifted = np.stack([around[:, s : s + d.shape[1]] for s in range(2 * window + 1) if s != window])
    middle = np.median(shifted, axis=0)
    spread = np.median(np.abs(shifted - middle), axis=0)
    excess = np.abs(d - middle)
    return np.where(excess > floor, excess / (spread + floor), 0.0)


def find_jumps(
    segments: Segments, solve: Solve, points: int = 1000, per_output: int = 1, halvings: int = 22
) -> tuple[list[Jump], int, int]:
    """Follow every segment, bisect its most suspicious intervals, and keep those that are jumps.

    The difference of a continuous output goes to zero with the interval, that of a jump does not: it counts as a jump
    if after `halvings` it is still above 1e-3 of the first one (even a square root falls below) and above 1e-4 units.
    Where a point does not converge the interval is cut elsewhere, so both of its ends always did.

    Returns:
        The jumps; the number of intervals bisected; the number of points that did not converge.
    """
    n = len(segments.kinds)
    t = np.linspace(0.0, 1.0, points)
    number = np.repeat(np.arange(n), points)
    outputs, converged = solve(segments.at(number, np.tile(t, n)))
    converged = converged.reshape(n, points)
    lost = int((~converged).sum())
    seg, out, left = [], [], []
    for name, unit in UNITS.items():
        values = outputs[name].reshape(n, points)
        score = suspicious(values, unit)
        score = np.where(converged[:, 1:] & converged[:, :-1], score, 0.0)
        worst = np.argsort(score, axis=1)[:, -per_output:]
        for i in range(n):
            for k in worst[i]:
                if score[i, k] > 0.0:
                    seg.append(i), out.append(name), left.append(k)
    if not seg:
        return [], 0, lost
    seg, out, left = np.array(seg), np.array(out), np.array(left)
    unit = np.array([UNITS[name] for name in out])

    def pick(outputs, rows):
        return np.array([outputs[name][r] for name, r in zip(out, rows, strict=True)])

    low, high = t[left], t[left + 1]
    f_low, f_high = pick(outputs, seg * points + left), pick(outputs, seg * points + left + 1)
    first = f_high - f_low
    share = np.full(len(seg), 0.5)
    rng = np.random.default_rng(0)
    for _ in range(halvings):
        mid = low + share * (high - low)
        middle, ok = solve(segments.at(seg, mid))
        f_mid = pick(middle, np.arange(len(seg)))
        lower_half = np.abs(f_mid - f_low) >= np.abs(f_high - f_mid)
        low, high = np.where(ok & ~lower_half, mid, low), np.where(ok & lower_half, mid, high)
        f_low, f_high = np.where(ok & ~lower_half, f_mid, f_low), np.where(ok & lower_half, f_mid, f_high)
        share = np.where(ok, 0.5, rng.uniform(0.1, 0.9, len(seg)))
        lost += int((~ok).sum())
    last = f_high - f_low
    jumped = np.abs(last) > np.maximum(1e-3 * np.abs(first), 1e-4 * unit)
    jumps = [
        Jump(seg[i], segments.kinds[seg[i]], out[i], low[i], high[i] - low[i], last[i], first[i])
        for i in np.flatnonzero(jumped)
    ]
    return jumps, len(seg), lost
