"""`canveg export callmip`: daily values of a run in the form of an intercomparison."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .readiness import require_packages, require_place

if TYPE_CHECKING:
    import xarray as xr


def add_callmip(kinds: argparse._SubParsersAction) -> None:
    """Add it to what can be exported."""
    callmip = kinds.add_parser("callmip", help="CalLMIP: daily NetCDF, complete days only")
    callmip.add_argument(
        "fluxes", type=Path, metavar="FILE.nc", help="of simulate, or predictions.nc of fit or predict"
    )
    callmip.add_argument(
        "--out", type=Path, default=Path(), metavar="FOLDER", help="where the file goes (default: here)"
    )
    callmip.add_argument("--site", metavar="SITE", help="preset, YAML or metadata; default: what the file says")
    callmip.add_argument("--model", default="canveg.v1", help="name and version (default canveg.v1)")
    callmip.add_argument("--phase", default="1b", help="1a or 1b (default)")
    callmip.add_argument("--scenario", type=int, default=1, help="of phase 1b (default 1)")
    callmip.add_argument("--period", default="Cal", help="Cal (default) or Val")
    callmip.add_argument("--stage", default="Prior", help="Prior (default) or Posterior")
    callmip.set_defaults(run=_callmip)


def _callmip(options: argparse.Namespace) -> int:
    require_packages("h5py", "h5netcdf")
    from canveg_jax.io.callmip import Protocol, daily, write_callmip
    from canveg_jax.io.netcdf import read_fluxes
    from canveg_jax.io.tower_files import as_site

    protocol = Protocol(
        model=options.model, phase=options.phase, scenario=options.scenario, period=options.period, stage=options.stage
    )
    require_place(options.out / "file.nc")
    fluxes = read_fluxes(options.fluxes)
    known = _places(fluxes)
    site = None if options.site is None or options.site in known else as_site(options.site)
    fluxes, name = _of_one_site(fluxes, options.site if site is None else site.name)
    fluxes.attrs |= known.get(name, {})
    place = fluxes.attrs if site is None else {"latitude": site.latitude, "longitude": site.longitude}
    if not {"latitude", "longitude"} <= place.keys():
        raise ValueError(
            f"{options.fluxes.name} does not say where {name} is. Give --site (a preset, a YAML or metadata)."
        )
    said = {"configuration": str(fluxes.attrs["configuration"])} if "configuration" in fluxes.attrs else {}
    export = daily(fluxes, float(place["latitude"]), float(place["longitude"]), protocol, {"site": name, **said})
    path = write_callmip(options.out, export, protocol.file_name(name))
    print(
        f"{name}: {export.complete} of {export.days} days are complete; the others are missing\n"
        f"not computed, left out: {', '.join((*export.left_out, 'mrso', 'mrsos', 'cLiveBioAbove', 'cSoil'))}\nwritten to {path}"
    )
    return 0


def _places(fluxes: xr.Dataset) -> dict[str, dict[str, float]]:
    """Latitude and longitude of the sites of a predictions file by name; nothing where it does not say them."""
    if not {"site_name", "latitude", "longitude"} <= set(fluxes.variables):
        return {}
    rows = zip(*(fluxes[name].values for name in ("site_name", "latitude", "longitude")), strict=True)
    return {
        str(name): {"latitude": float(latitude), "longitude": float(longitude)} for name, latitude, longitude in rows
    }


def _of_one_site(fluxes: xr.Dataset, wanted: str | None) -> tuple[xr.Dataset, str]:
    """The half-hours of one site, on `time`, and its name."""
    if "site_name" not in fluxes:
        return fluxes, wanted or str(fluxes.attrs.get("site", "site"))
    names = [str(name) for name in fluxes["site_name"].values]
    if wanted is None and len(names) == 1:
        wanted = names[0]
    if wanted not in names:
        raise ValueError(f"the file has the sites {', '.join(names)}. Give one of them as --site.")
    rows = fluxes["site_index"].values == names.index(wanted)
    one = fluxes.isel(row=rows).drop_vars(["site_name", "site_index"]).swap_dims(row="time").sortby("time")
    return one, wanted
