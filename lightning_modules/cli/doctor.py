"""`canveg doctor`: prints and draws the examination of a tower's record (`canveg_jax.io.doctor`)."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from .readiness import require_packages, require_place

if TYPE_CHECKING:  # brings JAX and xarray: help shall appear at once
    from canveg_jax.io.doctor import Examination, VariableFinding
    from canveg_jax.site import Site

VERDICTS = ("usable", "usable, with warnings", "not usable")
WIDTHS = (24, 26, 9, 8, 9, 9, 34)
"""Characters of each column; the last holds a range with its unit, such as `-12.34 .. 45.67 umol m-2 s-1`."""


def add_doctor(commands: Any) -> None:
    """Add the command to the parser's commands."""
    doctor = commands.add_parser("doctor", help="examine tower files: what is there, what is missing, what looks wrong")
    doctor.add_argument("forcings", type=Path, metavar="FILE", help="weather (FLUXNET and AmeriFlux: fluxes as well)")
    doctor.add_argument("fluxes", type=Path, nargs="?", metavar="FILE2", help="fluxes of a pair of files")
    doctor.add_argument(
        "--site", metavar="SITE", help="YAML of site constants or of a training with one tower, or the name of a preset"
    )
    doctor.add_argument("--lai", help="leaf area index: a number, a column, or radiation")
    doctor.add_argument(
        "--out", type=Path, metavar="FILE.png", help="picture to write (default: doctor.png; none: no picture)"
    )
    doctor.set_defaults(run=run_doctor)


def run_doctor(options: argparse.Namespace) -> int:
    """Examine, print, draw. Returns 0 (usable), 1 (usable, with warnings) or 2 (not usable)."""
    require_packages("matplotlib")
    out = options.out or Path("doctor.png")
    wanted = str(out) != "none"
    if wanted:
        require_place(out)
    from canveg_jax.io.doctor import examine_files
    from canveg_jax.runtime import prepare_jax

    prepare_jax()
    site = None if options.site is None else site_of(options.site)
    examination, dataset = examine_files(options.forcings, options.fluxes, site, lai=_number_or_name(options.lai))
    print(report_text(examination))
    if wanted:
        from ..evaluation.doctor_picture import doctor_figure
        from ..evaluation.report import save_figure

        print(f"picture: {os.fspath(save_figure(doctor_figure(dataset, examination), out))}")
    return examination.verdict


def site_of(named: str) -> Site:
    """The site of a preset, of a file of constants, or of a configuration of `canveg fit` with one tower.

    Raises:
        ValueError: unknown preset, constants that cannot be right, or a configuration of several towers.
    """
    from canveg_jax.io.tower_files import TowerFiles, as_site

    content = (
        yaml.safe_load(Path(named).read_text(encoding="utf-8")) if Path(named).suffix in (".yaml", ".yml") else None
    )
    if not (isinstance(content, dict) and isinstance(data := content.get("data"), dict)):
        return as_site(named)
    towers = data.get("towers") or []
    if len(towers) != 1:
        raise ValueError(
            f"--site: {named} is a configuration of {len(towers)} towers; expected one. Give the YAML of the site's constants."
        )
    return TowerFiles(**towers[0]).inside(data.get("folder")).build_site(data.get("site_options") or {})


def _number_or_name(lai: str | None) -> float | str | None:
    try:
        return None if lai is None else float(lai)
    except ValueError:
        return lai


def report_text(examination: Examination) -> str:
    """The whole table in words."""
    e = examination
    share = 100.0 * e.usable / max(e.half_hours, 1)
    head = ("variable", "column", "measured", "filled", "stand-in", "missing", "1 % .. 99 %", "flags")
    lines = [f"{e.name}: {e.period}", "", _row(head)]
    lines += [_row(_cells(found)) for found in e.variables]
    lines += ["", f"half-hours: {e.half_hours}, usable {e.usable} ({share:.1f} %)"]
    lines += [
        f"  {name}: {c.missing} missing, {c.outside} out of range, alone costs {c.alone}" for name, c in e.costs.items()
    ]
    lines += [_place(e), _clock(e), _closure(e)]
    if e.warnings:
        lines += ["", "warnings"] + [f"  ! {text}" for text in e.warnings]
    if e.refusals:
        lines += ["", "not usable"] + [f"  !! {text}" for text in e.refusals]
    return "\n".join([*lines, "", f"verdict: {VERDICTS[e.verdict]}"])


def _row(cells: tuple[str, ...]) -> str:
    texts = [
        text if len(text) < width else f"{text[: width - 3]}.." for text, width in zip(cells, WIDTHS, strict=False)
    ]
    padded = [text.ljust(width) for text, width in zip(texts, WIDTHS, strict=True)]
    return ("".join(padded) + cells[-1]).rstrip()


def _cells(found: VariableFinding) -> tuple[str, ...]:
    shares = [f"{100 * share:.1f} %" for share in (found.measured, found.filled, found.stand_in, found.missing)]
    span = "" if found.low is None or found.high is None else f"{found.low:.4g} .. {found.high:.4g} {found.unit}"
    return (found.variable, found.column, *shares, span, found.flags)


def _place(e: Examination) -> str:
    if e.place is None:
        return "site: not given; heights, clock and radiation cannot be judged (--site YAML or preset)"
    s = e.place
    zone = "" if e.standard_time is None else f" ({e.standard_time.zone}: {e.standard_time.utc_offset:+g} h)"
    heights = "heights not given (--site YAML or preset)"
    if e.site is not None:
        heights = f"canopy {e.site.canopy_height:g} m, measured at {e.site.measurement_height:g} m"
    return f"site: {s.latitude:g} N, {s.longitude:g} E, UTC{s.utc_offset:+g} h{zone}; {heights}"


def _clock(e: Examination) -> str:
    if e.clock is None:
        return "clock: cannot be judged" + (
            "" if e.place is None else " (no daylight, or no daily course in short-wave)"
        )
    c = e.clock.clock
    return f"clock: short-wave fits the sun with a shift of {60 * c.shift:+.0f} min (correlation {c.correlation:.2f})"


def _closure(e: Examination) -> str:
    if e.closure is None:
        return "energy balance: cannot be judged (fewer than 50 half-hours with LE, H, Rn and G measured)"
    c = e.closure
    return f"energy balance: LE + H = {c.slope:.2f} (Rn - G) {c.intercept:+.0f} W m-2, {c.samples} half-hours"
