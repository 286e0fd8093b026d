"""The papers, data sets and software behind a run, as BibTeX: what `canveg cite --config FILE` prints.

The entries are in `references.bib` of this package; the tables here say which of them belong to which part of the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pybtex.database import BibliographyData, parse_string

from .site import SITES, Site
from .spelling import unknown

ALWAYS: dict[str, tuple[str, ...]] = {
    "software": ("canvegtorch",),
    "model": ("Jiang2025", "Baldocchi1998"),
    "sun, sky and radiation in the canopy": (
        "Campbell1998", "Weiss1985", "Kopp2011", "Idso1969", "Norman1979", "deWit1965", "Lemeur1974", "WarrenWilson1960",
        "Wang2007",
    ),
    "photosynthesis": ("Farquhar1980", "Harley1995", "Roupsard1996"),
    "leaf boundary layer": ("Schuepp1993", "Grace1976", "Massman1998"),
    "soil": ("Campbell1994", "deVries1963", "Kondo1990", "Daamen1996"),
    "wind and dispersion": ("Cionco1965", "Thomson1987", "Raupach1989"),
    "solver": ("Walker2011",),
}  # fmt: skip
"""Sources that every run uses, by part of the model."""

CONDUCTANCE: dict[str, tuple[str, ...]] = {
    "ball_berry": ("Ball1987", "Baldocchi1994"),
    "medlyn": ("Medlyn2011", "Baldocchi1994"),
    "leuning": ("Leuning1995",),
}
"""Sources of each equation of stomatal conductance and of its solution."""

STRESS: dict[str, tuple[str, ...]] = {
    "none": (),
    "soil_moisture": ("Wang1998",),
    "feddes": ("Feddes1978",),
    "jarvis": ("Jarvis1976", "Wang1998"),
    "network": ("Jiang2025",),
}
"""Sources of each stress scheme; a stress network follows the hybrid model of Jiang et al."""

SOIL_RESPIRATION: dict[str, tuple[str, ...]] = {"q10": ("Jiang2025",), "alfalfa": ("Jiang2025",)}
"""Both schemes are those of the published model."""

SMOOTH_COLIMITATION = ("Collatz1991",)
"""Source of the quadratic co-limitation of photosynthesis."""

SITE: dict[str, tuple[str, ...]] = {
    "US-Bi1": ("ReySanchez2022", "Pastorello2020"),
    "US-Hn1": ("USHn1",),
    "US-Me2": ("Law2025",),
    "US-Whs": ("Scott2017",),
}
"""Data sets of the site presets. Data of other sites are for the user to cite."""

SYNTHETIC = ("Spencer1971", "Haurwitz1945", "Kasten1980", "Brutsaert1975", "Priestley1972", "Hollinger2005")
"""Sources of the invented weather of `canveg synthetic`."""


def bibliography() -> BibliographyData:
    """All entries of `references.bib`, by key."""
    return parse_string((resources.files("canveg_jax") / "references.bib").read_text(encoding="utf-8"), "bibtex")


def bibtex(keys: Iterable[str], entries: BibliographyData | None = None) -> str:
    """The entries of these keys as BibTeX.

    Raises:
        ValueError: a key is not in the bibliography.
    """
    known = (bibliography() if entries is None else entries).entries
    texts = []
    for key in keys:
        if key not in known:
            raise ValueError(unknown("reference", key, list(known)))
        texts.append(known[key].to_string("bibtex").strip())
    return "\n\n".join(texts)


def references_of(config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Keys of the sources that a configuration of `canveg fit` or `canveg simulate` uses, by part of the model.

    A site whose YAML is not there (its folder may be given on the command line) counts with the default constants.

    Raises:
        ValueError: not such a configuration, or one with a scheme or preset that does not exist.
    """
    training = isinstance(config.get("data"), Mapping)
    settings = config.get("model") or {} if training else config
    data: Mapping[str, Any] = config["data"] if training else config
    named = data.get("towers") or [] if training else [config.get("tower")]
    towers = [tower for tower in named if isinstance(tower, Mapping) and "site" in tower]
    if not towers or len(towers) < len(named):
        raise ValueError(
            "expected a configuration of training (`data: {towers: [{site: ...}]}`) or of the physics alone "
            "(`tower: {site: ...}`); see the folder examples."
        )
    sites = [_site(tower, data) for tower in towers]
    parts = dict(ALWAYS)
    conductance = settings.get("conductance") or "ball_berry"
    parts[f"stomatal conductance: {conductance}"] = _known("conductance", conductance, CONDUCTANCE)
    stress = settings.get("stress", "network" if training else None)
    stress = stress.get("module") if isinstance(stress, Mapping) else stress
    parts[f"stress: {stress or 'none'}"] = _known("stress", stress or "none", STRESS)
    if settings.get("smooth_colimitation"):
        parts["smooth co-limitation"] = SMOOTH_COLIMITATION
    for scheme in dict.fromkeys(scheme for _, scheme in sites):
        parts[f"soil respiration: {scheme}"] = _known("soil respiration", scheme, SOIL_RESPIRATION)
    for name in dict.fromkeys(name for name, _ in sites):
        if name.startswith("SYN-"):
            parts["synthetic towers"] = SYNTHETIC
        else:
            parts[f"site {name}"] = SITE.get(name, ())
    return parts


def cite(path: str | Path) -> str:
    """BibTeX of what the run of a configuration file uses, each entry once, under the part that names it first. Of a comparison
    these are the sources of its base configuration.

    Raises:
        ValueError: the file is no configuration (see `references_of`).
        OSError: there is no such file.
    """
    config = _read_mapping(Path(path))
    if isinstance(config.get("base"), str):  # a comparison; its rows vary what its base configuration uses
        config = _read_mapping(Path(path).parent / config["base"])
    try:
        parts = references_of(config)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    entries, shown, blocks = bibliography(), set[str](), []
    for part, keys in parts.items():
        fresh = [key for key in keys if key not in shown]
        shown.update(fresh)
        if fresh:
            blocks.append(f"% {part}\n{bibtex(fresh, entries)}")
        elif keys:
            blocks.append(f"% {part}: {', '.join(keys)}, above")
        else:
            blocks.append(f"% {part}: no reference known here" if part.startswith("site ") else f"% {part}")
    return "\n\n".join(blocks)


def _read_mapping(path: Path) -> Mapping[str, Any]:
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(config, Mapping):
        raise ValueError(f"{path}: expected a mapping, got {type(config).__name__}.")
    return config


def _site(tower: Mapping[str, Any], data: Mapping[str, Any]) -> tuple[str, str]:
    """Name and soil respiration of a tower's site."""
    site = tower["site"]
    options = dict(data.get("site_options") or {}) | dict(tower.get("site_options") or {})
    if isinstance(site, str) and Path(site).suffix in (".yaml", ".yml"):
        path = Path(data.get("folder") or "", site)
        site = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {"name": path.stem}
    if isinstance(site, Mapping):
        constants = {**site, **options}
        constants = {**SITES.get(str(site.get("preset")), {}), **constants}
        name = str(site.get("name", site.get("preset", "unnamed")))
        return name, str(constants.get("soil_respiration", Site.model_fields["soil_respiration"].default))
    named = Site.named(str(site), **options)
    return named.name, named.soil_respiration


def _known(what: str, name: str, table: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    if name not in table:
        raise ValueError(unknown(what, name, table))
    return table[name]
