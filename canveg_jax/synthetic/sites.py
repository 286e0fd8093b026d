"""Four invented sites, from humid to arid. Their names are not codes of any network."""

from __future__ import annotations

from ..site import Site

SYNTHETIC_SITES: dict[str, Site] = {
    "SYN-Hum": Site(
        name="SYN-Hum", latitude=47.3, longitude=8.5, utc_offset=1, canopy_height=0.6, measurement_height=4.0,
        stomata="hypostomatous", leaf_angle="erectophile",
    ),
    "SYN-Sub": Site(
        name="SYN-Sub", latitude=43.8, longitude=-93.0, utc_offset=-6, canopy_height=16.0, measurement_height=28.0,
        stomata="hypostomatous", leaf_angle="spherical",
    ),
    "SYN-Sem": Site(
        name="SYN-Sem", latitude=-34.2, longitude=146.2, utc_offset=10, canopy_height=5.0, measurement_height=12.0,
        stomata="amphistomatous", leaf_angle="erectophile",
    ),
    "SYN-Ari": Site(
        name="SYN-Ari", latitude=31.5, longitude=-109.8, utc_offset=-7, canopy_height=1.0, measurement_height=6.5,
        stomata="amphistomatous", leaf_angle="extremophile",
    ),
}  # fmt: skip
"""Humid meadow, subhumid forest, semi-arid woodland (southern hemisphere), arid shrubland."""

SYNTHETIC_ARIDITY: dict[str, float] = {"SYN-Hum": 0.1, "SYN-Sub": 0.35, "SYN-Sem": 0.65, "SYN-Ari": 0.9}
"""Aridity of each site: 0 = rain every other day, 1 = hardly any."""


def site_aridity(site: Site, aridity: float | None) -> float:
    """The given aridity, else that of the synthetic site.

    Raises:
        ValueError: no aridity for a site that is not synthetic, or one outside of 0..1.
    """
    if aridity is None:
        if site.name not in SYNTHETIC_ARIDITY:
            raise ValueError(
                f"'{site.name}' is none of the synthetic sites ({', '.join(SYNTHETIC_SITES)}); give "
                "aridity=<0 humid .. 1 arid>."
            )
        return SYNTHETIC_ARIDITY[site.name]
    if not 0.0 <= aridity <= 1.0:
        raise ValueError(f"aridity must be between 0 (humid) and 1 (arid); got {aridity!r}.")
    return float(aridity)
