"""Make the dispersion matrices that are shipped with the package; a tool for maintainers.

    python -m canveg_jax.data.make_dispersion --presets canveg_jax/data/dispersion

Needed after a change of `canveg_jax.physics.random_flight` (raise
`dispersion.ALGORITHM` with it), of a preset, or of a synthetic site.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..physics.dispersion import cache_key, generate, grid_of, save_dispersion
from ..site import SITES, Site
from ..synthetic import SYNTHETIC_SITES


def shipped_sites() -> list[Site]:
    """The preset sites with 1 and 50 layers and the synthetic ones with 1 and 3."""
    sites = [Site.named(name, n_layers=n) for name in SITES for n in (1, 50)]
    return sites + [Site(**{**site.model_dump(), "n_layers": n}) for site in SYNTHETIC_SITES.values() for n in (1, 3)]


def make(folder: Path, sites: Sequence[Site], particles: int) -> None:
    """Generate the matrices of `sites` into `folder`, from `particles` flights each."""
    for site in sites:
        grid = grid_of(site)
        matrix, error, cut = generate(grid, particles, 0)
        save_dispersion(folder / f"{cache_key(grid, None, None)}.npz", matrix, error, cut, particles)
        print(
            f"{site.name} {site.n_layers}: largest standard error {error.max():.4f} s m-1, {cut:.2e} of the flights cut"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the tool."""
    parser = argparse.ArgumentParser(description="Generate the dispersion matrices shipped with the package.")
    parser.add_argument("--presets", type=Path, required=True, help="folder to write to")
    parser.add_argument("--particles", type=int, default=1_000_000, help="flights for each matrix")
    options = parser.parse_args(arguments)
    make(options.presets, shipped_sites(), options.particles)


if __name__ == "__main__":
    main()
