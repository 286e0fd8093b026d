"""Leaf area index from the light that a canopy reflects, where a tower measures photons and short-wave both ways.

Leaves absorb the visible and reflect the near infrared, so the contrast of the two reflectances, the broadband vegetation index,
tells how much of the ground they cover [Huemmrich1999] [Jenkins2007] [Wilson2007].
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..site import Site
from ..spelling import unknown
from .arrays import Series
from .lai import Lai
from .sun import sine_of_elevation
from .tower_dataset import Column, TowerFileError, TowerTable

LOWEST_SUN = 30.0
"""degrees; below it reflectances depend on the sun more than on the leaves."""

MIDDAY_HOURS = 2.0
"""Half-hours within so many hours of solar noon count."""

FEWEST_HALF_HOURS = 2
MEDIAN_DAYS = 7
LONGEST_GAP_DAYS = 30
EXTINCTION = 0.5
COVER = (0.01, 0.99)
SMALLEST_SPAN = 0.05
"""Between the indices of bare ground and full cover; the noise of the sensors is as large."""

PERCENTILES = (2.0, 98.0)

QUANTITIES = {
    "photon_flux_in": "PPFD_IN", "photon_flux_out": "PPFD_OUT", "shortwave_in": "SW_IN", "shortwave_out": "SW_OUT",
}  # fmt: skip
"""What it is made of, and the base name of its columns."""


class Reflected(NamedTuple):
    """Light down and up: photons in umol m-2 s-1, short-wave in W m-2, each `[time]`; missing is NaN."""

    photon_flux_in: Series
    photon_flux_out: Series
    shortwave_in: Series
    shortwave_out: Series


class LeafAreaEstimate(NamedTuple):
    """Leaf area of each day and how it came about.

    Args:
        days: `[day]`.
        lai: `[day]`, m2 m-2; missing where no data are near.
        index: `[day]`, the vegetation index of days with data, else missing.
        low, high: index of bare ground and of full cover.
        days_with_data, days_interpolated, days_missing: counts.
    """

    days: pd.DatetimeIndex
    lai: Series
    index: Series
    low: float
    high: float
    days_with_data: int
    days_interpolated: int
    days_missing: int


def radiation_options(lai: Lai | Mapping[str, Any] | None) -> dict[str, float] | None:
    """The options of the estimate if `lai` asks for it: `"radiation"`, or a mapping with that one key; else None.

    Raises:
        TowerFileError: a mapping of another kind, an unknown option, or one that is no number.
    """
    if isinstance(lai, str) and lai == "radiation":
        return {}
    if not isinstance(lai, Mapping) or "radiation" not in lai:
        return None  # a mapping may be a table of dates
    options = lai.get("radiation")
    if set(lai) != {"radiation"} or not isinstance(options, Mapping | None):
        raise TowerFileError(
            f"lai: expected a number, a column, `radiation` or {{radiation: {{low: 0.1, high: 0.7}}}}; got {dict(lai)!r}."
        )
    for name, value in (options or {}).items():
        if name not in ("low", "high", "scale"):
            raise TowerFileError(f"lai: {unknown('option of radiation', str(name), ['low', 'high', 'scale'])}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TowerFileError(f"lai: radiation: {name} must be a number; got {value!r}.")
    return dict(options or {})


def vegetation_index(sums: Reflected) -> Series:
    """Broadband vegetation index `(n - p) / (n + p)`, -1..1, of any number of sums of light.

    `p` is the reflectance of photons, `n = 2 s - p` that of the near infrared, `s` that of short-wave, of which photons and near
    infrared have half each [Huemmrich1999]. Missing where a reflectance is not within 0..1.
    """
    visible = sums.photon_flux_out / sums.photon_flux_in
    infrared = 2.0 * sums.shortwave_out / sums.shortwave_in - visible
    sound = (visible > 0.0) & (visible < 1.0) & (infrared > 0.0) & (infrared < 1.0)
    return np.where(sound, (infrared - visible) / np.where(sound, infrared + visible, 1.0), np.nan)


def leaf_area_of_index(index: Series, low: float, high: float, scale: float = 1.0) -> Series:
    """Leaf area index, m2 m-2: `-scale ln(1 - f) / 0.5` with the cover `f = (index - low) / (high - low)`, within 0.01..0.99."""
    cover = np.clip((index - low) / (high - low), *COVER)
    return -scale * np.log(1.0 - cover) / EXTINCTION


def estimate(
    light: Reflected, start: pd.DatetimeIndex, step: pd.Timedelta, site: Site, *,
    low: float | None = None, high: float | None = None, scale: float = 1.0,
) -> LeafAreaEstimate:  # fmt: skip
    """Leaf area of each day from the light about solar noon, with the sun above 30 degrees.

    The index of a day is that of the sums over its half-hours (at least two) with all four quantities; then a running median over
    7 days, `leaf_area_of_index`, and straight lines over gaps of up to 30 days (at the ends of the record the nearest value,
    as far).

    Args:
        light: `[time]`.
        start, step: intervals, local standard time.
        site: where the sun is.
        low, high: index of bare ground and of full cover; default: the 2nd and 98th percentile of the record.
        scale: factor on the leaf area.

    Raises:
        TowerFileError: no day has data, or the index does not vary.
    """
    middle = start + step / 2
    elevation, from_noon = sun(middle, site)
    used = (elevation > LOWEST_SUN) & (np.abs(from_noon) <= MIDDAY_HOURS)
    for values in light:
        used &= np.isfinite(values)
    used &= (light.photon_flux_in > 0.0) & (light.shortwave_in > 0.0)
    days = pd.date_range(middle[0].normalize(), middle[-1].normalize(), freq="D")
    day = ((middle.normalize() - days[0]) // pd.Timedelta(days=1)).to_numpy()[used]
    count = np.bincount(day, minlength=len(days))
    enough = count >= FEWEST_HALF_HOURS
    sums = (np.bincount(day, values[used], minlength=len(days)) for values in light)
    sums = Reflected(*(np.where(enough, total, np.nan) for total in sums))
    index = vegetation_index(sums)
    if not np.isfinite(index).any():
        raise TowerFileError(
            "lai from radiation: no day has incoming and outgoing photon flux and short-wave at noon with the sun above "
            f"{LOWEST_SUN:g} degrees. Give lai=<number>, or a column."
        )
    smooth = pd.Series(index, days).rolling(MEDIAN_DAYS, center=True, min_periods=1).median().to_numpy(float)
    smooth = np.where(np.isfinite(index), smooth, np.nan)
    bounds = np.nanpercentile(smooth, PERCENTILES)
    bare, full = float(bounds[0] if low is None else low), float(bounds[1] if high is None else high)
    if full - bare < SMALLEST_SPAN:
        raise TowerFileError(
            f"lai from radiation: the index of bare ground ({bare:.3g}) must be {SMALLEST_SPAN} below that of full "
            f"cover ({full:.3g}); the index of this record does not vary enough. "
            "Give lai={'radiation': {'low': ..., 'high': ...}}."
        )
    daily = leaf_area_of_index(smooth, bare, full, scale)
    lai = over_gaps(daily)
    known = np.isfinite(daily)
    return LeafAreaEstimate(
        days=days,
        lai=lai,
        index=index,
        low=bare,
        high=full,
        days_with_data=int(known.sum()),
        days_interpolated=int((np.isfinite(lai) & ~known).sum()),
        days_missing=int((~np.isfinite(lai)).sum()),
    )


def sun(middle: pd.DatetimeIndex, site: Site) -> tuple[Series, Series]:
    """Elevation of the sun, degrees, and hours from solar noon, both `[time]`."""
    hour = (middle.hour + middle.minute / 60.0).to_numpy(dtype=float)
    sine = sine_of_elevation(middle.day_of_year.to_numpy(dtype=float), hour, site)
    noon = (
        12.0 - site.longitude / 15.0 + site.utc_offset
    )  # the equation of time (a quarter of an hour) does not matter here
    return np.degrees(np.arcsin(sine)), (hour - noon + 12.0) % 24.0 - 12.0


def over_gaps(daily: Series) -> Series:
    """Straight lines over gaps of up to 30 days; the nearest value as far beyond the ends; NaN elsewhere."""
    known = np.flatnonzero(np.isfinite(daily))
    every = np.arange(len(daily))
    drawn = np.interp(every, known, daily[known])
    before = known[np.clip(np.searchsorted(known, every, side="right") - 1, 0, len(known) - 1)]
    after = known[np.clip(np.searchsorted(known, every), 0, len(known) - 1)]
    gap = np.where((every < known[0]) | (every > known[-1]), np.abs(every - before) + 1, after - before)
    return np.where(gap <= LONGEST_GAP_DAYS + 1, drawn, np.nan)


def lai_of_file(
    path: Path, table: TowerTable, site: Site | None, *, low: float | None = None, high: float | None = None,
    scale: float = 1.0,
) -> tuple[Column, str]:  # fmt: skip
    """Leaf area `[time]` of a tower CSV from its own radiation, and the text of the warning that it is an estimate.

    Raises:
        TowerFileError: no site, columns that are not there, or `estimate` refuses.
    """
    if site is None:
        raise TowerFileError(f"{path.name}: lai from radiation needs the site, to know where the sun is. Give site=.")
    light, sources = light_of_file(path)
    if len(light.shortwave_in) != len(table.start):
        raise TowerFileError(f"{path.name}: lai from radiation: the rows of the file are not those of the record.")
    made = estimate(light, table.start, table.step, site, low=low, high=high, scale=scale)
    middle = table.start + table.step / 2
    day = ((middle.normalize() - made.days[0]) // pd.Timedelta(days=1)).to_numpy()
    values = made.lai[day]
    attributes = {
        "method": "broadband vegetation index", "index_of_bare_ground": made.low, "index_of_full_cover": made.high,
        "scale": scale, "days_with_data": made.days_with_data, "days_interpolated": made.days_interpolated,
        "days_missing": made.days_missing,
    }  # fmt: skip
    known = made.lai[np.isfinite(made.lai)]
    lost = "" if not made.days_missing else f", {made.days_missing} days missing"
    note = (
        f"{path.name}: lai is an estimate from reflected light, {known.min():.2f} to {known.max():.2f} m2 m-2 (index "
        f"{made.low:.2f} = bare, {made.high:.2f} = full cover); {made.days_with_data} days with data, "
        f"{made.days_interpolated} interpolated{lost}. "
        "Compare it with what you know of the site; `lai_scale` of the site multiplies it."
    )
    return Column(values, f"radiation ({', '.join(sources)})", attributes), note


def light_of_file(path: Path) -> tuple[Reflected, list[str]]:
    """The four columns of light of a CSV of FLUXNET or AmeriFlux, by the share of values among all sensors of a kind.

    Raises:
        TowerFileError: a column is missing.
    """
    from .formats.csv import TowerCsv
    from .formats.sensor_names import columns_of

    file = TowerCsv(path)
    candidates = {name: [c.name for c in columns_of(base, file.header.names)] for name, base in QUANTITIES.items()}
    if missing := [QUANTITIES[name] for name, names in candidates.items() if not names]:
        raise TowerFileError(
            f"{path.name}: lai from radiation needs columns of {', '.join(QUANTITIES.values())}; the file has none of "
            f"{', '.join(missing)}. Give lai=<number>, or a column."
        )
    table = file.read([name for names in candidates.values() for name in names])
    chosen = {name: _fullest(names, table.numbers(names)) for name, names in candidates.items()}
    numbers = table.numbers(chosen.values())
    return Reflected(**{name: numbers[column] for name, column in chosen.items()}), list(chosen.values())


def _fullest(names: Iterable[str], numbers: Mapping[str, Series]) -> str:
    """The column with the most values; the first of those with as many."""
    return max(names, key=lambda name: int(np.isfinite(numbers[name]).sum()))
