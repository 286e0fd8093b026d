"""A flux-tower site: where it is, what stands on it, how it is cut into layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

import pydantic
import yaml

from .records import Record
from .spelling import unknown

LeafAngle = Literal["erectophile", "spherical", "planophile", "plagiophile", "extremophile", "uniform"]
Stomata = Literal["hypostomatous", "amphistomatous"]
SoilRespiration = Literal["q10", "alfalfa"]
SoilHeat = Literal["storage", "conduction"]


class Form(NamedTuple):
    """What of a site is compiled into the canopy, and not one of its numbers: sites of one form can share a `Canopy`."""

    n_layers: int
    n_air_layers: int
    soil_respiration: SoilRespiration
    soil_heat: SoilHeat

    def __str__(self) -> str:
        return ", ".join(map(str, self))


class Site(Record):
    """Constants of one site. Lengths in m, angles in degrees, `utc_offset` in hours east of UTC (standard time).

    `elevation` (above sea level) is needed only where the air pressure was not measured.

    `soil_heat` is `storage`, where the ground heat includes what the soil above the measured temperature takes up (if the
    forcing has the tendency of that temperature), or `conduction`. `lai_scale` multiplies the leaf area index of the forcing.
    `dispersion` names a CSV with a dispersion matrix (`n_air_layers + n_layers` rows, `n_layers` columns, s m-1 at unit friction
    velocity); without it the matrix is generated (see `canveg_jax.dispersion`) from `dispersion_particles` flights with
    `dispersion_seed`.

    Example:
        >>> Site.named("US-Hn1", n_layers=1).canopy_height
        1.2

    Raises:
        pydantic.ValidationError: a value is missing, unknown or outside its range; the message names it.
    """

    name: str
    latitude: float = pydantic.Field(ge=-90, le=90)
    longitude: float = pydantic.Field(ge=-180, le=180)
    utc_offset: float = pydantic.Field(ge=-12, le=14)
    elevation: float | None = pydantic.Field(default=None, ge=-450, le=9000)
    canopy_height: float = pydantic.Field(gt=0)
    measurement_height: float = pydantic.Field(gt=0)
    stomata: Stomata = "hypostomatous"
    leaf_angle: LeafAngle = "spherical"
    n_layers: int = pydantic.Field(default=50, ge=1)
    n_air_layers: int = pydantic.Field(default=50, ge=2)
    soil_depth: float = pydantic.Field(default=0.15, gt=0)
    soil_respiration: SoilRespiration = "q10"
    soil_heat: SoilHeat = "storage"
    lai_scale: float = pydantic.Field(default=1.0, gt=0)
    dispersion: Path | None = None
    dispersion_particles: int = pydantic.Field(default=200_000, ge=1000)
    dispersion_seed: int = 0

    @pydantic.model_validator(mode="after")
    def _tower_above_canopy(self) -> Site:
        if self.measurement_height <= self.canopy_height:
            raise ValueError(
                f"measurement_height must exceed canopy_height; got {self.measurement_height} m and "
                f"{self.canopy_height} m. Give the height of the sonic anemometer above ground."
            )
        return self

    @property
    def form(self) -> Form:
        """What sites must have in common to be those of one `Canopy`."""
        return Form(self.n_layers, self.n_air_layers, self.soil_respiration, self.soil_heat)

    @classmethod
    def named(cls, name: str, **changes: Any) -> Site:
        """The preset of one of the four published sites, with `changes` applied.

        US-Hn1's prepared LAI is the unscaled MODIS number, ten times too large; its preset has `lai_scale=0.1`.
        Pass `lai_scale=1.0` to use the file as it is.
        """
        if name not in SITES:
            raise ValueError(unknown("site preset", name, SITES))
        return cls(**{"name": name, **SITES[name], **changes})

    @classmethod
    def from_yaml(cls, path: str | Path, **changes: Any) -> Site:
        """Read a site from YAML; a key `preset: US-Bi1` starts from that preset."""
        content = yaml.safe_load(Path(path).read_text()) or {}
        if not isinstance(content, dict):
            raise ValueError(f"{path}: expected a mapping of site constants, got {type(content).__name__}.")
        content |= changes
        preset = content.pop("preset", None)
        return cls.named(preset, **content) if preset else cls(**content)


SITES: dict[str, dict[str, Any]] = {
    "US-Bi1": dict(
        latitude=38.0991538, longitude=-121.49933, utc_offset=-8, canopy_height=0.8, measurement_height=5.0,
        stomata="hypostomatous", leaf_angle="erectophile",
    ),
    "US-Hn1": dict(
        latitude=46.4089, longitude=-119.2750, utc_offset=-8, canopy_height=1.2, measurement_height=5.0,
        stomata="hypostomatous", leaf_angle="extremophile", lai_scale=0.1,
    ),
    "US-Me2": dict(
        latitude=44.4523, longitude=-121.5574, utc_offset=-8, canopy_height=18.0, measurement_height=34.0,
        stomata="hypostomatous", leaf_angle="erectophile",
    ),
    "US-Whs": dict(
        latitude=31.7438, longitude=-110.0522, utc_offset=-7, canopy_height=1.0, measurement_height=6.5,
        stomata="amphistomatous", leaf_angle="extremophile",
    ),
}  # fmt: skip
"""Presets of the published runs [Jiang2025]; leaf-angle names are the right ones for the formulas that those runs used."""
