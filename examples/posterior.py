"""How well does one day of fluxes know the stomata and the capacity of the leaves? Their posterior, on fluxes of known
parameters.

Run it as `python examples/posterior.py [steps]`; it makes its own data. Needs `pip install 'canveg-torch[bayes]'`.
"""

import sys

import jax
import numpy as np
import xarray as xr

import canveg_jax as cv
from canveg_jax.posterior import posterior
from canveg_jax.synthetic import synthetic_weather

jax.config.update("jax_enable_x64", True)

TRUE = {"kball": 10.0, "vcopt": 120.0}
SIGMA = {"LE": 15.0, "NEE": 1.5}


def main(steps: int = 300, chains: int = 4) -> xr.Dataset:
    """Sample; returns the samples `(chain, draw)`."""
    site = cv.Site.named("US-Bi1", n_layers=1)
    weather = synthetic_weather(site, days=1, seed=3, aridity=0.3, start="2019-06-20")
    forcing = cv.Forcing(**{name: weather[name].values for name in cv.FORCING_TABLE})
    truth = cv.Canopy(site, cv.Parameters(**TRUE))(forcing)
    rng = np.random.default_rng(0)
    observed = {flux: np.asarray(getattr(truth, flux)) + sd * rng.standard_normal(48) for flux, sd in SIGMA.items()}
    observed["LE"][:4] = np.nan  # a gap has no influence
    drawn = posterior(
        cv.Canopy(site), forcing, observed, SIGMA, tuple(TRUE), chains=chains, warmup=steps, samples=steps, seed=1
    )
    for name, true in TRUE.items():
        low, middle, high = np.quantile(drawn[name], [0.05, 0.5, 0.95])
        said = f"{name}: {middle:.2f}, 90 % between {low:.2f} and {high:.2f} (true {true:g})"
        print(
            f"{said}, r_hat {drawn[name].attrs['r_hat']:.3f}, effective samples {drawn[name].attrs['effective_samples']:.0f}"
        )
    return drawn


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
