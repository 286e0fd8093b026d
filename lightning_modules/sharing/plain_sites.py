"""Sites and classes as plain data of a shared model."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from canveg_jax import Site
from canveg_jax.physics.dispersion import SHIPPED, dispersion_matrix


def dispersion_csv(site: Site, matrix: np.ndarray) -> str | None:
    """The dispersion matrix of a site as the text that `Site.dispersion` reads, to the last bit; None for one that every
    installation has."""
    if dispersion_matrix(site).source == SHIPPED:
        return None
    text = io.StringIO()
    np.savetxt(text, matrix, delimiter=",", fmt="%.17g")
    return text.getvalue()


def inside(site: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The constants of a site, its matrix found in the folder of the model.

    Raises:
        ValueError: the matrix is named by more than a file name.
    """
    name = site.get("dispersion")
    if name is None or not folder.is_dir():
        return dict(site)
    if Path(name).name != name:
        raise ValueError(f"{folder}: the dispersion matrix {name!r} of {site.get('name')} lies outside of the folder.")
    return {**site, "dispersion": str(folder / name)}


def class_path(instance: object) -> str:
    """`module.Class` of an object."""
    return f"{type(instance).__module__}.{type(instance).__qualname__}"
